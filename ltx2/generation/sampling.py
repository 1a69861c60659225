"""The walk from noise to clean latents with a transformer."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ltx2.diffusion.denoise import OnStep, denoise
from ltx2.diffusion.guidance import (
    Network,
    Pass,
    batched_perturbations,
    guided_prediction,
)
from ltx2.diffusion.samplers import Sampler, euler
from ltx2.diffusion.state import Joint, LatentState
from ltx2.diffusion.tiles import TileLimits, plan_boxes, tiled
from ltx2.model.transformer import ModalityInput, Transformer, Unchanging
from ltx2.progress import ShouldCancel, never_cancel
from ltx2.request import Guidance
from ltx2.runtime.small import is_small

BATCHED_TOKENS = 8_192
"""Most video tokens of all passes together that are asked at once. Few tokens leave a processor
idle between small operations; many fill it alone, and together would only take more memory."""

Contexts = Mapping[Pass, Joint[Tensor]]
"""Text [B, T_c, D] of the prompts (conditional) and, where guidance needs it, the negative ones."""


def sample(  # noqa: PLR0913 - all that a walk depends on
    transformer: Transformer,
    states: Joint[LatentState],
    sigmas: Sequence[float],
    *,
    contexts: Contexts,
    guidance: Joint[Guidance],
    sampler: Sampler = euler,
    limits: TileLimits | None = None,
    on_step: OnStep = lambda _: None,
    should_cancel: ShouldCancel = never_cancel,
) -> Joint[LatentState]:
    """Both modalities after all steps.

    Args:
        transformer: predicts velocities.
        states: noisy at the level `sigmas[0]`; a modality without tokens is left out.
        sigmas: falling noise levels.
        contexts: of the prompts.
        guidance: scales of both modalities.
        sampler: of this walk alone.
        limits: of what is predicted at once; None for all of it.
        on_step: told about every finished step.
        should_cancel: asked before every step.

    Raises:
        GenerationCancelled: `should_cancel` said so.
        GenerationError: the transformer's values are not finite.
    """
    network = ask(transformer, contexts, guidance)
    predict = guided_prediction(network, guidance)
    if limits is not None:
        boxes = plan_boxes(states, limits)
        networks = [ask(transformer, contexts, guidance) for _ in boxes]
        predict = tiled(boxes, tuple(guided_prediction(each, guidance) for each in networks))
    return denoise(
        states, sigmas, predict, sampler=sampler, on_step=on_step, should_cancel=should_cancel
    )


def ask(transformer: Transformer, contexts: Contexts, guidance: Joint[Guidance]) -> Network:
    """The transformer as a network that answers several passes, at once where they are small."""
    # Positions and texts are the same in all steps of a walk, and so is what is made of them.
    small = is_small(transformer)
    unchanging: dict[tuple[Pass, ...], Joint[Unchanging]] = {}

    def network(
        states: Joint[LatentState], sigma: float, passes: tuple[Pass, ...]
    ) -> Mapping[Pass, Joint[Tensor]]:
        clips, tokens = states.video.tokens.shape[:2]
        most = max(1, BATCHED_TOKENS // max(1, clips * tokens))
        answers: dict[Pass, Joint[Tensor]] = {}
        for start in range(0, len(passes), most):
            together = passes[start : start + most]
            if together not in unchanging:
                unchanging[together] = Joint(Unchanging(small), Unchanging(small))
            video, audio = transformer(
                *_inputs(states, sigma, together, contexts, unchanging[together]),
                batched_perturbations([kind for kind in together for _ in range(clips)], guidance),
            )
            for index, kind in enumerate(together):
                own = slice(index * clips, (index + 1) * clips)
                answers[kind] = Joint(
                    states.video.tokens if video is None else video[own],
                    states.audio.tokens if audio is None else audio[own],
                )
        return answers

    return network


def _inputs(
    states: Joint[LatentState],
    sigma: float,
    passes: Sequence[Pass],
    contexts: Contexts,
    unchanging: Joint[Unchanging],
) -> list[ModalityInput | None]:
    """Both modalities, repeated for every pass with its text; None for one without tokens."""
    texts = [contexts.get(kind, contexts[Pass.CONDITIONAL]) for kind in passes]
    inputs: list[ModalityInput | None] = []
    for index, state in enumerate(states):
        if not state.tokens.shape[1]:
            inputs.append(None)
            continue
        # What is given as a whole has no noise, whatever the other modality has.
        own_sigma = sigma if bool(state.denoise_mask.any()) else 0.0
        count = len(passes)
        shared = state.positions.shape[0] == 1
        inputs.append(
            ModalityInput(
                tokens=state.tokens.repeat(count, 1, 1),
                timesteps=state.timesteps(sigma).repeat(count, 1),
                sigma=torch.full(
                    (count * len(state.tokens),), own_sigma, device=state.tokens.device
                ),
                positions=state.positions if shared else state.positions.repeat(count, 1, 1, 1),
                context=torch.cat([text[index] for text in texts]),
                unchanging=unchanging[index],
            )
        )
    return inputs
