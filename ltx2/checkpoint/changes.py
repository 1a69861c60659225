"""Small changes of a weight W [out, in], as files of LoRAs hold them.

- LoRA: W + scale * up down (https://arxiv.org/abs/2106.09685).
- LoHa: W + scale * (up_1 down_1) * (up_2 down_2), element by element
  (https://arxiv.org/abs/2108.06098); that is a LoRA of the product of both ranks.
- LoKr: W + scale * left (x) right, the Kronecker product (https://arxiv.org/abs/2309.14859).
- DoRA: magnitude * V / |V| for V = W + one of these, norms of V's rows or of its columns
  (https://arxiv.org/abs/2402.09353).

A strength s makes W + s (changed - W) of any of them: 0 is the weight itself, 1 as was trained.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

EPS = 1e-12
"""Smallest norm of a row or column."""


@dataclass(frozen=True)
class LowRank:
    """`scale` times `up` [out, r] times `down` [r, in]."""

    down: Tensor
    up: Tensor
    scale: float = 1.0

    @classmethod
    def of_product(cls, first: "LowRank", second: "LowRank") -> "LowRank":
        """The product of two, element by element: LoHa's.

        Each pair of a column of one `up` and of the other's makes a column, and so do rows.
        """
        up = first.up.float()[:, :, None] * second.up.float()[:, None, :]  # [out, r_1, r_2]
        down = first.down.float()[:, None, :] * second.down.float()[None, :, :]  # [r_1, r_2, in]
        return cls(down.flatten(0, 1), up.flatten(1), first.scale * second.scale)

    @property
    def shape(self) -> tuple[int, int]:
        """Of the weight."""
        return self.up.shape[0], self.down.shape[1]

    def dense(self, device: torch.device) -> Tensor:
        """What is added [out, in], float32."""
        up, down = self.up.to(device).float(), self.down.to(device).float()
        return self.scale * up @ down

    def gained(self, gain: Tensor) -> "LowRank":
        """The same with outputs times a gain [out, 1], or inputs times a gain [1, in]."""
        gain = gain.to(self.up.device)
        if gain.shape[1] == 1:
            return replace(self, up=self.up.float() * gain)
        return replace(self, down=self.down.float() * gain)


@dataclass(frozen=True)
class Kronecker:
    """`scale` times `left` [a, c] (x) `right` [b, d], which is [a b, c d].

    Attributes:
        gain: of outputs [a b, 1] or of inputs [1, c d]; None for none.
    """

    left: Tensor
    right: Tensor
    scale: float = 1.0
    gain: Tensor | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Of the weight."""
        (a, c), (b, d) = self.left.shape, self.right.shape
        return a * b, c * d

    def dense(self, device: torch.device) -> Tensor:
        """What is added [out, in], float32."""
        left, right = self.left.to(device).float(), self.right.to(device).float()
        product = self.scale * torch.kron(left, right)
        return product if self.gain is None else product * self.gain.to(device)

    def gained(self, gain: Tensor) -> "Kronecker":
        """The same with outputs or inputs times a gain."""
        return replace(self, gain=gain if self.gain is None else self.gain * gain)


Added = LowRank | Kronecker
"""What is added to a weight, whatever it is."""


@dataclass(frozen=True)
class Decomposed:
    """DoRA: the direction of W + `added`, with norms of its own.

    Attributes:
        magnitude: norms of rows [out, 1] or of columns [1, in].
    """

    added: Added
    magnitude: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """Of the weight."""
        return self.added.shape

    def gain(self, weight: Tensor) -> Tensor:
        """What rows [out, 1] or columns [1, in] of W + `added` are multiplied with, float32."""
        changed = weight.float() + self.added.dense(weight.device)
        magnitude = self.magnitude.to(weight.device).float()
        over = 1 if magnitude.shape[1] == 1 else 0
        norm: Tensor = torch.linalg.vector_norm(changed, dim=over, keepdim=True)
        return magnitude / norm.clamp_min(EPS)


Change = Added | Decomposed


def changed_weight(weight: Tensor, changes: "list[tuple[Change, float]]") -> Tensor:
    """A weight [out, in] with changes of it and their strengths, float32.

    Each is a change of the weight as it comes in, so that their order does not matter.
    """
    original = total = weight.float()
    for change, strength in changes:
        if isinstance(change, LowRank):
            up, down = change.up.to(weight.device).float(), change.down.to(weight.device).float()
            total = torch.addmm(total, up, down, alpha=strength * change.scale)
        elif isinstance(change, Kronecker):
            total = total + strength * change.dense(weight.device)
        else:
            changed = change.gain(original) * (original + change.added.dense(weight.device))
            total = total + strength * (changed - original)
    return total
