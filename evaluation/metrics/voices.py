"""Whether a speaker keeps one voice and two speakers have two (voice encoder of Resemblyzer)."""

from collections import defaultdict
from itertools import combinations

import numpy as np

from evaluation.expectation import Expectation
from evaluation.measurement import Measured, Metric, NotMeasurable, Outcome
from evaluation.metrics.sound import SPEECH_RATE, mono_speech
from evaluation.metrics.speakers import attributed
from evaluation.metrics.voice_activity import Span, heard
from ltx2 import Clip
from ltx2.errors import ResourceError

LEAST_PIECE_S = 0.8
"""Of speech by which a voice is known; a puppet's word is shorter."""
MOST_PIECES = 4
"""Pieces that a long line is cut into."""

Vector = np.ndarray


def voice_consistency(clip: Clip, expectation: Expectation) -> Outcome:
    """Mean cosine of pieces of one speaker's speech, less that between speakers if there are two.

    Without expected lines all speech counts as one speaker's. The same real speaker reads 0.72 to
    0.89 between halves of a clip, two different ones 0.44 to 0.51; 1 would be the same sound.
    """
    found = heard(clip)
    if isinstance(found, NotMeasurable):
        return found
    if len(expectation.lines) > 1:
        lines = attributed(clip, expectation=expectation)
        if isinstance(lines, NotMeasurable):
            return lines
        names = [line.speaker or line.place or "?" for line in expectation.lines]
        spoken = [(n, s) for n, s in zip(names, lines.spans, strict=True) if s is not None]
    else:
        spoken = [("", span) for span in found[1].spans]
    speech = mono_speech(clip)
    try:
        voices = _vectors(speech, spoken)
    except ResourceError as error:
        return NotMeasurable(error.message, error.next_step)
    return _compared(voices)


METRIC = Metric("speakers.voice", 1, "voice encoder of Resemblyzer, silero-vad", voice_consistency)


def _vectors(speech: np.ndarray, spoken: list[tuple[str, Span]]) -> dict[str, list[Vector]]:
    from evaluation.networks.voice_encoder import voice_vector

    sounds: dict[str, list[np.ndarray]] = defaultdict(list)
    for name, span in spoken:
        sounds[name].append(
            speech[round(span.start_s * SPEECH_RATE) : round(span.end_s * SPEECH_RATE)]
        )
    vectors: dict[str, list[Vector]] = {}
    for name, parts in sounds.items():
        whole = np.concatenate(parts)
        number = min(MOST_PIECES, int(whole.size / (LEAST_PIECE_S * SPEECH_RATE)))
        vectors[name] = [voice_vector(piece) for piece in np.array_split(whole, max(1, number))]
        if not number:
            vectors[name] = []
    return vectors


def _compared(voices: dict[str, list[Vector]]) -> Outcome:
    known = {name: pieces for name, pieces in voices.items() if pieces}
    within = [float(a @ b) for pieces in known.values() for a, b in combinations(pieces, 2)]
    between = [
        float(a @ b)
        for one, other in combinations(known, 2)
        for a in known[one]
        for b in known[other]
    ]
    if not within:
        return NotMeasurable(
            f"No speaker is heard for {2 * LEAST_PIECE_S:g} s, too little to compare.",
            "Ask for longer lines.",
        )
    details = {
        "within": float(np.mean(within)),
        "between": float(np.mean(between)) if between else None,
        "speakers": len(known),
    }
    value = float(np.mean(within)) - (float(np.mean(between)) if between else 0.0)
    return Measured(value, "cosine", details=details)
