"""Adaptive normalisation: scale, shift and gate values that follow the noise level.

Tokens share few distinct timesteps, so values are computed once for each distinct one and looked
up per token only where a sample really mixes them.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ltx2.model.linear import Linear

EMBEDDING_CHANNELS = 256


@dataclass(frozen=True)
class Timesteps:
    """Distinct noise levels of a batch and which token has which.

    Attributes:
        levels: [R] distinct values of sigma times mask, 0..1, float32.
        row_of_token: [B, T] index into `levels`, or None where each sample has a single
            level; then R is B.
    """

    levels: Tensor
    row_of_token: Tensor | None

    @classmethod
    def of(cls, timesteps: Tensor) -> "Timesteps":
        """Timesteps of every token [B, T], with T of 1 meaning the whole sample."""
        if bool((timesteps == timesteps[:, :1]).all()):
            return cls(timesteps[:, 0], None)
        levels, row_of_token = timesteps.unique(return_inverse=True)
        return cls(levels, row_of_token)

    def per_token(self, rows: Tensor) -> Tensor:
        """Rows [R, D] laid out for their tokens: [B, T, D], or [B, 1, D] where T share one."""
        if self.row_of_token is None:
            return rows.unsqueeze(1)
        return F.embedding(self.row_of_token, rows)


@dataclass(frozen=True)
class Modulation:
    """Outputs of one embedder for the timesteps of a batch.

    Attributes:
        values: [R, n, D], to be added to the table of a block.
        embedded: [R, D], what the output head uses.
    """

    timesteps: Timesteps
    values: Tensor
    embedded: Tensor

    def with_table(self, table: Tensor, start: int = 0) -> list[Tensor]:
        """One [B, T or 1, D] tensor per row of `table` [m, D], from value `start` on."""
        values = self.values[:, start : start + table.shape[0]] + table.to(self.values.dtype)
        return [self.timesteps.per_token(row) for row in values.unbind(1)]

    def output_shift_scale(self, table: Tensor) -> tuple[Tensor, Tensor]:
        """Shift and scale [B, T or 1, D] of the output head; `table` is [2, D]."""
        shift, scale = (self.embedded.unsqueeze(1) + table.to(self.embedded.dtype)).unbind(1)
        return self.timesteps.per_token(shift), self.timesteps.per_token(scale)


class AdaLayerNormSingle(nn.Module):
    """Embeds timesteps and projects them to `num_values` modulation values of width `dim`."""

    def __init__(self, dim: int, num_values: int) -> None:
        super().__init__()
        self.num_values = num_values
        self.emb = _Embedder(dim)
        self.linear = Linear(dim, num_values * dim)

    def forward(self, timesteps: Timesteps, *, scale: float, dtype: torch.dtype) -> Modulation:
        """Modulation of the tokens.

        Args:
            timesteps: noise levels of the batch.
            scale: factor from sigma to the embedded timestep.
            dtype: type of the stream that is modulated.
        """
        waves = timestep_embedding(timesteps.levels * scale, EMBEDDING_CHANNELS).to(dtype)
        embedded = self.emb.timestep_embedder(waves)
        values = self.linear(F.silu(embedded)).unflatten(-1, (self.num_values, -1))  # [R, n, D]
        return Modulation(timesteps, values, embedded)


class _Embedder(nn.Module):
    """Holds the released parameter name `emb.timestep_embedder`."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.timestep_embedder = MLP(EMBEDDING_CHANNELS, dim, nn.SiLU())


class MLP(nn.Module):
    """Two linear layers with `activation` between them; hidden and output width are `dim`."""

    def __init__(self, in_dim: int, dim: int, activation: nn.Module) -> None:
        super().__init__()
        self.linear_1 = Linear(in_dim, dim)
        self.activation = activation
        self.linear_2 = Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """[..., in_dim] to [..., dim]."""
        return self.linear_2(self.activation(self.linear_1(x)))


def timestep_embedding(timesteps: Tensor, channels: int) -> Tensor:
    """Cosines, then sines, of `timesteps` [R] at geometric frequencies 1..1/10000: [R, C]."""
    half = channels // 2
    index = torch.arange(half, dtype=torch.float32, device=timesteps.device)
    frequencies = torch.exp(-math.log(10000.0) / half * index)
    angles = timesteps.float().unsqueeze(-1) * frequencies
    return torch.cat((angles.cos(), angles.sin()), dim=-1)


def modulate(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """`x * (1 + scale) + shift`."""
    return torch.addcmul(shift, x, 1 + scale)
