"""Before a clip is made: does it fit into memory, and what is the cheapest change if not."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ltx2.request import ModelProfile, Request
from ltx2.serving.anatomy import Anatomy
from ltx2.serving.timing import Forecast

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
    """

    is_cuda: bool
    free: int
    is_loaded: bool = False


@dataclass(frozen=True)
class Change:
    """What would make a clip fit.

    Attributes:
        request: the changed one; None if the server has to be started differently.
        dtype: for the server; None if the request alone changes.
        sentence: the change in words.
    """

    request: Request | None
    dtype: str | None
    sentence: str


@dataclass(frozen=True)
class Fits:
    """There is memory for it: bytes that it needs, and that are free."""

    needed: int
    free: int


@dataclass(frozen=True)
class TooLarge:
    """There is not enough memory: bytes that it needs, and that are free.

    Attributes:
        change: the cheapest one that makes it fit; None if there is none.
    """

    needed: int
    free: int
    change: Change | None


@dataclass(frozen=True)
class CannotTell:
    """Nothing is known about the memory, and why."""

    reason: str


Verdict = Fits | TooLarge | CannotTell
"""Whether a clip fits: exactly one of these."""


@dataclass(frozen=True)
class Preflight:
    """What is known of a clip before it is made.

    Attributes:
        verdict: whether it fits.
        forecast: how long it takes; None before anything is known.
    """

    verdict: Verdict
    forecast: Forecast | None

    @property
    def sentence(self) -> str:
        """All of it in a sentence or two; empty if nothing is known."""
        time = f"about {in_words(self.forecast.seconds)}" if self.forecast else ""
        match self.verdict:
            case Fits():
                return f"Fits, {time}." if time else "Fits."
            case TooLarge(needed, free, change):
                advice = change.sentence if change else "No change of the clip helps."
                return (
                    f"Does not fit: it needs {_gigabytes(needed)}, "
                    f"{_gigabytes(free)} are free. {advice}"
                )
            case CannotTell():
                return f"{time.capitalize()}." if time else ""


def check(
    request: Request,
    profile: ModelProfile,
    anatomy: Anatomy | None,
    place: Place | None,
    forecast: Forecast | None,
) -> Preflight:
    """What is known of a clip before it is made.

    Args:
        request: the clip.
        profile: of the model.
        anatomy: of the model; None if unknown.
        place: where it would be made; None if unknown.
        forecast: how long it takes; None if unknown.

    Raises:
        RequestError: the model cannot make it.
    """
    resolved = request.resolve(profile)
    if anatomy is None:
        return Preflight(CannotTell("The sizes of the model's networks are unknown."), forecast)
    if place is None:
        return Preflight(CannotTell("This device does not say what memory is free."), forecast)
    needed = needed_memory(resolved, anatomy, place)
    if needed * MARGIN <= place.free:
        return Preflight(Fits(needed, place.free), forecast)
    change = _cheapest_change(request, resolved, profile, anatomy, place)
    return Preflight(TooLarge(needed, place.free, change), forecast)


def needed_memory(resolved: Request, anatomy: Anatomy, place: Place) -> int:
    """Bytes that making a clip takes at most, beside what is loaded already."""
    assert resolved.num_frames is not None
    assert resolved.height is not None
    assert resolved.width is not None
    assert resolved.frame_rate is not None
    size = resolved.num_frames, resolved.height, resolved.width
    working = max(_denoising(resolved, anatomy), anatomy.decoding(*size))
    there = 0 if place.is_loaded else anatomy.weights + overhead(place)
    if not anatomy.keeps_text_encoder:
        return there + max(working, anatomy.text_encoder)
    return there + working + (0 if place.is_loaded else anatomy.text_encoder)


