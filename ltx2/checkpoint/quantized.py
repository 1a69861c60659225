"""Which weights of a file are stored in fewer bits, told by the header alone.

A quantised weight `X.weight` has tensors beside it that say what its numbers stand for:

- 8 bits: W = Q * scale, with one scale for all or one for each output channel. The published
  files and newer ones of ComfyUI call it `X.weight_scale`, older ones `X.scale_weight`.
- NVFP4: two numbers of 4 bits in a byte, times a scale of each 16 inputs (`X.weight_scale`, laid
  out in tiles), times one for all (`X.weight_scale_2`).

Scales of activations (`X.input_scale`) and notes of programs (`X.comfy_quant`, `scaled_fp8`) are
left out: products are computed in the type of the activations.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from ltx2.checkpoint.reader import TensorInfo

Kind = Literal["fp8", "int8", "nvfp4"]

NVFP4_BLOCK = 16
"""Inputs that share a scale."""
NVFP4_TILE = (128, 4)
"""Output channels and blocks in a tile of scales; both axes are padded to whole tiles."""

_WEIGHT = ".weight"
_SCALES = (".weight_scale", ".scale_weight")
_SECOND_SCALE = ".weight_scale_2"
_NOTES = (".input_scale", ".scale_input", ".comfy_quant")
_MARKER = "scaled_fp8"
_UNKNOWN = ".pre_quant_scale"
"""Says that activations have to be scaled, which nothing here does."""

_SCALE_TYPES = ("F32", "BF16", "F16")
_EIGHT_BITS: Mapping[str, Kind] = {"F8_E4M3": "fp8", "F8_E5M2": "fp8", "U8": "fp8", "I8": "int8"}
"""Older programs keep fp8 in bytes without a type."""

SIGNS_OF_QUANTISATION = (*_SCALES, _SECOND_SCALE, *_NOTES, _UNKNOWN, ".weight_scalar")
"""Endings of names that no network has itself."""


@dataclass(frozen=True)
class QuantizedWeight:
    """Tensors of a file that make up one weight.

    Attributes:
        kind: how.
        values, scale: names of the numbers and of what they are multiplied with.
        second_scale: name of a scale over all of it (NVFP4).
    """

    kind: Kind
    values: str
    scale: str
    second_scale: str | None = None

    @property
    def names(self) -> dict[str, str]:
        """All of its tensors, by what the published files call them after the module's name."""
        names = {"weight": self.values, "weight_scale": self.scale}
        return names if self.second_scale is None else names | {"weight_scale_2": self.second_scale}


def find_quantized(
    stored: "Mapping[str, TensorInfo]",
) -> "tuple[dict[str, TensorInfo], dict[str, QuantizedWeight]]":
    """Tensors as a network knows them, and those among them that are stored in fewer bits.

    A weight whose numbers and scales do not fit each other stays as it is stored, so that
    whoever loads it says what is wrong.
    """
    quantized: dict[str, QuantizedWeight] = {}
    hidden: set[str] = {n for n in stored if n == _MARKER or n.endswith(f".{_MARKER}")}
    for name in stored:
        if not name.endswith(_WEIGHT):
            continue
        module = name.removesuffix(_WEIGHT)
        found = _quantized(stored, module)
        if found is not None:
            quantized[name] = found
            hidden |= {*found.names.values()} - {name}
            hidden |= {module + note for note in _NOTES if module + note in stored}
    tensors = {name: info for name, info in stored.items() if name not in hidden}
    for name, weight in quantized.items():
        info = tensors[name]
        if weight.kind == "nvfp4":
            rows, columns = info.shape
            tensors[name] = replace(info, dtype="NVFP4", shape=(rows, 2 * columns))
    return tensors, quantized


def is_quantizable(name: str) -> bool:
    """Whether 8 bits are enough for a tensor: weights of blocks' layers, but not of small gates.

    Args:
        name: in the transformer, or in a text encoder whose blocks are called layers.
    """
    is_weight = name.endswith(_WEIGHT) and ("blocks." in name or "layers." in name)
    return is_weight and not name.endswith("to_gate_logits.weight")


def kept_bytes(
    info: "TensorInfo", *, item_size: int, stored_bytes: int | None, in_8_bits: bool
) -> int:
    """Bytes that a loaded tensor takes.

    Args:
        info: of the tensor.
        item_size: bytes of a number of the type that it is computed in.
        stored_bytes: of all its parts where the file has it in fewer bits; None otherwise.
        in_8_bits: whether a weight of a layer is quantised as it is loaded.
    """
    if stored_bytes is not None:
        return stored_bytes
    if in_8_bits and len(info.shape) == 2:
        return info.num_elements + 4 * info.shape[0]
    return item_size * info.num_elements


def padded_scales(rows: int, columns: int) -> int:
    """Scales of an NVFP4 weight of `rows` x `columns` numbers, in whole tiles."""
    high, wide = NVFP4_TILE
    blocks = columns // NVFP4_BLOCK
    return -(-rows // high) * high * (-(-blocks // wide) * wide)


def _quantized(stored: "Mapping[str, TensorInfo]", module: str) -> QuantizedWeight | None:
    name = module + _WEIGHT
    scale = next((module + ending for ending in _SCALES if module + ending in stored), None)
    if scale is None or module + _UNKNOWN in stored or len(stored[name].shape) != 2:
        return None
    info, scales = stored[name], stored[scale]
    rows, columns = info.shape
    second = module + _SECOND_SCALE
    if second in stored:
        fits = (
            info.dtype == "U8"
            and scales.dtype in ("F8_E4M3", "U8")
            and (2 * columns) % NVFP4_BLOCK == 0
            and scales.num_elements == padded_scales(rows, 2 * columns)
            and stored[second].dtype == "F32"
            and stored[second].num_elements == 1
        )
        return QuantizedWeight("nvfp4", name, scale, second) if fits else None
    kind = _EIGHT_BITS.get(info.dtype)
    fits = scales.dtype in _SCALE_TYPES and scales.num_elements in (1, rows)
    return QuantizedWeight(kind, name, scale) if kind is not None and fits else None
