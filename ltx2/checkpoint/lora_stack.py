"""LoRAs on a transformer: fused into its weights or live beside them, and off to the bit."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ltx2.checkpoint.changes import Change, Decomposed, Kronecker, LowRank, changed_weight
from ltx2.checkpoint.lora import Lora, Strengths, misfit
from ltx2.errors import CheckpointError
from ltx2.model.quantized import NVFP4Linear, QuantizedLinear, put


class LiveLora(nn.Module):
    """A layer with changes of its weight beside it: any layer, as it stays untouched.

    Args:
        base: the layer.
        low_rank: down [r, in] and up [out, r] of all changes of low rank together, with their
            strengths; None for none.
        kroneckers: changes by Kronecker products, with their strengths.
        rows: what outputs but the bias are multiplied with [out], less one; None for nothing.
        columns: the same of inputs [in].
    """

    def __init__(
        self,
        base: nn.Module,
        low_rank: tuple[Tensor, Tensor] | None = None,
        *,
        kroneckers: Iterable[nn.Module] = (),
        rows: Tensor | None = None,
        columns: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.base = base
        down, up = (None, None) if low_rank is None else low_rank
        self.register_buffer("down", down)
        self.register_buffer("up", up)
        self.register_buffer("rows", rows)
        self.register_buffer("columns", columns)
        self.kroneckers = nn.ModuleList(kroneckers)

    @property
    def in_features(self) -> int:
        """Width of the input."""
        return int(self.base.in_features)  # type: ignore[arg-type]

    @property
    def out_features(self) -> int:
        """Width of the output."""
        return int(self.base.out_features)  # type: ignore[arg-type]

    @property
    def weight(self) -> Tensor:
        """That of the layer, which networks ask for their type and place."""
        weight: Tensor = self.base.weight  # type: ignore[assignment]
        return weight

    @property
    def bias(self) -> Tensor | None:
        """That of the layer."""
        bias: Tensor | None = self.base.bias  # type: ignore[assignment]
        return bias

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] to [..., out]."""
        own: Tensor = self.base(x)
        down, up, rows, columns = self.down, self.up, self.rows, self.columns
        out = own
        if isinstance(rows, Tensor):
            out = out + self._without_bias(own) * rows.to(own.dtype)
        if isinstance(columns, Tensor):
            out = out + self._without_bias(self.base(x * columns.to(x.dtype)))
        if isinstance(down, Tensor) and isinstance(up, Tensor):
            linear = nn.functional.linear
            out = out + linear(linear(x, down.to(x.dtype)), up.to(x.dtype))
        for kronecker in self.kroneckers:
            out = out + kronecker(x)
        return out

    def _without_bias(self, out: Tensor) -> Tensor:
        return out if self.bias is None else out - self.bias.to(out.dtype)


class _LiveKronecker(nn.Module):
    """A change by a Kronecker product, which is never made."""

    def __init__(self, change: Kronecker, strength: float) -> None:
        super().__init__()
        self.register_buffer("left", change.left.float() * (strength * change.scale))
        self.register_buffer("right", change.right.float())
        self.register_buffer("gain", change.gain)

    def forward(self, x: Tensor) -> Tensor:
        """[..., c d] to [..., a b] by left [a, c] and right [b, d]."""
        left, right = (self.get_buffer(name).to(x.dtype) for name in ("left", "right"))
        gain = None if self.gain is None else self.get_buffer("gain").to(x.dtype)
        if gain is not None and gain.shape[0] == 1:
            x = x * gain[0]
        inside = x.unflatten(-1, (left.shape[1], right.shape[1])) @ right.T  # [..., c, b]
        out = (left @ inside).flatten(-2)
        return out * gain[:, 0] if gain is not None and gain.shape[0] != 1 else out


