"""What a writer may want to know about a prompt while typing it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from ltx2.prompting.dialogue import style_for
from ltx2.prompting.free import read_freely
from ltx2.prompting.languages import LANGUAGES, UNKNOWN, guess_language
from ltx2.prompting.quotes import Quote, Quotes, find_quotes, without_quotes
from ltx2.prompting.script import Dialogue, NotReadable
from ltx2.prompting.vocabulary import WORD, Vocabulary, nearest

Kind = Literal[
    "length",
    "quotes",
    "speech",
    "language",
    "line language",
    "attribution",
    "unknown word",
    "unknown line",
]
Severity = Literal["info", "warning"]

TRAINED_WORDS = (20, 200)
"""LTX-2 is described as following one paragraph of at most 200 words best; below the first number
most of the picture is left to chance."""

WORDS_PER_SECOND = {
    "en": 3.0,
    "de": 2.4,
    "es": 2.9,
    "fr": 2.6,
    "it": 2.5,
    "pt": 2.4,
    "ko": 1.9,
    "ar": 1.8,
    UNKNOWN: 2.5,
}
"""Four fifths of how fast people read aloud (Trauzettel-Klosinski and Dietz 2012, IReST, Table 1);
Korean, which is not in it, is our estimate."""
CHARACTERS_PER_SECOND = {"ja": 4.8, "zh": 3.4}
"""The same for languages written without spaces."""
PAUSE_S = 0.3
"""Between two lines."""

CHARACTERS_PER_WORD = 2
"""Of languages written without spaces, to compare the length of prompts."""
MAX_UNKNOWN_WORDS = 8
"""So many different words are shown; the rest is counted."""

_UNSPACED = re.compile(r"[\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff々]")


@dataclass(frozen=True)
class Hint:
    """One remark about a prompt.

    Attributes:
        kind: what it is about.
        text: one or two sentences for the writer.
        span: which characters of the prompt it is about; None for all of it.
        severity: "warning" if the clip would suffer.
    """

    kind: Kind
    text: str
    span: tuple[int, int] | None = None
    severity: Severity = "info"


def hints(
    prompt: str, *, duration_s: float | None = None, vocabulary: Vocabulary | None = None
) -> tuple[Hint, ...]:
    """All hints of a prompt; none of an empty one.

    Args:
        prompt: what was typed so far.
        duration_s: of the clip, if chosen.
        vocabulary: what the model knows; None for one that reads any text.
    """
    if not prompt.strip():
        return ()
    found = find_quotes(prompt)
    reading: Dialogue | NotReadable | None = None
    if found.quotes:
        reading = style_for(vocabulary).parse(prompt) or read_freely(prompt)
    guesses = [guess_language(quote.text) for quote in found.quotes]
    languages = _line_languages(found.quotes, guesses, reading, vocabulary)
    return (
        _length(prompt, vocabulary),
        *_language(without_quotes(prompt, found.quotes), vocabulary),
        *_balance(found),
        *_speech(found.quotes, languages, duration_s),
        *_lines(found.quotes, guesses, languages, reading),
        *_attribution(found.quotes, reading),
        *(_unknown(prompt, found.quotes, vocabulary) if vocabulary else ()),
    )


def count_words(text: str) -> int:
    """Words of `text`, whether or not its script puts spaces between them."""
    unspaced = len(_UNSPACED.findall(text))
    return len(WORD.findall(_UNSPACED.sub(" ", text))) + -(-unspaced // CHARACTERS_PER_WORD)


def estimate_speech_s(text: str, language: str) -> float:
    """About how long it takes to say `text`, seconds.

    Args:
        text: one line.
        language: a code of `languages.LANGUAGES` or `languages.UNKNOWN`.
    """
    if language in CHARACTERS_PER_SECOND:
        characters = sum(character.isalnum() for character in text)
        return characters / CHARACTERS_PER_SECOND[language]
    rate = WORDS_PER_SECOND.get(language, WORDS_PER_SECOND[UNKNOWN])
    return len(re.findall(r"\w+(?:['\u2019-]\w+)*", text)) / rate


def _length(prompt: str, vocabulary: Vocabulary | None) -> Hint:
    low, high = TRAINED_WORDS
    if vocabulary is not None:
        low, high = vocabulary.min_words, vocabulary.max_words
    count = count_words(prompt)
    words = f"{count} word{'' if count == 1 else 's'}"
    if count < low:
        text = f"{words}: the model was trained with {low} to {high}. Say what is seen and heard."
        return Hint("length", text, severity="warning")
    if count > high:
        text = f"{words}: the model was trained with {low} to {high}. It may miss some of them."
        return Hint("length", text, severity="warning")
    return Hint("length", f"{words}.")


def _language(prose: str, vocabulary: Vocabulary | None) -> Iterator[Hint]:
    language = guess_language(prose)
    if language == UNKNOWN:
        return
    name = LANGUAGES[language]
    if vocabulary is None or language in vocabulary.languages:
        yield Hint("language", f"Written in {name}.")
    else:
        known = _listed([LANGUAGES.get(code, code) for code in vocabulary.languages])
        text = f"Written in {name}; this model reads {known}."
        yield Hint("language", text, severity="warning")


def _balance(found: Quotes) -> Iterator[Hint]:
    for position in found.unbalanced:
        text = "This quotation mark has no partner, so it is not clear what is said."
        yield Hint("quotes", text, (position, position + 1), "warning")


def _line_languages(
    quotes: tuple[Quote, ...],
    guesses: list[str],
    reading: Dialogue | NotReadable | None,
    vocabulary: Vocabulary | None,
) -> list[str]:
    """The language of every quoted line: as the model heard it, as the prompt says, or a guess."""
    heard: dict[str, str] = {}
    for code, lines in vocabulary.sayings.items() if vocabulary else ():
        for line in lines:
            heard.setdefault(line.lower(), code)
    named = [""] * len(quotes)
    if isinstance(reading, Dialogue):
        named = [line.language for line in reading.lines]
    return [
        heard.get(quote.text.lower()) or language or guess
        for quote, language, guess in zip(quotes, named, guesses, strict=True)
    ]


def _speech(
    quotes: tuple[Quote, ...], languages: list[str], duration_s: float | None
) -> Iterator[Hint]:
    if not quotes:
        return
    seconds = PAUSE_S * (len(quotes) - 1) + sum(
        estimate_speech_s(quote.text, language)
        for quote, language in zip(quotes, languages, strict=True)
    )
    lines = f"{len(quotes)} quoted line{'' if len(quotes) == 1 else 's'}"
    text = f"{lines}, about {seconds:.1f} s of speech"
    if duration_s is None or seconds <= duration_s:
        yield Hint("speech", f"{text}.")
    else:
        text += f", but the clip lasts {duration_s:g} s. Shorten the lines or make the clip longer."
        yield Hint("speech", text, severity="warning")


def _lines(
    quotes: tuple[Quote, ...],
    guesses: list[str],
    languages: list[str],
    reading: Dialogue | NotReadable | None,
) -> Iterator[Hint]:
    for index, (quote, guess, language) in enumerate(zip(quotes, guesses, languages, strict=True)):
        span = (quote.start, quote.end)
        named = reading.lines[index].language if isinstance(reading, Dialogue) else ""
        if named and guess not in (UNKNOWN, named) and language == named:
            text = f"Announced as {LANGUAGES[named]}, but it reads like {LANGUAGES[guess]}."
            yield Hint("line language", text, span, "warning")
        elif language != UNKNOWN:
            yield Hint("line language", f"Spoken in {LANGUAGES[language]}.", span)


def _attribution(
    quotes: tuple[Quote, ...], reading: Dialogue | NotReadable | None
) -> Iterator[Hint]:
    if len(quotes) > 1 and isinstance(reading, NotReadable) and reading.span is not None:
        text = f"{reading.reason} Name the speaker by looks and place, before the line."
        yield Hint("attribution", text, reading.span, "warning")


def _unknown(prompt: str, quotes: tuple[Quote, ...], vocabulary: Vocabulary) -> Iterator[Hint]:
    heard = tuple(line for lines in vocabulary.sayings.values() for line in lines)
    lower = {line.lower() for line in heard}
    for quote in quotes:
        said = quote.text.strip(" .,!?¡¿…")
        if said.lower() not in lower:
            text = f"The model never heard “{said}”.{_perhaps(said, heard)}"
            yield Hint("unknown line", text, (quote.start, quote.end), "warning")
    spans: dict[str, tuple[int, int]] = {}
    known = frozenset(vocabulary.words)
    for found in WORD.finditer(without_quotes(prompt, quotes)):
        if found.group().lower() not in known:
            spans.setdefault(found.group().lower(), found.span())
    for word, span in list(spans.items())[:MAX_UNKNOWN_WORDS]:
        text = f"The model does not know “{word}”.{_perhaps(word, vocabulary.words)}"
        yield Hint("unknown word", text, span, "warning")
    if (more := len(spans) - MAX_UNKNOWN_WORDS) > 0:
        yield Hint("unknown word", f"{more} more words are unknown.", severity="warning")


@lru_cache(maxsize=1024)
def _perhaps(word: str, known: tuple[str, ...]) -> str:
    like = nearest(word, known)
    return f" Perhaps “{like}”?" if like else ""


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
