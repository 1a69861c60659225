"""Optimisers: Muon for weight matrices and kernels, AdamW for everything else."""

from collections.abc import Iterable
from importlib import import_module
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ltx2.errors import ResourceError


class FlattenedMuon(torch.optim.Muon):
    """Muon (Jordan et al. 2024) that also takes convolution kernels.

    A kernel [out, in, ...] is updated as the matrix [out, in·...] that it multiplies with. The
    matrices share memory with the parameters, so only gradients have to be handed over.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float, weight_decay: float) -> None:
        self.sources = list(parameters)
        matrices = [nn.Parameter(p.detach().flatten(1)) for p in self.sources]
        super().__init__(matrices, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
        self.matrices = matrices

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update from the gradients of the original parameters."""
        for source, matrix in zip(self.sources, self.matrices, strict=True):
            matrix.grad = None if source.grad is None else source.grad.flatten(1)
        super().step(closure)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clears the gradients of the original parameters."""
        for source in self.sources:
            if set_to_none or source.grad is None:
                source.grad = None
            else:
                source.grad.zero_()


def build_optimizers(
    modules: Iterable[nn.Module],
    *,
    matrix_rate: float,
    other_rate: float,
    weight_decay: float = 0.01,
) -> list[Optimizer]:
    """Muon for parameters with two or more axes, AdamW for biases, norms and token embeddings.

    Args:
        modules: networks to train; parameters without gradients are left out.
        matrix_rate, other_rate: learning rates; both move a weight by about this much a step.
    """
    matrices: list[Tensor] = []
    others: list[Tensor] = []
    for module in modules:
        embeddings = {id(m.weight) for m in module.modules() if isinstance(m, nn.Embedding)}
        for parameter in module.parameters():
            if parameter.requires_grad:
                is_matrix = parameter.ndim >= 2 and id(parameter) not in embeddings
                (matrices if is_matrix else others).append(parameter)
    return [
        FlattenedMuon(matrices, lr=matrix_rate, weight_decay=weight_decay),
        torch.optim.AdamW(others, lr=other_rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def build_optimizer(
    name: Literal["adamw", "adamw8bit", "muon"],
    module: nn.Module,
    *,
    learning_rate: float,
    weight_decay: float,
) -> list[Optimizer]:
    """Optimisers of everything in a module that requires gradients.

    Args:
        name: adamw8bit keeps its averages in 8 bits, an eighth of the memory.
        module: already spread over processes and devices.
        learning_rate: of all parameters.
        weight_decay: of weights; biases, norms and tables have none.

    Raises:
        ResourceError: the 8-bit optimiser is not installed.
    """
    if name == "muon":
        return build_optimizers(
            [module],
            matrix_rate=learning_rate,
            other_rate=learning_rate,
            weight_decay=weight_decay,
        )
    parameters = [p for p in module.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if name == "adamw":
        return [torch.optim.AdamW(groups, lr=learning_rate, fused=True)]
    try:
        # By name: an optional package that no requirement file installs.
        adamw8bit = import_module("bitsandbytes.optim").AdamW8bit
    except ImportError as error:
        raise ResourceError(
            "The optimiser adamw8bit needs the package bitsandbytes.",
            next_step="Run `pip install bitsandbytes`, or choose adamw.",
        ) from error
    return [adamw8bit(groups, lr=learning_rate)]
