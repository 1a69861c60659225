"""Low-rank adapters (LoRA, Hu et al. 2021): W x + alpha / rank * B (A x), with W frozen.

Files have the layout of the published LoRAs, which knows no alpha: it is folded into B.
"""

import math
from collections.abc import Mapping
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ltx2.checkpoint.lora import PREFIX
from ltx2.errors import RequestError

ATTENTION = ("*.to_q", "*.to_k", "*.to_v", "*.to_out.0")
"""Every attention: of both streams, to the text, and between picture and sound."""


class Adapter(nn.Module):
    """The change of one weight [out, in]: `up` [out, r] times `down` [r, in], times a scale."""

    def __init__(
        self, in_features: int, out_features: int, *, rank: int, alpha: float, device: torch.device
    ) -> None:
        super().__init__()
        self.scale = alpha / rank
        self.down = nn.Parameter(torch.empty(rank, in_features, device=device))
        self.up = nn.Parameter(torch.zeros(out_features, rank, device=device))

    def forward(self, x: Tensor) -> Tensor:
        """What is added to the output of the frozen layer: [..., in] to [..., out]."""
        # In the type of the activations, as autocast would have it.
        down, up = self.down.to(x.dtype), self.up.to(x.dtype)
        return F.linear(F.linear(x, down), up) * self.scale


class AdaptedLinear(nn.Module):
    """A frozen linear layer and its adapter."""

    def __init__(self, base: nn.Linear, *, rank: int, alpha: float) -> None:
        super().__init__()
        self.base: nn.Module = base
        self.adapter = Adapter(
            base.in_features,
            base.out_features,
            rank=rank,
            alpha=alpha,
            device=base.weight.device,
        )

    @property
    def weight(self) -> Tensor:
        """The frozen weight; networks ask the first layer's for their type and device."""
        weight: Tensor = self.base.weight  # type: ignore[assignment]
        return weight

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] to [..., out]."""
        out: Tensor = self.base(x)
        return out + self.adapter(x).to(out.dtype)


class Adapters(nn.Module):
    """All adapters of a network, which is all that LoRA training changes and saves.

    Attributes:
        targets: names of the linear layers in the network, in the order of `layers`.
    """

    def __init__(self, adapters: Mapping[str, Adapter]) -> None:
        super().__init__()
        self.targets = tuple(adapters)
        self.layers = nn.ModuleList(adapters.values())


def add_adapters(
    network: nn.Module, patterns: tuple[str, ...], *, rank: int, alpha: float, seed: int
) -> Adapters:
    """Adapters in the place of the linear layers whose names fit; the network is frozen.

    They change nothing until they are trained: `up` is zero, `down` random.

    Args:
        network: changed in place.
        patterns: names with `*` for anything, as `*.to_q`.
        rank: inner width.
        alpha: the change is scaled by alpha / rank.
        seed: of the random values, which do not depend on the device.

    Raises:
        RequestError: a pattern fits no linear layer.
    """
    network.requires_grad_(False)
    linears = {n: m for n, m in network.named_modules() if isinstance(m, nn.Linear)}
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in linears):
            raise RequestError(
                f"No linear layer of the transformer fits the pattern {pattern!r}.",
                next_step="Write layer names with * for anything, for example *.to_q.",
            )
    generator = torch.Generator().manual_seed(seed)
    adapters = {}
    for name, linear in linears.items():
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            adapted = AdaptedLinear(linear, rank=rank, alpha=alpha)
            parent, _, own = name.rpartition(".")
            setattr(network.get_submodule(parent), own, adapted)
            # The usual start of a linear layer without a bias.
            bound = 1.0 / math.sqrt(linear.in_features)
            drawn = torch.rand(adapted.adapter.down.shape, generator=generator) * 2 - 1
            with torch.no_grad():
                adapted.adapter.down.copy_(drawn * bound)
            adapters[name] = adapted.adapter
    return Adapters(adapters)


def official_tensors(adapters: Adapters, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a LoRA file, bfloat16, under the official names and with alpha folded into B.

    Args:
        adapters: whose names and scales they are.
        values: their parameters by name, for example averaged ones.
    """
    tensors = {}
    for index, (target, layer) in enumerate(zip(adapters.targets, adapters.layers, strict=True)):
        assert isinstance(layer, Adapter)
        down, up = values[f"layers.{index}.down"], values[f"layers.{index}.up"]
        tensors[f"{PREFIX}{target}.lora_A.weight"] = down.to(torch.bfloat16)
        tensors[f"{PREFIX}{target}.lora_B.weight"] = (up.float() * layer.scale).to(torch.bfloat16)
    return tensors
