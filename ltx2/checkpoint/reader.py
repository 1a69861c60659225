"""Safetensors files, read by memory map after their header was checked, and written whole.

The header alone answers what a file holds; PyTorch is imported when tensors are asked for.
"""

import hashlib
import json
import os
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ltx2.errors import CheckpointError, ResourceError

if TYPE_CHECKING:
    from torch import Tensor

MAX_HEADER_BYTES = 100_000_000
"""Limit of the format itself."""

_LENGTH = struct.Struct("<Q")

_BITS = {
    **dict.fromkeys(("F4",), 4),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
}

_DAMAGED = "Download or copy the file again."
_CONVERT = "Use a .safetensors file of the model; files of other kinds are not opened."


@dataclass(frozen=True)
class TensorInfo:
    """What the header says about one tensor.

    Attributes:
        dtype: as the format writes it ("BF16").
        shape: sizes of the axes.
    """

    dtype: str
    shape: tuple[int, ...]

    @property
    def num_elements(self) -> int:
        """Count of values."""
        return prod(self.shape)


@dataclass(frozen=True)
class CheckpointFile:
    """A safetensors file whose header is sound; no tensor is read yet.

    Attributes:
        path: of the file.
        size_bytes: of the whole file.
        tensors: what it holds, by name.
        metadata: the header's free texts.
    """

    path: Path
    size_bytes: int
    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str]

    @classmethod
    def open(cls, path: str | Path) -> "CheckpointFile":
        """The file at `path`, with its header checked against the file.

        Raises:
            CheckpointError: it is missing, of another kind, cut off, or its header is wrong.
        """
        path = Path(path)
        try:
            with path.open("rb") as file:
                size_bytes = os.fstat(file.fileno()).st_size
                length = _header_length(path, file.read(_LENGTH.size + 1), size_bytes)
                file.seek(_LENGTH.size)
                raw = file.read(length)
        except FileNotFoundError as error:
            raise CheckpointError(
                f"There is no file {path}.", next_step="Check the path, or download the file."
            ) from error
        except OSError as error:
            raise CheckpointError(
                f"{path} cannot be read ({error.strerror}).",
                next_step="Check that it is a file you may read.",
            ) from error
        tensors, metadata = _parse_header(path, raw, size_bytes - _LENGTH.size - len(raw))
        return cls(path, size_bytes, tensors, metadata)

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """The architecture: parsed JSON of the metadata key `config`.

        Raises:
            CheckpointError: there is none, or it is not an object.
        """
        return self.metadata_object("config")

    def metadata_object(self, key: str) -> Mapping[str, Any]:
        """Parsed JSON of one metadata key.

        Raises:
            CheckpointError: it is missing or not a JSON object.
        """
        if key not in self.metadata:
            raise CheckpointError(
                f"{self.path.name} does not say {key!r} in its metadata.",
                next_step="Use a file in the layout of the published LTX-2 checkpoints.",
            )
        try:
            value = json.loads(self.metadata[key])
        except (ValueError, RecursionError) as error:
            _refuse(self.path, f"has a metadata key {key!r} that is not JSON", cause=error)
        if not isinstance(value, dict):
            _refuse(self.path, f"has a metadata key {key!r} that is not an object")
        return value

    @cached_property
    def fingerprint(self) -> str:
        """Identifies names and shapes, as `fingerprint_of` does."""
        return fingerprint_of((name, info.shape) for name, info in self.tensors.items())

    def read(self, names: Iterable[str]) -> "dict[str, Tensor]":
        """Tensors by name, mapped from the file in the type it stores.

        Raises:
            CheckpointError: the file changed since it was opened.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.path, framework="pt") as file:
                return {name: file.get_tensor(name) for name in names}
        except (OSError, SafetensorError) as error:
            _refuse(self.path, "changed while it was being read", cause=error)


def fingerprint_of(tensors: Iterable[tuple[str, tuple[int, ...]]]) -> str:
    """MD5 over the names and shapes of tensors, as community tools record it for LTX-2 files."""
    parts: list[str] = []
    for name, shape in tensors:
        parts += [f"{name}:{'_'.join(map(str, shape))}", name]
    joined = ",".join(sorted(parts)).encode(errors="backslashreplace")
    return hashlib.md5(joined, usedforsecurity=False).hexdigest()


def save_checkpoint(
    path: str | Path, tensors: "Mapping[str, Tensor]", metadata: Mapping[str, str]
) -> None:
    """Write a safetensors file; until it is complete, `path` is as it was.

    Args:
        path: of the file; its folder exists.
        tensors: on any device, of any type; shared memory is written once per name.
        metadata: free texts, for example `config` with JSON.

    Raises:
        ResourceError: the file cannot be written; nothing is left behind.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    path = Path(path)
    part = path.with_name(path.name + ".part")
    own = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    try:
        save_file(own, part, metadata=dict(metadata))
        part.replace(path)
    except (OSError, SafetensorError) as error:
        raise ResourceError(
            f"{path} cannot be written ({error}).",
            next_step="Free some space on the disk, or choose another folder.",
        ) from error
    finally:
        part.unlink(missing_ok=True)


