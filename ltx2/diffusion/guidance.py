"""Guidance: several predictions of the network combined into one, per modality.

All arithmetic is on clean estimates (denoised predictions), in float32.
"""

from collections.abc import Callable, Mapping
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


Network = Callable[[Joint[LatentState], float, Pass], Joint[Tensor]]
"""Velocities [B, T, C] of both modalities at a sigma, asked in one of the ways."""

Predict = Callable[[Joint[LatentState], float], Joint[Tensor]]
"""Clean estimates [B, T, C] of both modalities at a sigma."""


def needed_passes(guidance: Joint[Guidance]) -> tuple[Pass, ...]:
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
    if kind is Pass.ISOLATED:
        between = (PerturbedAttention.AUDIO_TO_VIDEO, PerturbedAttention.VIDEO_TO_AUDIO)
        return Perturbations((tuple(Perturbation(attention) for attention in between),))
    if kind is Pass.PERTURBED:
        own = (PerturbedAttention.VIDEO_SELF, PerturbedAttention.AUDIO_SELF)
        disturbed = tuple(
            Perturbation(attention, frozenset(scales.stg_blocks))
            for attention, scales in zip(own, guidance, strict=True)
            if scales.uses_perturbed
        )
        return Perturbations((disturbed,))
    return Perturbations()


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
    if scales.rescale == 0.0 or result is conditional:
        return result
    # The released pipelines take the spread over the whole tensor.
    ratio = conditional.std() / result.std()
    return result * (scales.rescale * ratio + (1.0 - scales.rescale))


def guided_prediction(network: Network, guidance: Joint[Guidance]) -> Predict:
    """The network asked in all needed ways, as one prediction."""
    passes = needed_passes(guidance)

    def predict(states: Joint[LatentState], sigma: float) -> Joint[Tensor]:
        video: dict[Pass, Tensor] = {}
        audio: dict[Pass, Tensor] = {}
        for kind in passes:
            velocities = network(states, sigma, kind)
            video[kind] = _denoised(states.video, velocities.video, sigma)
            audio[kind] = _denoised(states.audio, velocities.audio, sigma)
        return Joint(guided(video, guidance.video), guided(audio, guidance.audio))

    return predict


def _denoised(state: LatentState, velocity: Tensor, sigma: float) -> Tensor:
    return to_denoised(state.tokens, velocity, state.timesteps(sigma))
