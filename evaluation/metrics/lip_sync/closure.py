"""Offset at which lips close when p, b or m are said: whatever the language, they must.

Word times come from the recogniser; inside a word each letter is taken to last equally long,
which blurs the curve but does not move it on average. Letters: F frames, L lags.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evaluation.expectation import Expectation
from evaluation.measurement import Curve, Measured, Metric, NotMeasurable, Outcome
from evaluation.metrics.faces import find_faces
from evaluation.metrics.lip_sync.lag import verdict
from evaluation.metrics.speech import transcribe
from evaluation.metrics.speech_types import Transcript, Word
from ltx2 import Clip
from ltx2.errors import LTX2Error

Array = NDArray[np.float64]

BILABIALS = frozenset("pbmпбмپبم")  # noqa: RUF001 - Cyrillic is meant
"""Letters for sounds made with both lips, in Latin, Cyrillic and Arabic script."""
LEAST_CLOSURES = 4
LARGEST_LAG_MS, LAG_STEP_MS = 400, 20
REACH_FRAMES = 3
CLOSED_SHARE = 0.5
"""Of the median opening while speaking, at or below which lips count as closed."""
LEAST_EXCESS = 0.35
"""By how much closures must be more frequent at the letters than at other times of speech."""


def measure(clip: Clip, expectation: Expectation) -> Outcome:  # noqa: PLR0911 - one per reason
    """Signed milliseconds, positive = sound early; coarse, for clips with several p, b and m."""
    if not clip.waveform.size:
        return NotMeasurable("The clip has no sound.")
    try:
        faces = find_faces(clip, cartoon=True if expectation.is_cartoon else None)
    except LTX2Error as error:
        return NotMeasurable(error.message, error.next_step)
    if not faces.tracks:
        return NotMeasurable("No face is seen.")
    transcript = transcribe(clip)
    if not isinstance(transcript, Transcript):
        return transcript
    letters = closure_times(transcript.words)
    if len(letters) < LEAST_CLOSURES:
        return NotMeasurable(f"Only {len(letters)} p, b or m are heard; {LEAST_CLOSURES} needed.")
    opening = faces.tracks[0].opening_of(len(clip.frames)).astype(np.float64)
    lags_ms = np.arange(-LARGEST_LAG_MS, LARGEST_LAG_MS + 1, LAG_STEP_MS, dtype=np.float64)
    spans = [(word.start_s, word.end_s) for word in transcript.words]
    curve = closure_excess(opening, letters, spans, lags_ms, clip.frame_rate)
    best = float(curve.max())
    offset = -float(lags_ms[curve >= best - 1e-9].mean())
    evidence = Curve(
        "closures at p, b, m beyond chance",
        -lags_ms[::-1],
        curve[::-1],
        "sound early by (ms)",
        "share",
    )
    details = {"letters": len(letters), "verdict": verdict(offset)}
    if abs(offset) >= LARGEST_LAG_MS:
        return NotMeasurable(
            f"Lips close at p, b and m best at {offset:+.0f} ms, the largest searched.",
            details=details,
            evidence=(evidence,),
        )
    if best < LEAST_EXCESS:
        return NotMeasurable(
            "Lips do not close at p, b and m more often than at other times.",
            details=details,
            evidence=(evidence,),
        )
    return Measured(offset, "ms", confidence=best, details=details, evidence=(evidence,))


METRIC = Metric(
    name="lip_sync.closure",
    version=2,
    measured_by="lip closure at p, b, m; word times by the recogniser",
    measure=measure,
)


def closure_times(words: Sequence[Word]) -> Array:
    """Middles of the letters p, b and m in seconds, each letter of a word equally long."""
    times = []
    for word in words:
        letters = [letter for letter in word.text.casefold() if letter.isalpha()]
        step = (word.end_s - word.start_s) / max(len(letters), 1)
        times += [
            word.start_s + (place + 0.5) * step
            for place, letter in enumerate(letters)
            if letter in BILABIALS
        ]
    return np.array(times)


def closure_excess(
    opening: Array,
    times_s: Array,
    spans: Sequence[tuple[float, float]],
    lags_ms: Array,
    frame_rate: float,
) -> Array:
    """Share of letters at which the lips close, less that of all times of speech [L].

    Args:
        opening: of the mouth in each frame [F], NaN where unseen.
        times_s: of the letters in the sound.
        spans: starts and ends of all words.
        lags_ms: to try, positive = sound late.
        frame_rate: Hz.
    """
    moments = np.arange(len(opening)) / frame_rate
    spoken = np.any([(moments >= a) & (moments <= b) for a, b in spans], axis=0)
    closed = opening <= CLOSED_SHARE * np.nanmedian(opening[spoken])
    reach = np.arange(-REACH_FRAMES, REACH_FRAMES + 1)

    def share(times: Array) -> float:
        frames = np.round(times * frame_rate).astype(int)[:, None] + reach
        inside = (frames >= 0) & (frames < len(opening))
        hit = closed[np.clip(frames, 0, len(opening) - 1)] & inside
        return float(hit.any(axis=1).mean())

    return np.array(
        [share(times_s - lag / 1000) - share(moments[spoken] - lag / 1000) for lag in lags_ms]
    )
