"""Networks larger than their device: blocks visit it one after another, the next one ahead of time.

Weights have a home, in files or in main memory. A block's hooks bring them to the device before it
runs and send them away after it. Meanwhile a thread fetches the next block into a second place of
the same size, so that where reading is what takes the time, it never stops. With CUDA weights come
through page-locked memory on a stream of their own.

Only for inference: nothing goes back to the home.
"""

import mmap
import os
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ltx2.checkpoint.reader import Part
from ltx2.checkpoint.stored import StoredTensor, read_at
from ltx2.errors import CheckpointError
from ltx2.runtime.memory import free_main_memory

ALIGNMENT = 256
"""Bytes: tensors that come from main memory begin at a multiple, as kernels like it."""

PAGE = 4096
"""Bytes that a file is read in where it is read past the system's cache."""

Homes = Mapping[Tensor, StoredTensor]
"""Of tensors on the meta device, which have a shape and no values."""


Stored = Mapping[str, tuple[Part, str]]
"""File of every tensor and what it is called there, by what networks call it."""


def find_homes(module: nn.Module, stored: Stored, prefix: str = "") -> dict[Tensor, StoredTensor]:
    """Where the values of a module's tensors on the meta device lie.

    Args:
        module: that files hold.
        stored: all that they hold.
        prefix: of the module's names in it.

    Raises:
        CheckpointError: the files lack a tensor, or hold it in another size or an unknown type.
    """
    homes = {}
    for own, tensor in module.state_dict(keep_vars=True).items():
        if not tensor.is_meta:
            continue
        place = stored.get(prefix + own)
        home = None if place is None else StoredTensor.of(*place)
        if home is None or home.shape != tensor.shape:
            raise CheckpointError(
                f"{own[:120]!r} is not in the files as this model needs it.",
                next_step="Use an unchanged download, or load the model with --offload cpu.",
            )
        homes[tensor] = home
    return homes


class BlockStream:
    """Lets blocks take turns on a device; from then on they are called as before.

    Args:
        blocks: in the order in which they usually run; their tensors are in main memory or, on
            the meta device, in `homes`. A single block leaves no copy on the device after it ran.
        device: where they run.
        homes: of tensors on the meta device.
    """

    def __init__(
        self, blocks: Sequence[nn.Module], device: torch.device, homes: Homes | None = None
    ) -> None:
        # Blocks hold the stream by their hooks; held by it they would outlive their model.
        self._blocks = tuple(weakref.ref(block) for block in blocks)
        self._device = device
        self._homes = homes or {}
        self._files = _Files(sum(home.num_bytes for home in self._homes.values()))
        self._places: list[_Place] = []
        self._coming: tuple[int, Future[_Place]] | None = None
        self._side = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="weights")
        for index, block in enumerate(blocks):
            block.register_forward_pre_hook(partial(self._enter, index))
            block.register_forward_hook(self._leave, always_call=True)

    def release(self) -> None:
        """Gives the memory on the device back; the next block that runs takes it again."""
        self._forget_coming()
        self._places = []

    def _enter(self, index: int, block: nn.Module, _: object) -> None:
        if self._coming is None or self._coming[0] != index:
            self._forget_coming()
            self._coming = index, self._order(index)
        (_, coming), self._coming = self._coming, None
        place = coming.result()
        if place.state != _state(block):  # weights were changed since it was fetched
            place = self._order(index).result()
        place.let_in()
        if len(self._blocks) > 1:
            following = (index + 1) % len(self._blocks)
            self._coming = following, self._order(following)

    def _leave(self, block: nn.Module, *_: object) -> None:
        for place in self._places:
            if place.block() is block:
                place.let_out()
        if len(self._blocks) == 1:
            self.release()

    def _forget_coming(self) -> None:
        if self._coming is not None:
            self._coming[1].exception()  # waits; whoever asks for this block again will see it
        self._coming = None

    def _order(self, index: int) -> "Future[_Place]":
        """A fetch of a block that the thread will do; two places take turns."""
        is_new = len(self._places) < 2
        place = _Place(self._device, self._homes, self._side) if is_new else self._places.pop(0)
        self._places.append(place)
        block = self._blocks[index]()
        assert block is not None  # it or one beside it is running
        place.prepare(block)
        # All that was asked of the device so far may still use this memory.
        now = None if self._side is None else torch.cuda.current_stream(self._device).record_event()
        return self._reader.submit(self._fetch, place, now)

    def _fetch(self, place: "_Place", until: "torch.cuda.Event | None") -> "_Place":
        if self._side is None or until is None:
            self._fill(place)
            return place
        if place.filled is not None:
            # What came here last may still be on its way from the memory that files are read into.
            place.filled.synchronize()
        with torch.cuda.stream(self._side):
            self._side.wait_event(until)
            self._fill(place)
            place.filled = self._side.record_event()
        return place

    def _fill(self, place: "_Place") -> None:
        for stretch in place.stretches:
            self._files.read(stretch)
        for spot in place.spots:
            values = spot.home
            if spot.stored is not None:
                values = spot.arriving if spot.is_read else self._files.copy(spot.stored)
            if values is not spot.visiting:
                # Other devices than CUDA have nothing that says when they have read the source.
                spot.visiting.copy_(values, non_blocking=self._side is not None)


