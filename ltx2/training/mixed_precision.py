"""Half precision for networks with 3D convolutions, where the processor can be trusted with it."""

from functools import lru_cache

import torch
from torch.nn import functional as F

TOLERANCE = 0.1
"""Of the largest gradient; rounding to bfloat16 alone gives less than 0.01."""


def autocast_volumes() -> torch.autocast:
    """A context in which networks on the CPU compute in bfloat16, if its gradients are right.

    On some processors with AVX-512, oneDNN's weight gradients of small 3D convolutions (about 8 by
    8 and less) are wrong in bfloat16, up to infinity; there everything stays in float32.
    """
    return torch.autocast("cpu", torch.bfloat16, enabled=_bfloat16_is_right())


@lru_cache(maxsize=1)
def _bfloat16_is_right() -> bool:
    generator = torch.Generator().manual_seed(0)
    volume = torch.randn(2, 32, 2, 8, 8, generator=generator)
    weight = torch.randn(32, 32, 3, 3, 3, generator=generator) / 30
    exact, rounded = (_gradient(volume, weight, dtype) for dtype in (torch.float32, torch.bfloat16))
    return bool((rounded - exact).abs().max() < TOLERANCE * exact.abs().max())


def _gradient(volume: torch.Tensor, weight: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    with torch.enable_grad():
        leaf = weight.clone().requires_grad_(True)
        out = F.conv3d(volume.to(dtype), leaf.to(dtype), padding=1)
        (gradient,) = torch.autograd.grad(out.float().square().sum(), leaf)
    return gradient
