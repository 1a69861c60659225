"""What can be done with a video that a visitor puts in."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import gradio as gr

from ltx2.conditions import InputFile, Reference, Source, Span
from ltx2.errors import RequestError
from ltx2.inputs import Inputs
from ltx2.request import ModelProfile, Request
from ltx2.serving.jobs import Choice
from ltx2.serving.models import Offer
from ltx2.ui.language import label, phrase
from ltx2.ui.uploads import build_picture, build_video

SOUND, EXTEND, RETAKE, MASK, FOLLOW = "sound", "extend", "retake", "mask", "follow"


@dataclass(frozen=True)
class Task:
    """One thing to do with a video.

    Attributes:
        name: kept in `static/page.css`, which shows what the task needs.
        title: as visitors see it, in English.
        fits: whether a model can do it.
    """

    name: str
    title: str
    fits: Callable[[Offer], bool] = lambda offer: True


TASKS = (
    Task(SOUND, phrase("Make its sound")),
    Task(EXTEND, phrase("Go on from its end")),
    Task(RETAKE, phrase("Make a part again")),
    Task(MASK, phrase("Change what a mask covers")),
    Task(FOLLOW, phrase("Follow its movements"), lambda offer: bool(offer.guides)),
)
"""In their order on the page."""


@dataclass(frozen=True)
class VideoFields:
    """Components of the area; names and order are those of `GivenVideo`."""

    path: gr.Video
    task: gr.Radio
    start_s: gr.Number
    end_s: gr.Number
    mask: gr.Image
    strength: gr.Slider

    @property
    def inputs(self) -> list[Any]:
        """What `GivenVideo` is made of, in its order."""
        return [getattr(self, field.name) for field in fields(self)]


@dataclass(frozen=True)
class GivenVideo:
    """Values of the area.

    Attributes:
        path: of the video; None where there is none.
        task: name of what to do with it.
        start_s, end_s: of the part to make again.
        mask: path of a picture that is white where to make anew.
        strength: how closely the video is followed.
    """

    path: str | None = None
    task: str = SOUND
    start_s: float | None = None
    end_s: float | None = None
    mask: str | None = None
    strength: float = 1.0

    def added_to(
        self, request: Request, inputs: Inputs, profile: ModelProfile, offer: Offer, choice: Choice
    ) -> Request:
        """The request, which does with the video what was chosen.

        Raises:
            RequestError: something is missing, or does not fit the video or the model.
            MediaError: a file cannot be read.
        """
        if self.path is None:
            raise RequestError("There is no video yet.", next_step="Add one, or choose Text.")
        file = inputs.add(self.path)
        if file.kind != "video":
            raise RequestError(
                f"{file.name} is not a video.", next_step="Add a video, or choose Image or Audio."
            )
        if self.task == FOLLOW:
            return request.model_copy(update={"reference": self._reference(file, offer, choice)})
        source = self._source(file, inputs)
        length_s = None
        if self.task == EXTEND:
            length_s = file.duration_s + (request.duration_s or profile.duration_s)
        asked = request.model_copy(
            update={
                "sources": (source,),
                "duration_s": length_s,
                "num_frames": None,
                "height": None,  # the clip has the video's shape
                "width": None,
            }
        )
        asked.resolve(profile)  # complains here, beside the upload
        return asked

    def _source(self, file: InputFile, inputs: Inputs) -> Source:
        if self.task == SOUND:
            return Source(file=file, use_audio=False)
        if self.task == RETAKE:
            return remade(Source(file=file), self.start_s or 0.0, self.end_s or 0.0)
        if self.task == MASK:
            if self.mask is None:
                raise RequestError(
                    "There is no mask yet.",
                    next_step="Add a picture that is white where the video is to change.",
                )
            mask = inputs.add(self.mask)
            if mask.kind != "image":
                raise RequestError(f"{mask.name} is not a picture.", next_step="Add a picture.")
            return Source(file=file, mask=mask)
        return Source(file=file)

    def _reference(self, file: InputFile, offer: Offer, choice: Choice) -> Reference:
        guides = [offer.guides[lora.name] for lora in choice.loras if lora.name in offer.guides]
        if not guides:
            raise RequestError(
                "Nothing that is chosen follows a video.",
                next_step=f"Choose one of these LoRAs behind More: {', '.join(offer.guides)}."
                if offer.guides
                else "Choose another model.",
            )
        return Reference(file=file, strength=self.strength, downscale=guides[0])


def remade(source: Source, start_s: float, end_s: float) -> Source:
    """A clip with a part made again, in picture and sound.

    Raises:
        RequestError: the part is none.
    """
    if not 0.0 <= start_s < end_s:
        raise RequestError(
            f"The part from {start_s:g} s to {end_s:g} s is empty.",
            next_step="Let it end after its start.",
        )
    part = (Span(start_s=start_s, end_s=end_s),)
    return source.model_copy(
        update={"remake_video": part, "remake_audio": part if source.file.has_sound else ()}
    )


def describe_tasks(offer: Offer) -> dict[str, Any]:
    """Gradio arguments of the choice for a model."""
    return {"choices": [(label(t.title), t.name) for t in TASKS if t.fits(offer)], "value": SOUND}


def build_given_video(described: dict[str, Any]) -> VideoFields:
    """Layout: the video, what to do with it, and what that needs."""
    with gr.Column(elem_id="from-video"):
        path = build_video(label("Video"), elem_id="video-file")
        task = gr.Radio(**described, label=label("What to do with it"), elem_id="video-task")
        with gr.Row(elem_id="video-part"):
            start_s = gr.Number(value=0.5, minimum=0, label=label("From second"), min_width=100)
            end_s = gr.Number(value=1.5, minimum=0, label=label("To second"), min_width=100)
        with gr.Column(elem_id="video-mask"):
            mask = build_picture(label("Mask: white is made again"))
        strength = gr.Slider(
            0.0,
            1.0,
            value=1.0,
            step=0.05,
            label=label("How closely it is followed"),
            buttons=[],
            elem_id="video-strength",
        )
    return VideoFields(path, task, start_s, end_s, mask, strength)
