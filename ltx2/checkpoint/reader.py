"""Safetensors files, read by memory map after their header was checked, and written whole.

The header alone answers what a file holds; PyTorch is imported when tensors are asked for.

A checkpoint may be split: the metadata key `companions` of its main file lists, as JSON, the names
of files beside it that hold the other tensors, so that several models can share them.
"""

import hashlib
import json
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from io import FileIO
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ltx2.checkpoint.quantized import QuantizedWeight, find_quantized
from ltx2.errors import CheckpointError, ResourceError
from ltx2.files import replaced

if TYPE_CHECKING:
    from torch import Tensor

MAX_HEADER_BYTES = 100_000_000
"""Limit of the format itself."""

COMPANIONS = "companions"
"""Metadata key: names of the files with the other tensors."""

SAMPLE_BYTES = 16_384
"""Taken for the digest from each end of a tensor; shorter tensors are taken whole."""

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
class Part:
    """One file of a checkpoint; its header is sound, and no tensor is read yet.

    Attributes:
        path: of the file.
        size_bytes: of the whole file.
        tensors: what it holds, by name.
        extents: where the data of each tensor begin and end, in bytes from the file's start.
        metadata: the header's free texts.
    """

    path: Path
    size_bytes: int
    tensors: Mapping[str, TensorInfo]
    extents: Mapping[str, tuple[int, int]]
    metadata: Mapping[str, str]

    @classmethod
    def open(cls, path: Path) -> "Part":
        """The file at `path`, with its header checked against the file.

        Raises:
            CheckpointError: it is missing, of another kind, cut off, or its header is wrong.
        """
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
        except (OSError, ValueError) as error:  # ValueError: no path at all, as with a zero byte
            raise CheckpointError(
                f"{_shortened(path)} cannot be read ({getattr(error, 'strerror', error)}).",
                next_step="Check that it is a file you may read.",
            ) from error
        return _parse_header(path, raw, size_bytes)

    def companions(self) -> list[Path]:
        """Files beside this one with the other tensors of its checkpoint.

        Raises:
            CheckpointError: the metadata do not list plain file names.
        """
        try:
            names = json.loads(self.metadata.get(COMPANIONS, "[]"))
        except (ValueError, RecursionError) as error:
            _refuse(self.path, f"has a metadata key {COMPANIONS!r} that is not JSON", cause=error)
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            _refuse(self.path, f"has a metadata key {COMPANIONS!r} that is no list of names")
        for name in names:
            if name in ("", ".", "..") or any(mark in name for mark in "/\\:\0"):
                raise CheckpointError(
                    f"{self.path.name} names {name[:120]!r} as a companion, which is not the name "
                    "of a file beside it.",
                    next_step="Use an unchanged checkpoint from a source that you trust.",
                )
        return [self.path.with_name(name) for name in names]


