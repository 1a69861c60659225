"""Whether a clip says the words asked, in the language asked, at a human pace."""

import re
import unicodedata
from collections.abc import Sequence

import numpy as np

from evaluation.expectation import Expectation, ExpectedLine
from evaluation.measurement import Measured, Metric, NotMeasurable, Outcome
from evaluation.metrics.faces import shows_puppets
from evaluation.metrics.recogniser import load_recogniser
from evaluation.metrics.speech import LEAST_SPEECH_S, transcribe, transcript_details
from evaluation.metrics.speech_types import Transcript
from evaluation.metrics.voice_activity import heard
from evaluation.metrics.wording import BY_CHARACTER, base_language, count_edits, tokens
from ltx2 import Clip

VERSION = 3
MEASURED_BY = "faster-whisper or the puppets' own recogniser, silero-vad"
LEAST_CONFIDENCE = 0.5
"""Probability below which an identified language is a guess."""
SLOWEST, FASTEST = 2.0, 8.0
"""Syllables a second that people speak at; between languages the mean is 5 to 8 (Pellegrino,
Coupé and Marsico, 2011)."""
VOWELS = r"[aeiouy\u0430\u0435\u0438\u043e\u0443\u044b\u044d\u044e\u044f]+"
"""Latin and Cyrillic vowel letters in a row, accents apart."""
NO_LINES = NotMeasurable("No words were asked for.", "Give the lines that the clip should say.")


def word_error(clip: Clip, expectation: Expectation) -> Outcome:
    """Share of the words asked that are wrong, missing or too many; characters in ja, ko, zh, th.

    Speech that cannot be understood counts as 1. What nobody says is not measurable, so that a
    mute clip is told apart from one that speaks wrongly.
    """
    if not expectation.lines:
        return NO_LINES
    language = _only_language(expectation.lines)
    transcript = transcribe(clip, language=language)
    if isinstance(transcript, NotMeasurable):
        return transcript
    return _word_error(transcript, expectation.lines)


def _word_error(transcript: Transcript, lines: Sequence[ExpectedLine]) -> Outcome:
    asked = [token for line in lines for token in tokens(line.text, line.language)]
    if not asked:
        return NO_LINES
    heard = tokens(transcript.text, lines[0].language)
    edits = count_edits(asked, heard)
    value = edits.rate if transcript.is_intelligible else 1.0
    details = transcript_details(transcript) | {
        "unit": "character" if base_language(lines[0].language) in BY_CHARACTER else "word",
        "substitutions": edits.substitutions,
        "deletions": edits.deletions,
        "insertions": edits.insertions,
        "asked": len(asked),
    }
    return Measured(value, "share", details=details)


def language_match(clip: Clip, expectation: Expectation) -> Outcome:
    """1 where the language asked is the one identified, with enough confidence, else 0."""
    if not expectation.lines:
        return NO_LINES
    asked = {base_language(line.language) for line in expectation.lines}
    if len(asked) > 1:
        return NotMeasurable("Several languages were asked for in one clip.")
    if shows_puppets(clip):
        return _puppet_language(clip, asked)
    speech = _enough_speech(clip)
    if isinstance(speech, NotMeasurable):
        return speech
    recogniser = load_recogniser()
    if isinstance(recogniser, NotMeasurable):
        return recogniser
    language, probability, every = recogniser.network.detect_language(speech)
    right = language in asked and probability >= LEAST_CONFIDENCE
    details = {
        "asked": sorted(asked)[0],
        "identified": language,
        "candidates": {name: round(float(p), 4) for name, p in every[:3]},
        "recogniser": recogniser.name,
    }
    return Measured(float(right), "", confidence=float(probability), details=details)


def _puppet_language(clip: Clip, asked: set[str]) -> Outcome:
    transcript = transcribe(clip)
    if isinstance(transcript, NotMeasurable):
        return transcript
    if not transcript.is_intelligible:
        return NotMeasurable("No word of the puppet world is heard.")
    details = {
        "asked": sorted(asked)[0],
        "identified": transcript.language,
        "recogniser": transcript.recogniser,
    }
    sure = transcript.language_probability
    right = transcript.language in asked and sure >= LEAST_CONFIDENCE
    return Measured(float(right), "", confidence=sure, details=details)


def speech_rate(clip: Clip, expectation: Expectation) -> Outcome:
    """Syllables a second of speech; details tell whether people speak so."""
    language = _only_language(expectation.lines)
    transcript = transcribe(clip, language=language)
    if isinstance(transcript, NotMeasurable):
        return transcript
    if not transcript.is_intelligible:
        return NotMeasurable("The speech cannot be understood.")
    syllables = count_syllables(transcript.text, language or transcript.language)
    rate = syllables / transcript.speech_s
    details = {"is_human": SLOWEST <= rate <= FASTEST, "syllables": syllables}
    return Measured(rate, "syllables/s", details=details)


METRICS = (
    Metric("language.word_error", VERSION, MEASURED_BY, word_error),
    Metric("language.match", VERSION, MEASURED_BY, language_match),
    Metric("language.rate", VERSION, MEASURED_BY, speech_rate),
)


def count_syllables(text: str, language: str) -> int:
    """About how many syllables a text has: groups of vowels; characters in ja, ko, zh and th."""
    language = base_language(language)
    parts = tokens(text, language)
    if language in BY_CHARACTER:
        return len(parts)
    silent_e = language in ("en", "fr")
    return sum(_syllables(part, silent_e=silent_e) for part in parts)


def _enough_speech(clip: Clip) -> np.ndarray | NotMeasurable:
    """The sound [S] of a clip in which a second of speech is heard."""
    found = heard(clip)
    if isinstance(found, NotMeasurable):
        return found
    speech, activity = found
    if activity.speech_s < 2 * LEAST_SPEECH_S:
        return NotMeasurable("There is less than a second of speech to tell a language by.")
    return speech


def _syllables(word: str, *, silent_e: bool) -> int:
    bare = "".join(c for c in unicodedata.normalize("NFD", word) if not unicodedata.combining(c))
    groups = len(re.findall(VOWELS, bare))
    if silent_e and groups > 1 and re.search(r"[^aeiouyl]e$", bare):
        groups -= 1
    return max(1, groups)


def _only_language(lines: Sequence[ExpectedLine]) -> str | None:
    """The language of all lines, None where there are several or none."""
    languages = {base_language(line.language) for line in lines}
    return languages.pop() if len(languages) == 1 else None
