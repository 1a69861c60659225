"""What puppets say, by the recogniser of their own world, declared as such.

It picks the nearest of the world's 64 words or none, so it flatters; recognisers of human speech
read few of the single synthetic words (README.md of this folder has both figures).
"""

import numpy as np

from evaluation.measurement import NotMeasurable
from evaluation.metrics.line_spans import without_pauses
from evaluation.metrics.speech_types import Transcript, Word
from evaluation.metrics.voice_activity import VoiceActivity
from ltx2.errors import ResourceError
from ltx2.puppet import PuppetWord, hear_words

RECOGNISER = "the puppet world's own: nearest of its 64 words"
REPEAT_S, REPEAT_TOLERANCE_S = 2.0, 0.3
"""Puppets say their lines again every two seconds; a repetition is no second line. Once the first
round is over a known word is one whatever its beat: clips made in parts lose theirs."""
SHORTEST_WORD_S = 0.15
UNKNOWN = "?"


def words_heard(
    speech: np.ndarray, activity: VoiceActivity
) -> tuple[PuppetWord, ...] | NotMeasurable:
    """Every word of a clip of puppets, repetitions and all.

    Args:
        speech: mono at 16 kHz [S].
        activity: where somebody speaks in it.
    """
    spans = [
        (span.start_s, span.end_s)
        for span in without_pauses(speech, activity.spans)
        if span.duration_s >= SHORTEST_WORD_S
    ]
    if not spans:
        return NotMeasurable("Nobody speaks.")
    try:
        return hear_words(speech, spans)
    except ResourceError as error:
        return NotMeasurable(error.message, error.next_step)


def puppet_transcript(speech: np.ndarray, activity: VoiceActivity) -> Transcript | NotMeasurable:
    """The words of a clip of puppets, without repetitions; arguments as of `words_heard`."""
    found = words_heard(speech, activity)
    if isinstance(found, NotMeasurable):
        return found
    heard = _without_repeats(found)
    known = [word for word in heard if word.word]
    languages = [word.language for word in known]
    language = max(languages, key=languages.count) if languages else ""
    words = tuple(
        Word(word.word or UNKNOWN, word.start_s, word.end_s, min(1.0, word.margin))
        for word in heard
    )
    return Transcript(
        text=" ".join(word.text for word in words),
        words=words,
        language=language,
        language_probability=languages.count(language) / len(heard) if languages else 0.0,
        speech_s=activity.speech_s,
        recogniser=RECOGNISER,
        is_intelligible=bool(known),
    )


def _without_repeats(words: tuple[PuppetWord, ...]) -> list[PuppetWord]:
    first: list[PuppetWord] = []
    for word in words:
        is_later = word.start_s - words[0].start_s > REPEAT_S + REPEAT_TOLERANCE_S
        is_known = bool(word.word) and word.word in {before.word for before in first}
        if not (is_later and is_known) and not any(_is_in_beat(word, before) for before in first):
            first.append(word)
    return first


def _is_in_beat(word: PuppetWord, before: PuppetWord) -> bool:
    """Whether a word comes whole rounds after another one."""
    apart_s = word.start_s - before.start_s
    off_s = abs((apart_s + REPEAT_S / 2) % REPEAT_S - REPEAT_S / 2)
    return apart_s > REPEAT_S / 2 and off_s < REPEAT_TOLERANCE_S
