"""Latent upsampler: 2 or 1.5 times the height and width, or twice the frames, of a video latent.

It works on latents in the autoencoder's own range, not on the normalised ones of diffusion.
"""

from fractions import Fraction

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
        """Latents [B, C, f, h, w] enlarged.

        To [B, C, f, s h, s w] for a scale s, both of which have to be whole, or to
        [B, C, 2f - 1, h, w].
        """
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
        return _RationalResampler(width, config.scale)
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
    """Enlarges every frame by a scale's numerator, then reduces it by its denominator."""

    def __init__(self, width: int, scale: Fraction) -> None:
        super().__init__()
        self.larger, self.smaller = scale.numerator, scale.denominator
        self.conv = nn.Conv2d(width, self.larger**2 * width, kernel_size=3, padding=1)
        self.blur_down = _BlurDown(self.smaller)

    def forward(self, x: Tensor) -> Tensor:
        frames = rearrange(x, "b c f h w -> (b f) c h w")
        larger = F.pixel_shuffle(self.conv(frames), self.larger)
        return rearrange(self.blur_down(larger), "(b f) c h w -> b c f h w", b=x.shape[0])


class _BlurDown(nn.Module):
    """Every `stride`-th pixel, blurred before with a kernel that released files store.

    It is the outer product of the binomial coefficients 1, 4, 6, 4, 1 over 256; files that do
    not reduce hold it as well.
    """

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride
        row = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16.0
        self.register_buffer("kernel", torch.outer(row, row)[None, None])

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] to [B, C, ceil(h / stride), ceil(w / stride)]."""
        if self.stride == 1:
            return x
        channels = x.shape[1]
        kernel = self.get_buffer("kernel").expand(channels, 1, -1, -1)
        return F.conv2d(x, kernel, stride=self.stride, padding=2, groups=channels)


class _DoubleFrames(nn.Module):
    """Two frames from the channels of each; the first of all has no time before it and goes."""

    def forward(self, x: Tensor) -> Tensor:
        return rearrange(x, "b (c t) f h w -> b c (f t) h w", t=2)[:, :, 1:]
