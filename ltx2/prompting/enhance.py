"""Prompt enhancement as a step that can be seen: a proposal with its changes, or a refusal.

Quoted lines are locked. The language model sees a placeholder for each, and a proposal exists only
if every line came back, unchanged and in order.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal, Protocol

from ltx2.prompting.quotes import Quote, find_quotes
from ltx2.request import MAX_PROMPT_CHARACTERS


class Enhancer(Protocol):
    """A language model that rewrites prompts.

    It keeps every placeholder `[LINE 1]`, `[LINE 2]`, ... where its line is said.
    """

    def __call__(self, prompt: str) -> str:
        """A better prompt."""


@dataclass(frozen=True)
class Run:
    """Neighbouring words with the same fate; runs are joined by spaces."""

    kind: Literal["kept", "added", "removed"]
    text: str


@dataclass(frozen=True)
class Proposal:
    """A rewritten prompt that the writer may take.

    Attributes:
        original, enhanced: both prompts in full, with the same quoted lines.
        diff: how one became the other, in reading order.
    """

    original: str
    enhanced: str
    diff: tuple[Run, ...]


@dataclass(frozen=True)
class Refused:
    """What the language model wrote cannot be used, and why; the prompt stays as it is."""

    reason: str


_PLACEHOLDER = re.compile(r"\[LINE ([0-9]{1,4})\]")
_PLACEHOLDER_IN_MARKS = re.compile(r"[\"“”„«»「」『』]\s*(\[LINE [0-9]{1,4}\])\s*[\"“”„«»「」『』]")
# Curly marks and dashes become plain ones, as in the official pipeline; emphasis is dropped.
_PLAIN = str.maketrans(
    {"\u2018": "'", "\u2019": "'", "“": '"', "”": '"', "\u2013": "-", "\u2014": "-", "…": "..."}
    | {"*": None}
)


def propose(prompt: str, enhancer: Enhancer) -> Proposal | Refused:
    """A rewritten prompt that has exactly the quoted lines of `prompt`, or why there is none.

    If `prompt` quotes nothing the language model may add lines; the diff shows them.

    Raises:
        LTX2Error: what the enhancer raises.
    """
    found = find_quotes(prompt)
    if found.unbalanced:
        return Refused("A quotation mark in the prompt has no partner; close it first.")
    if _PLACEHOLDER.search(prompt):
        return Refused("The prompt holds “[LINE …]”, which stands for locked lines; reword it.")
    written = _tidy(enhancer(_locked(prompt, found.quotes)))
    if complaint := _placeholder_complaint(written, len(found.quotes)):
        return Refused(f"The language model {complaint}.")
    enhanced = _restored(written, prompt, found.quotes)
    if complaint := _complaint(enhanced, found.quotes):
        return Refused(f"The language model {complaint}.")
    return Proposal(prompt, enhanced, diff_words(prompt, enhanced))


def diff_words(original: str, enhanced: str) -> tuple[Run, ...]:
    """Words kept, added and removed; a quoted line counts as one word."""
    before, after = _words(original), _words(enhanced)
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    runs: list[Run] = []
    for _, start, end, new_start, new_end in matcher.get_opcodes():
        old, new = " ".join(before[start:end]), " ".join(after[new_start:new_end])
        if old == new:
            runs.append(Run("kept", old))
            continue
        runs += [Run("removed", old)] if old else []
        runs += [Run("added", new)] if new else []
    return tuple(runs)


def _locked(prompt: str, quotes: Sequence[Quote]) -> str:
    parts, position = [], 0
    for number, quote in enumerate(quotes, start=1):
        parts += [prompt[position : quote.start], f"[LINE {number}]"]
        position = quote.end
    return "".join([*parts, prompt[position:]])


def _restored(written: str, prompt: str, quotes: Sequence[Quote]) -> str:
    def line(found: re.Match[str]) -> str:
        quote = quotes[int(found.group(1)) - 1]
        return prompt[quote.start : quote.end]

    return _PLACEHOLDER.sub(line, written)


def _tidy(written: str) -> str:
    """One paragraph with plain punctuation that starts with a word or a placeholder."""
    plain = " ".join(written.translate(_PLAIN).split())
    plain = _PLACEHOLDER_IN_MARKS.sub(r"\1", plain)
    while plain and not (plain[0].isalnum() or _PLACEHOLDER.match(plain)):
        plain = plain[1:]
    # What wraps the whole answer in quotation marks loses its first mark above.
    if plain.endswith('"') and plain.count('"') % 2:
        plain = plain[:-1]
    return plain


def _placeholder_complaint(written: str, count: int) -> str:
    """What is wrong with the placeholders of `written`, which should be 1 to `count` in order."""
    numbers = [int(number) for number in _PLACEHOLDER.findall(written)]
    wanted = range(1, count + 1)
    if not written:
        return "wrote nothing"
    if missing := [number for number in wanted if number not in numbers]:
        return f"left out quoted line {missing[0]}"
    if set(numbers) - set(wanted):
        return "made up a quoted line"
    if len(numbers) > count:
        return "repeated a quoted line"
    return "" if numbers == list(wanted) else "changed the order of the quoted lines"


def _complaint(enhanced: str, quotes: Sequence[Quote]) -> str:
    """What is wrong with a finished prompt that should have these quoted lines."""
    if len(enhanced) > MAX_PROMPT_CHARACTERS:
        return f"wrote {len(enhanced):,} characters, which is too long"
    again = find_quotes(enhanced)
    lines = [quote.text for quote in quotes]
    if again.unbalanced or (lines and [quote.text for quote in again.quotes] != lines):
        return "put quotation marks of its own into the prompt"
    return ""


def _words(text: str) -> list[str]:
    return list(_split(text))


def _split(text: str) -> Iterator[str]:
    """Words between white space; white space inside a quoted line does not split."""
    word_start, position = None, 0
    quotes = iter(find_quotes(text).quotes)
    quote = next(quotes, None)
    while position < len(text):
        if quote is not None and position == quote.start:
            word_start = position if word_start is None else word_start
            position, quote = quote.end, next(quotes, None)
            continue
        if text[position].isspace():
            if word_start is not None:
                yield text[word_start:position]
            word_start = None
        elif word_start is None:
            word_start = position
        position += 1
    if word_start is not None:
        yield text[word_start:]
