"""More of the clip that is shown: longer, or a part of it made again."""

import secrets
from dataclasses import dataclass
from typing import Any

import gradio as gr

from ltx2.conditions import Source
from ltx2.request import ModelProfile, Request
from ltx2.ui.form import RANDOM_SEEDS
from ltx2.ui.language import label
from ltx2.ui.video import remade


@dataclass(frozen=True)
class GoingOn:
    """Components that make more of the clip that is shown."""

    extend: gr.Button
    start: gr.Number
    end: gr.Number
    retake: gr.Button


def build_going_on() -> GoingOn:
    """Layout: longer, or a part of it anew."""
    with gr.Accordion(label("Go on with this clip"), open=False, elem_id="going-on"):
        extend = gr.Button(label("Extend"), size="sm", min_width=120)
        with gr.Row():
            start = gr.Number(value=0.5, minimum=0, label=label("From second"), min_width=100)
            end = gr.Number(value=1.5, minimum=0, label=label("To second"), min_width=100)
        retake = gr.Button(label("Make this part again"), size="sm", min_width=120)
    return GoingOn(extend, start, end, retake)


def extended(made: Request, source: Source, profile: ModelProfile, prompt: str) -> Request:
    """The clip that goes on for as long as the model's usual clip lasts."""
    length_s = source.file.duration_s + profile.duration_s
    return _from_clip(made, source, prompt, {"duration_s": length_s})


def retaken(made: Request, source: Source, prompt: str, start_s: float, end_s: float) -> Request:
    """The clip with a part made again, in picture and sound.

    Raises:
        RequestError: the part is none.
    """
    return _from_clip(made, remade(source, start_s, end_s), prompt, {"duration_s": None})


def _from_clip(made: Request, source: Source, prompt: str, changes: dict[str, Any]) -> Request:
    """A request like that of a clip, with the clip itself as a source and a new seed."""
    values = {
        "prompt": prompt.strip() or made.prompt,
        "sources": (source,),
        "keyframes": (),
        "reference": None,
        "makes": "both",
        "num_frames": None,
        "window_s": None,
        "seed": secrets.randbelow(RANDOM_SEEDS),
    }
    return made.model_copy(update=values | changes)
