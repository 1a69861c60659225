"""Rotary position embedding, split layout: the halves of each head rotate against each other.

Positions are continuous (seconds, pixels, token indices). Only the list of frequencies is
computed in float64; angles are float32, as in the released model.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ltx2.model.config import RopeConfig


@dataclass(frozen=True)
class RotaryTable:
    """Turn of every pair of channels, cos + i sin, [B or 1, T, N, K/2], complex64."""

    turns: Tensor

    def rotate(self, x: Tensor) -> Tensor:
        """`x` [B, T, N, K] rotated by its tokens' angles, in the type of `x`.

        Channel k of a head rotates against channel k + K/2; in the result the two stand side
        by side. Scores of queries and keys that were both rotated do not see the order.
        """
        first, second = x.float().chunk(2, dim=-1)
        if torch.compiler.is_compiling():  # which fuses real arithmetic, but no complex one
            cos, sin = torch.view_as_real(self.turns).unbind(-1)
            pair = first * cos - second * sin, first * sin + second * cos
            return torch.stack(pair, dim=-1).flatten(-2).to(x.dtype)
        turned = torch.complex(first, second) * self.turns
        return torch.view_as_real(turned).flatten(-2).to(x.dtype)


@lru_cache(maxsize=32)
def rope_frequencies(num_frequencies: int, theta: float) -> np.ndarray:
    """Angular frequencies from pi/2 to theta * pi/2, geometric, float32 [num_frequencies]."""
    exponents = np.linspace(0.0, 1.0, num_frequencies, dtype=np.float64)
    return (np.power(theta, exponents) * (math.pi / 2)).astype(np.float32)


def rotary_table(positions: Tensor, config: RopeConfig) -> RotaryTable:
    """Table for tokens at `positions` [B, T, axes], in the units of `config.max_positions`.

    The positions 0..max map to -1..1. Each head gets a consecutive range of frequencies, the
    first head the lowest; at every frequency the axes follow each other. Entries that the axes
    cannot fill come first and do not rotate.
    """
    num_axes = len(config.max_positions)
    count = config.dim // (2 * num_axes)
    frequencies = torch.from_numpy(rope_frequencies(count, config.theta)).to(positions.device)
    ends = positions.new_tensor(config.max_positions, dtype=torch.float32)
    centred = positions.float() / ends * 2 - 1
    angles = (centred.unsqueeze(-2) * frequencies.unsqueeze(-1)).flatten(-2)  # [B, T, count * axes]
    angles = F.pad(angles, (config.dim // 2 - count * num_axes, 0))
    angles = angles.unflatten(-1, (config.num_heads, -1))  # [B, T, N, K/2]
    return RotaryTable(torch.polar(torch.ones_like(angles), angles))


def interval_centres(intervals: Tensor) -> Tensor:
    """Middles [B, T, axes] of the tokens' extents [B, axes, T, 2]."""
    return intervals.float().mean(dim=-1).transpose(1, 2)