class LoraStack:
    """LoRAs on a transformer, which is afterwards as it was before, to the bit.

    Args:
        transformer: whose weights they change.
        original: brings the weight of a module as it is now from where it was stored; if it is not
            given, what is fused is kept in main memory.
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
            CheckpointError: a LoRA changes what is not there or has another shape, or a
                DoRA needs weights that are not there. As after any error, none is on then.
        """
        self.take_off()
        changes = _changes(self._transformer, loras)
        try:
            for module, parts in changes.items():
                self._put_on(module, parts, live=live)
        except BaseException:  # a DoRA lacks its norms, memory is full, somebody stops it
            self.take_off()
            raise

    def _put_on(self, module: str, parts: "_Parts", *, live: bool) -> None:
        layer = self._transformer.get_submodule(module)
        if live or not isinstance(layer, nn.Linear) or layer.weight.is_meta:
            live_layer = _live(layer, parts, partial(self._whole_weight, module, layer))
            self._bases[module] = layer
            put(self._transformer, module, live_layer)
            return
        weight = layer.weight.detach()
        self._fused[module] = weight.to("cpu", copy=True) if self._original is None else None
        layer.weight.copy_(changed_weight(weight, parts))

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

    def _whole_weight(self, module: str, layer: nn.Module) -> Tensor:
        """What a layer multiplies with [out, in], without what is live beside it."""
        while isinstance(layer, LiveLora):
            layer = layer.base
        weight: Any = layer.weight
        if weight.is_meta:
            if self._original is None:
                raise CheckpointError(
                    f"A DoRA needs the norms of {module}, whose weights stay in their file.",
                    next_step="Let them wait in main memory (--offload cpu), or use a plain LoRA.",
                )
            return self._original(module)
        if isinstance(layer, QuantizedLinear | NVFP4Linear):
            return layer.dequantized()
        whole: Tensor = weight
        return whole


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


_Parts = list[tuple[Change, float]]


def _changes(
    transformer: nn.Module, loras: Iterable[tuple[Lora, "float | Strengths"]]
) -> dict[str, _Parts]:
    """Changes by module, each with its strength, once all of them fit."""
    layers = {
        name: (int(module.out_features), int(module.in_features))
        for name, module in transformer.named_modules()
        if hasattr(module, "in_features") and hasattr(module, "out_features")
    }
    changes: dict[str, _Parts] = {}
    for lora, strength in loras:
        strengths = Strengths.of(strength)
        if not any(module in layers for module in lora.changes):
            raise misfit(lora.name, "changes none of the weights of this model")
        for module, change in lora.changes.items():
            if module not in layers:
                raise misfit(lora.name, f"changes {module[:120]!r}, which this model lacks")
            if layers[module] != change.shape:
                raise misfit(
                    lora.name,
                    f"changes {module[:120]!r} as {list(change.shape)}, which is "
                    f"{list(layers[module])} in this model",
                )
            strength = strengths.for_module(module)
            if strength:
                changes.setdefault(module, []).append((change, strength))
    return changes


def _live(layer: nn.Module, parts: _Parts, weight: Callable[[], Tensor]) -> LiveLora:
    """A layer with its changes beside it, where and in the type that it computes in.

    Args:
        layer: that they change.
        parts: the changes, with their strengths.
        weight: brings what the layer multiplies with, for changes that depend on it.
    """
    downs, ups, kroneckers = [], [], []
    rows, columns = None, None
    for change, strength in parts:
        added = change
        if isinstance(change, Decomposed):
            gain = change.gain(weight())
            added = change.added.gained(gain)
            if gain.shape[1] == 1:
                own = strength * (gain[:, 0] - 1.0)
                rows = own if rows is None else rows + own
            else:
                own = strength * (gain[0] - 1.0)
                columns = own if columns is None else columns + own
        if isinstance(added, LowRank):
            downs.append(added.down.float())
            ups.append(added.up.float() * (strength * added.scale))
        elif isinstance(added, Kronecker):
            kroneckers.append(_LiveKronecker(added, strength))
    dtype, device = _place_of(layer)

    def placed(tensor: Tensor) -> Tensor:
        return tensor.to(device, dtype)

    return LiveLora(
        layer,
        (placed(torch.cat(downs)), placed(torch.cat(ups, dim=1))) if downs else None,
        kroneckers=(kronecker.to(device, dtype) for kronecker in kroneckers),
        rows=None if rows is None else placed(rows),
        columns=None if columns is None else placed(columns),
    )


def _place_of(layer: nn.Module) -> tuple[torch.dtype, torch.device]:
    """What a layer computes in, and where it lives; what is in files comes from main memory."""
    while isinstance(layer, LiveLora):
        layer = layer.base
    weight: Any = layer.weight
    dtype: torch.dtype = getattr(layer, "dtype", weight.dtype)
    return dtype, torch.device("cpu") if weight.is_meta else weight.device
