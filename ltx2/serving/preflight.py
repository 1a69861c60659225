"""Before a clip is made: does it fit into memory, and what is the cheapest change if not."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from ltx2.request import ModelProfile, Request
from ltx2.runtime.anatomy import Anatomy
from ltx2.runtime.memory import (
    ON_DEVICE,
    Place,
    Placement,
    fits,
    needed_memory,
    placements,
)
from ltx2.runtime.visitors import Offload
from ltx2.serving.timing import Forecast


@dataclass(frozen=True)
class Change:
    """What would make a clip fit.

    Attributes:
        request: the changed one; None if the server has to be started differently.
        dtype: for the server; None if it stays.
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
    *,
    offload: str = "auto",
) -> Preflight:
    """What is known of a clip before it is made.

    Args:
        request: the clip.
        profile: of the model.
        anatomy: of the model; None if unknown.
        place: where it would be made; None if unknown.
        forecast: how long it takes; None if unknown.
        offload: where weights may wait, as settings say it.

    Raises:
        RequestError: the model cannot make it.
    """
    resolved = request.resolve(profile)
    if anatomy is None:
        return Preflight(CannotTell("The sizes of the model's networks are unknown."), forecast)
    if place is None:
        return Preflight(CannotTell("This device does not say what memory is free."), forecast)
    tried = placements(offload, is_cuda=place.is_cuda) if anatomy.visits else (ON_DEVICE,)
    for placement in tried:
        if fits(resolved, anatomy, place, placement):
            needed = needed_memory(resolved, anatomy, place, placement)
            return Preflight(Fits(needed, place.free), forecast)
    # Where nothing fits as it is, what needs the least memory needs the least change.
    needed = needed_memory(resolved, anatomy, place, tried[-1])
    change = _cheapest_change(request, resolved, profile, anatomy, place, tried)
    return Preflight(TooLarge(needed, place.free, change), forecast)


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
    tried: Sequence[Placement],
) -> Change | None:
    """The change that keeps most of the clip; another number type only where no clip fits."""
    placement = tried[-1]

    def is_enough(candidate: Request, anatomy: Anatomy = anatomy) -> bool:
        return fits(candidate, anatomy, place, placement)

    shorter = _first(_shorter(resolved, profile), is_enough)
    smaller = _first(_smaller(resolved, profile), is_enough)
    both = None
    if shorter is None and smaller is None:
        *_, smallest = resolved, *_smaller(resolved, profile)
        both = _first(_shorter(smallest, profile), is_enough)
    found = [candidate for candidate in (shorter, smaller, both) if candidate is not None]
    if found:
        return _change_to(max(found, key=_volume), request, resolved)
    if anatomy.dtype == "float32" and is_enough(resolved, replace(anatomy, dtype="bfloat16")):
        return Change(None, "bfloat16", "Start the server with LTX2_DTYPE=bfloat16.")
    narrow = anatomy.in_8_bits
    # What waits in files is not made narrower.
    elsewhere = [other for other in tried if other.networks is not Offload.DISK]
    if narrow is not None and any(fits(resolved, narrow, place, other) for other in elsewhere):
        return Change(None, None, "Start the server with LTX2_QUANTIZATION=int8.")
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


def _gigabytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB"
