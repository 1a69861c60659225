"""What others may know of the puppet world: its words, its voices, and who hears them.

The embedded checkpoint speaks the words of a small world of its own, one at a time, with the
voices of espeak-ng. Recognisers of human speech know little of them; the world's own does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
"""Rate in Hz of every sound here."""


@dataclass(frozen=True)
class PuppetWord:
    """A word that was heard.

    Attributes:
        word, language: of the vocabulary; empty where it is like no word of it.
        start_s, end_s: when.
        margin: by what share the next word is less like it.
    """

    word: str
    language: str
    start_s: float
    end_s: float
    margin: float


def vocabulary() -> Mapping[str, Sequence[str]]:
    """Words of the world by language."""
    from ltx2.training.puppet.scenes import WORDS

    return WORDS


def voices() -> Sequence[str]:
    """Names of the world's voices."""
    from ltx2.training.puppet.scenes import VOICES

    return VOICES


def spoken(word: str, *, language: str, voice: str) -> NDArray[np.float32]:
    """A word of the vocabulary as a puppet says it [S], mono.

    Raises:
        ResourceError: espeak-ng is missing.
    """
    from ltx2.training.puppet.voices import speak

    return speak(word, language=language, voice=voice, variant=0, sample_rate=SAMPLE_RATE)


def hear_words(
    speech: NDArray[np.floating], spans: Sequence[tuple[float, float]]
) -> tuple[PuppetWord, ...]:
    """The word nearest to each stretch of a sound.

    Args:
        speech: mono [S].
        spans: first and last moment of each word, seconds.

    Raises:
        ResourceError: espeak-ng, which says what is compared with, is missing.
    """
    from ltx2.training.puppet.heard import clear_of, cut, hear_ambience, hear_word

    mono = np.asarray(speech, np.float64)
    ambience = hear_ambience(mono)
    clear = clear_of(mono, ambience)
    words = []
    for start_s, end_s in spans:
        found = hear_word(cut(clear, (start_s, end_s)), ambience)
        name, language, margin = (
            ("", "", 0.0) if found is None else (found.word, found.language, found.margin)
        )
        words.append(PuppetWord(name, language, start_s, end_s, margin))
    return tuple(words)
