"""Latents as tokens with masks and positions, and the noise that sampling starts from.

Latents are normalised; video is [B, C, f, h, w], audio is [B, C, l, m]. Tokens are [B, T, C]:
one per video voxel in the order f, h, w, and one per audio frame with its bins as features.
"""

from dataclasses import dataclass, replace
from typing import Generic, NamedTuple, Self, TypeVar

import torch
from einops import rearrange
from torch import Tensor

from ltx2.geometry import VideoCompression

Part = TypeVar("Part")

Grid = tuple[int, int, int]
"""Latent frames, height and width."""

MEL_FRAMES_PER_LATENT = 4
MEL_HOP_LENGTH = 160
MEL_SAMPLE_RATE = 16_000
"""What the spectrograms behind the audio latents are made from."""


class Joint(NamedTuple, Generic[Part]):
    """The same thing for both modalities."""

    video: Part
    audio: Part


@dataclass(frozen=True)
class LatentState:
    """One modality on its way from noise to clean latents.

    Attributes:
        tokens: noisy tokens [B, T, C], float32.
        clean: what tokens with a mask below 1 are held to [B, T, C].
        denoise_mask: 1 generates a token, 0 keeps it clean [B, T, 1].
        positions: extents [1, axes, T, 2], start and end; video has seconds, pixels down and
            pixels right, audio has seconds.
    """

    tokens: Tensor
    clean: Tensor
    denoise_mask: Tensor
    positions: Tensor

    @classmethod
    def to_generate(cls, clean: Tensor, positions: Tensor) -> Self:
        """State of which every token is generated; `clean` only matters for a partial noise."""
        return cls(clean, clean, torch.ones_like(clean[..., :1]), positions)

    def part(self, count: int) -> Self:
        """The first `count` tokens alone."""
        return replace(
            self,
            tokens=self.tokens[:, :count],
            clean=self.clean[:, :count],
            denoise_mask=self.denoise_mask[:, :count],
            positions=self.positions[:, :, :count],
        )

    def timesteps(self, sigma: float) -> Tensor:
        """Noise level of each token [B, T]."""
        return self.denoise_mask[..., 0] * sigma

    def noised(self, noise: Tensor, scale: float = 1.0) -> Self:
        """The state to start sampling at the noise level `scale` from, with noise [B, T, C]."""
        amount = self.denoise_mask * scale
        return replace(self, tokens=noise * amount + self.clean * (1.0 - amount))

    def blend(self, denoised: Tensor) -> Tensor:
        """Estimates [B, T, C] with kept tokens replaced, in proportion to their mask."""
        return denoised * self.denoise_mask + self.clean * (1.0 - self.denoise_mask)


def draw_noise(states: Joint[LatentState], generator: torch.Generator) -> Joint[Tensor]:
    """Standard normal tokens for both modalities, video first.

    Drawn in float32 where the generator lives, so that a seed means the same on every device.
    """
    drawn = [
        torch.randn(state.clean.shape, generator=generator, device=generator.device)
        for state in states
    ]
    return Joint(drawn[0].to(states.video.clean), drawn[1].to(states.audio.clean))


def patchify_video(latents: Tensor) -> Tensor:
    """Tokens [B, f·h·w, C] of latents [B, C, f, h, w]."""
    return rearrange(latents, "b c f h w -> b (f h w) c")


def unpatchify_video(tokens: Tensor, grid: Grid) -> Tensor:
    """Latents [B, C, f, h, w] of tokens; those appended after the grid are left out."""
    frames, height, width = grid
    kept = tokens[:, : frames * height * width]
    return rearrange(kept, "b (f h w) c -> b c f h w", f=frames, h=height, w=width)


def patchify_audio(latents: Tensor) -> Tensor:
    """Tokens [B, l, C·m], channel-major, of latents [B, C, l, m]."""
    return rearrange(latents, "b c l m -> b l (c m)")


def unpatchify_audio(tokens: Tensor, bins: int) -> Tensor:
    """Latents [B, C, l, m] of tokens [B, l, C·m] with m `bins`."""
    return rearrange(tokens, "b l (c m) -> b c l m", m=bins)


def video_positions(
    grid: Grid, compression: VideoCompression, frame_rate: float, *, causal: bool = True
) -> Tensor:
    """Extents [1, 3, f·h·w, 2] in seconds, pixels down and pixels right.

    Args:
        grid: latent frames, height and width.
        compression: pixels per latent voxel.
        frame_rate: pictures per second.
        causal: the first latent frame stands for a single picture, as at a clip's start;
            otherwise for as many as the others.
    """
    time = _extents(grid[0], compression.temporal)
    if causal:
        time = (time + 1 - compression.temporal).clamp_min(0.0)
    axes = (
        time / frame_rate,
        _extents(grid[1], compression.spatial),
        _extents(grid[2], compression.spatial),
    )
    spread = [
        extents.view([-1 if i == axis else 1 for i in range(3)] + [2]).expand(*grid, 2)
        for axis, extents in enumerate(axes)
    ]
    return rearrange(torch.stack(spread), "axes f h w ends -> 1 axes (f h w) ends")


def audio_positions(num_latents: int) -> Tensor:
    """Extents [1, 1, l, 2] in seconds; the first latent stands for a single mel frame."""
    mel = _extents(num_latents, MEL_FRAMES_PER_LATENT)
    mel = (mel + 1 - MEL_FRAMES_PER_LATENT).clamp_min(0.0)
    # In this order: the rotary embedding multiplies a rounding in the last place by 10,000.
    return (mel * MEL_HOP_LENGTH / MEL_SAMPLE_RATE)[None, None]


def _extents(count: int, size: int) -> Tensor:
    """Start and end [count, 2] of adjoining pieces."""
    starts = torch.arange(count, dtype=torch.float32) * size
    return torch.stack([starts, starts + size], dim=-1)
