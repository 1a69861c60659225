"""Samplers: how predictions bring both modalities from one noise level to the next.

A sampler is made for one walk and may remember what it saw. All of them keep held tokens, because
predictions are blended with what is given before they are used.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from ltx2.diffusion.guidance import Predict
from ltx2.diffusion.state import Joint, LatentState
from ltx2.diffusion.steps import euler_step

GAMMA = 2.0
"""How far gradient estimation goes along the change of the velocity; from its paper."""

ETA = 0.5
"""Share of the noise level that res_2s draws anew in every half step."""

LAST_SIGMA = 0.0011
"""Where res_2s ends its walk; one more prediction leads from there to the clean tokens."""

ANCHOR_ROUNDS = 100
"""Refinements of a res_2s step's starting point."""


class Advanced(NamedTuple):
    """Both modalities after a step, and the clean estimates [B, T, C] that it went toward."""

    states: Joint[LatentState]
    denoised: Joint[Tensor]


Sampler = Callable[[Joint[LatentState], float, float, Predict], Advanced]
"""States at a noise level, it, the next one, and the prediction; to the states at the next."""

SamplerName = Literal["euler", "gradient_estimation", "res_2s"]


def make_sampler(name: SamplerName, seed: int = 0) -> Sampler:
    """A new sampler.

    Args:
        name: which one.
        seed: of the noise that res_2s adds.
    """
    if name == "gradient_estimation":
        return gradient_estimation()
    return res_2s(seed) if name == "res_2s" else euler


def blended(states: Joint[LatentState], sigma: float, predict: Predict) -> Joint[Tensor]:
    """Clean estimates with what is given in their place."""
    estimates = predict(states, sigma)
    return Joint(states.video.blend(estimates.video), states.audio.blend(estimates.audio))


def euler(
    states: Joint[LatentState], sigma: float, next_sigma: float, predict: Predict
) -> Advanced:
    """A straight step toward the estimate."""
    denoised = blended(states, sigma, predict)
    moved = [
        replace(state, tokens=euler_step(state.tokens, estimate, sigma, next_sigma))
        for state, estimate in zip(states, denoised, strict=True)
    ]
    return Advanced(Joint(*moved), denoised)


def gradient_estimation(gamma: float = GAMMA) -> Sampler:
    """Euler steps whose velocity goes on along its change since the last step.

    From "Interpreting and Improving Diffusion Models from an Optimization Perspective" (Permenter
    and Yuan, 2023). The last step goes to the estimate itself.
    """
    before: list[Tensor] = []

    def advance(
        states: Joint[LatentState], sigma: float, next_sigma: float, predict: Predict
    ) -> Advanced:
        denoised = blended(states, sigma, predict)
        velocities = [
            (state.tokens - estimate) / sigma
            for state, estimate in zip(states, denoised, strict=True)
        ]
        extended = velocities
        if before and next_sigma > 0.0:
            extended = [
                last + gamma * (now - last) for now, last in zip(velocities, before, strict=True)
            ]
        before[:] = velocities
        moved = [
            replace(state, tokens=state.tokens + velocity * (next_sigma - sigma))
            for state, velocity in zip(states, extended, strict=True)
        ]
        return Advanced(Joint(*moved), denoised)

    return advance


def res_2s(seed: int, *, eta: float = ETA) -> Sampler:
    """Second-order exponential steps with a prediction in their middle, and fresh noise.

    After "Refined Exponential Solver" (Zhang et al., 2023) in the stochastic form that the
    LTX-2.3 pipelines use. Two predictions a step, so half as many steps cost the same. The state
    is kept in float64 within a step.
    """
    generators = [torch.Generator("cpu").manual_seed(seed + offset) for offset in (0, 10_000)]

    def advance(
        states: Joint[LatentState], sigma: float, next_sigma: float, predict: Predict
    ) -> Advanced:
        is_last = next_sigma == 0.0
        end = LAST_SIGMA if is_last else next_sigma
        first = blended(states, sigma, predict)
        step = math.log(sigma / end)
        middle = math.sqrt(sigma * end)
        a21 = 0.5 * _phi(1, -0.5 * step)
        b2 = 2.0 * _phi(2, -step)
        b1 = _phi(1, -step) - b2

        anchors = [state.tokens.double() for state in states]
        slopes = [
            estimate.double() - anchor for estimate, anchor in zip(first, anchors, strict=True)
        ]
        halfway = []
        for index, (state, estimate) in enumerate(zip(states, first, strict=True)):
            there = anchors[index] + step * a21 * slopes[index]
            noisy = _renoised(state, anchors[index], there, sigma, middle, eta, generators[0])
            halfway.append(replace(state, tokens=noisy.to(state.tokens.dtype)))
            if step < 0.5 and sigma > 0.03:
                for _ in range(ANCHOR_ROUNDS):
                    anchors[index] = noisy - step * a21 * slopes[index]
                    slopes[index] = estimate.double() - anchors[index]
        second = blended(Joint(*halfway), middle, predict)
        moved = []
        for index, (state, estimate) in enumerate(zip(states, second, strict=True)):
            anchor = anchors[index]
            change = b1 * slopes[index] + b2 * (estimate.double() - anchor)
            there = anchor + step * change
            noisy = _renoised(state, anchor, there, sigma, end, eta, generators[1])
            moved.append(replace(state, tokens=noisy.to(state.tokens.dtype)))
        arrived = Joint(*moved)
        if is_last:
            second = blended(arrived, end, predict)
            arrived = Joint(
                replace(arrived.video, tokens=second.video),
                replace(arrived.audio, tokens=second.audio),
            )
        return Advanced(arrived, second)

    return advance


def _phi(order: int, z: float) -> float:
    """phi_1(z) = (e^z - 1) / z and phi_2(z) = (phi_1(z) - 1) / z."""
    first = math.expm1(z) / z
    return first if order == 1 else (first - 1.0) / z


def _renoised(
    state: LatentState,
    start: Tensor,
    there: Tensor,
    sigma: float,
    next_sigma: float,
    eta: float,
    generator: torch.Generator,
) -> Tensor:
    """A step's result with a part of its noise drawn anew; same noise level, float64.

    Tokens that are held, wholly or in part, keep the noise that they have.
    """
    up = min(eta * next_sigma, 0.9999 * next_sigma)
    residual = math.sqrt(next_sigma**2 - up**2)
    alpha = (1.0 - next_sigma) + residual
    noise = (start - there) / (sigma - next_sigma)
    clean = start - sigma * noise
    fresh = _standard_noise(start, generator)
    renoised = alpha * (clean + residual / alpha * noise) + up * fresh
    return torch.where(state.denoise_mask >= 1.0, renoised, there)


def _standard_noise(like: Tensor, generator: torch.Generator) -> Tensor:
    """Normal noise with mean 0 and spread 1 over the tokens of each sample, float64."""
    if not like.numel():
        return torch.zeros_like(like)
    noise = torch.randn(like.shape, generator=generator, dtype=torch.float64)
    noise = (noise - noise.mean()) / noise.std()
    centred = noise - noise.mean(dim=(-2, -1), keepdim=True)
    return (centred / centred.std(dim=(-2, -1), keepdim=True)).to(like.device)
