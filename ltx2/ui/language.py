"""What the page says, in the language of who reads it.

English is written where it is said, and is the key of its translations in the folder `phrases`:
`{"Stop": {"de": "Stopp", ...}}`. What has no translation is said in English. README.md beside this
file tells how to add a text, and how another package brings its own.
"""

import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from string import Formatter
from typing import Any

import gradio as gr
from gradio.context import LocalContext
from gradio.i18n import I18nData

ENGLISH = "en"

LANGUAGES = ("de", "es", "fr", "it", "ja", "ko", "pt", "zh", "ar")
"""Beside English."""

KEY = "text:"
"""Before each text in the browser's table: Gradio looks up plain values there too, and would hand
back the translation of a choice that is called like a text."""

FOLDER = Path(__file__).parent / "phrases"

_SENTENCE_END = re.compile(r"(?<=[.?!…]) (?=[^a-z])")

BULLET = "-"
"""Before each line of a list."""

RETOLD = "retold.json"
"""The table of a folder with what lower floors say."""

_phrases: dict[str, dict[str, str]] = {}
"""Translations by language, of every text in English."""

_retold: set[str] = set()
"""Texts among them that lower floors say."""

_shown: dict[str, dict[str, str]] = {language: {} for language in (ENGLISH, *LANGUAGES)}
"""What `gr.I18n` hands to browsers: the texts of components with their values, by language."""


def add_phrases(folder: Path) -> None:
    """Makes the translations in a folder known, beside those that are known already."""
    for path in sorted(folder.glob("*.json")):
        table = json.loads(path.read_text("utf-8"))
        _phrases.update(table)
        if path.name == RETOLD:
            _retold.update(table)
    _patterns.cache_clear()
    said.cache_clear()


class Label(I18nData):
    """A text that each browser translates; equal to the same text in English.

    Attributes:
        text: in English.
    """

    def __init__(self, text: str) -> None:
        super().__init__(f"{KEY}{text}")
        self.text = text

    def __eq__(self, other: object) -> bool:
        return self.text == (other.text if isinstance(other, Label) else other)

    def __hash__(self) -> int:
        return hash(self.text)


def phrase(text: str) -> str:
    """The text itself, marked as one that `label` or `say` is given later."""
    return text


def label(text: str, **values: object) -> Any:  # Gradio says str where it takes labels as well
    """A text of a component, which each browser shows in its own language.

    For what is built once, and for updates of labels that were built before; Gradio translates the
    properties label, info, placeholder, title and value, and the labels of choices, one text each.

    Args:
        text: in English, with {names} of values.
        values: what stands there; every one that can come up has to be built before the page is
            opened, as a browser learns all texts at once.
    """
    built = Label(text.format(**values))
    for language, shown in _shown.items():
        shown[built.key] = _in(language, text).format(**values)
    return built


def say(text: str, **values: object) -> str:
    """A text for the visitor whose request is answered, as in HTML and in messages.

    Args:
        text: in English, with {names} of values.
        values: what stands there, as it is.
    """
    return _in(language_of_request(), text).format(**values)


def words_of(texts: Iterable[str]) -> dict[str, dict[str, str]]:
    """Texts for a script, by language and by what they are in English; their {names} stay."""
    return {
        language: {text: _in(language, text) for text in texts}
        for language in (ENGLISH, *LANGUAGES)
    }


def retold(text: str) -> str:
    """What a lower floor says in English, an error or a hint, for the visitor who asked.

    Such a text is found by its pattern, sentence by sentence or whole; what is found in no table
    stays as it is.
    """
    return said(text, language_of_request())


@lru_cache(maxsize=4096)
def said(text: str, language: str) -> str:
    """A text of sentences in a language; of a list each line is one for itself."""
    if language == ENGLISH or not text.strip():
        return text
    lines = text.split("\n")
    told = [_line(line, language) for line in lines] if len(lines) > 1 else lines
    if told != lines:
        return "\n".join(told)
    sentences = [_match(part, language) for part in _SENTENCE_END.split(text)]
    if None not in sentences:
        return " ".join(map(str, sentences))
    return _match(text, language) or text


def _line(line: str, language: str) -> str:
    """A line of a list, with what stands before its text."""
    own = line.lstrip(f"{BULLET} ")
    return line.removesuffix(own) + said(own, language)


def _match(text: str, language: str) -> str | None:
    """The translation of the first pattern that fits; its values may be texts themselves."""
    if text in _retold:
        return _in(language, text)
    for pattern, english in _patterns():
        if found := pattern.fullmatch(text):
            values = {name: said(value, language) for name, value in found.groupdict().items()}
            return _in(language, english).format(**values)
    return None


@lru_cache(maxsize=1)
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    """Texts with values as patterns, those first that say most themselves."""
    found = [text for text in _retold if any(name for _, name, _, _ in Formatter().parse(text))]
    found.sort(key=lambda text: -len(re.sub(r"\{\w+\}", "", text)))
    return [(_pattern_of(text), text) for text in found]


def _pattern_of(text: str) -> re.Pattern[str]:
    parts = Formatter().parse(text)
    pattern = "".join(
        re.escape(literal) + (f"(?P<{name}>.+?)" if name else "") for literal, name, _, _ in parts
    )
    return re.compile(pattern, re.DOTALL)


def _in(language: str, text: str) -> str:
    return _phrases.get(text, {}).get(language, text)


def language_of_request() -> str:
    """Language of who is answered at this moment; English outside of requests."""
    request = LocalContext.request.get(None)
    headers: Mapping[str, str] = getattr(request, "headers", None) or {}
    return preferred(headers.get("accept-language", ""))


@lru_cache(maxsize=256)
def preferred(accepted: str) -> str:
    """The language of the page for a browser that accepts these (RFC 9110, 12.5.4).

    As Gradio does, only the first counts: a visitor is to see one language, not two.
    """
    first = accepted.partition(",")[0].partition(";")[0].strip().lower()
    code = first.partition("-")[0]
    return code if code in LANGUAGES else ENGLISH


def translations() -> gr.I18n:
    """What `launch` takes: the texts of every component, also of those that are built later."""
    return gr.I18n(**_shown)


add_phrases(FOLDER)
