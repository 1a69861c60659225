"""Low-rank changes of a transformer's weights: W + strength * scale * B A.

Read are the layouts that LoRAs for LTX-2 are published in:

- official and ComfyUI: `diffusion_model.<module>.lora_A.weight` [r, in] and `.lora_B.weight`
  [out, r], or `.lora_down` and `.lora_up`, with or without `.alpha`;
- diffusers and PEFT: `transformer.<module>` or `base_model.model.<module>` with the names of
  diffusers, alpha in the metadata;
- kohya and musubi: `lora_unet_<module>` with underscores in the place of dots.

The scale is alpha / r, or 1 where no alpha is stored.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ltx2.checkpoint.keymaps import TRANSFORMER_TO_DIFFUSERS, rename
from ltx2.checkpoint.lora_layouts import (
    Ending,
    dotted_name,
    is_ignored,
    is_lora,
    is_of_audio,
    other_adapter,
    split_name,
)
from ltx2.checkpoint.reader import CheckpointFile
from ltx2.errors import CheckpointError
from ltx2.model.quantized import put

PREFIX = "diffusion_model."
"""Of the official layout, which training writes."""

PEFT_METADATA = "lora_adapter_metadata"
"""Metadata key under which diffusers stores how a LoRA was made."""

_NEXT_STEP = "Use a LoRA that was made for this model, in the layout of the published ones."
_FROM_DIFFUSERS = {new: old for old, new in TRANSFORMER_TO_DIFFUSERS.items()}


class Strengths(NamedTuple):
    """Factors of a LoRA's changes, by what they change; 1 is as it was trained.

    Attributes:
        video: of the picture's layers, and of those that bring sound to it.
        audio: of the sound's layers, and of those that bring the picture to it.
    """

    video: float
    audio: float

    @classmethod
    def of(cls, strength: "float | Strengths") -> "Strengths":
        """Both, of one factor for both or of themselves."""
        return strength if isinstance(strength, Strengths) else cls(strength, strength)

    def for_module(self, module: str) -> float:
        """The factor of a module's change."""
        return self.audio if is_of_audio(module) else self.video


@dataclass(frozen=True)
class LowRank:
    """The change of one weight [out, in]: `scale` times `up` [out, r] times `down` [r, in]."""

    down: Tensor
    up: Tensor
    scale: float = 1.0


@dataclass(frozen=True)
class Lora:
    """Changes by the name of the module whose weight they belong to.

    Attributes:
        name: of the file.
        digest: of its weights.
    """

    name: str
    digest: str
    changes: Mapping[str, LowRank]


def read_lora(path: str | Path) -> Lora:
    """The changes that a LoRA file holds.

    Changes of the text projection, which the distilled LoRA has too, are left out as the released
    pipelines do.

    Raises:
        CheckpointError: the file is damaged, or has another layout.
    """
    file = CheckpointFile.open(path)
    name = file.path.name
    parts: dict[str, dict[Ending, str]] = {}
    if not is_lora(file.tensors):
        kind = other_adapter(file.tensors)
        why = f"it is a {kind}" if kind else "no tensor in it ends in .lora_A.weight"
        raise CheckpointError(f"{name} is not a LoRA: {why}.", next_step=_NEXT_STEP)
    for tensor in file.tensors:
        if is_ignored(tensor):
            continue
        split = split_name(tensor)
        if split is None:
            raise _misfit(name, f"has a tensor {tensor[:120]!r}")
        module, ending = split
        parts.setdefault(module, {})[ending] = tensor
    if not parts:
        raise _misfit(name, "holds no change of the transformer")
    scales = _PeftScales.of(file)
    for module, endings in parts.items():
        _require_pair(file, module, endings)
    tensors = file.read(tensor for endings in parts.values() for tensor in endings.values())
    changes: dict[str, LowRank] = {}
    for module, endings in parts.items():
        down, up = tensors[endings[Ending.DOWN]], tensors[endings[Ending.UP]]
        scale = scales.scale(module, rank=down.shape[0])
        if Ending.ALPHA in endings:
            scale = float(tensors[endings[Ending.ALPHA]]) / down.shape[0]
        if not math.isfinite(scale):
            raise _misfit(name, f"scales the change of {module[:120]!r} by {scale}")
        changes[rename(dotted_name(module), _FROM_DIFFUSERS)] = LowRank(down, up, scale)
    return Lora(name, file.digest, changes)


