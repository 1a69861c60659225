"""How much memory there is, how much a clip needs, and where weights wait if that is more."""

import contextlib
import math
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from ltx2.errors import RequestError
from ltx2.geometry import stage_sizes
from ltx2.request import Request
from ltx2.runtime.anatomy import Anatomy
from ltx2.runtime.visitors import Offload
from ltx2.settings import OFFLOADS

LIBRARIES = 420_000_000
"""Bytes that PyTorch and the text encoder's library take on a CPU, measured with PyTorch 2.13."""

CUDA_CONTEXT = 1_500_000_000
"""Bytes that CUDA itself and gaps between tensors take; a usual value, as in training plans."""

REFINED_SIDE = 1536
"""Longest side that a refining pass sees at once, where the model's profile says no other."""

MARGIN = 1.1
"""What is free has to be so much more than what is needed: an estimate is not a promise."""


@dataclass(frozen=True)
class Place:
    """Memory of the device at a moment when nothing runs on it.

    Attributes:
        is_cuda: whether it is a GPU's own.
        free: bytes.
        is_loaded: whether the model is among what is not free.
        free_main: bytes of main memory, where the device has its own; None if unknown.
        total: bytes that can be free at most; None if unknown.
    """

    is_cuda: bool
    free: int
    is_loaded: bool = False
    free_main: int | None = None
    total: int | None = None

    def with_freed(self, num_bytes: int) -> "Place":
        """The same once a model is gone that was loaded, all of it or, where it visits, less."""
        free = self.free + num_bytes
        return replace(self, free=free if self.total is None else min(free, self.total))

    def shared_by(self, num_processes: int) -> "Place":
        """The same for each of several processes with a GPU each, or with the main memory alone."""
        if self.is_cuda:
            free = None if self.free_main is None else self.free_main // num_processes
            return replace(self, free_main=free)
        total = None if self.total is None else self.total // num_processes
        return replace(self, free=self.free // num_processes, total=total)


@dataclass(frozen=True)
class Placement:
    """Where weights are while they are not needed.

    Attributes:
        networks: of everything but the text encoder.
        text_encoder: its own.
    """

    networks: Offload = Offload.NONE
    text_encoder: Offload = Offload.NONE


ON_DEVICE = Placement()


def offload_beside(compilation: str, offload: str) -> str:
    """Where weights may wait when the transformer is compiled: nowhere, unless somebody says so.

    Args:
        compilation: one of `COMPILATIONS`; compiled blocks have their weights beside them.
        offload: one of `OFFLOADS`.
    """
    return "none" if compilation != "none" and offload == "auto" else offload


def placements(offload: str, *, is_cuda: bool) -> tuple[Placement, ...]:
    """What may be tried, from the fastest to the one that needs the least memory.

    Args:
        offload: one of `OFFLOADS`; but for "auto" it leaves one possibility.
        is_cuda: whether the device has memory of its own, beside the main one.

    Raises:
        RequestError: it is none of them.
    """
    if offload not in OFFLOADS:
        raise RequestError(
            f"The offload {offload!r} is unknown.", next_step=f"Choose {', '.join(OFFLOADS)}."
        )
    if offload != "auto":
        return (Placement(Offload(offload), Offload(offload)),)
    none, cpu, disk = Offload
    if not is_cuda:
        return (ON_DEVICE, Placement(disk, disk))
    return (
        ON_DEVICE,
        Placement(none, cpu),
        Placement(none, disk),
        Placement(cpu, cpu),
        Placement(cpu, disk),
        Placement(disk, disk),
    )


def choose_placement(
    offload: str, usual: Request, anatomy: Anatomy | None, place: Place | None
) -> Placement:
    """The first placement in which a usual clip fits, or the one that needs the least memory.

    Args:
        offload: one of `OFFLOADS`.
        usual: a clip as the model usually makes them, resolved.
        anatomy: of the model; where it is unknown, all weights are kept on the device.
        place: memory of the device; likewise.

    Raises:
        RequestError: `offload` is none of them.
    """
    tried = placements(offload, is_cuda=place is not None and place.is_cuda)
    if anatomy is None or place is None or anatomy.visits is None:
        return tried[0]
    for placement in tried:
        if fits(usual, anatomy, place, placement):
            return placement
    return tried[-1]


def fits(resolved: Request, anatomy: Anatomy, place: Place, placement: Placement) -> bool:
    """Whether a clip can be made in a placement, with a margin."""
    in_main_memory = MARGIN * waiting_memory(anatomy, placement)
    return MARGIN * needed_memory(resolved, anatomy, place, placement) <= place.free and (
        place.free_main is None or in_main_memory <= place.free_main
    )


def waiting_memory(anatomy: Anatomy, placement: Placement) -> int:
    """Bytes of weights that wait in main memory, where the device has its own."""
    waiting = anatomy.visiting if placement.networks is Offload.CPU else 0
    if placement.text_encoder is Offload.CPU:
        waiting += anatomy.text_encoder
    return waiting


def needed_memory(
    resolved: Request, anatomy: Anatomy, place: Place, placement: Placement = ON_DEVICE
) -> int:
    """Bytes of the device that making a clip takes at most, beside what is loaded already.

    The larger of two moments: the text encoder at work beside the other weights, and denoising or
    decoding beside them. What visits the device counts with its largest visitor; two blocks of the
    transformer stay until the clip is done.
    """
    assert resolved.num_frames is not None
    assert resolved.height is not None
    assert resolved.width is not None
    assert resolved.frame_rate is not None
    size = resolved.num_frames, resolved.height, resolved.width
    denoising, decoding = _denoising(resolved, anatomy), anatomy.decoding(*size)
    weights, text = anatomy.weights, anatomy.text_encoder
    if placement.text_encoder is not Offload.NONE:
        text = anatomy.visiting_text
    if placement.networks is not Offload.NONE:
        weights -= anatomy.visiting
        text = max(text, anatomy.visiting_network)
        denoising += anatomy.visiting_blocks
        decoding += anatomy.visiting_blocks + anatomy.visiting_network
    working = max(denoising, decoding)
    if not place.is_cuda:  # the clip itself, as it is made and as it is handed over
        working += 2 * 3 * math.prod(size)
    there = 0 if place.is_loaded else weights + overhead(place)
    if not anatomy.keeps_text_encoder:
        return there + max(working, text)
    return there + working + (0 if place.is_loaded else text)


def _denoising(resolved: Request, anatomy: Anatomy) -> int:
    """Bytes of the largest pass: of a part of a long clip, at the size of its stage."""
    assert resolved.num_frames is not None
    assert resolved.height is not None
    assert resolved.width is not None
    assert resolved.frame_rate is not None
    num_frames = resolved.num_frames
    if resolved.window_s is not None:
        num_frames = min(num_frames, round(resolved.window_s * resolved.frame_rate))
    needed = []
    sizes = stage_sizes(
        resolved.upscale, resolved.height, resolved.width, num_frames, resolved.frame_rate
    )
    for index, size in enumerate(sizes):
        height, width, frames, rate = size.height, size.width, size.num_frames, size.frame_rate
        if index:  # what refines sees tiles
            height, width = min(height, REFINED_SIDE), min(width, REFINED_SIDE)
        needed.append(anatomy.denoising(frames, height, width, rate))
        if resolved.reference is not None:
            downscale = resolved.reference.downscale
            needed[-1] += anatomy.denoising(frames, height // downscale, width // downscale, rate)
    return max(needed)


def overhead(place: Place) -> int:
    """Bytes that the libraries take."""
    return CUDA_CONTEXT if place.is_cuda else LIBRARIES


def look(device: str) -> Place | None:
    """Memory of a device, named as in settings, as it is now; None if it does not tell.

    PyTorch is imported only where there may be a GPU to ask.
    """
    if device != "cpu" and ("torch" in sys.modules or _may_have_cuda()):
        import torch

        is_cuda = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
        if is_cuda and torch.cuda.is_available():
            where = torch.device("cuda" if device == "auto" else device)
            kept = torch.cuda.memory_reserved(where) - torch.cuda.memory_allocated(where)
            own, total = torch.cuda.mem_get_info(where)
            return Place(True, own + kept, free_main=free_main_memory(), total=total)
    if device not in ("auto", "cpu"):
        return None
    free = free_main_memory()
    return None if free is None else Place(False, free, total=total_main_memory())


def free_main_memory(root: Path = Path("/")) -> int | None:
    """Bytes of main memory that can be had, within the container's limit; None if unknown.

    Args:
        root: where `proc` and `sys` are.
    """
    available = _meminfo(root, "MemAvailable:")
    group = root / "sys/fs/cgroup"
    try:
        limit = int((group / "memory.max").read_text())
        used = int((group / "memory.current").read_text())
    except (OSError, ValueError):  # no such limit, or "max"
        return min(available, default=None)
    return min([*available, max(0, limit - used)]) if available else None


def total_main_memory(root: Path = Path("/")) -> int | None:
    """Bytes of main memory altogether, within the container's limit; None if unknown."""
    total = _meminfo(root, "MemTotal:")
    with contextlib.suppress(OSError, ValueError):
        total.append(int((root / "sys/fs/cgroup/memory.max").read_text()))
    return min(total, default=None)


def _meminfo(root: Path, name: str) -> list[int]:
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
    except OSError:
        return []
    return [int(line.split()[1]) * 1024 for line in lines if line.startswith(name)]


def _may_have_cuda() -> bool:
    return any(Path(path).exists() for path in ("/dev/nvidiactl", "/dev/dxg"))