class _Files:
    """Open files of weights.

    Weights that main memory could not hold are read past the system's cache: they would only push
    each other out of it, and copying them through it takes a processor's time.
    """

    def __init__(self, num_bytes: int) -> None:
        self._num_bytes = num_bytes
        self._open: dict[tuple[Path, bool], FileIO] = {}
        self._is_direct: bool | None = None

    def read(self, stretch: "_Stretch") -> None:
        """Fills a stretch from its file."""
        if self._is_direct is None:
            free = free_main_memory()
            too_large = free is not None and self._num_bytes > free
            self._is_direct = too_large and hasattr(os, "O_DIRECT")
        view = stretch.memory.numpy().data
        wanted = stretch.stop - stretch.start
        done = 0
        while done < wanted:
            file = self._file(stretch.path, is_direct=self._is_direct)
            try:
                count = read_at(file, view[done:], stretch.start + done)
            except OSError as error:
                if not self._is_direct:
                    raise _unreadable(stretch.path, error) from error
                self._is_direct = False  # some file systems know no other way than by the cache
                continue
            if not count:
                raise CheckpointError(
                    f"{stretch.path.name} was cut off while its model was used.",
                    next_step="Download or copy the file again.",
                )
            done += count

    def copy(self, stored: StoredTensor) -> Tensor:
        """A tensor as it is stored."""
        try:
            return stored.read(self._file(stored.path, is_direct=False))
        except OSError as error:
            raise _unreadable(stored.path, error) from error

    def _file(self, path: Path, *, is_direct: bool) -> int:
        key = path, is_direct
        if key not in self._open:
            try:
                self._open[key] = FileIO(path, opener=_open_direct if is_direct else None)
            except OSError as error:
                if is_direct:
                    return self._file(path, is_direct=False)
                raise _unreadable(path, error) from error
        return self._open[key].fileno()


def _open_direct(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_DIRECT)


def _unreadable(path: Path, error: OSError) -> CheckpointError:
    return CheckpointError(
        f"{path} cannot be read ({error.strerror}).",
        next_step="Keep the file where it was while its model is used.",
    )


@dataclass(frozen=True)
class _Stretch:
    """Tensors that lie side by side in a file and are read at once.

    Attributes:
        path: of the file.
        start: byte of it, at the beginning of a page.
        stop: byte at which the last tensor ends.
        memory: bytes for it, whole pages.
    """

    path: Path
    start: int
    stop: int
    memory: Tensor


@dataclass(frozen=True)
class _Spot:
    """One tensor of a visiting block.

    Attributes:
        tensors, name: dictionary of the module that owns it, and its name there.
        home: what is in there while the block is away.
        stored: where its values are, if in a file.
        is_read: whether a stretch brings them to `arriving`.
        visiting: its values on the device.
        arriving: where files are read into; on a CPU the same object if it `is_read`.
    """

    tensors: dict[str, Tensor | None]
    name: str
    home: Tensor
    stored: StoredTensor | None
    is_read: bool
    visiting: Tensor
    arriving: Tensor


