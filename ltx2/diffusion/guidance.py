"""Guidance: several predictions of the network combined into one, per modality.

All arithmetic is on clean estimates (denoised predictions), in float32.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import Enum

from torch import Tensor

from ltx2.diffusion.state import Joint, LatentState
from ltx2.diffusion.steps import to_denoised
from ltx2.model.block import Perturbation, Perturbations, PerturbedAttention
from ltx2.request import Guidance


class Pass(Enum):
    """A way to ask the network."""

    CONDITIONAL = "conditional"
    """With the prompt."""
    NEGATIVE = "negative"
    """With the negative prompt, for both modalities."""
    PERTURBED = "perturbed"
    """With the prompt, and self-attention disturbed in some blocks."""
    ISOLATED = "isolated"
    """With the prompt, and no attention between picture and sound."""


Network = Callable[[Joint[LatentState], float, tuple[Pass, ...]], Mapping[Pass, Joint[Tensor]]]
"""Velocities [B, T, C] of both modalities at a sigma, asked in each of the ways."""

Predict = Callable[[Joint[LatentState], float], Joint[Tensor]]
"""Clean estimates [B, T, C] of both modalities at a sigma."""


def needed_passes(guidance: Sequence[Guidance]) -> tuple[Pass, ...]:
    """The passes that at least one modality uses; the conditional one always comes first."""
    wanted = [
        (Pass.CONDITIONAL, True),
        (Pass.NEGATIVE, any(scales.uses_negative for scales in guidance)),
        (Pass.PERTURBED, any(scales.uses_perturbed for scales in guidance)),
        (Pass.ISOLATED, any(scales.uses_isolated for scales in guidance)),
    ]
    return tuple(kind for kind, is_needed in wanted if is_needed)


def perturbations(kind: Pass, guidance: Joint[Guidance]) -> Perturbations:
    """What the network leaves out in a pass, for a batch of one."""
    return batched_perturbations((kind,), guidance)


def batched_perturbations(passes: Sequence[Pass], guidance: Joint[Guidance]) -> Perturbations:
    """What the network leaves out where each sample of a batch is one of the passes."""
    if not any(kind in (Pass.ISOLATED, Pass.PERTURBED) for kind in passes):
        return Perturbations()
    return Perturbations(tuple(_left_out(kind, guidance) for kind in passes), _drops(guidance))


def _drops(guidance: Joint[Guidance]) -> bool:
    return any(scales.uses_perturbed and scales.stg_mode == "drop" for scales in guidance)


def _left_out(kind: Pass, guidance: Joint[Guidance]) -> tuple[Perturbation, ...]:
    if kind is Pass.ISOLATED:
        between = (PerturbedAttention.AUDIO_TO_VIDEO, PerturbedAttention.VIDEO_TO_AUDIO)
        return tuple(Perturbation(attention) for attention in between)
    if kind is Pass.PERTURBED:
        own = (PerturbedAttention.VIDEO_SELF, PerturbedAttention.AUDIO_SELF)
        return tuple(
            Perturbation(attention, frozenset(scales.stg_blocks))
            for attention, scales in zip(own, guidance, strict=True)
            if scales.uses_perturbed
        )
    return ()


def guided(denoised: Mapping[Pass, Tensor], scales: Guidance) -> Tensor:
    """One clean estimate out of those of the passes; scales that are off change nothing.

    Args:
        denoised: estimates [B, T, C] of one modality; a pass whose scale is off may be absent.
        scales: of the same modality.
    """
    conditional = denoised[Pass.CONDITIONAL]
    result = conditional
    if scales.uses_negative:
        result = result + (scales.cfg_scale - 1.0) * (conditional - denoised[Pass.NEGATIVE])
    if scales.uses_perturbed:
        result = result + scales.stg_scale * (conditional - denoised[Pass.PERTURBED])
    if scales.uses_isolated:
        result = result + (scales.modality_scale - 1.0) * (conditional - denoised[Pass.ISOLATED])
    if scales.rescale == 0.0 or result is conditional or not result.numel():
        return result
    # The released pipelines take the spread over the whole tensor.
    ratio = conditional.std() / result.std()
    return result * (scales.rescale * ratio + (1.0 - scales.rescale))


def guided_prediction(network: Network, guidance: Joint[Guidance]) -> Predict:
    """The network asked in all needed ways, as one prediction of one walk.

    It counts how often it is asked, because a modality may skip some of the steps.
    """
    asked = 0
    last: Joint[Tensor] | None = None

    def predict(states: Joint[LatentState], sigma: float) -> Joint[Tensor]:
        nonlocal asked, last
        is_due = Joint(*(asked % (scales.skip_steps + 1) == 0 for scales in guidance))
        asked += 1
        if last is not None and not any(is_due):
            return last
        due = [s for s, is_now in zip(guidance, is_due, strict=True) if is_now or last is None]
        passes = needed_passes(due)
        velocities = network(states, sigma, passes)
        estimates = []
        for index, (state, scales) in enumerate(zip(states, guidance, strict=True)):
            if last is not None and not is_due[index]:
                estimates.append(last[index])
                continue
            denoised = {kind: _denoised(state, velocities[kind][index], sigma) for kind in passes}
            estimates.append(guided(denoised, scales))
        last = Joint(*estimates)
        return last

    return predict


def _denoised(state: LatentState, velocity: Tensor, sigma: float) -> Tensor:
    return to_denoised(state.tokens, velocity, state.timesteps(sigma))
