"""Main memory that is used again instead of going back to the system between operations.

The C library hands large blocks back as soon as they are free and asks for them anew, and the
system clears every page of them. A transformer of the published size makes and frees some tens of
megabytes in every small operation: on a CPU that takes a fifth of its time (measured on one block
of 3,520 tokens, `benchmarks/transformer_forward.py`). Not for decoders: their few operations are
long ones, and what would be kept between them is as much as they need.
"""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import torch

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""Parameters of glibc's `mallopt` (malloc.h)."""

_KEPT_BYTES = 2**31 - 1
"""The most that `mallopt` takes: an int."""

_USUAL_BYTES = 32 * 2**20
"""What glibc itself adapts M_MMAP_THRESHOLD to at most; before 2.35 it takes no more."""


@contextmanager
def memory_reused(device: torch.device) -> Iterator[None]:
    """Keeps freed memory for what runs inside on a CPU, and gives it back at the end.

    Other threads of the process share in it meanwhile. Does nothing for other devices, and where
    the C library is not glibc.
    """
    library = _glibc() if device.type == "cpu" else None
    if library is None:
        yield
        return
    if not library.mallopt(_MMAP_THRESHOLD, _KEPT_BYTES):
        library.mallopt(_MMAP_THRESHOLD, _USUAL_BYTES)
    library.mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
    library.mallopt(_ARENA_MAX, 1)
    try:
        yield
    finally:
        # Once set they stay, as the C library then adapts them no longer.
        library.mallopt(_MMAP_THRESHOLD, _USUAL_BYTES)
        library.mallopt(_TRIM_THRESHOLD, 2 * _USUAL_BYTES)
        library.malloc_trim(0)


@lru_cache(maxsize=1)
def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None
