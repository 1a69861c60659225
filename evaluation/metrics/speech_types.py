"""Words with their times."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Word:
    """A word as heard.

    Attributes:
        text: with its punctuation.
        start_s, end_s: when.
        probability: the recogniser's.
    """

    text: str
    start_s: float
    end_s: float
    probability: float


@dataclass(frozen=True)
class Transcript:
    """What is said.

    Attributes:
        text: as the recogniser writes it.
        words: in order.
        language: ISO 639-1 code of the one identified, or of the one told.
        language_probability: the recogniser's; 1 where the language was told.
        speech_s: seconds of speech.
        recogniser: which one.
        is_intelligible: False where the transcript is none to believe; then it counts as wrong.
    """

    text: str
    words: tuple[Word, ...]
    language: str
    language_probability: float
    speech_s: float
    recogniser: str
    is_intelligible: bool
