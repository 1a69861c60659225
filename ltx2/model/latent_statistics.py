"""Mean and spread by which the autoencoders normalise their latents."""

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn


class LatentStatistics(nn.Module):
    """Mean and spread of raw latents, one value for each of `size` normalised groups.

    Args:
        size: number of values.
        unused: further entries that a published checkpoint has and nobody reads.
    """

    def __init__(self, size: int, *, unused: Iterable[str] = ()) -> None:
        super().__init__()
        self.register_buffer("mean-of-means", torch.zeros(size))
        self.register_buffer("std-of-means", torch.ones(size))
        for name in unused:
            self.register_buffer(name, torch.zeros(size))

    @property
    def mean(self) -> Tensor:
        """Mean of the raw latents [size]."""
        return cast(Tensor, getattr(self, "mean-of-means"))

    @property
    def std(self) -> Tensor:
        """Standard deviation of the raw latents [size]."""
        return cast(Tensor, getattr(self, "std-of-means"))
