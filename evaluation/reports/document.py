"""Parts as HTML: one file that needs nothing else, or a piece for the page.

Everything that comes from studies, clips or people is escaped (jinja2's autoescape); the file holds
its styles and drawings, runs no script and asks for nothing from anywhere.
"""

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from evaluation.reports.parts import Cell, Section, Spans

TEMPLATES = Path(__file__).parent / "templates"

STYLES = TEMPLATES / "report.css"
"""What parts look like, in a document and on a page."""

MARGIN = 0.04
"""Share of a scale that stays free at its ends."""


def render_document(
    title: str, sections: Sequence[Section], *, lead: str = "", foot: str = "", language: str = "en"
) -> str:
    """A whole document of HTML.

    Args:
        title: of the document.
        sections: each with its heading, which the contents at the top lead to.
        lead: the sentence below the title.
        foot: the last line.
        language: code of the language that it is written in.
    """
    return (
        _environment()
        .get_template("document.html")
        .render(
            title=title,
            sections=sections,
            lead=lead,
            foot=foot,
            language=language,
            styles=Markup(STYLES.read_text(encoding="utf-8")),
        )
    )


def render_sections(sections: Sequence[Section], *, language: str | None = None) -> str:
    """The same as a piece of HTML for a page that has `STYLES`.

    Args:
        sections: each with its heading.
        language: code of the language that they are written in, one that runs from left to right;
            None where it is the page's.
    """
    template = _environment().get_template("sections.html")
    return template.render(sections=sections, language=language)


@cache
def _environment() -> Environment:
    found = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["cell"] = lambda value: value if isinstance(value, Cell) else Cell(str(value))
    found.filters["kind"] = lambda part: type(part).__name__
    found.filters["scale"] = _Scale
    found.filters["drawn"] = Markup  # of our own plots, whose texts matplotlib escaped
    return found


class _Scale:
    """Places on the axis of `Spans`, in percent of its width."""

    def __init__(self, spans: Spans) -> None:
        ends = [end for row in spans.rows if row.span for end in (row.span.low, row.span.high)] + (
            [] if spans.reference is None else [spans.reference]
        )
        finite = [end for end in ends if math.isfinite(end)] or [0.0, 1.0]
        low, high = spans.scale or (min(finite), max(finite))
        if not spans.scale:
            room = (high - low or 1.0) * MARGIN
            low, high = low - room, high + room
        self.low, self.high = low, high

    def at(self, value: float) -> float:
        """0 to 100; what lies outside stands at the end."""
        if not math.isfinite(value):
            return 100.0 if value > 0 else 0.0
        return round(min(max(100 * (value - self.low) / (self.high - self.low), 0), 100), 2)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Places and texts of a few round numbers."""
        step = _round_step((self.high - self.low) / 4)
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        first = math.ceil(self.low / step)
        last = math.floor(self.high / step)
        return [(self.at(n * step), f"{n * step:.{digits}f}") for n in range(first, last + 1)]


def _round_step(rough: float) -> float:
    """1, 2 or 5 times a power of ten, not less than `rough` by much."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * n for n in (1, 2, 5, 10) if power * n >= rough * 0.8)
