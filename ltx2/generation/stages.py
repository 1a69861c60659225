"""The stages of a clip as data: at which size, from which noise, with which guidance."""

from collections.abc import Sequence
from dataclasses import dataclass

from ltx2.diffusion.schedules import (
    DISTILLED_STAGE_2_SIGMAS,
    OFFICIAL_SHIFT,
    shift_for_tokens,
    shifted_sigmas,
)
from ltx2.diffusion.state import Joint
from ltx2.errors import RequestError
from ltx2.geometry import Enlarging, StageSize, VideoCompression, stage_sizes
from ltx2.request import Guidance, ModelProfile, Request

NO_GUIDANCE = Joint(Guidance(), Guidance())


@dataclass(frozen=True)
class Stage(StageSize):
    """One walk from noise to clean latents.

    Attributes:
        sigmas: falling noise levels; the first one is how much noise it begins with.
        guidance: of both modalities.
        upscaled: what of the stage before it was enlarged; None for the first stage.
    """

    sigmas: tuple[float, ...]
    guidance: Joint[Guidance]
    upscaled: Enlarging | None = None


OWN_STEPS_SHARE = 0.5625
"""Part of a model's own steps that refine where nothing shortens them: from the noise level at
which the published pipelines begin to refine, however the schedule is shifted."""

GENTLE_SIGMAS = (0.15, 0.0)
"""Noise levels for refining pictures larger than any that a model makes by itself: from more noise
the embedded models, which were trained at up to 128 px, draw another figure than was upscaled."""


def stages_of(
    request: Request,
    profile: ModelProfile,
    num_frames: int,
    compression: VideoCompression,
    *,
    refines_in_few_steps: bool,
) -> tuple[Stage, ...]:
    """The stages that make `num_frames` of a resolved request, in order.

    Args:
        request: the clip.
        profile: of the model.
        num_frames: of this part of it.
        compression: of the video autoencoder.
        refines_in_few_steps: whether a distilled network refines, without guidance; otherwise the
            last of the model's own steps do, with it.

    Raises:
        RequestError: the model cannot take the request's steps.
    """
    assert request.height is not None
    assert request.width is not None
    assert request.frame_rate is not None
    assert request.video_guidance is not None
    assert request.audio_guidance is not None
    guidance = Joint(request.video_guidance, request.audio_guidance)
    own_steps = max(1, round(OWN_STEPS_SHARE * (request.num_steps or 1)))
    stages: list[Stage] = []
    sizes = stage_sizes(
        request.upscale, request.height, request.width, num_frames, request.frame_rate
    )
    for size, upscaled in zip(sizes, (None, *request.upscale), strict=True):
        grid = compression.latent_grid(size.num_frames, size.height, size.width)
        sigmas = _sigmas(request, profile, grid)
        if upscaled is not None:
            sigmas = refining_sigmas(profile) if refines_in_few_steps else sigmas[-own_steps - 1 :]
            is_beyond = max(size.height, size.width) > profile.max_size
            if is_beyond and profile.refine_sigmas is None:
                sigmas = GENTLE_SIGMAS
        refines_alone = upscaled is not None and refines_in_few_steps
        stages.append(
            Stage(
                **vars(size),
                sigmas=sigmas,
                guidance=NO_GUIDANCE if refines_alone else guidance,
                upscaled=upscaled,
            )
        )
    return tuple(stages)


def refining_sigmas(profile: ModelProfile) -> tuple[float, ...]:
    """Noise levels of the stages after the first one."""
    if profile.refine_sigmas is not None:
        return profile.refine_sigmas
    return DISTILLED_STAGE_2_SIGMAS if profile.sigmas is None else profile.sigmas[-4:]


def _sigmas(request: Request, profile: ModelProfile, grid: Sequence[int]) -> tuple[float, ...]:
    assert request.num_steps is not None
    if profile.sigmas is None:
        shift = OFFICIAL_SHIFT if profile.shift is None else profile.shift
        if request.schedule == "tokens":
            shift = shift_for_tokens(grid[0] * grid[1] * grid[2])
        levels: list[float] = shifted_sigmas(request.num_steps, shift=shift).tolist()
        return tuple(levels)
    num_steps = len(profile.sigmas) - 1
    if request.num_steps != num_steps:
        raise RequestError(
            f"This model cannot take {request.num_steps} steps.",
            next_step=f"It was made for exactly {num_steps}; leave them out.",
        )
    return profile.sigmas
