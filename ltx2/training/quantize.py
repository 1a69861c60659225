"""Frozen weights in 8 bits, so that a LoRA for a large model trains on a small card.

Every output channel has its own scale: W is about scale * Q with Q in -127..127. A layer makes its
weight anew each time it is asked, in the type of the activations, and keeps nothing of it.
"""

from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

KEPT = (
    "*patchify_proj*",
    "*proj_out*",
    "*adaln*",
    "*timestep*",
    "*caption_projection*",
)
"""Layers at the edges of the network, small and sensitive; the official trainer spares them too."""


class _LinearWithQuantizedWeight(torch.autograd.Function):
    """x W^T whose backward makes the weight again instead of keeping it.

    The product of int8 and a type of floating point is of that type and needs no copy in between,
    which for the largest layers of the 19B would be 128 MiB.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, quantized: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(quantized, scale)
        return F.linear(x, quantized * scale.to(x.dtype))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        quantized, scale = ctx.saved_tensors
        (gradient,) = gradients
        return gradient @ (quantized * scale.to(gradient.dtype)), None, None


class QuantizedLinear(nn.Module):
    """A frozen linear layer with 8-bit weights.

    Args:
        linear: the layer it replaces.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.dtype = linear.weight.dtype
        weight = linear.weight.detach().float()
        scale = (weight.abs().amax(dim=1, keepdim=True) / 127).clamp_min(1e-12)
        self.register_buffer("quantized", (weight / scale).round().to(torch.int8))
        self.register_buffer("scale", scale)
        self.bias = linear.bias

    @property
    def weight(self) -> Tensor:
        """What the layer multiplies with [out, in], made anew."""
        quantized, scale = self.get_buffer("quantized"), self.get_buffer("scale")
        return (quantized * scale).to(self.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] to [..., out], in the type that autocast asks for."""
        device = x.device.type
        if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
            x = x.to(torch.get_autocast_dtype(device))
        quantized, scale = self.get_buffer("quantized"), self.get_buffer("scale")
        out: Tensor = _LinearWithQuantizedWeight.apply(x, quantized, scale)
        return out if self.bias is None else out + self.bias.to(out.dtype)


def quantize_frozen_linears(module: nn.Module) -> None:
    """Replaces every frozen linear layer but those at the edges by one with 8-bit weights."""
    for name, parent in list(module.named_modules()):
        for child_name, child in list(parent.named_children()):
            full = f"{name}.{child_name}".removeprefix(".")
            is_kept = any(fnmatchcase(full, pattern) for pattern in KEPT)
            if isinstance(child, nn.Linear) and not child.weight.requires_grad and not is_kept:
                setattr(parent, child_name, QuantizedLinear(child))
