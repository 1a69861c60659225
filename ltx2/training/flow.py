"""The objective of the transformer: velocities of noisy latents, picture and sound together.

A clip's picture and sound share one noise level sigma and have independent noise:
noisy = (1 - sigma) * clean + sigma * noise, and the network predicts noise - clean.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from ltx2.diffusion.schedules import shift_for_tokens
from ltx2.diffusion.state import (
    Joint,
    LatentState,
    audio_positions,
    patchify_audio,
    patchify_video,
    video_positions,
)
from ltx2.geometry import VideoCompression
from ltx2.model.transformer import ModalityInput, Transformer

UNIFORM_SHARE = 0.1
SMALLEST_SIGMA = 1e-3

# Standard normal quantiles of 0.5 % and 99.9 %: the levels between them are stretched to 0..1.
_LOW_QUANTILE = -2.5758
_HIGH_QUANTILE = 3.0902

MOTION_WEIGHT = 2.0


class FullPrecisionAttention(TorchFunctionMode):
    """Inside it, attention is computed in float32 whatever the surrounding precision.

    On CPUs the backward pass of bfloat16 attention takes twice as long as that of float32.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Casts queries, keys and values up, and the result back."""
        if func is not scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        query, key, value, *rest = args
        with torch.autocast(query.device.type, enabled=False):
            out = func(query.float(), key.float(), value.float(), *rest, **(kwargs or {}))
        return out.to(value.dtype)


@dataclass(frozen=True)
class FlowLoss:
    """Losses of one batch: what is minimised and the plain errors of the two modalities."""

    total: Tensor
    video: Tensor
    audio: Tensor


def sample_sigmas(batch: int, *, shift: float, generator: torch.Generator) -> Tensor:
    """Noise levels [B] in 0..1: logistic of a shifted normal, some of them uniform.

    The uniform share keeps both ends of the range from being starved.
    """
    logits = torch.randn(batch, generator=generator) + shift
    uniform = torch.rand(batch, generator=generator)
    use_uniform = torch.rand(batch, generator=generator) < UNIFORM_SHARE
    return torch.where(use_uniform, uniform, logits.sigmoid()).clamp(SMALLEST_SIGMA, 1.0)


@dataclass(frozen=True)
class NoiseLevels:
    """How noise levels are drawn, as in the official trainer.

    The logistic of a shifted normal, stretched so that nearly all of 0..1 is reached, and for
    some examples a uniform level instead.

    Attributes:
        shift: mean of the normal; None follows the number of video tokens as the released
            model was trained: 0.95 for 1,024 and 2.05 for 4,096, linear through both.
        uniform_share: share of the examples with a uniform level.
    """

    shift: float | None = None
    uniform_share: float = UNIFORM_SHARE

    def sample(self, batch: int, *, num_tokens: int, generator: torch.Generator) -> Tensor:
        """Noise levels [B] in 0..1, float32.

        Args:
            batch: how many.
            num_tokens: of the clip that is generated, without conditions that are added to it.
            generator: on the CPU.
        """
        shift = shift_for_tokens(num_tokens) if self.shift is None else self.shift
        levels = stretched_levels(torch.randn(batch, generator=generator), shift)
        uniform = torch.rand(batch, generator=generator)
        uniform = SMALLEST_SIGMA + (1.0 - SMALLEST_SIGMA) * uniform
        is_uniform = torch.rand(batch, generator=generator) < self.uniform_share
        return torch.where(is_uniform, uniform, levels)


def stretched_levels(normal: Tensor, shift: float) -> Tensor:
    """Noise levels [B] in 0..1 of standard normal draws [B].

    What falls below the smallest level is reflected, so that it does not pile up there.
    """
    low, high = (
        torch.tensor(shift + quantile).sigmoid() for quantile in (_LOW_QUANTILE, _HIGH_QUANTILE)
    )
    levels = ((normal + shift).sigmoid() - low) / (high - low)
    levels = torch.where(levels < SMALLEST_SIGMA, 2 * SMALLEST_SIGMA - levels, levels)
    return levels.clamp(0.0, 1.0)


@dataclass(frozen=True)
class Noised:
    """One modality of a batch on its way through the network.

    Attributes:
        tokens: noisy [B, T, C].
        timesteps: noise level of each token [B, T].
        sigma: noise level of the modality [B]; 0 where nothing of it is generated.
        positions: extents [1, axes, T, 2].
        velocity: noise minus clean tokens [B, T, C], what the network should say.
        denoise_mask: 1 for tokens of the loss [B, T, 1].
    """

    tokens: Tensor
    timesteps: Tensor
    sigma: Tensor
    positions: Tensor
    velocity: Tensor
    denoise_mask: Tensor

    @classmethod
    def of(cls, state: LatentState, sigma: Tensor, generator: torch.Generator) -> "Noised":
        """A state with fresh noise at the levels `sigma` [B]; kept tokens have none."""
        noise = torch.randn(state.clean.shape, generator=generator)
        amount = state.denoise_mask * sigma[:, None, None]
        is_generated = state.denoise_mask.amax(dim=(1, 2)) > 0
        return cls(
            tokens=noise * amount + state.clean * (1.0 - amount),
            timesteps=amount[..., 0],
            sigma=sigma * is_generated,
            positions=state.positions,
            velocity=noise - state.clean,
            denoise_mask=state.denoise_mask,
        )

    def rows(self, which: slice, device: torch.device | str) -> "Noised":
        """Some of the examples, on a device."""
        parts = (self.tokens, self.timesteps, self.sigma, self.velocity, self.denoise_mask)
        tokens, timesteps, sigma, velocity, mask = (part[which].to(device) for part in parts)
        return Noised(tokens, timesteps, sigma, self.positions.to(device), velocity, mask)

    def to_input(self, context: Tensor) -> ModalityInput:
        """What the transformer takes, with text [B, T_c, D] from the connector."""
        return ModalityInput(self.tokens, self.timesteps, self.sigma, self.positions, context)

    def loss(self, velocity: Tensor, num_generated: Tensor) -> Tensor:
        """Mean squared error of a velocity [B, T, C] over the generated tokens.

        Args:
            velocity: what the network said.
            num_generated: tokens of the loss in the whole batch, of which this may be a part.
        """
        error = (velocity.float() - self.velocity).square().mean(dim=-1, keepdim=True)
        return (error * self.denoise_mask).sum() / num_generated.clamp_min(1.0)


def motion_weights(latents: Tensor) -> Tensor:
    """Weights [B, T, 1] with mean 1, larger for tokens [B, C, f, h, w] that change in time.

    A mouth or a ball fills few tokens; without weights the background rules the loss.
    """
    if latents.shape[2] == 1:
        return torch.ones_like(patchify_video(latents[:, :1]))
    change = latents.diff(dim=2).square().mean(dim=1, keepdim=True).sqrt()
    change = torch.cat([change[:, :, :1], change], dim=2)
    weights = 1.0 + MOTION_WEIGHT * change / change.mean(dim=(1, 2, 3, 4), keepdim=True).clamp_min(
        1e-6
    )
    weights = patchify_video(weights)
    return weights / weights.mean(dim=(1, 2), keepdim=True)


def flow_loss(
    transformer: Transformer,
    latents: Joint[Tensor],
    contexts: Joint[Tensor],
    *,
    compression: VideoCompression,
    frame_rate: float,
    shift: float,
    generator: torch.Generator,
) -> FlowLoss:
    """Loss of one batch of normalised latents.

    Args:
        latents: video [B, C, f, h, w] and audio [B, c, l, m].
        contexts: connector outputs [B, T_c, D].
        shift: mean of the logistic-normal noise levels.
    """
    video, audio = latents
    batch = len(video)
    sigma = sample_sigmas(batch, shift=shift, generator=generator)
    clean_video, clean_audio = patchify_video(video), patchify_audio(audio)
    inputs, targets = [], []
    grid = (video.shape[2], video.shape[3], video.shape[4])
    positions = (
        video_positions(grid, compression, frame_rate),
        audio_positions(audio.shape[2]),
    )
    for clean, position, context in zip(
        (clean_video, clean_audio), positions, contexts, strict=True
    ):
        noise = torch.randn(clean.shape, generator=generator)
        level = sigma[:, None, None]
        inputs.append(
            ModalityInput(
                tokens=(1 - level) * clean + level * noise,
                timesteps=sigma[:, None].expand(-1, clean.shape[1]),
                sigma=sigma,
                positions=position,
                context=context,
            )
        )
        targets.append(noise - clean)
    video_velocity, audio_velocity = transformer(inputs[0], inputs[1])
    assert video_velocity is not None
    assert audio_velocity is not None
    video_error = (video_velocity.float() - targets[0]).square()
    audio_error = (audio_velocity.float() - targets[1]).square()
    weighted = (video_error * motion_weights(video)).mean() + audio_error.mean()
    return FlowLoss(weighted, video_error.mean().detach(), audio_error.mean().detach())
