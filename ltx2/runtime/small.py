"""What is small enough to be computed in float32 and kept in memory whole; needs no PyTorch."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

SMALL_MODEL_PARAMETERS = 1_000_000_000
"""Below this a model is computed in float32: it fits anywhere, and CPUs are fastest with it. It
keeps its text encoder in memory as well."""


def is_small(network: "nn.Module") -> bool:
    """Whether a network is among the small ones, however many bits its weights are kept in."""
    sizes = (tensor.numel() for tensor in (*network.parameters(), *network.buffers()))
    return sum(sizes) < SMALL_MODEL_PARAMETERS


def usual_dtype(num_parameters: int) -> str:
    """The number type of a model that nobody chose one for."""
    return "float32" if num_parameters < SMALL_MODEL_PARAMETERS else "bfloat16"
