"""What reports consist of, as data: the same parts make a whole document and a tab of the page."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Tone = Literal["", "good", "bad", "unsure"]
"""How a cell is tinted; what it means always stands in words as well."""


@dataclass(frozen=True)
class Cell:
    """One field of a table.

    Attributes:
        text: as shown.
        tone: its tint.
        share: strength of the tint, 0 to 1.
        hint: more about it, for those who point at it.
    """

    text: str
    tone: Tone = ""
    share: float = 1.0
    hint: str = ""


@dataclass(frozen=True)
class Table:
    """Rows under heads; the first cell of a row is its name.

    Attributes:
        caption: what it shows, as a sentence.
        numbers: places of the columns that are set as numbers, to the right.
    """

    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]
    numbers: Sequence[int] = ()


@dataclass(frozen=True)
class Span:
    """A number with its interval, drawn as a dot on a bar.

    Attributes:
        value, low, high: in the unit of the scale.
        within: a narrower interval drawn inside, (low, high); None draws none.
    """

    value: float
    low: float
    high: float
    within: tuple[float, float] | None = None


@dataclass(frozen=True)
class SpanRow:
    """A row of `Spans`.

    Attributes:
        name: what the number is about.
        span: None where there is none; then the cells say why.
        before, after: cells left and right of the drawing; the numbers drawn belong among them.
        group: rows of one group follow a heading of this name.
    """

    name: str
    span: Span | None
    before: Sequence[str | Cell] = ()
    after: Sequence[str | Cell] = ()
    group: str = ""


@dataclass(frozen=True)
class Spans:
    """A table in which intervals are drawn on one scale: the plot and its numbers in one.

    Attributes:
        caption: what it shows, as a sentence.
        axis: what the scale is, with its unit.
        scale: its ends; None takes what the rows need.
        reference: where a line stands (no difference); None draws none.
        heads_before, heads_after: of the cells.
        legend: what bar and inner bar are.
    """

    caption: str
    axis: str
    rows: Sequence[SpanRow]
    scale: tuple[float, float] | None = None
    reference: float | None = None
    heads_before: Sequence[str] = ()
    heads_after: Sequence[str] = ()
    name_head: str = ""
    legend: str = ""


@dataclass(frozen=True)
class Share:
    """A piece of a whole.

    Attributes:
        name: what it is.
        value: 0 to 1.
        tone: its colour, 0 the first of the palette.
    """

    name: str
    value: float
    tone: int = 0


@dataclass(frozen=True)
class Shares:
    """Bars of pieces that make a whole, one a row, with the numbers in them.

    Attributes:
        caption: what it shows, as a sentence.
        rows: name, what stands at its end, and the pieces.
    """

    caption: str
    rows: Sequence[tuple[str, str, Sequence[Share]]]


@dataclass(frozen=True)
class Plot:
    """A drawing with the numbers that it shows.

    Attributes:
        svg: from `plots`.
        caption: what it shows, as a sentence; what those who do not see it are told.
        table: the same in numbers, folded below.
    """

    svg: str
    caption: str
    table: Table


@dataclass(frozen=True)
class Playable:
    """A clip that plays where it stands.

    Attributes:
        title: what it is.
        video: address of the file, or the file itself as a data URI.
        poster: address of its first picture, or the picture as a data URI; empty shows none.
        lines: what to know of it, below.
        parts: shown on request, below.
    """

    title: str
    video: str
    poster: str = ""
    lines: Sequence[str] = ()
    parts: Sequence["Part"] = ()


@dataclass(frozen=True)
class Clips:
    """Clips side by side.

    Attributes:
        caption: what they have in common, as a sentence.
    """

    caption: str
    clips: Sequence[Playable]


@dataclass(frozen=True)
class Facts:
    """Names and values."""

    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Text:
    """Paragraphs; plain text."""

    paragraphs: Sequence[str]


@dataclass(frozen=True)
class Notes:
    """What to know before believing what follows; plain sentences."""

    sentences: Sequence[str]


@dataclass(frozen=True)
class Folded:
    """Parts that are shown on request, and printed."""

    title: str
    parts: Sequence["Part"]


Part = Table | Spans | Shares | Plot | Clips | Facts | Text | Notes | Folded


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    title: str
    parts: Sequence[Part] = field(default=())
