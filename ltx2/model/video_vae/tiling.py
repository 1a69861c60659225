"""Cutting latents into overlapping tiles and how their pictures are blended.

The plan is the one of the released model, so that tiled decodes match it: tiles of a fixed size
along the longer side, scaled for the shorter one; every temporal tile but the first starts one
latent frame earlier, because the first latent frame of a tile decodes to a single picture.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ltx2.geometry import VideoCompression


@dataclass(frozen=True)
class TileSize:
    """Size and overlap of tiles, in pixels or in frames."""

    size: int
    overlap: int


@dataclass(frozen=True)
class Interval:
    """One tile along one axis, in latents, with the overlaps at its two ends."""

    start: int
    stop: int
    left_ramp: int
    right_ramp: int


def split(length: int, size: int, overlap: int) -> list[Interval]:
    """Overlapping intervals that cover `length` latents."""
    if length <= size:
        return [Interval(0, length, 0, 0)]
    count = (length + size - 2 * overlap - 1) // (size - overlap)
    starts = [i * (size - overlap) for i in range(count)]
    return [
        Interval(
            start,
            min(start + size, length),
            overlap if start else 0,
            overlap if i < count - 1 else 0,
        )
        for i, start in enumerate(starts)
    ]


def split_time(length: int, size: int, overlap: int) -> list[Interval]:
    """Like `split`; later tiles begin one latent frame earlier and fade in over it."""
    return [
        interval
        if interval.start == 0
        else Interval(
            interval.start - 1, interval.stop, interval.left_ramp + 1, interval.right_ramp
        )
        for interval in split(length, size, overlap)
    ]


def spatial_tile(latent_size: int, longer_side: int, tile: TileSize, scale: int) -> tuple[int, int]:
    """Tile size and overlap of one spatial axis, in latents."""
    overlap = tile.overlap // scale
    size = max(2, overlap + 1, round(tile.size // scale * latent_size / longer_side))
    return size, overlap


def spatial_mask(interval: Interval, scale: int) -> Tensor:
    """Blend weights of a tile's pixels along height or width."""
    mask = torch.ones((interval.stop - interval.start) * scale)
    if interval.left_ramp:
        n = interval.left_ramp * scale
        mask[:n] *= torch.linspace(0, 1, n + 2)[1:-1]
    if interval.right_ramp:
        n = interval.right_ramp * scale
        mask[-n:] *= torch.linspace(1, 0, n + 2)[1:-1]
    return mask


def temporal_mask(interval: Interval, scale: int) -> Tensor:
    """Blend weights of a tile's frames; the doubled first frame fades in from zero."""
    mask = torch.ones((interval.stop - interval.start - 1) * scale + 1)
    if interval.left_ramp:
        n = 1 + (interval.left_ramp - 1) * scale
        mask[:n] *= torch.linspace(0, 1, n + 1)[:-1]
    if interval.right_ramp:
        n = interval.right_ramp * scale
        mask[-n:] *= torch.linspace(1, 0, n + 2)[1:-1]
    return mask


@dataclass(frozen=True)
class TilePlan:
    """All tiles of a decode, per axis."""

    time: tuple[Interval, ...]
    height: tuple[Interval, ...]
    width: tuple[Interval, ...]


def plan_tiles(
    grid: tuple[int, int, int],
    compression: VideoCompression,
    *,
    spatial: TileSize | None,
    temporal: TileSize | None,
) -> TilePlan:
    """Tiles for latents of size `grid` (f, h, w); None leaves those axes whole."""
    frames, height, width = grid
    time = [Interval(0, frames, 0, 0)]
    if temporal is not None:
        scale = compression.temporal
        time = split_time(frames, temporal.size // scale, temporal.overlap // scale)
    rows, columns = [Interval(0, height, 0, 0)], [Interval(0, width, 0, 0)]
    if spatial is not None:
        longer = max(height, width)
        rows = split(height, *spatial_tile(height, longer, spatial, compression.spatial))
        columns = split(width, *spatial_tile(width, longer, spatial, compression.spatial))
    return TilePlan(tuple(time), tuple(rows), tuple(columns))
