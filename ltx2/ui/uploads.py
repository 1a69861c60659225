"""Fields for files that a clip is made from; each shows what was put in."""

from typing import Any, TypeVar

import gradio as gr
from gradio.components.base import Component

from ltx2.ui.language import Label, label

HEIGHT = 150
"""Pixels of a picture's field."""

Field = TypeVar("Field", bound=Component)


def build_picture(name: Label, **options: Any) -> gr.Image:
    """A field for a picture, whose value is the path of its file."""
    picture = gr.Image(
        type="filepath",
        sources=["upload"],
        label=name,
        placeholder=label("Choose or drop"),
        height=HEIGHT,
        buttons=[],
        **options,
    )
    return _unopened(picture)


def build_sound(name: Label, **options: Any) -> gr.Audio:
    """A field for a sound, whose value is the path of its file."""
    sound = gr.Audio(type="filepath", sources=["upload"], label=name, buttons=[], **options)
    return _unopened(sound)


def build_video(name: Label, **options: Any) -> gr.Video:
    """A field for a video, whose value is the path of its file."""
    video = gr.Video(sources=["upload"], label=name, height=2 * HEIGHT, buttons=[], **options)
    return _unopened(video)


def _unopened(field: Field) -> Field:
    """The field, which hands its file over as it is.

    Gradio would look into some of them here, in the server's own process; `Inputs` has files of
    strangers decoded in a guarded one.
    """

    def path_of(payload: Any) -> str | None:
        return None if payload is None else payload.path

    field.preprocess = path_of  # type: ignore[method-assign]
    return field