def _denoising(resolved: Request, anatomy: Anatomy) -> int:
    """Bytes of the largest pass: of a part of a long clip, at the size of its stage."""
    assert resolved.num_frames is not None
    assert resolved.height is not None
    assert resolved.width is not None
    assert resolved.frame_rate is not None
    num_frames = resolved.num_frames
    if resolved.window_s is not None:
        num_frames = min(num_frames, round(resolved.window_s * resolved.frame_rate))
    sides = (resolved.height, resolved.width)
    if resolved.upscale:  # refined in tiles
        sides = min(sides[0], REFINED_SIDE), min(sides[1], REFINED_SIDE)
    needed = anatomy.denoising(num_frames, *sides, resolved.frame_rate)
    if resolved.reference is not None:
        smaller = [side // resolved.reference.downscale for side in sides]
        needed += anatomy.denoising(num_frames, smaller[0], smaller[1], resolved.frame_rate)
    return needed


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
            return Place(True, torch.cuda.mem_get_info(where)[0] + kept)
    if device not in ("auto", "cpu"):
        return None
    free = free_main_memory()
    return None if free is None else Place(False, free)


def free_main_memory(root: Path = Path("/")) -> int | None:
    """Bytes of main memory that can be had, within the container's limit; None if unknown.

    Args:
        root: where `proc` and `sys` are.
    """
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    available = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    group = root / "sys/fs/cgroup"
    try:
        limit = int((group / "memory.max").read_text())
        used = int((group / "memory.current").read_text())
    except (OSError, ValueError):  # no such limit, or "max"
        return min(available, default=None)
    return min([*available, max(0, limit - used)])


def in_words(seconds: float) -> str:
    """A time as people say it: "8 s", "3 min", "1 h 20 min"."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def _cheapest_change(
    request: Request,
    resolved: Request,
    profile: ModelProfile,
    anatomy: Anatomy,
    place: Place,
) -> Change | None:
    """The change that keeps most of the clip; another number type only where no clip fits."""

    def fits(candidate: Request, anatomy: Anatomy = anatomy) -> bool:
        return needed_memory(candidate, anatomy, place) * MARGIN <= place.free

    shorter = _first(_shorter(resolved, profile), fits)
    smaller = _first(_smaller(resolved, profile), fits)
    both = None
    if shorter is None and smaller is None:
        *_, smallest = resolved, *_smaller(resolved, profile)
        both = _first(_shorter(smallest, profile), fits)
    found = [candidate for candidate in (shorter, smaller, both) if candidate is not None]
    if found:
        return _change_to(max(found, key=_volume), request, resolved)
    if anatomy.dtype == "float32" and fits(resolved, replace(anatomy, dtype="bfloat16")):
        return Change(None, "bfloat16", "Start the server with LTX2_DTYPE=bfloat16.")
    return None


def _shorter(resolved: Request, profile: ModelProfile) -> Iterator[Request]:
    """Ever shorter clips, down to half a second."""
    assert resolved.num_frames is not None
    assert resolved.frame_rate is not None
    step = profile.temporal_multiple
    least = max(step + 1, round(resolved.frame_rate / 2))
    for num_frames in range(resolved.num_frames - step, least - 1, -step):
        yield resolved.model_copy(update={"num_frames": num_frames})


def _smaller(resolved: Request, profile: ModelProfile) -> Iterator[Request]:
    """Ever smaller pictures of about the same shape."""
    assert resolved.height is not None
    assert resolved.width is not None
    step = profile.spatial_multiple
    shorter_side = min(resolved.height, resolved.width)
    for side in range(shorter_side - step, profile.min_size - 1, -step):
        height, width = (
            max(step, round(pixels * side / shorter_side / step) * step)
            for pixels in (resolved.height, resolved.width)
        )
        yield resolved.model_copy(update={"height": height, "width": width})


def _first(candidates: Iterator[Request], fits: Callable[[Request], bool]) -> Request | None:
    return next(filter(fits, candidates), None)


def _volume(resolved: Request) -> int:
    return (resolved.num_frames or 0) * (resolved.height or 0) * (resolved.width or 0)


def _change_to(found: Request, request: Request, resolved: Request) -> Change:
    """The change of what was asked, with only what differs in it."""
    words = []
    update: dict[str, object] = {}
    if found.num_frames != resolved.num_frames:
        update |= {"num_frames": found.num_frames, "duration_s": None}
        seconds = (found.num_frames or 0) / (found.frame_rate or 1.0)
        words.append(f"shorten it to {seconds:.1f} s")
    if (found.height, found.width) != (resolved.height, resolved.width):
        update |= {"height": found.height, "width": found.width}
        words.append(f"make the picture {found.width} x {found.height}")
    sentence = " and ".join(words)
    return Change(request.model_copy(update=update), None, f"{sentence[0].upper()}{sentence[1:]}.")


def _may_have_cuda() -> bool:
    return any(Path(path).exists() for path in ("/dev/nvidiactl", "/dev/dxg"))


def _gigabytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB"
