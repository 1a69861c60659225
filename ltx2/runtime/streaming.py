"""Networks larger than their device: blocks visit it one after another, the next one ahead of time.

Weights have a home, in files or in main memory. A block's hooks bring them to the device before it
runs and send them away after it. Meanwhile a thread fetches the next block into a second place of
the same size, so that where reading is what takes the time, it never stops. With CUDA weights come
through page-locked memory on a stream of their own.

Only for inference: nothing goes back to the home.
"""

import mmap
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ltx2.checkpoint.reader import Part
from ltx2.checkpoint.stored import StoredTensor
from ltx2.errors import CheckpointError

ALIGNMENT = 256
"""Bytes: every tensor begins at a multiple, as kernels like it."""

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
        self._files: dict[Path, FileIO] = {}
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
        place = _Place(self._device) if len(self._places) < 2 else self._places.pop(0)
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
        with torch.cuda.stream(self._side):
            self._side.wait_event(until)
            self._fill(place)
            place.filled = self._side.record_event()
        return place

    def _fill(self, place: "_Place") -> None:
        # In the order of the files: disks are fastest when they are read on and on.
        for spot in sorted(place.spots, key=self._position):
            stored = self._homes.get(spot.home)
            if stored is None:
                spot.visiting.copy_(spot.home, non_blocking=True)
                continue
            values = spot.arriving
            if values.dtype != stored.dtype:
                values = torch.empty(values.shape, dtype=stored.dtype)
            stored.read_into(values, self._file(stored.path))
            if spot.visiting is not values:
                spot.visiting.copy_(values, non_blocking=True)

    def _position(self, spot: "_Spot") -> tuple[str, int]:
        stored = self._homes.get(spot.home)
        return ("", 0) if stored is None else (str(stored.path), stored.start)

    def _file(self, path: Path) -> int:
        if path not in self._files:
            try:
                self._files[path] = path.open("rb", buffering=0)
            except OSError as error:
                raise CheckpointError(
                    f"{path} cannot be read ({error.strerror}).",
                    next_step="Keep the file where it was while its model is used.",
                ) from error
        return self._files[path].fileno()


@dataclass(frozen=True)
class _Spot:
    """One tensor of a visiting block.

    Attributes:
        tensors, name: dictionary of the module that owns it, and its name there.
        home: what is in there while the block is away.
        visiting: its values on the device.
        arriving: where files are read into; on a CPU the same.
    """

    tensors: dict[str, Tensor | None]
    name: str
    home: Tensor
    visiting: Tensor
    arriving: Tensor


class _Place:
    """Memory for one block on the device and, if that is no CPU, for one on the way to it."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._memory = torch.empty(0, dtype=torch.uint8, device=device)
        self._on_the_way = self._memory
        self.block: Callable[[], nn.Module | None] = lambda: None
        self.spots: list[_Spot] = []
        self.state: tuple[tuple[int, int], ...] = ()
        self.filled: torch.cuda.Event | None = None

    @torch.inference_mode(mode=False)  # the thread could not write into what is made inside it
    def prepare(self, block: nn.Module) -> None:
        """Lays the tensors of a block out, side by side."""
        self.block = weakref.ref(block)
        owned = list(_owned(block))
        self.state = _state(block)
        sizes = [-(-home.nbytes // ALIGNMENT) * ALIGNMENT for *_, home in owned]
        if self._memory.nbytes < sum(sizes):
            self._memory = self._bytes(sum(sizes), self._device)
        is_cpu = self._device.type == "cpu"
        comes_from_files = any(home.is_meta for *_, home in owned)
        if is_cpu or not comes_from_files:
            self._on_the_way = self._memory
        elif self._on_the_way is self._memory or self._on_the_way.nbytes < sum(sizes):
            self._on_the_way = self._bytes(sum(sizes), torch.device("cpu"))
        self.spots = []
        start = 0
        for (tensors, name, home), size in zip(owned, sizes, strict=True):
            visiting, arriving = (
                memory[start : start + home.nbytes].view(home.dtype).view(home.shape)
                for memory in (self._memory, self._on_the_way)
            )
            if self._memory is self._on_the_way:
                arriving = visiting  # the very object, which says that nothing has to be copied
            self.spots.append(_Spot(tensors, name, home, visiting, arriving))
            start += size

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
