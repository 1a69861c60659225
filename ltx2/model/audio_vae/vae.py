"""The audio autoencoder: log-mel spectrograms to normalised latents and back.

Spectrograms are images [B, C, L, M], time first; convolutions never look ahead in time.
"""

from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ltx2.model.audio_vae.config import AudioVAEConfig
from ltx2.model.latent_statistics import LatentStatistics

PIXEL_NORM_EPS = 1e-6


def pixel_norm(x: Tensor) -> Tensor:
    """Features scaled to unit mean square over the channels of each point."""
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + PIXEL_NORM_EPS)


class CausalConv2d(nn.Module):
    """Convolution that keeps the size, zero-padded in the past and on both sides in pitch."""

    def __init__(self, in_channels: int, out_channels: int, *, kernel: int = 3) -> None:
        super().__init__()
        side = kernel // 2
        self.padding = (side, side, kernel - 1, 0)
        self.conv = nn.Conv2d(in_channels, out_channels, kernel)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, L, M] to the same size with `out_channels` channels."""
        return self.conv(F.pad(x, self.padding))


class ResidualBlock(nn.Module):
    """Two normalised convolutions beside an identity path or a 1x1 convolution."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = CausalConv2d(in_channels, out_channels)
        self.conv2 = CausalConv2d(out_channels, out_channels)
        if in_channels != out_channels:
            self.nin_shortcut = CausalConv2d(in_channels, out_channels, kernel=1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, L, M] to the same size with `out_channels` channels."""
        h = self.conv1(F.silu(pixel_norm(x)))
        h = self.conv2(F.silu(pixel_norm(h)))
        return (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x) + h


class Downsample(nn.Module):
    """Half the frames (rounded up) and half the bins."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, L, M] to [B, C, ceil(L / 2), M / 2]."""
        return self.conv(F.pad(x, (0, 1, 2, 0)))


class Upsample(nn.Module):
    """Twice the bins and twice the frames less the first, which would look back too far."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = CausalConv2d(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, L, M] to [B, C, 2·L - 1, 2·M]."""
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))[:, :, 1:]


def _residual_blocks(in_channels: int, out_channels: int, count: int) -> nn.ModuleList:
    widths = [in_channels] + [out_channels] * count
    return nn.ModuleList(ResidualBlock(a, b) for a, b in pairwise(widths))


def _middle(channels: int) -> nn.ModuleDict:
    return nn.ModuleDict(
        {"block_1": ResidualBlock(channels, channels), "block_2": ResidualBlock(channels, channels)}
    )


class Encoder(nn.Module):
    """Log-mel [B, 2, L, M] to mean and log-variance [B, 2·C, l, m]."""

    def __init__(self, config: AudioVAEConfig) -> None:
        super().__init__()
        widths = [config.base_channels * m for m in config.channel_multipliers]
        self.conv_in = CausalConv2d(config.num_channels, config.base_channels)
        self.down = nn.ModuleList()
        previous = config.base_channels
        for level, width in enumerate(widths):
            parts: dict[str, nn.Module] = {
                "block": _residual_blocks(previous, width, config.num_res_blocks)
            }
            if level < len(widths) - 1:
                parts["downsample"] = Downsample(width)
            self.down.append(nn.ModuleDict(parts))
            previous = width
        self.mid = _middle(previous)
        self.conv_out = CausalConv2d(previous, 2 * config.latent_channels)

    def forward(self, mel: Tensor) -> Tensor:
        """[B, 2, L, M] to [B, 2·C, l, m]."""
        x = self.conv_in(mel)
        for level in cast(list[nn.ModuleDict], self.down):
            for block in cast(nn.ModuleList, level["block"]):
                x = block(x)
            if "downsample" in level:
                x = level["downsample"](x)
        for block in self.mid.values():
            x = block(x)
        return self.conv_out(F.silu(pixel_norm(x)))


class Decoder(nn.Module):
    """Raw latents [B, C, l, m] to log-mel [B, 2, 4·l - 3, M]."""

    def __init__(self, config: AudioVAEConfig) -> None:
        super().__init__()
        widths = [config.base_channels * m for m in config.channel_multipliers]
        self.conv_in = CausalConv2d(config.latent_channels, widths[-1])
        self.mid = _middle(widths[-1])
        levels: list[nn.ModuleDict] = []
        previous = widths[-1]
        for level in reversed(range(len(widths))):
            blocks = _residual_blocks(previous, widths[level], config.num_res_blocks + 1)
            parts: dict[str, nn.Module] = {"block": blocks}
            if level > 0:
                parts["upsample"] = Upsample(widths[level])
            levels.insert(0, nn.ModuleDict(parts))
            previous = widths[level]
        self.up = nn.ModuleList(levels)
        self.conv_out = CausalConv2d(previous, config.num_channels)

    def forward(self, latents: Tensor) -> Tensor:
        """[B, C, l, m] to [B, 2, 4·l - 3, M]."""
        x = self.conv_in(latents)
        for block in self.mid.values():
            x = block(x)
        for level in reversed(cast(list[nn.ModuleDict], list(self.up))):
            for block in cast(nn.ModuleList, level["block"]):
                x = block(x)
            if "upsample" in level:
                x = level["upsample"](x)
        return self.conv_out(F.silu(pixel_norm(x)))


class AudioVAE(nn.Module):
    """Autoencoder between log-mel [B, 2, L, M] and latents [B, C, ceil(L / 4), M / 4].

    Latents are normalised everywhere outside this class.
    """

    def __init__(self, config: AudioVAEConfig) -> None:
        super().__init__()
        self.config = config
        self.latent_channels = config.latent_channels
        self.latent_bins = config.latent_bins
        self.latents_per_second = config.latents_per_second
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        # One value per channel and bin, channel-major [C·m].
        self.per_channel_statistics = LatentStatistics(self.latent_channels * self.latent_bins)

    def normalise(self, latents: Tensor) -> Tensor:
        """Raw latents [B, C, l, m] with zero mean and unit spread per channel and bin."""
        mean, std = self._statistics(latents)
        return (latents - mean) / std

    def denormalise(self, latents: Tensor) -> Tensor:
        """Inverse of `normalise`."""
        mean, std = self._statistics(latents)
        return latents * std + mean

    def encode_mean(self, mel: Tensor) -> Tensor:
        """Raw latent means of log-mel spectrograms."""
        return self.encoder(mel)[:, : self.latent_channels]

    def encode(self, mel: Tensor) -> Tensor:
        """Normalised latents of log-mel spectrograms."""
        return self.normalise(self.encode_mean(mel))

    def decode(self, latents: Tensor) -> Tensor:
        """Log-mel spectrograms [B, 2, 4·l - 3, M] of normalised latents."""
        return self.decoder(self.denormalise(latents))

    def _statistics(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        statistics = self.per_channel_statistics
        mean, std = (
            rearrange(v.to(latents), "(c m) -> 1 c 1 m", m=self.latent_bins)
            for v in (statistics.mean, statistics.std)
        )
        return mean, std
