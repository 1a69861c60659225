"""Which parts of a clip are generated, and in what pieces.

Plain arithmetic on seconds and frames; whatever needs pixels stands elsewhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ltx2.conditions import Source

Part = tuple[float, float]
"""Start and end in seconds."""


@dataclass(frozen=True)
class FreeParts:
    """What is generated of a clip, as parts that neither touch nor overlap.

    Attributes:
        video, audio: of each modality; empty where all of it is given.
    """

    video: tuple[Part, ...]
    audio: tuple[Part, ...]


def free_parts(sources: Sequence[Source], duration_s: float, *, rest_s: float) -> FreeParts:
    """What sources leave to generate of a clip.

    Args:
        sources: given files.
        duration_s: of the clip.
        rest_s: a gap shorter than this at the end is no wish for more: lengths are whole latent
            frames, so a clip made to a sound is a little longer than the sound.
    """
    video: list[Part] = [(0.0, duration_s)]
    audio: list[Part] = [(0.0, duration_s)]
    for source in sources:
        end = source.end_s if duration_s - source.end_s >= rest_s else duration_s
        own = (source.at_s, end)
        if source.gives_video:
            video = _without(video, own)
            remade = [(span.start_s, span.end_s) for span in source.remake_video]
            if source.mask is not None and not remade:
                remade = [own]
            video = _joined([*video, *_within(remade, own)])
        if source.gives_audio:
            audio = _without(audio, own)
            remade = [(span.start_s, span.end_s) for span in source.remake_audio]
            audio = _joined([*audio, *_within(remade, own)])
    return FreeParts(
        tuple(_within(video, (0.0, duration_s))), tuple(_within(audio, (0.0, duration_s)))
    )


def plan_windows(
    is_free: Sequence[bool], *, window: int, overlap: int
) -> tuple[tuple[int, int], ...]:
    """Pieces that are made one after another, each [start, stop) in latent frames.

    A clip no longer than the window is one piece. Otherwise each stretch to be generated is
    covered from what is known: forward from its left, or backward where only its right is known.

    Args:
        is_free: of every latent frame whether something in it is generated.
        window: longest piece.
        overlap: latent frames of what is known that a piece sees, at least 1, less than `window`.
    """
    total = len(is_free)
    if total <= window:
        return ((0, total),)
    pieces: list[tuple[int, int]] = []
    for first, last in _runs(is_free):
        needed = last - first + (overlap if first else 0) + (overlap if last < total else 0)
        if needed <= window:
            start = first - (window - (last - first)) // 2
            start = min(max(0, start), total - window)
            pieces.append((start, start + window))
        elif first == 0 and last < total:
            made = last
            while made > 0:
                stop = max(min(total, made + overlap), window)
                pieces.append((stop - window, stop))
                made = stop - window
        else:
            made = first
            while made < last:
                start = min(max(0, made - overlap), total - window)
                pieces.append((start, start + window))
                made = start + window
    return tuple(pieces)


def _runs(flags: Sequence[bool]) -> list[tuple[int, int]]:
    """Stretches [first, last) of true values."""
    edges = [i for i in range(len(flags) + 1) if _at(flags, i - 1) != _at(flags, i)]
    return list(zip(edges[::2], edges[1::2], strict=True))


def _at(flags: Sequence[bool], index: int) -> bool:
    return 0 <= index < len(flags) and bool(flags[index])


def _without(parts: Sequence[Part], taken: Part) -> list[Part]:
    """Parts less one stretch."""
    left = [(start, min(end, taken[0])) for start, end in parts]
    right = [(max(start, taken[1]), end) for start, end in parts]
    return sorted((start, end) for start, end in [*left, *right] if start < end)


def _within(parts: Sequence[Part], limit: Part) -> list[Part]:
    cut = [(max(start, limit[0]), min(end, limit[1])) for start, end in parts]
    return [(start, end) for start, end in cut if start < end]


def _joined(parts: Sequence[Part]) -> list[Part]:
    joined: list[Part] = []
    for start, end in sorted(parts):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined
