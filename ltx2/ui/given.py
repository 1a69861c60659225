"""What a clip is made from on the page: uploads beside the prompt, and a clip that goes on."""

import secrets
from dataclasses import dataclass, fields
from typing import Any

import gradio as gr

from ltx2.conditions import Keyframe, Source, Span
from ltx2.errors import RequestError
from ltx2.inputs import Inputs
from ltx2.request import ModelProfile, Request
from ltx2.ui.language import label
from ltx2.ui.modes import IMAGE, SOUND

RANDOM_SEEDS = 1_000_000


@dataclass(frozen=True)
class GivenFields:
    """Components of the areas of the modes; names and order are those of `Given`."""

    picture: gr.File
    last_picture: gr.File
    picture_strength: gr.Slider
    sound: gr.File

    @property
    def inputs(self) -> list[Any]:
        """What `Given` is made of, in its order."""
        return [getattr(self, field.name) for field in fields(self)]


@dataclass(frozen=True)
class Given:
    """Values of the areas: paths of uploads, None where there is none."""

    picture: str | None = None
    last_picture: str | None = None
    picture_strength: float = 1.0
    sound: str | None = None

    def added_to(
        self, request: Request, mode: str, inputs: Inputs, profile: ModelProfile
    ) -> Request:
        """The request, made from what the mode takes.

        Raises:
            RequestError: nothing was given, or it does not fit the clip.
            MediaError: an upload cannot be read.
        """
        if mode == IMAGE:
            return self._with_pictures(request, inputs, profile)
        if mode == SOUND:
            return self._with_sound(request, inputs, profile)
        return request

    def _with_pictures(self, request: Request, inputs: Inputs, profile: ModelProfile) -> Request:
        resolved = request.resolve(profile)
        last_s = ((resolved.num_frames or 1) - 1) / (resolved.frame_rate or 1.0)
        moments = ((self.picture, 0.0), (self.last_picture, last_s))
        keyframes = tuple(
            Keyframe(image=inputs.add(path), at_s=at_s, strength=self.picture_strength)
            for path, at_s in moments
            if path is not None
        )
        if not keyframes:
            raise RequestError("There is no picture yet.", next_step="Add one, or choose Text.")
        return request.model_copy(update={"keyframes": keyframes})

    def _with_sound(self, request: Request, inputs: Inputs, profile: ModelProfile) -> Request:
        if self.sound is None:
            raise RequestError(
                "There is no sound or video yet.", next_step="Add one, or choose Text."
            )
        file = inputs.add(self.sound)
        if file.kind == "image":
            raise RequestError(
                f"{file.name} is a picture.", next_step="Add a sound or a video, or choose Image."
            )
        source = Source(file=file, use_video=file.kind == "video", use_audio=file.kind == "sound")
        length: dict[str, Any] = {"sources": (source,), "duration_s": None, "num_frames": None}
        if file.kind == "video":  # the clip has its shape
            length |= {"height": None, "width": None}
        asked = request.model_copy(update=length)
        asked.resolve(profile)  # complains here, beside the upload
        return asked


def build_given() -> GivenFields:
    """Layout of the areas; each is seen while its mode is chosen."""
    with gr.Column(elem_id="from-image"):
        with gr.Row():
            picture = gr.File(label=label("First picture"), file_types=["image"], height=140)
            last_picture = gr.File(label=label("Last picture"), file_types=["image"], height=140)
        picture_strength = gr.Slider(
            0.0, 1.0, value=1.0, step=0.05, label=label("How closely it is kept"), buttons=[]
        )
    with gr.Column(elem_id="from-sound"):
        sound = gr.File(
            label=label("A sound to make the picture to, or a video to make the sound to"),
            file_types=["audio", "video"],
            height=140,
        )
    return GivenFields(picture, last_picture, picture_strength, sound)


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
        with gr.Row(equal_height=True):
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
    if not 0.0 <= start_s < end_s:
        raise RequestError(
            f"The part from {start_s:g} s to {end_s:g} s is empty.",
            next_step="Let it end after its start.",
        )
    part = (Span(start_s=start_s, end_s=end_s),)
    remade = source.model_copy(
        update={"remake_video": part, "remake_audio": part if source.file.has_sound else ()}
    )
    return _from_clip(made, remade, prompt, {"duration_s": None})


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