@dataclass(frozen=True)
class _PeftScales:
    """Scales that PEFT's configuration states in a file's metadata.

    Attributes:
        config: that of the transformer's adapter; empty if there is none.
    """

    config: Mapping[str, Any]

    @classmethod
    def of(cls, file: CheckpointFile) -> "_PeftScales":
        if PEFT_METADATA not in file.metadata:
            return cls({})
        stated = file.metadata_object(PEFT_METADATA)
        own = {k.removeprefix("transformer."): v for k, v in stated.items()}
        alphas = [own.get("lora_alpha", 1), *_numbers(own.get("alpha_pattern")).values()]
        if not all(isinstance(alpha, int | float) for alpha in alphas):
            raise _misfit(file.path.name, f"has a {PEFT_METADATA!r} that is not PEFT's")
        if own.get("use_dora", False):
            raise _misfit(file.path.name, "is a DoRA, which also scales whole weights")
        return cls(own)

    def scale(self, module: str, *, rank: int) -> float:
        """Alpha / r, or alpha / sqrt(r) where it was trained so."""
        if "lora_alpha" not in self.config:
            return 1.0
        alpha = self.config["lora_alpha"]
        for pattern, own in _numbers(self.config.get("alpha_pattern")).items():
            if module == pattern or module.endswith(f".{pattern}"):
                alpha = own
        return float(alpha / (math.sqrt(rank) if self.config.get("use_rslora", False) else rank))