class _Place:
    """Memory for one block on the device and, if that is no CPU, for one on the way to it."""

    def __init__(
        self, device: torch.device, homes: Homes, side: "torch.cuda.Stream | None"
    ) -> None:
        self._device = device
        self._homes = homes
        self._side = side
        self._memory = torch.empty(0, dtype=torch.uint8, device=device)
        self._on_the_way = torch.empty(0, dtype=torch.uint8)
        self.block: Callable[[], nn.Module | None] = lambda: None
        self.spots: list[_Spot] = []
        self.stretches: list[_Stretch] = []
        self.state: tuple[tuple[int, int], ...] = ()
        self.filled: torch.cuda.Event | None = None

    @torch.inference_mode(mode=False)  # the thread could not write into what is made inside it
    def prepare(self, block: nn.Module) -> None:
        """Lays the tensors of a block out: as in their file, the others behind them."""
        self.block = weakref.ref(block)
        self.state = _state(block)
        laid_out = _LaidOut.of([(home, self._homes.get(home)) for *_, home in _owned(block)])
        self._make_room(laid_out)
        self.stretches = [
            replace(stretch, memory=self._on_the_way[start : _rounded(start + size, PAGE)])
            for stretch, start in laid_out.stretches
            if (size := stretch.stop - stretch.start)
        ]
        self.spots = []
        for tensors, name, home in _owned(block):
            start, stored = laid_out.starts[home], self._homes.get(home)
            is_read = _is_as_stored(home, stored)
            visiting = _view(self._memory, start, home)
            arriving = visiting
            if is_read and self._memory is not self._on_the_way:
                arriving = _view(self._on_the_way, start, home)
            self.spots.append(_Spot(tensors, name, home, stored, is_read, visiting, arriving))

    def _make_room(self, laid_out: "_LaidOut") -> None:
        is_cpu = self._device.type == "cpu"
        if self._on_the_way.nbytes < laid_out.size and (is_cpu or laid_out.stretches):
            self._on_the_way = self._bytes(laid_out.size, torch.device("cpu"))
        if is_cpu:
            self._memory = self._on_the_way
        elif self._memory.nbytes < laid_out.size:
            self._memory = self._bytes(laid_out.size, self._device)
            if self._side is not None:
                # A block may still be on its way when this is given back; nobody else may have
                # the memory before it has come.
                self._memory.record_stream(self._side)

    def _bytes(self, count: int, device: torch.device) -> Tensor:
        if device.type == "cpu" and self._device.type != "cuda":
            return _large_pages(count)
        is_pinned = device.type == "cpu"
        return torch.empty(count, dtype=torch.uint8, device=device, pin_memory=is_pinned)

    def let_in(self) -> None:
        """The block runs with the values here."""
        if self.filled is not None:
            torch.cuda.current_stream(self._device).wait_event(self.filled)
        for spot in self.spots:
            spot.tensors[spot.name] = spot.visiting

    def let_out(self) -> None:
        """The block is at home again."""
        for spot in self.spots:
            spot.tensors[spot.name] = spot.home


@dataclass(frozen=True)
class _LaidOut:
    """Where in a place the tensors of a block lie: as in their files, the others behind them.

    Attributes:
        starts: byte at which each begins.
        stretches: of files, without memory yet, and where they begin.
        size: bytes altogether.
    """

    starts: Mapping[Tensor, int]
    stretches: Sequence[tuple[_Stretch, int]]
    size: int

    @classmethod
    def of(cls, tensors: Sequence[tuple[Tensor, StoredTensor | None]]) -> "_LaidOut":
        starts: dict[Tensor, int] = {}
        stretches: list[tuple[_Stretch, int]] = []
        end = 0
        read = [(home, s) for home, s in tensors if s is not None and _is_as_stored(home, s)]
        # In the order of the file: disks are fastest when they are read on and on.
        for home, stored in sorted(read, key=lambda item: (str(item[1].path), item[1].start)):
            stop = stored.start + stored.num_bytes
            last = stretches[-1][0] if stretches else None
            if last is None or (last.path, last.stop) != (stored.path, stored.start):
                first = stored.start // PAGE * PAGE
                end = _rounded(end, PAGE)
                stretches.append((_Stretch(stored.path, first, stop, home), end))
            stretch, begin = stretches[-1]
            stretches[-1] = replace(stretch, stop=stop), begin
            starts[home] = begin + stored.start - stretch.start
            end = begin + stop - stretch.start
        end = _rounded(end, PAGE)
        for home, _ in tensors:
            if home not in starts:
                starts[home] = end
                end += _rounded(home.nbytes, ALIGNMENT)
        return cls(starts, stretches, end)


def _is_as_stored(home: Tensor, stored: StoredTensor | None) -> bool:
    """Whether the bytes of the file are those of the tensor, and lie as its type needs them."""
    return (
        stored is not None
        and stored.dtype == home.dtype
        and stored.start % home.element_size() == 0
    )


def _view(memory: Tensor, start: int, like: Tensor) -> Tensor:
    return memory[start : start + like.nbytes].view(like.dtype).view(like.shape)


def _rounded(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple


def _large_pages(count: int) -> Tensor:
    """Memory in pages of 2 MB where the system has them: filling small ones anew takes longer."""
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return torch.empty(count, dtype=torch.uint8)
    memory = mmap.mmap(-1, max(1, count), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(memory, dtype=torch.uint8)


def _state(block: nn.Module) -> tuple[tuple[int, int], ...]:
    """Which tensors a block has, and how often each was changed in place."""
    return tuple(
        (id(home), 0 if home.is_inference() else home._version) for *_, home in _owned(block)
    )


def _owned(block: nn.Module) -> Iterator[tuple[dict[str, Tensor | None], str, Tensor]]:
    """Every parameter and buffer with the dictionary that it is in."""
    for module in block.modules():
        kinds: tuple[Any, ...] = (module._parameters, module._buffers)
        for tensors in kinds:
            for name, tensor in tensors.items():
                if tensor is not None:
                    yield tensors, name, tensor
