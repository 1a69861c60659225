"""What is asked of the model, what a model can do, and the recipe that a clip carries."""

from itertools import pairwise
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ltx2.errors import RequestError
from ltx2.geometry import snap_num_frames, snap_size
from ltx2.prompting.vocabulary import Vocabulary

MAX_PROMPT_CHARACTERS = 8_000
"""About three times what 1,024 text tokens, the released model's limit, can hold."""

MAX_FRAMES = 100_000
"""More than an hour; a model's own limit is far lower."""

MAX_SIZE = 16_384
"""Pixels in height and in width; no H.264 decoder takes more."""

MAX_DURATION_S = 3_600.0


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

    @property
    def uses_negative(self) -> bool:
        """Whether a pass with the negative prompt is needed."""
        return self.cfg_scale != 1.0

    @property
    def uses_perturbed(self) -> bool:
        """Whether a pass with disturbed self-attention is needed."""
        return self.stg_scale != 0.0 and bool(self.stg_blocks)

    @property
    def uses_isolated(self) -> bool:
        """Whether a pass without attention between the modalities is needed."""
        return self.modality_scale != 1.0


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
        vocabulary: all that a small model was taught to read; None for one that reads any text,
            or of which it is not known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    width: int = Field(ge=1, le=MAX_SIZE)
    height: int = Field(ge=1, le=MAX_SIZE)
    duration_s: float = Field(gt=0.0, le=MAX_DURATION_S)
    frame_rate: float = Field(ge=1.0, le=120.0)
    num_steps: int = Field(ge=1, le=200)
    video_guidance: Guidance = Guidance()
    audio_guidance: Guidance = Guidance()
    negative_prompt: str = Field(default="", max_length=MAX_PROMPT_CHARACTERS)
    spatial_multiple: int = Field(default=32, ge=1, le=1024)
    temporal_multiple: int = Field(default=8, ge=1, le=1024)
    min_size: int = Field(default=64, ge=1, le=MAX_SIZE)
    max_size: int = Field(default=4096, ge=1, le=MAX_SIZE)
    trained_duration_s: float = Field(default=20.0, gt=0.0, le=MAX_DURATION_S)
    max_duration_s: float = Field(default=60.0, gt=0.0, le=MAX_DURATION_S)
    shift: float | None = Field(default=None, ge=-10.0, le=10.0)
    sigmas: tuple[float, ...] | None = Field(default=None, min_length=2, max_length=201)
    example_prompts: tuple[str, ...] = ()
    vocabulary: Vocabulary | None = None

    @field_validator("sigmas")
    @classmethod
    def _check_sigmas(cls, sigmas: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if sigmas is not None:
            falls = all(high > low for high, low in pairwise(sigmas))
            if not falls or sigmas[0] > 1.0 or sigmas[-1] != 0.0:
                raise ValueError("the noise levels do not fall from at most 1 to 0")
        return sigmas

    @field_validator("video_guidance", "audio_guidance")
    @classmethod
    def _check_guidance(cls, guidance: Guidance) -> Guidance:
        if guidance.stg_scale > 0.0 and not guidance.stg_blocks:
            raise ValueError("stg_scale needs stg_blocks")
        return guidance

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in ("width", "height"):
            if not self.min_size <= getattr(self, name) <= self.max_size:
                raise ValueError(f"{name} is not from min_size to max_size")
        if self.duration_s > self.max_duration_s:
            raise ValueError("duration_s is more than max_duration_s")
        if self.sigmas is not None and self.num_steps != len(self.sigmas) - 1:
            raise ValueError("num_steps is not the number of steps between sigmas")
        return self


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

    def resolve(self, profile: ModelProfile) -> "Request":
        """The same request with every field filled in and snapped to what the model makes.

        The result says the length as `num_frames`; resolving twice changes nothing.

        Raises:
            RequestError: a size or the duration is outside the model's range, or guidance needs
                a setting that neither says.
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
                "video_guidance": _with_blocks(
                    self.video_guidance or profile.video_guidance, profile.video_guidance, "video"
                ),
                "audio_guidance": _with_blocks(
                    self.audio_guidance or profile.audio_guidance, profile.audio_guidance, "audio"
                ),
            }
        )


class AppliedLora(BaseModel):
    """A LoRA that was added to the weights.

    Attributes:
        file: its name, without the folder.
        strength: factor of its change.
        digest: of its weights.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    file: str
    strength: float
    digest: str


class Recipe(BaseModel):
    """Everything needed to make a clip again; written into the file as JSON.

    Attributes:
        model: name of the checkpoint; `fingerprint` identifies its tensors' names and shapes.
        digest: of the checkpoint's weights; None if they had no file, as during training.
        loras: added to the weights.
        request: the resolved request.
        ai_generated: always true for our clips, as the weights' licence asks.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    schema_version: Literal[1] = 1
    software: str
    model: str
    fingerprint: str
    digest: str | None = None
    loras: tuple[AppliedLora, ...] = ()
    request: Request
    ai_generated: Literal[True] = True


def _with_blocks(guidance: Guidance, usual: Guidance, modality: str) -> Guidance:
    """Guidance whose perturbed pass, if it has one, disturbs a block."""
    if guidance.stg_scale == 0.0 or guidance.stg_blocks:
        return guidance
    if not usual.stg_blocks:
        raise RequestError(
            f"The {modality} guidance has an stg_scale, but no block to disturb for it.",
            next_step="Say which as stg_blocks, for example one from the middle of the network.",
        )
    return guidance.model_copy(update={"stg_blocks": usual.stg_blocks})


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
