"""How networks are computed: by which kernel of attention, and compiled or not."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from ltx2.errors import RequestError
from ltx2.model.attention import Attention, attend_here
from ltx2.model.block import TransformerBlock
from ltx2.model.transformer import Transformer
from ltx2.settings import ATTENTIONS, COMPILATIONS

_KERNELS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "math": SDPBackend.MATH,
}

_NO_KERNEL = ("No available kernel", "No viable backend")


def choose_attention(transformer: Transformer, name: str) -> None:
    """Lets one kernel compute the attention of a transformer, where nothing is masked.

    Args:
        transformer: as it is loaded; several processes share it after this.
        name: one of `ATTENTIONS`; "auto" takes the fastest way there is.

    Raises:
        RequestError: there is no such kernel.
    """
    if name not in ATTENTIONS:
        raise RequestError(
            f"The attention {name!r} is unknown.", next_step=f"Choose {', '.join(ATTENTIONS)}."
        )
    if name == "auto":
        return
    for module in transformer.modules():
        if isinstance(module, Attention):
            module.attend = partial(_attend_by, name)


def _attend_by(name: str, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    if mask is not None:
        return attend_here(query, key, value, mask)
    try:
        with sdpa_kernel(_KERNELS[name]):
            return F.scaled_dot_product_attention(query, key, value)
    except RuntimeError as error:
        if not any(words in str(error) for words in _NO_KERNEL):
            raise
        raise RequestError(
            f"The attention {name!r} cannot be computed on this device in this number type.",
            next_step="Choose --attention auto, or --dtype bfloat16 on a GPU that has it.",
        ) from error


def compile_blocks(transformer: Transformer, kind: str) -> None:
    """Compiles the transformer's blocks, which all share one compiled program.

    The first step of every new size takes a minute or so longer. "graphs" also records each
    block's work as a CUDA graph, so that small clips do not wait for launches of kernels; every
    new size is recorded anew.

    Args:
        transformer: whose blocks do not visit its device.
        kind: one of `COMPILATIONS`.

    Raises:
        RequestError: it is none of them, or cannot be done here.
    """
    if kind not in COMPILATIONS:
        raise RequestError(
            f"The compilation {kind!r} is unknown.", next_step=f"Choose {', '.join(COMPILATIONS)}."
        )
    if kind == "none":
        return
    if any(block._forward_pre_hooks for block in transformer.transformer_blocks):
        raise RequestError(
            "Blocks whose weights visit the device cannot be compiled.",
            next_step="Choose --offload none, or --compile none.",
        )
    device = transformer.patchify_proj.weight.device.type
    if kind == "graphs" and device != "cuda":
        raise RequestError(
            "CUDA graphs need a CUDA device.", next_step="Choose --compile blocks, or none."
        )
    mode = "reduce-overhead" if kind == "graphs" else None
    for block in transformer.transformer_blocks:
        assert isinstance(block, TransformerBlock)
        block.compute = torch.compile(block.compute, mode=mode)  # type: ignore[method-assign]
    if kind == "graphs":
        transformer.register_forward_pre_hook(_begin_step)
        transformer.register_forward_hook(_keep_outputs)


def _begin_step(*_: object) -> None:
    torch.compiler.cudagraph_mark_step_begin()


def _keep_outputs(module: nn.Module, inputs: Any, outputs: Any) -> Any:
    """Copies: the next step writes where the graph left them."""
    return tuple(None if output is None else output.clone() for output in outputs)
