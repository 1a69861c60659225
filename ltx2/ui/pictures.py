"""Pictures that a clip shows: its first, its last, and some at moments in between."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import gradio as gr

from ltx2.conditions import Keyframe
from ltx2.errors import RequestError
from ltx2.inputs import Inputs
from ltx2.request import ModelProfile, Request
from ltx2.ui.events import QUIET, Update
from ltx2.ui.language import label
from ltx2.ui.uploads import build_picture

MAX_BETWEEN = 4
"""Pictures between the first and the last."""


@dataclass(frozen=True)
class PictureField:
    """Components of one picture: the file, its second (empty for the clip's end), its strength."""

    image: gr.Image
    at_s: gr.Number
    strength: gr.Slider


@dataclass(frozen=True)
class PictureFields:
    """Components of the area.

    Attributes:
        fields: of the first, the last, and those in between.
        rows: that hold those in between, each hidden until it is asked for.
        add: asks for one.
        num_seen: rows that are seen.
    """

    fields: tuple[PictureField, ...]
    rows: tuple[gr.Row, ...]
    add: gr.Button
    num_seen: gr.State

    @property
    def inputs(self) -> list[Any]:
        """What `given_pictures` reads, in its order."""
        return list(chain.from_iterable(vars(field).values() for field in self.fields))


@dataclass(frozen=True)
class GivenPicture:
    """A picture that was put in.

    Attributes:
        path: of its file.
        at_s: its moment in seconds; None for the clip's end.
        strength: 1 holds it exactly, 0 leaves it free.
    """

    path: str
    at_s: float | None
    strength: float = 1.0


def given_pictures(values: Sequence[Any]) -> tuple[GivenPicture, ...]:
    """The pictures among the values of `PictureFields.inputs`."""
    triples = zip(values[0::3], values[1::3], values[2::3], strict=True)
    return tuple(GivenPicture(*triple) for triple in triples if triple[0] is not None)


def with_pictures(
    request: Request, pictures: Sequence[GivenPicture], inputs: Inputs, profile: ModelProfile
) -> Request:
    """The request, whose clip shows the pictures.

    Raises:
        RequestError: there are none, or one lies outside of the clip.
        MediaError: one cannot be read.
    """
    if not pictures:
        raise RequestError("There is no picture yet.", next_step="Add one, or choose Text.")
    resolved = request.resolve(profile)
    last_s = ((resolved.num_frames or 1) - 1) / (resolved.frame_rate or 1.0)
    for picture in pictures:
        if picture.at_s is not None and not 0.0 <= picture.at_s <= last_s:
            raise RequestError(
                f"A picture belongs at {picture.at_s:g} s, and the clip ends at {last_s:.2f} s.",
                next_step="Move it, or make the clip longer.",
            )
    keyframes = [
        Keyframe(
            image=inputs.add(picture.path),
            at_s=last_s if picture.at_s is None else picture.at_s,
            strength=picture.strength,
        )
        for picture in pictures
    ]
    keyframes.sort(key=lambda keyframe: keyframe.at_s)
    return request.model_copy(update={"keyframes": tuple(keyframes)})


def build_pictures() -> PictureFields:
    """Layout: the two ends beside each other, below them the moments in between."""
    fields, rows = [], []
    with gr.Row():
        for title, at_s in ((label("First picture"), 0.0), (label("Last picture"), None)):
            with gr.Column(min_width=140, elem_classes="picture"):
                image = build_picture(title)
                moment = gr.Number(value=at_s, visible=False)
                fields.append(PictureField(image, moment, _build_strength()))
    for number in range(1, MAX_BETWEEN + 1):
        with gr.Row(visible=False, elem_classes=["picture", "between"]) as row:
            image = build_picture(label("In between {number}", number=number), min_width=120)
            with gr.Column(min_width=140):
                moment = gr.Number(
                    label=label("At second"),
                    minimum=0.0,
                    step=0.1,
                    placeholder=label("the end"),
                    min_width=120,
                )
                fields.append(PictureField(image, moment, _build_strength()))
        rows.append(row)
    add = gr.Button(label("Add a picture in between"), size="sm", elem_id="add-picture")
    return PictureFields(tuple(fields), tuple(rows), add, gr.State(0))


def bind_pictures(pictures: PictureFields, duration: gr.Slider) -> None:
    """The button shows the next row, whose moment lies evenly between those before and the end."""
    moments = [field.at_s for field in pictures.fields[2:]]
    pictures.add.click(
        on_add,
        [pictures.num_seen, duration],
        [pictures.num_seen, pictures.add, *pictures.rows, *moments],
        **QUIET,
    )


def on_add(num_seen: int, duration: float | None) -> tuple[Any, ...]:
    """One row more; its moment is a first guess."""
    seen = min(num_seen + 1, MAX_BETWEEN)
    at_s = round((duration or 0.0) * seen / (seen + 1), 1)
    rows: list[Update] = [gr.skip() for _ in range(MAX_BETWEEN)]
    moments = list(rows)
    rows[seen - 1], moments[seen - 1] = gr.update(visible=True), gr.update(value=at_s)
    return (seen, gr.update(visible=seen < MAX_BETWEEN), *rows, *moments)


def _build_strength() -> gr.Slider:
    return gr.Slider(
        0.0,
        1.0,
        value=1.0,
        step=0.05,
        label=label("How closely it is kept"),
        min_width=120,
        buttons=[],
        elem_classes="strength",
    )
