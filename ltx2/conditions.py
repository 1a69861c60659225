"""What a clip is made from beside its prompt: pictures, sounds and clips that are given.

Everything here is data that can stand in a recipe. A file is known by the digest of its bytes,
never by where it lies, so that whoever has the same file can make the same clip again.
"""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

MAX_SOURCE_S = 600.0
"""Longest moment that a request may speak of, in seconds."""

MAX_KEYFRAMES = 32

Kind = Literal["image", "video", "sound"]


class InputFile(BaseModel):
    """A file that a clip is made from; `ltx2.Inputs` makes these from files and finds them again.

    Attributes:
        name: of the file, without its folder; for people.
        sha256: of its bytes.
        kind: what is in it. A video may have sound.
        width, height: of its pictures in pixels; 0 for sound.
        duration_s: 0 for an image.
        frame_rate: pictures per second; 0 for an image and for sound.
        has_sound: whether there is a sound track.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(max_length=255)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    kind: Kind
    width: int = Field(default=0, ge=0)
    height: int = Field(default=0, ge=0)
    duration_s: float = Field(default=0.0, ge=0.0)
    frame_rate: float = Field(default=0.0, ge=0.0)
    has_sound: bool = False


class Span(BaseModel):
    """A part of the clip in seconds, from its start."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    start_s: float = Field(ge=0.0, le=MAX_SOURCE_S)
    end_s: float = Field(gt=0.0, le=MAX_SOURCE_S)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.end_s <= self.start_s:
            raise ValueError("end_s is not after start_s")
        return self


class Keyframe(BaseModel):
    """A picture that the clip shows, or comes close to, at a moment.

    Attributes:
        image: scaled to fill the clip's size and cut centrally.
        at_s: the moment; at 0 the picture takes the place of the first frame.
        strength: 1 holds it exactly, 0 leaves it free.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    image: InputFile
    at_s: float = Field(default=0.0, ge=0.0, le=MAX_SOURCE_S)
    strength: float = Field(default=1.0, ge=0.0, le=1.0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.image.kind != "image":
            raise ValueError(f"{self.image.name} is not a picture")
        return self


class Source(BaseModel):
    """A file that is a part of the clip; what is not covered, or remade, is generated.

    One mechanism for many wishes: sound alone asks for a picture to it, picture alone for its
    sound, a clip that is shorter than the request is extended, a span or a region is made anew.

    Attributes:
        file: a video or a sound. Pictures are scaled to fill the clip's size and cut centrally,
            and brought to its frame rate by leaving out or repeating some.
        at_s: when in the clip it begins; negative leaves its beginning out.
        use_video, use_audio: whether its picture and its sound are taken, where it has them.
        remake_video, remake_audio: parts of the clip in which they are made anew all the same.
        mask: an image; where it is white the picture is made anew at all times, or in
            `remake_video` alone if that is given.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    file: InputFile
    at_s: float = Field(default=0.0, ge=-MAX_SOURCE_S, le=MAX_SOURCE_S)
    use_video: bool = True
    use_audio: bool = True
    remake_video: tuple[Span, ...] = ()
    remake_audio: tuple[Span, ...] = ()
    mask: InputFile | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.gives_video and not self.gives_audio:
            lacks = "sound" if self.use_audio else "picture"
            raise ValueError(f"{self.file.name} has no {lacks} to take")
        if self.mask is not None:
            if self.mask.kind != "image":
                raise ValueError(f"the mask {self.mask.name} is not a picture")
            if not self.gives_video:
                raise ValueError(f"{self.file.name} gives no picture that a mask could part")
        if self.remake_video and not self.gives_video:
            raise ValueError(f"{self.file.name} gives no picture that could be made anew")
        if self.remake_audio and not self.gives_audio:
            raise ValueError(f"{self.file.name} gives no sound that could be made anew")
        return self

    @property
    def gives_video(self) -> bool:
        """Whether pictures are taken from it."""
        return self.use_video and self.file.kind == "video"

    @property
    def gives_audio(self) -> bool:
        """Whether sound is taken from it."""
        return self.use_audio and (self.file.kind == "sound" or self.file.has_sound)

    @property
    def end_s(self) -> float:
        """When in the clip it ends."""
        return self.at_s + self.file.duration_s


class Reference(BaseModel):
    """A video that guides the clip without being part of it, for LoRAs trained to follow one.

    Attributes:
        file: starts together with the clip and is cut to its length.
        strength: 1 shows it exactly, 0 not at all.
        downscale: how much smaller than the clip it is shown to the network, as the LoRA's
            metadata say (`reference_downscale_factor`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    file: InputFile
    strength: float = Field(default=1.0, ge=0.0, le=1.0)
    downscale: int = Field(default=1, ge=1, le=8)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.file.kind != "video":
            raise ValueError(f"the reference {self.file.name} is not a video")
        return self
