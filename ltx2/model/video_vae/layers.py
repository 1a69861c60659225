"""Building blocks of the video autoencoder. Pictures and features are [B, C, F, H, W]."""

import math
from dataclasses import dataclass
from math import prod

import torch
import torch.nn.functional as F
from einops import rearrange, reduce, repeat
from torch import Tensor, nn

from ltx2.model.modulation import MLP, timestep_embedding
from ltx2.model.video_vae.config import PaddingMode, Stride

PIXEL_NORM_EPS = 1e-8
SINUSOIDS = 256


def pixel_norm(x: Tensor) -> Tensor:
    """Features scaled to unit mean square over the channels of each voxel."""
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + PIXEL_NORM_EPS)


def fold_patches(video: Tensor, size: int) -> Tensor:
    """Pixels folded into channels; the column inside a patch varies slower than the row."""
    return rearrange(video, "b c f (h q) (w r) -> b (c r q) f h w", q=size, r=size)


def unfold_patches(features: Tensor, size: int) -> Tensor:
    """Inverse of `fold_patches`."""
    return rearrange(features, "b (c r q) f h w -> b c f (h q) (w r)", q=size, r=size)


def fold_stride(x: Tensor, stride: Stride) -> Tensor:
    """Space and time moved into channels, channel slowest: [B, C·∏s, F/st, H/sh, W/sw]."""
    t, h, w = stride
    return rearrange(x, "b c (f t) (y h) (x w) -> b (c t h w) f y x", t=t, h=h, w=w)


def unfold_stride(x: Tensor, stride: Stride) -> Tensor:
    """Inverse of `fold_stride`."""
    t, h, w = stride
    return rearrange(x, "b (c t h w) f y x -> b c (f t) (y h) (x w)", t=t, h=h, w=w)


def inverse_root_mean_square(x: Tensor) -> Tensor:
    """What `pixel_norm` multiplies each voxel by, [B, 1, F, H, W]."""
    norm = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    return norm.div_(math.sqrt(x.shape[1])).square_().add_(PIXEL_NORM_EPS).rsqrt_()


class Conv3d(nn.Module):
    """3x3x3 convolution that keeps the size; time is padded by repeating end frames.

    Where no gradients are asked for, its input may be written where it is wanted, into a `Room`.

    Args:
        causal: pad only the past, so that a frame never depends on later ones.
        padding: how height and width are padded.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, causal: bool, padding: PaddingMode
    ) -> None:
        super().__init__()
        self.frames_before = 2 if causal else 1
        self.reflect = padding == "reflect"
        spatial = 0 if self.reflect else 1
        self.conv = nn.Conv3d(in_channels, out_channels, 3, padding=(0, spatial, spatial))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, F, H, W] to the same size with `out_channels` channels."""
        if not torch.is_grad_enabled():
            room = self.room(x)
            room.inside.copy_(x)
            return self.convolve(room)
        first = x[:, :, :1].expand(-1, -1, self.frames_before, -1, -1)
        last = x[:, :, -1:].expand(-1, -1, 2 - self.frames_before, -1, -1)
        x = torch.cat([first, x, last], dim=2)
        if self.reflect:
            x = F.pad(x, (1, 1, 1, 1, 0, 0), mode="reflect")
        return self.conv(x)

    def room(self, x: Tensor) -> "Room":
        """Room for an input like `x` [B, C, F, H, W], its contents to be written."""
        batch, channels, frames, height, width = x.shape
        margin = int(self.reflect)
        padded = torch.empty(
            (batch, channels, frames + 2, height + 2 * margin, width + 2 * margin),
            dtype=x.dtype,
            device=x.device,
            memory_format=usual_format(x.device),
        )
        start = self.frames_before
        inside = padded[:, :, start : start + frames]
        if margin:
            inside = inside[..., 1:-1, 1:-1]
        return Room(padded, inside)

    def convolve(self, room: "Room") -> Tensor:
        """The convolution of what was written into the room."""
        padded, start = room.padded, self.frames_before
        if self.reflect:
            padded[..., 0, :].copy_(padded[..., 2, :])
            padded[..., -1, :].copy_(padded[..., -3, :])
            padded[..., 0].copy_(padded[..., 2])
            padded[..., -1].copy_(padded[..., -3])
        padded[:, :, :start] = padded[:, :, start : start + 1]
        end = start + room.inside.shape[2]
        padded[:, :, end:] = padded[:, :, end - 1 : end]
        return self.conv(padded)


@dataclass(frozen=True)
class Room:
    """Where the input of a convolution stands with its margins, which the convolution fills.

    Attributes:
        padded: all of it.
        inside: the part that is written, a view.
    """

    padded: Tensor
    inside: Tensor


def lay_out(network: nn.Module, device: torch.device) -> None:
    """Weights of all convolutions as features lie, or each convolution would move them first."""
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            module.weight.data = module.weight.data.to(memory_format=usual_format(device))


def usual_format(device: torch.device) -> torch.memory_format:
    """How features lie in memory: oneDNN's convolutions want the channels side by side."""
    return torch.channels_last_3d if device.type == "cpu" else torch.contiguous_format