def _numbers(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _require_pair(file: CheckpointFile, module: str, endings: Mapping[Ending, str]) -> None:
    """Complain about what is not a pair of matrices that fit each other."""
    name = file.path.name
    if Ending.MAGNITUDE in endings:
        raise _misfit(name, "is a DoRA, which also scales whole weights")
    matrices = [endings[e] for e in (Ending.DOWN, Ending.UP) if e in endings]
    shapes = [file.tensors[matrix].shape for matrix in matrices]
    if len(shapes) != 2 or any(len(shape) != 2 for shape in shapes):
        raise _misfit(name, f"has no pair of matrices for {module[:120]!r}")
    (rank, _), (_, other) = shapes
    if rank != other or rank == 0:
        raise _misfit(name, f"has the ranks {rank} and {other} for {module[:120]!r}")
    if Ending.ALPHA in endings and file.tensors[endings[Ending.ALPHA]].num_elements != 1:
        raise _misfit(name, f"has more than one alpha for {module[:120]!r}")


class LiveLora(nn.Module):
    """A layer with low-rank changes beside it: any layer, as it stays untouched.

    Args:
        base: the layer.
        down: of all changes together [r, in].
        up: of all changes together, with their strengths [out, r].
    """

    def __init__(self, base: nn.Module, down: Tensor, up: Tensor) -> None:
        super().__init__()
        self.base = base
        self.register_buffer("down", down)
        self.register_buffer("up", up)

    @property
    def in_features(self) -> int:
        """Width of the input."""
        return self.get_buffer("down").shape[1]

    @property
    def out_features(self) -> int:
        """Width of the output."""
        return self.get_buffer("up").shape[0]

    @property
    def weight(self) -> Tensor:
        """That of the layer, which networks ask for their type and place."""
        weight: Tensor = self.base.weight  # type: ignore[assignment]
        return weight

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] to [..., out]."""
        out: Tensor = self.base(x)
        down, up = self.get_buffer("down").to(x.dtype), self.get_buffer("up").to(x.dtype)
        return out + nn.functional.linear(nn.functional.linear(x, down), up)


class LoraStack:
    """LoRAs on a transformer, which is afterwards as it was before, to the bit.

    Args:
        transformer: whose weights they change.
        original: brings the weight of a module as it is now, once it is fused with others; if it
            is not given, what is fused is kept in main memory.
    """

    def __init__(
        self, transformer: nn.Module, original: Callable[[str], Tensor] | None = None
    ) -> None:
        self._transformer = transformer
        self._original = original
        self._fused: dict[str, Tensor | None] = {}
        self._bases: dict[str, nn.Module] = {}

    @torch.no_grad()
    def put_on(
        self,
        loras: Iterable[tuple[Lora, "float | Strengths"]],
        *,
        live: bool = False,
    ) -> None:
        """Adds LoRAs with their strengths.

        Fused changes are summed in float32 and rounded once to the weight's own type.

        Args:
            loras: all of those wanted; others that were put on are taken off first.
            live: computes the changes beside the weights, which stay untouched: a little slower,
                put on and off in no time. Weights in fewer bits, or in files, always stay so.

        Raises:
            CheckpointError: a LoRA changes what is not there or has another shape; none is on then.
        """
        self.take_off()
        changes = _changes(self._transformer, loras)
        for module, parts in changes.items():
            layer = self._transformer.get_submodule(module)
            if live or not isinstance(layer, nn.Linear) or layer.weight.is_meta:
                self._bases[module] = layer
                put(self._transformer, module, _live(layer, parts))
                continue
            weight = layer.weight.detach()
            self._fused[module] = weight.to("cpu", copy=True) if self._original is None else None
            layer.weight.copy_(_fused(weight, parts))

    @torch.no_grad()
    def take_off(self) -> None:
        """Takes all LoRAs off."""
        for module, base in self._bases.items():
            put(self._transformer, module, base)
        for module, kept in self._fused.items():
            layer = self._transformer.get_submodule(module)
            assert isinstance(layer, nn.Linear)
            if kept is None:
                assert self._original is not None
                kept = self._original(module)
            layer.weight.copy_(kept)
        self._bases, self._fused = {}, {}


def fuse_loras(transformer: nn.Module, loras: Iterable[tuple[Lora, "float | Strengths"]]) -> None:
    """Add LoRAs with their strengths to a transformer's weights for good.

    Everything is summed in float32 and rounded once to the weight's own type.

    Raises:
        CheckpointError: a LoRA changes a weight that is not there or has another shape; no
            weight is changed then.
    """
    LoraStack(transformer, _gone).put_on(loras)


def _gone(module: str) -> Tensor:
    raise AssertionError(f"{module} was changed for good")


_Parts = list[tuple[LowRank, float]]


def _changes(
    transformer: nn.Module, loras: Iterable[tuple[Lora, "float | Strengths"]]
) -> dict[str, _Parts]:
    """Changes by module, each with its whole factor, once all of them fit."""
    layers = {
        name: (int(module.out_features), int(module.in_features))
        for name, module in transformer.named_modules()
        if hasattr(module, "in_features") and hasattr(module, "out_features")
    }
    changes: dict[str, _Parts] = {}
    for lora, strength in loras:
        strengths = Strengths.of(strength)
        if not any(module in layers for module in lora.changes):
            raise _misfit(lora.name, "changes none of the weights of this model")
        for module, change in lora.changes.items():
            if module not in layers:
                raise _misfit(lora.name, f"changes {module[:120]!r}, which this model lacks")
            shape = (change.up.shape[0], change.down.shape[1])
            if layers[module] != shape:
                raise _misfit(
                    lora.name,
                    f"changes {module[:120]!r} as {list(shape)}, which is {list(layers[module])} "
                    "in this model",
                )
            factor = strengths.for_module(module) * change.scale
            if factor:
                changes.setdefault(module, []).append((change, factor))
    return changes


def _fused(weight: Tensor, parts: _Parts) -> Tensor:
    total = weight.float()
    for change, factor in parts:
        up, down = change.up.to(weight.device).float(), change.down.to(weight.device).float()
        total = torch.addmm(total, up, down, alpha=factor)
    return total


def _live(layer: nn.Module, parts: _Parts) -> LiveLora:
    """A layer with all its changes as one, where and in the type that it computes in."""
    dtype, device = _place_of(layer)
    down = torch.cat([change.down.float() for change, _ in parts])
    up = torch.cat([change.up.float() * factor for change, factor in parts], dim=1)
    return LiveLora(layer, down.to(device, dtype), up.to(device, dtype))


def _place_of(layer: nn.Module) -> tuple[torch.dtype, torch.device]:
    """What a layer computes in, and where it lives; what is in files comes from main memory."""
    if isinstance(layer, LiveLora):
        down = layer.get_buffer("down")
        return down.dtype, down.device
    weight: Any = layer.weight
    dtype: torch.dtype = getattr(layer, "dtype", weight.dtype)
    return dtype, torch.device("cpu") if weight.is_meta else weight.device


def _misfit(name: str, what: str) -> CheckpointError:
    return CheckpointError(
        f"The LoRA {name} does not fit this model: it {what}.", next_step=_NEXT_STEP
    )
