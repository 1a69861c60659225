"""Tensors as bytes of a file, read into memory instead of mapped."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ltx2.errors import CheckpointError

if TYPE_CHECKING:
    from ltx2.checkpoint.reader import Part

DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I32": torch.int32,
    "I64": torch.int64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}
"""PyTorch's types by the names that files use."""


_PIECE = 2**24
"""Bytes read at once where there is no reading into memory that is there already."""


def read_at(file: int, memory: memoryview, start: int) -> int:
    """Bytes of an open file that came into memory, from byte `start` on; 0 behind its end.

    On Windows only one thread at a time may read from `file`.
    """
    if hasattr(os, "preadv"):
        return os.preadv(file, [memory], start)
    os.lseek(file, start, os.SEEK_SET)
    piece = os.read(file, min(len(memory), _PIECE))
    memory[: len(piece)] = piece
    return len(piece)


@dataclass(frozen=True)
class StoredTensor:
    """Where in a file the values of a tensor lie.

    Attributes:
        path: of the file.
        start: byte at which they begin.
        num_bytes: that they take.
        dtype: that they are stored in.
        shape: sizes of the axes.
    """

    path: Path
    start: int
    num_bytes: int
    dtype: torch.dtype
    shape: tuple[int, ...]

    @classmethod
    def of(cls, part: "Part", name: str) -> "StoredTensor":
        """Where a tensor of a file lies.

        Raises:
            CheckpointError: it is of a type that PyTorch does not have.
        """
        info = part.tensors[name]
        if info.dtype not in DTYPES:
            raise CheckpointError(
                f"{part.path.name} stores {name[:120]!r} as {info.dtype}, which is unknown.",
                next_step="Use a file of the model in another type.",
            )
        start, stop = part.extents[name]
        return cls(part.path, start, stop - start, DTYPES[info.dtype], info.shape)

    def read(self, file: int) -> Tensor:
        """A copy of the values, of an open file."""
        values = torch.empty(self.shape, dtype=self.dtype)
        self.read_into(values, file)
        return values

    def read_into(self, values: Tensor, file: int) -> None:
        """Fills `values`, on the CPU and of the type that is stored, from an open file.

        Raises:
            CheckpointError: the file was cut off since its header was read.
        """
        view = values.view(-1).view(torch.uint8).numpy().data
        done = 0
        while done < self.num_bytes:
            count = read_at(file, view[done:], self.start + done)
            if not count:
                raise CheckpointError(
                    f"{self.path.name} was cut off while its model was used.",
                    next_step="Download or copy the file again.",
                )
            done += count
