"""When each expected line is said."""

from collections.abc import Sequence

import numpy as np

from evaluation.expectation import ExpectedLine
from evaluation.metrics.sound import SPEECH_RATE
from evaluation.metrics.speech_types import Transcript
from evaluation.metrics.voice_activity import Span
from evaluation.metrics.wording import align, tokens

LEAST_HEARD = 0.5
"""Share of a line's words that must be heard for it to have been said."""
SHORTEST_PAUSE_S = 0.25
"""Pauses within a line are shorter."""
HOP_S = 0.01
EDGE = 0.08
"""Share of a stretch's peak level, above the noise, that is still speech."""


def spans_by_words(
    transcript: Transcript, lines: Sequence[ExpectedLine]
) -> tuple[Span | None, ...]:
    """First to last word of each line in a transcript; None where too little of it is heard."""
    asked = [
        (number, token)
        for number, line in enumerate(lines)
        for token in tokens(line.text, line.language)
    ]
    heard = [
        (number, token)
        for number, word in enumerate(transcript.words)
        for token in tokens(word.text, transcript.language)
    ]
    matches: list[list[int]] = [[] for _ in lines]
    for i, j in align([token for _, token in asked], [token for _, token in heard]):
        if i is not None and j is not None and asked[i][1] == heard[j][1]:
            matches[asked[i][0]].append(heard[j][0])
    spans: list[Span | None] = []
    for number, words in enumerate(matches):
        length = sum(line == number for line, _ in asked)
        if not words or len(words) < LEAST_HEARD * length:
            spans.append(None)
            continue
        first, last = transcript.words[min(words)], transcript.words[max(words)]
        spans.append(Span(first.start_s, last.end_s))
    return tuple(spans)


def without_pauses(speech: np.ndarray, spoken: Sequence[Span]) -> tuple[Span, ...]:
    """Stretches of speech with the pauses taken out that voice activity passes over.

    Args:
        speech: [S] at 16 kHz.
        spoken: where somebody speaks.
    """
    hop = round(HOP_S * SPEECH_RATE)
    level = np.sqrt(np.square(speech[: speech.size // hop * hop]).reshape(-1, hop).mean(axis=1))
    noise = float(np.percentile(level, 10)) if level.size else 0.0
    parts: list[Span] = []
    for span in spoken:
        first = round(span.start_s / HOP_S)
        inside = level[first : round(span.end_s / HOP_S)]
        loud = np.flatnonzero(inside > noise + EDGE * (inside.max(initial=0.0) - noise))
        ends = np.flatnonzero(np.diff(loud) * HOP_S >= SHORTEST_PAUSE_S)
        for part in np.split(loud, ends + 1):
            if part.size:
                start, end = (first + part[0]) * HOP_S, (first + part[-1] + 1) * HOP_S
                parts.append(Span(float(start), float(end)))
    return tuple(parts)


def spans_by_turns(spoken: Sequence[Span], num_lines: int) -> tuple[Span | None, ...]:
    """Turns of speech handed to the lines in order, for words that no recogniser knows.

    Speech beyond the last line is not asked for (puppets repeat themselves) and is left out.

    Args:
        spoken: stretches of speech, in order.
        num_lines: how many lines were asked for.
    """
    turns: list[Span] = []
    for span in spoken:
        if turns and span.start_s - turns[-1].end_s < SHORTEST_PAUSE_S:
            turns[-1] = Span(turns[-1].start_s, span.end_s)
        else:
            turns.append(span)
    missing = [None] * max(0, num_lines - len(turns))
    return (*turns[:num_lines], *missing)