class ResidualBlock(nn.Module):
    """Two normalised convolutions beside an identity path.

    With `conditioned`, each normalisation is followed by a scale and shift that a noise
    level chooses (rows of the table: shift, scale, shift, scale).
    """

    def __init__(
        self, channels: int, *, causal: bool, padding: PaddingMode, conditioned: bool = False
    ) -> None:
        super().__init__()
        self.conv1 = Conv3d(channels, channels, causal=causal, padding=padding)
        self.conv2 = Conv3d(channels, channels, causal=causal, padding=padding)
        if conditioned:
            self.scale_shift_table = nn.Parameter(torch.zeros(4, channels))

    def forward(self, x: Tensor, embedding: Tensor | None = None) -> Tensor:
        """Features of the same shape; `embedding` is [B, 4·C] when conditioned."""
        first, second = None, None
        if embedding is not None:
            rows = self.scale_shift_table + embedding.unflatten(1, (4, -1))  # [B, 4, C]
            first, second = rows[..., None, None, None].split(2, dim=1)
        if torch.is_grad_enabled():
            h = self.conv1(_activated(x, first))
            return x + self.conv2(_activated(h, second))
        # Nothing is kept longer than needed: these are the largest tensors of a decode.
        room = _activated_room(self.conv1, x, first)
        h = self.conv1.convolve(room)
        room = _activated_room(self.conv2, h, second)
        del h
        return self.conv2.convolve(room).add_(x)


def _activated(x: Tensor, rows: Tensor | None) -> Tensor:
    """Normalised, shifted and scaled by `rows` [B, 2, C, 1, 1, 1], and through the SiLU."""
    x = pixel_norm(x)
    if rows is not None:
        shift, scale = rows.unbind(dim=1)
        x = x * (1 + scale) + shift
    return F.silu(x)


def _activated_room(conv: Conv3d, x: Tensor, rows: Tensor | None) -> Room:
    """The same in the room of a convolution."""
    room = conv.room(x)
    torch.mul(x, inverse_root_mean_square(x), out=room.inside)
    if rows is not None:
        shift, scale = rows.unbind(dim=1)
        room.inside.mul_(1 + scale).add_(shift)
    F.silu(room.inside, inplace=True)
    return room


class NoiseLevelEmbedding(nn.Module):
    """A noise level [B] as a vector [B, channels]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.timestep_embedder = MLP(SINUSOIDS, channels, nn.SiLU())

    def forward(self, timestep: Tensor) -> Tensor:
        """Vectors [B, channels] of scaled noise levels [B]."""
        waves = timestep_embedding(timestep, SINUSOIDS)
        return self.timestep_embedder(waves.to(self.timestep_embedder.linear_1.weight.dtype))


class ResidualGroup(nn.Module):
    """Residual blocks in a row; with `conditioned` they share one embedding of a noise level."""

    def __init__(
        self,
        channels: int,
        num_layers: int,
        *,
        causal: bool,
        padding: PaddingMode,
        conditioned: bool = False,
    ) -> None:
        super().__init__()
        if conditioned:
            self.time_embedder = NoiseLevelEmbedding(4 * channels)
        self.res_blocks = nn.ModuleList(
            ResidualBlock(channels, causal=causal, padding=padding, conditioned=conditioned)
            for _ in range(num_layers)
        )

    def forward(self, x: Tensor, timestep: Tensor | None = None) -> Tensor:
        """Features of the same shape; `timestep` [B] is scaled, None without conditioning."""
        embedding = None if timestep is None else self.time_embedder(timestep)
        for block in self.res_blocks:
            x = block(x, embedding)
        return x


class Downsample(nn.Module):
    """Resolution divided by `stride`, channels changed to `out_channels`.

    The main path folds the result of a convolution; the skip path folds the input and
    averages neighbouring channels. A copy of the first frame goes in front of both when
    time is halved, so that the first frame keeps a latent frame of its own.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: Stride, padding: PaddingMode
    ) -> None:
        super().__init__()
        self.stride = stride
        self.group = in_channels * prod(stride) // out_channels
        self.conv = Conv3d(in_channels, out_channels // prod(stride), causal=True, padding=padding)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, F, H, W] to the folded size."""
        if self.stride[0] == 2:
            x = torch.cat([x[:, :, :1], x], dim=2)
        skip = fold_stride(x, self.stride)
        skip = reduce(skip, "b (c g) f h w -> b c f h w", "mean", g=self.group)
        return fold_stride(self.conv(x), self.stride) + skip


class Upsample(nn.Module):
    """Resolution multiplied by `stride`, channels divided by `reduction`.

    With `residual` the unfolded input, its channels repeated, is added. The first frame that
    an unfolding of time invents is dropped.
    """

    def __init__(
        self,
        channels: int,
        *,
        stride: Stride,
        reduction: int,
        residual: bool,
        padding: PaddingMode,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.repeats = prod(stride) // reduction if residual else 0
        out_channels = channels * prod(stride) // reduction
        self.conv = Conv3d(channels, out_channels, causal=False, padding=padding)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, F, H, W] to the unfolded size."""
        out = unfold_stride(self.conv(x), self.stride)
        if self.repeats:
            skip = unfold_stride(x, self.stride)
            out = out + repeat(skip, "b c f h w -> b (n c) f h w", n=self.repeats)
        out = out[:, :, 1:] if self.stride[0] == 2 else out
        return out if torch.is_grad_enabled() else out.to(memory_format=usual_format(out.device))
