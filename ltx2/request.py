"""What is asked of the model, what a model can do, and the recipe that a clip carries."""

import math
from fractions import Fraction
from itertools import pairwise
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ltx2.conditions import MAX_KEYFRAMES, MAX_SOURCE_S, InputFile, Keyframe, Reference, Source
from ltx2.errors import RequestError
from ltx2.geometry import (
    Enlarging,
    enlarged_multiple,
    growth,
    snap_num_frames,
    snap_size,
)
from ltx2.prompting.vocabulary import Vocabulary
from ltx2.timeline import FreeParts, free_parts

MAX_PROMPT_CHARACTERS = 8_000
"""About three times what 1,024 text tokens, the released model's limit, can hold."""

MAX_FRAMES = 100_000
"""More than an hour; a model's own limit is far lower."""

MAX_SIZE = 16_384
"""Pixels in height and in width; no H.264 decoder takes more."""

MAX_DURATION_S = 3_600.0

USUAL_OVERLAP_S = 1.0
"""How much a part of a long clip sees of what is there, in seconds."""


class Guidance(BaseModel):
    """Guidance scales of one modality; the defaults switch everything off.

    Attributes:
        cfg_scale: toward the prompt and away from the negative prompt; 1 is off.
        stg_scale: away from a pass whose self-attention is perturbed; 0 is off.
        modality_scale: away from a pass without audio-video attention; 1 is off.
        rescale: 0 keeps the guided prediction's spread, 1 restores that of the conditional one.
        stg_blocks: transformer blocks that the perturbed pass disturbs, counted from 0.
        stg_mode: what a disturbed self-attention gives: every token its own "values", as in the
            current releases; nothing ("drop"), as in the first one; or what it always gives
            ("none"), as where a published pipeline forgot to disturb it.
        skip_steps: so many steps after each prediction go toward the same one again; where both
            modalities skip a step, the network is not asked.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    cfg_scale: float = Field(default=1.0, ge=0.0, le=30.0)
    stg_scale: float = Field(default=0.0, ge=0.0, le=30.0)
    modality_scale: float = Field(default=1.0, ge=0.0, le=30.0)
    rescale: float = Field(default=0.0, ge=0.0, le=1.0)
    stg_blocks: tuple[int, ...] = ()
    stg_mode: Literal["values", "drop", "none"] = "values"
    skip_steps: int = Field(default=0, ge=0, le=10)

    @property
    def uses_negative(self) -> bool:
        """Whether a pass with the negative prompt is needed."""
        return self.cfg_scale != 1.0

    @property
    def uses_perturbed(self) -> bool:
        """Whether a pass with disturbed self-attention is needed."""
        is_disturbed = bool(self.stg_blocks) and self.stg_mode != "none"
        return self.stg_scale != 0.0 and is_disturbed

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
        image_crf: H.264 quality at which given pictures are compressed before use, because the
            model was trained on compressed ones; None leaves them as they are.
        refine_sigmas: noise levels of the stages after an upscaling; None takes the last four of
            `sigmas`, or those of the released models.
        refine_side: longest side in pixels that a refining pass sees at once; larger pictures are
            refined in overlapping tiles.
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
    image_crf: int | None = Field(default=None, ge=0, le=51)
    refine_sigmas: tuple[float, ...] | None = Field(default=None, min_length=2, max_length=201)
    refine_side: int = Field(default=1536, ge=64, le=MAX_SIZE)
    example_prompts: tuple[str, ...] = ()
    vocabulary: Vocabulary | None = None

    @field_validator("sigmas", "refine_sigmas")
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

    Attributes:
        keyframes: pictures that the clip shows at moments.
        sources: files that are parts of the clip. Size, frame rate and length follow them where
            they are not said.
        reference: a video to follow, for LoRAs that were trained so.
        makes: what is generated; sound alone comes with a black picture.
        sampler: how a step uses the predictions.
        schedule: whether noise levels are the same at every size, as in the official pipelines,
            or follow the number of video tokens, as in diffusers.
        cross_timestep: which noise level drives the attention between picture and sound; None
            follows the checkpoint.
        upscale: stages after the first one, each enlarging the size to 2 ("space") or 1.5 times
            ("space-1.5"), or doubling the frame rate ("time"). Width, height and frame rate are
            those of the result.
        image_crf: see the profile.
        window_s: longest part made at once; a longer clip is made of parts that overlap.
        overlap_s: how much of what is there a part sees; usually 1 s, in short parts half of one.
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
    keyframes: tuple[Keyframe, ...] = Field(default=(), max_length=MAX_KEYFRAMES)
    sources: tuple[Source, ...] = Field(default=(), max_length=8)
    reference: Reference | None = None
    makes: Literal["both", "video", "audio"] = "both"
    sampler: Literal["euler", "gradient_estimation", "res_2s"] = "euler"
    schedule: Literal["constant", "tokens"] = "constant"
    cross_timestep: Literal["own", "gate_from_other", "other"] | None = None
    upscale: tuple[Enlarging, ...] = Field(default=(), max_length=4)
    image_crf: int | None = Field(default=None, ge=0, le=51)
    window_s: float | None = Field(default=None, gt=0.0, le=MAX_DURATION_S)
    overlap_s: float | None = Field(default=None, gt=0.0, le=60.0)

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

    @property
    def input_files(self) -> tuple[InputFile, ...]:
        """All files that the clip is made from."""
        found = [keyframe.image for keyframe in self.keyframes]
        for source in self.sources:
            found += [source.file] if source.mask is None else [source.file, source.mask]
        return tuple(found) if self.reference is None else (*found, self.reference.file)

    def free_parts(self, profile: ModelProfile) -> FreeParts:
        """What is generated of a resolved request's clip."""
        assert self.num_frames is not None
        assert self.frame_rate is not None
        rest_s = profile.temporal_multiple * growth(self.upscale)[1] / self.frame_rate
        parts = free_parts(self.sources, self.num_frames / self.frame_rate, rest_s=rest_s)
        return FreeParts(
            () if self.makes == "audio" else parts.video,
            () if self.makes == "video" else parts.audio,
        )

    def resolve(self, profile: ModelProfile) -> "Request":
        """The same request with every field filled in and snapped to what the model makes.

        The result says the length as `num_frames`; resolving twice changes nothing.

        Raises:
            RequestError: a size or the duration is outside the model's range, or guidance needs
                a setting that neither says.
        """
        shape = _shape(self, profile)
        resolved = self.model_copy(
            update={
                **shape,
                "negative_prompt": (
                    profile.negative_prompt
                    if self.negative_prompt is None
                    else self.negative_prompt
                ),
                "image_crf": profile.image_crf if self.image_crf is None else self.image_crf,
                "num_steps": self.num_steps or profile.num_steps,
                "video_guidance": _with_blocks(
                    self.video_guidance or profile.video_guidance, profile.video_guidance, "video"
                ),
                "audio_guidance": _with_blocks(
                    self.audio_guidance or profile.audio_guidance, profile.audio_guidance, "audio"
                ),
            }
        )
        _check_conditions(resolved, profile)
        return resolved


