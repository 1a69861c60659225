"""Latent upsampler: twice the height and width, or twice the frames, of a video latent.

It works on latents in the autoencoder's own range, not on the normalised ones of diffusion.
"""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ltx2.model.config import UpsamplerConfig

NORM_GROUPS = 32


class LatentUpsampler(nn.Module):
    """Residual blocks, an upsampling convolution, residual blocks.

    Parameter names are those of the released files.
    """

    def __init__(self, config: UpsamplerConfig) -> None:
        super().__init__()
        self.config = config
        width = config.mid_channels
        self.initial_conv = nn.Conv3d(config.in_channels, width, kernel_size=3, padding=1)
        self.initial_norm = nn.GroupNorm(NORM_GROUPS, width)
        self.res_blocks = nn.ModuleList(_ResidualBlock(width) for _ in range(config.num_blocks))
        self.upsampler = _build_upsampling(config)
        self.post_upsample_res_blocks = nn.ModuleList(
            _ResidualBlock(width) for _ in range(config.num_blocks)
        )
        self.final_conv = nn.Conv3d(width, config.in_channels, kernel_size=3, padding=1)

    def forward(self, latents: Tensor) -> Tensor:
        """Latents [B, C, f, h, w] to [B, C, f, 2h, 2w], or to [B, C, 2f - 1, h, w]."""
        hidden = F.silu(self.initial_norm(self.initial_conv(latents)))
        for block in self.res_blocks:
            hidden = block(hidden)
        hidden = self.upsampler(hidden)
        for block in self.post_upsample_res_blocks:
            hidden = block(hidden)
        return self.final_conv(hidden)


def _build_upsampling(config: UpsamplerConfig) -> nn.Module:
    width = config.mid_channels
    if config.temporal:
        return nn.Sequential(nn.Conv3d(width, 2 * width, kernel_size=3, padding=1), _DoubleFrames())
    if config.rational:
        return _RationalResampler(width)
    return _PerFrame(nn.Conv2d(width, 4 * width, kernel_size=3, padding=1), nn.PixelShuffle(2))


class _ResidualBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(width, width, kernel_size=3, padding=1)
        self.norm1 = nn.GroupNorm(NORM_GROUPS, width)
        self.conv2 = nn.Conv3d(width, width, kernel_size=3, padding=1)
        self.norm2 = nn.GroupNorm(NORM_GROUPS, width)

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.silu(self.norm1(self.conv1(x)))
        return F.silu(x + self.norm2(self.conv2(hidden)))


class _PerFrame(nn.Sequential):
    """Picture layers applied to every frame of [B, C, f, h, w]."""

    def forward(self, input: Tensor) -> Tensor:
        frames = rearrange(input, "b c f h w -> (b f) c h w")
        return rearrange(super().forward(frames), "(b f) c h w -> b c f h w", b=input.shape[0])


class _RationalResampler(nn.Module):
    """Doubles height and width of every frame; the reduction that may follow is by one."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, 4 * width, kernel_size=3, padding=1)
        self.blur_down = _BlurKernel()

    def forward(self, x: Tensor) -> Tensor:
        frames = rearrange(x, "b c f h w -> (b f) c h w")
        doubled = F.pixel_shuffle(self.conv(frames), 2)
        return rearrange(doubled, "(b f) c h w -> b c f h w", b=x.shape[0])


class _BlurKernel(nn.Module):
    """Kernel that released files store; a reduction by one does not use it."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernel", torch.zeros(1, 1, 5, 5))


class _DoubleFrames(nn.Module):
    """Two frames from the channels of each; the first of all has no time before it and goes."""

    def forward(self, x: Tensor) -> Tensor:
        return rearrange(x, "b (c t) f h w -> b c (f t) h w", t=2)[:, :, 1:]
