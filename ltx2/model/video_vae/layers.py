"""Building blocks of the video autoencoder. Pictures and features are [B, C, F, H, W]."""

import math
from collections.abc import Callable, Iterator
from functools import partial
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
            return self.conv(self.padded(x, slice(0, x.shape[2])))
        first = x[:, :, :1].expand(-1, -1, self.frames_before, -1, -1)
        last = x[:, :, -1:].expand(-1, -1, 2 - self.frames_before, -1, -1)
        x = torch.cat([first, x, last], dim=2)
        if self.reflect:
            x = F.pad(x, (1, 1, 1, 1, 0, 0), mode="reflect")
        return self.conv(x)

    def in_stretches(self, x: Tensor, write: "Write") -> Iterator[tuple[slice, Tensor]]:
        """The convolution of what `write` makes of `x` [B, C, F, H, W], some frames at a time.

        So only a few frames of its input are in memory at once. Outside of gradients alone.

        Yields:
            Frames and their results [B, C_out, those frames, H, W], from the first to the last.
        """
        num_frames = x.shape[2]
        step = max(1, STRETCH_NUMBERS // x[:, :, 0].numel())
        for start in range(0, num_frames, step):
            frames = slice(start, min(start + step, num_frames))
            yield frames, self.conv(self.padded(x, frames, write))

    def padded(self, x: Tensor, frames: slice, write: "Write" = Tensor.copy_) -> Tensor:
        """What the convolution reads for some frames of its result, with margins on all sides.

        Args:
            x: [B, C, F, H, W].
            frames: of the result.
            write: makes the input of the convolution.
        """
        batch, channels, num_frames, height, width = x.shape
        margin = int(self.reflect)
        read = frames.start - self.frames_before, frames.stop + 2 - self.frames_before
        there = slice(max(read[0], 0), min(read[1], num_frames))
        size = batch, channels, read[1] - read[0], height + 2 * margin, width + 2 * margin
        padded = empty_features(x, size)
        start, end = there.start - read[0], there.stop - read[0]
        inside = padded[:, :, start:end]
        write(inside[..., 1:-1, 1:-1] if margin else inside, x[:, :, there])
        if self.reflect:
            inside[..., 0, :].copy_(inside[..., 2, :])
            inside[..., -1, :].copy_(inside[..., -3, :])
            inside[..., 0].copy_(inside[..., 2])
            inside[..., -1].copy_(inside[..., -3])
        padded[:, :, :start] = inside[:, :, :1]
        padded[:, :, end:] = inside[:, :, -1:]
        return padded


Write = Callable[[Tensor, Tensor], object]
"""Writes into the first what it makes of the second; both are some frames [B, C, F, H, W]."""

STRETCH_NUMBERS = 2**23
"""How many numbers of features a convolution is given at a time, where memory counts."""


def lay_out(network: nn.Module, device: torch.device) -> None:
    """Weights of all convolutions as features lie, or each convolution would move them first."""
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            module.weight.data = module.weight.data.to(memory_format=usual_format(device))


def usual_format(device: torch.device) -> torch.memory_format:
    """How features lie in memory: oneDNN's convolutions want the channels side by side."""
    return torch.channels_last_3d if device.type == "cpu" else torch.contiguous_format


def empty_features(like: Tensor, size: tuple[int, ...]) -> Tensor:
    """Features of a size [B, C, F, H, W] to be written, in the type and place of others."""
    return torch.empty(
        size, dtype=like.dtype, device=like.device, memory_format=usual_format(like.device)
    )


class ResidualBlock(nn.Module):
    """Two normalised convolutions beside an identity path.

    With `conditioned`, each normalisation is followed by a scale and shift that a noise
    level chooses (rows of the table: shift, scale, shift, scale). Where no gradients are asked
    for, the result stands in place of the input.
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
            h = self.conv1(activated(x, first))
            return x + self.conv2(activated(h, second))
        # These are the largest tensors of a decode: there are never more than two of them.
        h = torch.empty_like(x)
        for frames, result in self.conv1.in_stretches(x, partial(activate, rows=first)):
            h[:, :, frames] = result
        for frames, result in self.conv2.in_stretches(h, partial(activate, rows=second)):
            x[:, :, frames] += result
        return x


def activated(x: Tensor, rows: Tensor | None) -> Tensor:
    """Normalised, shifted and scaled by `rows` [B, 2, C, 1, 1, 1], and through the SiLU."""
    x = pixel_norm(x)
    if rows is not None:
        shift, scale = rows.unbind(dim=1)
        x = x * (1 + scale) + shift
    return F.silu(x)


def activate(out: Tensor, x: Tensor, rows: Tensor | None = None) -> None:
    """Writes the same into `out`."""
    torch.mul(x, inverse_root_mean_square(x), out=out)
    if rows is not None:
        shift, scale = rows.unbind(dim=1)
        out.mul_(1 + scale).add_(shift)
    F.silu(out, inplace=True)


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
        self.invented = 1 if stride[0] == 2 else 0
        self.repeats = prod(stride) // reduction if residual else 0
        out_channels = channels * prod(stride) // reduction
        self.conv = Conv3d(channels, out_channels, causal=False, padding=padding)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, F, H, W] to the unfolded size."""
        if not torch.is_grad_enabled():
            return self._in_parts(x)
        out = unfold_stride(self.conv(x), self.stride)
        if self.repeats:
            skip = unfold_stride(x, self.stride)
            out = out + repeat(skip, "b c f h w -> b (n c) f h w", n=self.repeats)
        return out[:, :, self.invented :]

    def _in_parts(self, x: Tensor) -> Tensor:
        """The same, some channels of the result at a time.

        Before it is unfolded the result is as large as after, and what oneDNN lays out anew of the
        weights of 1,024 channels is larger than either.
        """
        fold = prod(self.stride)
        weight, bias = self.conv.conv.weight, self.conv.conv.bias
        assert bias is not None
        num_channels = len(weight) // fold
        size = [n * factor for n, factor in zip(x.shape[2:], self.stride, strict=True)]
        size[0] -= self.invented
        out = empty_features(x, (len(x), num_channels, *size))
        padded = self.conv.padded(x, slice(0, x.shape[2]))
        numbers = fold * max(weight[0].numel(), x[:, 0].numel())  # for a channel of the result
        step = max(1, STRETCH_NUMBERS // numbers)
        for start in range(0, num_channels, step):
            rows = slice(fold * start, fold * (start + step))
            part = F.conv3d(padded, weight[rows], bias[rows], padding=self.conv.conv.padding)
            out[:, start : start + step] = unfold_stride(part, self.stride)[:, :, self.invented :]
        if self.repeats:
            skip = unfold_stride(x, self.stride)[:, :, self.invented :]
            out.unflatten(1, (self.repeats, -1)).add_(skip.unsqueeze(1))
        return out