class AppliedLora(BaseModel):
    """A LoRA that was added to the weights.

    Attributes:
        file: its name, without the folder.
        strength: factor of its change.
        audio_strength: factor of what it changes of the sound; None as of the picture.
        digest: of its weights.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    file: str
    strength: float
    audio_strength: float | None = None
    digest: str

    @property
    def strength_of_sound(self) -> float:
        """The factor of what it changes of the sound."""
        return self.strength if self.audio_strength is None else self.audio_strength

    @property
    def shown_strength(self) -> str:
        """Of the picture, and of the sound where it is another: "0.8" or "0.8/0.2"."""
        if self.strength == self.strength_of_sound:
            return f"{self.strength:g}"
        return f"{self.strength:g}/{self.strength_of_sound:g}"


class Computation(BaseModel):
    """How the networks computed, as far as it changes a clip's bits; where weights wait does not.

    Attributes:
        dtype: of numbers, as settings say it.
        quantization: of the transformer's weights that its file has whole.
        text_quantization: the same of the text encoder's.
        attention: kernel of the transformer's.
        compilation: of the transformer.
        live_loras: whether LoRAs were computed beside the weights they change.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dtype: str
    quantization: str = "none"
    text_quantization: str = "none"
    attention: str = "auto"
    compilation: str = "none"
    live_loras: bool = False

    @property
    def facts(self) -> dict[str, str]:
        """What is unusual in it, and the type, by their names in settings."""
        facts = {"dtype": self.dtype, "quantization": self.quantization}
        if self.text_quantization != self.quantization:
            facts["text encoder"] = self.text_quantization
        facts |= {"attention": self.attention, "compile": self.compilation}
        facts |= {"LoRAs": "live" if self.live_loras else "none"}
        usual = ("none", "auto")
        return {k: v for k, v in facts.items() if v not in usual or k == "text encoder"}

    def __str__(self) -> str:
        return ", ".join(v if k == "dtype" else f"{k} {v}" for k, v in self.facts.items())