def _header_length(path: Path, start: bytes, size_bytes: int) -> int:
    """Bytes of the header, after a look at what kind of file this is.

    Args:
        path: for messages.
        start: the length and the first byte of the header.
        size_bytes: of the whole file.
    """
    # A length may begin like a pickle, but then an object follows.
    if not start.endswith(b"{") and start.startswith((b"PK", b"\x80")):
        raise CheckpointError(
            f"{path.name} is a pickle, which can run any program when it is opened.",
            next_step=_CONVERT,
        )
    if len(start) <= _LENGTH.size:
        _refuse(path, f"has only {len(start)} bytes")
    (length,) = _LENGTH.unpack(start[: _LENGTH.size])
    if length > MAX_HEADER_BYTES or not start.endswith(b"{"):
        raise CheckpointError(f"{path.name} is not a safetensors file.", next_step=_CONVERT)
    if length > size_bytes - _LENGTH.size:
        _refuse(path, "ends inside its header")
    return int(length)


def _parse_header(
    path: Path, raw: bytes, data_bytes: int
) -> tuple[dict[str, TensorInfo], dict[str, str]]:
    """Tensors and metadata of a header that fits `data_bytes` of data exactly."""
    try:
        header = json.loads(raw.decode("utf-8"), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        _refuse(path, "has a header that cannot be parsed", cause=error)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        _refuse(path, "has metadata that are not texts")
    tensors: dict[str, TensorInfo] = {}
    extents: list[tuple[int, int]] = []
    for name, entry in header.items():
        parsed = _parse_tensor(entry)
        if parsed is None:
            _refuse(path, f"describes the tensor {name[:200]!r} wrongly")
        tensors[name], extent = parsed
        extents.append(extent)
    _check_extents(path, extents, data_bytes)
    return tensors, metadata


def _parse_tensor(entry: Any) -> tuple[TensorInfo, tuple[int, int]] | None:
    """One tensor and its extent in the data; None if the entry contradicts itself."""
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        return None
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _BITS:
        return None
    if not (_is_counts(shape) and _is_counts(offsets) and len(offsets) == 2):
        return None
    info = TensorInfo(dtype, tuple(shape))
    if info.num_elements * _BITS[dtype] != 8 * (offsets[1] - offsets[0]):
        return None
    return info, (offsets[0], offsets[1])


def _check_extents(path: Path, extents: list[tuple[int, int]], data_bytes: int) -> None:
    """Tensors must lie side by side and fill the file to its end."""
    end = 0
    for start, stop in sorted(extents):
        if start != end:
            _refuse(path, "has tensors that overlap or leave gaps")
        end = stop
    if end > data_bytes:
        _refuse(path, f"is cut off: {end - data_bytes:,} bytes are missing")
    if end < data_bytes:
        _refuse(path, f"has {data_bytes - end:,} bytes that belong to no tensor")


def _is_counts(value: Any) -> bool:
    """Whether it is a list of integers from 0 up; JSON's true and false are not."""
    return isinstance(value, list) and all(type(v) is int and v >= 0 for v in value)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name occurs twice")
    return result


def _refuse(path: Path, what: str, *, cause: BaseException | None = None) -> NoReturn:
    raise CheckpointError(f"{path.name} is damaged: it {what}.", next_step=_DAMAGED) from cause
