"""Frozen weights in 8 bits, so that a LoRA for a large model trains on a small card."""

from fnmatch import fnmatchcase

from torch import nn

from ltx2.model.quantized import quantize_linears

KEPT = (
    "*patchify_proj*",
    "*proj_out*",
    "*adaln*",
    "*timestep*",
    "*caption_projection*",
)
"""Layers at the edges of the network, small and sensitive; the official trainer spares them too."""


def quantize_frozen_linears(module: nn.Module) -> None:
    """Replaces every frozen linear layer but those at the edges by one with 8-bit weights."""

    def should(name: str, linear: nn.Linear) -> bool:
        is_kept = any(fnmatchcase(name, pattern) for pattern in KEPT)
        return not linear.weight.requires_grad and not is_kept

    quantize_linears(module, "int8", should)
