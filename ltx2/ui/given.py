"""What a clip is made from on the page: the uploads of each mode."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import gradio as gr

from ltx2.conditions import Source
from ltx2.errors import RequestError
from ltx2.inputs import Inputs
from ltx2.request import Request
from ltx2.serving.jobs import Choice
from ltx2.serving.models import Offer
from ltx2.ui.language import label
from ltx2.ui.modes import AUDIO, IMAGE, VIDEO
from ltx2.ui.pictures import (
    GivenPicture,
    PictureFields,
    build_pictures,
    given_pictures,
    with_pictures,
)
from ltx2.ui.uploads import build_sound
from ltx2.ui.video import GivenVideo, VideoFields, build_given_video


@dataclass(frozen=True)
class GivenFields:
    """Components of the areas of the modes."""

    sound: gr.Audio
    video: VideoFields
    pictures: PictureFields

    @property
    def inputs(self) -> list[Any]:
        """What `Given.of` reads, in its order."""
        return [self.sound, *self.video.inputs, *self.pictures.inputs]


@dataclass(frozen=True)
class Given:
    """Values of the areas.

    Attributes:
        sound: path of a sound; None where there is none.
        video: a video, and what to do with it.
        pictures: that the clip shows.
    """

    sound: str | None = None
    video: GivenVideo = field(default_factory=GivenVideo)
    pictures: tuple[GivenPicture, ...] = ()

    @classmethod
    def of(cls, values: Sequence[Any]) -> Self:
        """Made of the values of `GivenFields.inputs`."""
        sound, *others = values
        num_video = len(vars(GivenVideo()))
        video = GivenVideo(*others[:num_video])
        return cls(sound, video, given_pictures(others[num_video:]))

    def added_to(
        self, request: Request, mode: str, inputs: Inputs, offer: Offer, choice: Choice
    ) -> Request:
        """The request, made from what the mode takes.

        Raises:
            RequestError: nothing was given, or it does not fit the clip.
            MediaError: an upload cannot be read.
        """
        if mode == IMAGE:
            return with_pictures(request, self.pictures, inputs, offer.profile)
        if mode == AUDIO:
            return self._with_sound(request, inputs, offer)
        if mode == VIDEO:
            return self.video.added_to(request, inputs, offer.profile, offer, choice)
        return request

    def _with_sound(self, request: Request, inputs: Inputs, offer: Offer) -> Request:
        if self.sound is None:
            raise RequestError("There is no sound yet.", next_step="Add one, or choose Text.")
        file = inputs.add(self.sound)
        if file.kind == "image":
            raise RequestError(
                f"{file.name} is a picture.", next_step="Add a sound, or choose Image."
            )
        if not (file.kind == "sound" or file.has_sound):
            raise RequestError(
                f"{file.name} has no sound.", next_step="Add a sound, or choose Video."
            )
        source = Source(file=file, use_video=False)
        asked = request.model_copy(
            update={"sources": (source,), "duration_s": None, "num_frames": None}
        )
        asked.resolve(offer.profile)  # complains here, beside the upload
        return asked


def build_given(task: dict[str, Any]) -> GivenFields:
    """Layout of the areas; each is seen while its mode is chosen.

    Args:
        task: Gradio arguments of what can be done with a video.
    """
    with gr.Column(elem_id="from-image"):
        pictures = build_pictures()
    with gr.Column(elem_id="from-audio"):
        sound = build_sound(label("A sound to make the picture to"))
    return GivenFields(sound, build_given_video(task), pictures)
