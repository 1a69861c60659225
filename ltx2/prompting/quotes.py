"""Quoted lines in a text: where each one starts and ends."""

import re
from dataclasses import dataclass

from ltx2.errors import RequestError


@dataclass(frozen=True)
class QuotationMarks:
    """A pair of marks; `closing` may hold several, of which the first is the usual one."""

    opening: str
    closing: str


MARKS = (
    QuotationMarks('"', '"'),
    QuotationMarks("“", "”"),
    QuotationMarks("«", "»"),
    QuotationMarks("「", "」"),
    QuotationMarks("『", "』"),
    QuotationMarks("„", "“”"),
)
"""In the order in which they are tried for writing."""

ALL_MARKS = frozenset("".join(marks.opening + marks.closing for marks in MARKS))
_ANY_MARK = re.compile(f"[{''.join(ALL_MARKS)}]")
_BY_OPENING = {marks.opening: marks for marks in MARKS}


@dataclass(frozen=True)
class Quote:
    """A quoted line.

    Attributes:
        text: what stands between the marks, unchanged.
        start, end: span of line and marks in the whole text, characters.
    """

    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Quotes:
    """All quoted lines of a text, in order, and the positions of marks without a partner."""

    quotes: tuple[Quote, ...]
    unbalanced: tuple[int, ...]


def find_quotes(text: str) -> Quotes:
    """The quoted lines of `text`.

    A line goes from an opening mark to the next closing mark of the same pair; other marks inside
    belong to the line. Apostrophes are no quotation marks.
    """
    quotes: list[Quote] = []
    unbalanced: list[int] = []
    position = 0
    while mark := _ANY_MARK.search(text, position):
        start = mark.start()
        end = _closing(text, start)
        if end is None:
            unbalanced.append(start)
            position = start + 1
        else:
            quotes.append(Quote(text[start + 1 : end], start, end + 1))
            position = end + 1
    return Quotes(tuple(quotes), tuple(unbalanced))


def _closing(text: str, start: int) -> int | None:
    marks = _BY_OPENING.get(text[start])
    if marks is None:
        return None
    found = [text.find(mark, start + 1) for mark in marks.closing]
    return min((place for place in found if place >= 0), default=None)


def quoted(text: str) -> str:
    """`text` between the first pair of marks that it does not contain itself.

    Raises:
        RequestError: it contains all of them.
    """
    for marks in MARKS:
        if not {marks.opening, *marks.closing} & set(text):
            return f"{marks.opening}{text}{marks.closing[0]}"
    raise RequestError(
        "A line uses every kind of quotation mark, so none is left to put around it.",
        next_step='Write its inner quotation marks as " or leave them out.',
    )


def without_quotes(text: str, quotes: tuple[Quote, ...]) -> str:
    """`text` with every quoted line replaced by as many spaces, so that positions stay."""
    parts, position = [], 0
    for quote in quotes:
        parts += [text[position : quote.start], " " * (quote.end - quote.start)]
        position = quote.end
    return "".join([*parts, text[position:]])
