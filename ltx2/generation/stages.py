"""The stages of a clip as data: at which size, from which noise, with which guidance."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ltx2.diffusion.schedules import (
    DISTILLED_STAGE_2_SIGMAS,
    OFFICIAL_SHIFT,
    shift_for_tokens,
    shifted_sigmas,
)
from ltx2.diffusion.state import Joint
from ltx2.errors import RequestError
from ltx2.geometry import VideoCompression
from ltx2.request import Guidance, ModelProfile, Request

NO_GUIDANCE = Joint(Guidance(), Guidance())


@dataclass(frozen=True)
class Stage:
    """One walk from noise to clean latents.

    Attributes:
        height, width, num_frames, frame_rate: of the clip in this stage.
        shrink: how much smaller its pictures are than the result's; `slow` the same for its
            frame rate.
        sigmas: falling noise levels; the first one is how much noise it begins with.
        guidance: of both modalities.
        upscaled: what of the stage before it was doubled; None for the first stage.
    """

    height: int
    width: int
    num_frames: int
    frame_rate: float
    shrink: int
    slow: int
    sigmas: tuple[float, ...]
    guidance: Joint[Guidance]
    upscaled: Literal["space", "time"] | None = None


OWN_STEPS_SHARE = 0.5625
"""Part of a model's own steps that refine where nothing shortens them: from the noise level at
which the published pipelines begin to refine, however the schedule is shifted."""


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
    for index in range(len(request.upscale) + 1):
        to_come = request.upscale[index:]
        shrink, slow = (2 ** to_come.count(axis) for axis in ("space", "time"))
        height, width = request.height // shrink, request.width // shrink
        frames = (num_frames - 1) // slow + 1
        grid = compression.latent_grid(frames, height, width)
        sigmas = _sigmas(request, profile, grid)
        if stages:
            sigmas = refining_sigmas(profile) if refines_in_few_steps else sigmas[-own_steps - 1 :]
        stages.append(
            Stage(
                height,
                width,
                frames,
                request.frame_rate / slow,
                shrink,
                slow,
                sigmas,
                NO_GUIDANCE if stages and refines_in_few_steps else guidance,
                request.upscale[index - 1] if stages else None,
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
