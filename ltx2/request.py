"""What is asked of the model, what a model can do, and the recipe that a clip carries."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ltx2.errors import RequestError
from ltx2.geometry import snap_num_frames, snap_size

MAX_PROMPT_CHARACTERS = 8_000
"""About three times what 1,024 text tokens, the released model's limit, can hold."""

MAX_FRAMES = 100_000
"""More than an hour; a model's own limit is far lower."""


class Guidance(BaseModel):
    """Guidance scales of one modality; the defaults switch everything off.

    Attributes:
        cfg_scale: toward the prompt and away from the negative prompt; 1 is off.
        stg_scale: away from a pass whose self-attention is perturbed; 0 is off.
        modality_scale: away from a pass without audio-video attention; 1 is off.
        rescale: 0 keeps the guided prediction's spread, 1 restores that of the conditional one.
        stg_blocks: transformer blocks that the perturbed pass disturbs, counted from 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    cfg_scale: float = Field(default=1.0, ge=0.0, le=30.0)
    stg_scale: float = Field(default=0.0, ge=0.0, le=30.0)
    modality_scale: float = Field(default=1.0, ge=0.0, le=30.0)
    rescale: float = Field(default=0.0, ge=0.0, le=1.0)
    stg_blocks: tuple[int, ...] = ()


class ModelProfile(BaseModel):
    """What a checkpoint was made for: its usual settings and its limits.

    Attributes:
        spatial_multiple: heights and widths are multiples of this many pixels.
        temporal_multiple: frame counts are this times k, plus 1.
        max_duration_s: longest clip accepted; `trained_duration_s` is the longest one seen
            in training, beyond which quality is known to drift.
        shift: the schedule's shift; None follows the released model's constant.
        sigmas: a fixed list for distilled models, replacing steps and shift.
        min_size: smallest height and width in pixels; `max_size` the largest.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: int
    height: int
    duration_s: float
    frame_rate: float
    num_steps: int
    video_guidance: Guidance = Guidance()
    audio_guidance: Guidance = Guidance()
    negative_prompt: str = ""
    spatial_multiple: int = 32
    temporal_multiple: int = 8
    min_size: int = 64
    max_size: int = 4096
    trained_duration_s: float = 20.0
    max_duration_s: float = 60.0
    shift: float | None = None
    sigmas: tuple[float, ...] | None = None
    example_prompts: tuple[str, ...] = ()


class Request(BaseModel):
    """One clip to make. What is None is taken from the model's profile.

    `duration_s` and `num_frames` say the same thing; give at most one of them. Sizes and
    durations are snapped to what the model can make by `resolve`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    schema_version: Literal[1] = 1
    prompt: str = Field(max_length=MAX_PROMPT_CHARACTERS)
    negative_prompt: str | None = Field(default=None, max_length=MAX_PROMPT_CHARACTERS)
    width: int | None = Field(default=None, ge=1)
    height: int | None = Field(default=None, ge=1)
    duration_s: float | None = Field(default=None, gt=0.0)
    num_frames: int | None = Field(default=None, ge=1, le=MAX_FRAMES)
    frame_rate: float | None = Field(default=None, ge=1.0, le=120.0)
    num_steps: int | None = Field(default=None, ge=1, le=200)
    seed: int = Field(default=1, ge=0, lt=2**63)
    video_guidance: Guidance | None = None
    audio_guidance: Guidance | None = None

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _request_error(error) from error

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.prompt.strip():
            raise RequestError(
                "The prompt is empty.", next_step="Write what the clip should show and sound like."
            )
        if self.duration_s is not None and self.num_frames is not None:
            raise RequestError(
                "Both duration_s and num_frames are given.", next_step="Keep one of them."
            )
        return self

    @classmethod
    def from_json(cls, values: Any) -> Self:
        """Request from parsed JSON.

        Raises:
            RequestError: not an object, or a field is unknown, missing or out of range.
        """
        if not isinstance(values, Mapping):
            raise RequestError(
                f"The request is a {type(values).__name__}, not an object.",
                next_step='Write it as {"prompt": "..."}.',
            )
        return cls(**values)

    def resolve(self, profile: ModelProfile) -> "Request":
        """The same request with every field filled in and snapped to what the model makes.

        The result says the length as `num_frames`; resolving twice changes nothing.

        Raises:
            RequestError: a size or the duration is outside the model's range.
        """
        frame_rate = self.frame_rate or profile.frame_rate
        wanted_frames = (self.duration_s or profile.duration_s) * frame_rate
        if self.num_frames is not None:
            wanted_frames = float(self.num_frames)
        longest = profile.max_duration_s * frame_rate
        if wanted_frames > longest:
            raise RequestError(
                f"The clip would last {wanted_frames / frame_rate:.1f} s.",
                next_step=f"Ask for at most {profile.max_duration_s:g} s.",
            )
        height, width = self.height or profile.height, self.width or profile.width
        for name, pixels in (("height", height), ("width", width)):
            if not profile.min_size <= pixels <= profile.max_size:
                raise RequestError(
                    f"The {name} is {pixels} px.",
                    next_step=f"Choose {profile.min_size} to {profile.max_size} px.",
                )
        negative = self.negative_prompt
        return self.model_copy(
            update={
                "negative_prompt": profile.negative_prompt if negative is None else negative,
                "height": snap_size(height, profile.spatial_multiple),
                "width": snap_size(width, profile.spatial_multiple),
                "duration_s": None,
                "num_frames": snap_num_frames(
                    wanted_frames, profile.temporal_multiple, at_most=longest
                ),
                "frame_rate": frame_rate,
                "num_steps": self.num_steps or profile.num_steps,
                "video_guidance": self.video_guidance or profile.video_guidance,
                "audio_guidance": self.audio_guidance or profile.audio_guidance,
            }
        )


class Recipe(BaseModel):
    """Everything needed to make a clip again; written into the file as JSON.

    Attributes:
        model: name of the checkpoint; `fingerprint` identifies its tensors' names and shapes.
        request: the resolved request.
        ai_generated: always true for our clips, as the weights' licence asks.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    schema_version: Literal[1] = 1
    software: str
    model: str
    fingerprint: str
    request: Request
    ai_generated: Literal[True] = True


def _request_error(error: ValidationError) -> RequestError:
    """One sentence for the first problem that pydantic found."""
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    if first["type"] == "string_too_long":
        length, limit = len(str(first["input"])), first["ctx"]["max_length"]
        return RequestError(
            f"The {field.replace('_', ' ')} has {length} characters.",
            next_step=f"Shorten it to at most {limit}.",
        )
    if first["type"] == "extra_forbidden":
        return RequestError(
            f"There is no setting {field!r}.", next_step="Remove it or check its spelling."
        )
    if first["type"] == "missing":
        return RequestError(f"The setting {field!r} is missing.", next_step="Add it.")
    return RequestError(
        f"The setting {field!r} cannot be used: {first['msg']}.",
        next_step="Change it and try again.",
    )