class Recipe(BaseModel):
    """Everything needed to make a clip again; written into the file as JSON.

    Attributes:
        model: name of the checkpoint; `fingerprint` identifies its tensors' names and shapes.
        digest: of the checkpoint's weights; None if they had no file, as during training.
        loras: added to the weights.
        refiner: LoRA that was added to them in the stages after the first one; None without such.
        text_encoder: identifies its weights and its tokenizer; None if they had no file.
        computation: how it was made; older recipes do not say it.
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
    refiner: AppliedLora | None = None
    text_encoder: str | None = None
    computation: Computation | None = None
    request: Request
    ai_generated: Literal[True] = True


def _shape(request: Request, profile: ModelProfile) -> dict[str, Any]:
    """Length, frame rate, size and window of a request, snapped to what the model makes."""
    in_space, in_time = growth(request.upscale)
    frame_rate = request.frame_rate or profile.frame_rate * in_time
    videos = [source.file for source in request.sources if source.gives_video]
    if request.frame_rate is None and videos:
        frame_rate = min(max(1.0, videos[0].frame_rate), 120.0)
    multiple = profile.temporal_multiple * in_time
    wanted = _wanted_frames(request, profile, frame_rate, multiple)
    window_s = _window_s(request, profile, wanted / frame_rate)
    longest_s = profile.max_duration_s if window_s is None else MAX_SOURCE_S
    # What is given may need the rest of a latent frame more than the longest clip has.
    longest = longest_s * frame_rate + (multiple if request.sources else 0)
    if wanted > longest:
        raise RequestError(
            f"The clip would last {wanted / frame_rate:.1f} s.",
            next_step=f"Ask for at most {longest_s:g} s"
            + (", or set window_s to make it in parts." if window_s is None else "."),
        )
    usual = _usual_size(request, profile, in_space)
    height, width = request.height or usual[0], request.width or usual[1]
    smallest, largest = round(profile.min_size * in_space), round(profile.max_size * in_space)
    spatial_multiple = enlarged_multiple(request.upscale, profile.spatial_multiple)
    for name, pixels in (("height", height), ("width", width)):
        if not smallest <= pixels <= largest:
            raise RequestError(
                f"The {name} is {pixels} px.", next_step=f"Choose {smallest} to {largest} px."
            )
    return {
        "height": snap_size(height, spatial_multiple),
        "width": snap_size(width, spatial_multiple),
        "duration_s": None,
        "num_frames": snap_num_frames(wanted, multiple, at_most=longest),
        "frame_rate": frame_rate,
        "window_s": window_s,
        "overlap_s": _overlap_s(request, window_s),
    }


def _wanted_frames(
    request: Request, profile: ModelProfile, frame_rate: float, multiple: int
) -> float:
    """Length in frames as it was asked for, before it is snapped."""
    if request.num_frames is not None:
        return float(request.num_frames)
    if request.duration_s is not None:
        return request.duration_s * frame_rate
    if not request.sources:
        return profile.duration_s * frame_rate
    given = max(source.end_s for source in request.sources) * frame_rate
    # Up, so that the end of what is given is kept; a hundredth of a frame is rounding.
    return math.ceil((given - 1.01) / multiple) * multiple + 1


def _window_s(request: Request, profile: ModelProfile, duration_s: float) -> float | None:
    """Longest part made at once; what is built on given files is made in parts where it is long."""
    window_s = request.window_s
    if window_s is None and request.sources and duration_s > profile.trained_duration_s:
        window_s = profile.trained_duration_s
    if window_s is None:
        return None
    return min(window_s, profile.max_duration_s)


def _overlap_s(request: Request, window_s: float | None) -> float | None:
    if window_s is None:
        return request.overlap_s
    if request.overlap_s is None:
        return min(USUAL_OVERLAP_S, window_s / 2)
    if request.overlap_s > window_s / 2:
        raise RequestError(
            f"The overlap of {request.overlap_s:g} s is more than half of a part of "
            f"{window_s:g} s.",
            next_step="Make overlap_s smaller or window_s larger.",
        )
    return request.overlap_s


def _usual_size(request: Request, profile: ModelProfile, in_space: Fraction) -> tuple[int, int]:
    """Height and width of a clip whose size is not said: the shape of what is given for it.

    No larger than the model's usual picture, unless the stages after the first one enlarge it.
    """
    files = [source.file for source in request.sources if source.gives_video]
    files += [keyframe.image for keyframe in request.keyframes]
    if not files:
        return round(profile.height * in_space), round(profile.width * in_space)
    area = profile.height * profile.width
    shrink = min(1.0, math.sqrt(area / (files[0].height * files[0].width)))
    height, width = (
        round(min(max(round(side * shrink), profile.min_size), profile.max_size) * in_space)
        for side in (files[0].height, files[0].width)
    )
    return height, width


def _check_conditions(resolved: Request, profile: ModelProfile) -> None:
    """Complain about given files that do not meet the clip, or leave nothing to make."""
    assert resolved.num_frames is not None
    assert resolved.frame_rate is not None
    duration_s = resolved.num_frames / resolved.frame_rate
    lasting = f"The clip lasts {duration_s:.2f} s"
    for keyframe in resolved.keyframes:
        if keyframe.at_s >= duration_s + 0.5 / resolved.frame_rate:
            raise RequestError(
                f"{lasting}, the picture {keyframe.image.name} belongs at {keyframe.at_s:g} s.",
                next_step="Move it forward or make the clip longer.",
            )
    for source in resolved.sources:
        if source.at_s >= duration_s or source.end_s <= 0.0:
            raise RequestError(
                f"{lasting}, {source.file.name} lies outside of it.",
                next_step="Change when it begins.",
            )
        for span in (*source.remake_video, *source.remake_audio):
            if span.start_s >= duration_s:
                raise RequestError(
                    f"{lasting}, the part from {span.start_s:g} s lies after its end.",
                    next_step="Choose an earlier part.",
                )
    if resolved.makes == "audio" and (resolved.keyframes or resolved.reference):
        raise RequestError(
            "Pictures were given for a clip of sound alone.",
            next_step="Leave the pictures out, or make both.",
        )
    free = resolved.free_parts(profile)
    if not free.video and not free.audio:
        raise RequestError(
            "What is given fills the whole clip, so nothing is left to make.",
            next_step="Make the clip longer, choose a part to make anew, or take only the "
            "picture or only the sound of the file.",
        )


def _with_blocks(guidance: Guidance, usual: Guidance, modality: str) -> Guidance:
    """Guidance whose perturbed pass, if it has one, disturbs a block."""
    if guidance.stg_scale == 0.0 or guidance.stg_blocks:
        return guidance
    if not usual.stg_blocks:
        raise RequestError(
            f"The {modality} guidance has an stg_scale, but no block to disturb for it.",
            next_step="Say which as stg_blocks (--stg-blocks), for example one from the middle of "
            "the network.",
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
