"""The denoising loop."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from ltx2.diffusion.guidance import Predict
from ltx2.diffusion.samplers import Sampler, euler
from ltx2.diffusion.state import Joint, LatentState
from ltx2.errors import GenerationCancelled, GenerationError
from ltx2.progress import ShouldCancel, never_cancel


@dataclass(frozen=True)
class Step:
    """A finished step.

    Attributes:
        index: steps finished so far, 1..total.
        total: steps altogether.
        states: both modalities after the step.
        denoised: the clean estimates [B, T, C] that it went toward.
    """

    index: int
    total: int
    states: Joint[LatentState]
    denoised: Joint[Tensor]


OnStep = Callable[[Step], None]


def denoise(
    states: Joint[LatentState],
    sigmas: Sequence[float],
    predict: Predict,
    *,
    sampler: Sampler = euler,
    on_step: OnStep = lambda _: None,
    should_cancel: ShouldCancel = never_cancel,
) -> Joint[LatentState]:
    """Both modalities at the last of the noise levels.

    Args:
        states: noisy at the level `sigmas[0]`.
        sigmas: falling noise levels, usually down to 0.
        predict: clean estimates at a level, guidance included.
        sampler: of this walk alone.
        on_step: told about every finished step.
        should_cancel: asked before every step.

    Raises:
        GenerationCancelled: `should_cancel` said so.
        GenerationError: the network's values are not finite.
    """
    total = len(sigmas) - 1
    for index, (sigma, next_sigma) in enumerate(pairwise(sigmas), start=1):
        if should_cancel():
            raise GenerationCancelled
        states, denoised = sampler(states, sigma, next_sigma, predict)
        if not all(state.tokens.isfinite().all() for state in states):
            raise GenerationError(
                f"The network's values stopped being finite at step {index} of {total}.",
                next_step="Lower the guidance scales, or load the model with dtype float32.",
            )
        on_step(Step(index, total, states, denoised))
    return states
