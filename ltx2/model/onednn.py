"""oneDNN's matrix product on CPUs, by the operator that PyTorch's compiler uses for it.

In float32 PyTorch itself takes MKL's product, which on other processors than Intel's is half as
fast; and oneDNN can apply a function to what it still holds in registers, where writing it,
reading it and writing it again may take longer than the product.
"""

from typing import Literal

import torch
from torch import Tensor

Function = Literal["none", "gelu", "sigmoid"]
"""What is applied to the products; "gelu" in its tanh form."""


def serves(x: Tensor, weight: Tensor) -> bool:
    """Whether `product` can be asked: on a CPU, outside of gradients and of the compiler."""
    if x.device.type != "cpu" or weight.device.type != "cpu" or x.dtype != weight.dtype:
        return False
    if torch.is_grad_enabled() or torch.compiler.is_compiling() or not _EXISTS:
        return False
    return x.dtype == torch.float32 or (x.dtype == torch.bfloat16 and _TAKES_BFLOAT16)


def product(x: Tensor, weight: Tensor, bias: Tensor | None, function: Function = "none") -> Tensor:
    """`function(x @ weight.T + bias)` of `x` [..., D], `weight` [E, D] and `bias` [E]: [..., E].

    Rows of `x` and of `weight` must follow each other in memory: elsewhere oneDNN takes loops that
    are hundreds of times slower.
    """
    form = "tanh" if function == "gelu" else ""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, function, [], form)


_EXISTS = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
_TAKES_BFLOAT16 = _EXISTS and torch.ops.mkldnn._is_mkldnn_bf16_supported()