@dataclass(frozen=True)
class CheckpointFile:
    """A checkpoint with sound headers, in one file or split; no tensor is read yet.

    Attributes:
        path: of the main file.
        size_bytes: of all its files.
        tensors: what they hold together for the networks, by name; of a weight in fewer bits the
            shape is its own, not that of its bits.
        metadata: the main file's free texts, without `companions`: written into one file with
            all tensors, they describe it rightly.
        parts: the files, the main one first.
        stored: where each tensor lies as it is stored: the file, and its name there.
        quantized: weights among `tensors` that are stored in fewer bits.
    """

    path: Path
    size_bytes: int
    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str]
    parts: tuple[Part, ...] = ()
    stored: Mapping[str, tuple[Part, str]] = field(default_factory=dict)
    quantized: Mapping[str, QuantizedWeight] = field(default_factory=dict)

    @classmethod
    def open(cls, path: str | Path) -> "CheckpointFile":
        """The checkpoint whose main file is at `path`, with every header checked.

        Raises:
            CheckpointError: a file is missing, of another kind, cut off, or its header is wrong;
                or two files hold the same tensor.
        """
        main = Part.open(Path(path))
        companions = [_open_companion(main, companion) for companion in main.companions()]
        metadata = {key: text for key, text in main.metadata.items() if key != COMPANIONS}
        return cls.of([(part, {}) for part in (main, *companions)], metadata)

    @classmethod
    def of(
        cls,
        parts: Iterable[tuple[Part, Mapping[str, str]]],
        metadata: Mapping[str, str],
        *,
        path: Path | None = None,
    ) -> "CheckpointFile":
        """A checkpoint of files, the main one first.

        Args:
            parts: each with official names of its tensors, where they are called otherwise.
            metadata: that describe them together.
            path: of what stands for all of them; usually that of the main file.

        Raises:
            CheckpointError: two files hold the same tensor.
        """
        files = list(parts)
        main = files[0][0]
        stored: dict[str, tuple[Part, str]] = {}
        for part, names in files:
            for own in part.tensors:
                name = names.get(own, own)
                if name in stored:
                    raise CheckpointError(
                        f"{part.path.name} holds the tensor {name[:120]!r}, which another file of "
                        f"{main.path.name} holds too.",
                        next_step="Use the files of one download together.",
                    )
                stored[name] = (part, own)
        tensors, quantized = find_quantized({n: p.tensors[own] for n, (p, own) in stored.items()})
        return cls(
            path=main.path if path is None else path,
            size_bytes=sum(part.size_bytes for part, _ in files),
            tensors=tensors,
            metadata=metadata,
            parts=tuple(part for part, _ in files),
            stored=stored,
            quantized=quantized,
        )

    @property
    def companions(self) -> tuple[Path, ...]:
        """The files beside the main one."""
        return tuple(part.path for part in self.parts[1:])

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

    @cached_property
    def digest(self) -> str:
        """Identifies the weights: equal architectures that were trained differently differ.

        The start of a SHA-256 over all tensors by name, each with its type, its shape, and its
        data or, where they are long, both their ends. That is at most 33 KB per tensor, 0.1 GB of
        the published 43 GB, while training moves values everywhere. How tensors are ordered and
        spread over files does not matter, nor do the metadata. It is not kept in the file, where
        it would outlive changes of the weights.

        Raises:
            CheckpointError: a file changed since it was opened.
        """
        hashed = hashlib.sha256()
        with ExitStack() as stack:
            files: dict[Path, FileIO] = {}
            for part in self.parts:
                try:
                    files[part.path] = stack.enter_context(part.path.open("rb", buffering=0))
                except OSError as error:
                    _refuse(part.path, "changed while it was being read", cause=error)
            for name, (part, own) in sorted(self.stored.items()):
                info = part.tensors[own]
                hashed.update(json.dumps([name, info.dtype, info.shape]).encode())
                for sample in _samples(part, files[part.path], own):
                    hashed.update(sample)
        return hashed.hexdigest()[:32]

    def read(self, names: Iterable[str]) -> "dict[str, Tensor]":
        """Tensors by name as they are stored, mapped from the file in the type it stores.

        Raises:
            CheckpointError: a file changed since it was opened.
        """
        wanted = list(names)
        tensors = dict(self.each(wanted))
        return {name: tensors[name] for name in wanted}

    def each(self, names: Iterable[str]) -> "Iterator[tuple[str, Tensor]]":
        """The tensors of `read` one after another, so that not all are in memory at once.

        Raises:
            CheckpointError: a file changed since it was opened.
        """
        from safetensors import SafetensorError, safe_open

        from ltx2.checkpoint.stored import StoredTensor

        wanted = list(names)
        for part in self.parts:
            own = [name for name in wanted if self.stored[name][0] is part]
            if not own:
                continue
            try:
                with ExitStack() as stack:
                    try:
                        mapped = stack.enter_context(safe_open(part.path, framework="pt"))
                    except RuntimeError:
                        # Linux maps no file for writing, be it private, that is larger than memory.
                        file = stack.enter_context(part.path.open("rb", buffering=0))
                        for name in own:
                            place = StoredTensor.of(part, self.stored[name][1])
                            yield name, place.read(file.fileno())
                        continue
                    for name in own:
                        yield name, mapped.get_tensor(self.stored[name][1])
            except (OSError, SafetensorError) as error:
                _refuse(part.path, "changed while it was being read", cause=error)


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
    own = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    try:
        with replaced(path) as part:
            save_file(own, part, metadata=dict(metadata))
    except (OSError, SafetensorError) as error:
        raise ResourceError(
            f"{path} cannot be written ({error}).",
            next_step="Free some space on the disk, or choose another folder.",
        ) from error


def _open_companion(main: Part, path: Path) -> Part:
    try:
        return Part.open(path)
    except CheckpointError as error:
        raise CheckpointError(
            f"{main.path.name} needs {path.name[:120]}, which cannot be used: {error.message}",
            next_step="Put the one from the same download beside it.",
        ) from error


def _samples(part: Part, file: FileIO, name: str) -> Iterator[bytes]:
    """The data of a tensor, or both ends of long data."""
    start, stop = part.extents[name]
    pieces = [(start, stop)]
    if stop - start > 2 * SAMPLE_BYTES:
        pieces = [(start, start + SAMPLE_BYTES), (stop - SAMPLE_BYTES, stop)]
    for first, last in pieces:
        try:
            file.seek(first)
            sample = file.read(last - first)
        except OSError as error:
            _refuse(part.path, "changed while it was being read", cause=error)
        if len(sample) != last - first:
            _refuse(part.path, "changed while it was being read")
        yield sample


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


def _parse_header(path: Path, raw: bytes, size_bytes: int) -> Part:
    """The file whose header fits its data exactly."""
    try:
        header = json.loads(raw.decode("utf-8"), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        _refuse(path, "has a header that cannot be parsed", cause=error)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        _refuse(path, "has metadata that are not texts")
    tensors: dict[str, TensorInfo] = {}
    extents: dict[str, tuple[int, int]] = {}
    data_start = _LENGTH.size + len(raw)
    for name, entry in header.items():
        parsed = _parse_tensor(entry)
        if parsed is None:
            _refuse(path, f"describes the tensor {name[:200]!r} wrongly")
        tensors[name], (start, stop) = parsed
        extents[name] = data_start + start, data_start + stop
    _check_extents(path, extents.values(), data_start, size_bytes)
    return Part(path, size_bytes, tensors, extents, metadata)


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


def _check_extents(
    path: Path, extents: Iterable[tuple[int, int]], data_start: int, size_bytes: int
) -> None:
    """Tensors must lie side by side and fill the file to its end."""
    end = data_start
    for start, stop in sorted(extents):
        if start != end:
            _refuse(path, "has tensors that overlap or leave gaps")
        end = stop
    if end > size_bytes:
        _refuse(path, f"is cut off: {end - size_bytes:,} bytes are missing")
    if end < size_bytes:
        _refuse(path, f"has {size_bytes - end:,} bytes that belong to no tensor")


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


def _shortened(path: Path) -> str:
    text = str(path)
    return text if len(text) <= 200 else f"{text[:200]}…"
