"""Curves as inline SVG whose colours follow the document, in light, dark and print.

Drawn by matplotlib with texts as texts: small, searchable, in the reader's own font. Its colours
are replaced by the variables of `report.css`.
"""

import io
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {
    "#000001": "var(--ink)",
    "#000002": "var(--soft)",
    "#000003": "var(--grid)",
    "#000004": "var(--accent)",
    "#000005": "var(--warm)",
}
"""What is drawn with, and what it becomes."""

INK, SOFT, GRID, ACCENT, WARM = COLOURS

LINES = (
    (ACCENT, "-"),
    (WARM, "-"),
    (INK, "--"),
    (ACCENT, ":"),
    (WARM, "-."),
    (SOFT, "-"),
    (INK, ":"),
    (SOFT, "--"),
)
"""Colour and dash of the first curves; more begin again. Dashes tell them apart without colours."""

SIZE = (7.2, 3.2)
"""Inches of a plot; it is scaled to the width there is."""


@dataclass(frozen=True)
class Curve:
    """A line of a plot.

    Attributes:
        name: as in the legend.
        x, y: of equal length.
        low, high: a band about it, of the same length; none where they are empty.
        steps: holds each value until the next, as survival and counts do.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    steps: bool = False


def curves(
    lines: Sequence[Curve],
    *,
    x: str,
    y: str,
    levels: Sequence[tuple[float, str]] = (),
    marks: Sequence[float] = (),
    log_y: bool = False,
    ends: tuple[float, float] | None = None,
) -> str:
    """SVG of curves over one axis.

    Args:
        x, y: what the axes are, with units.
        levels: horizontal lines, each with its name.
        marks: vertical lines, where they are among the curves.
        log_y: powers of ten on the vertical axis.
        ends: of the vertical axis; None takes what the curves need.
    """

    def draw(axes: "Axes") -> None:
        if ends is not None:
            axes.set_ylim(*ends)
        for place, line in enumerate(lines):
            colour, dash = LINES[place % len(LINES)]
            look: dict[str, Any] = {"color": colour, "ls": dash, "lw": 1.6}
            look["drawstyle"] = "steps-post" if line.steps else "default"
            axes.plot(line.x, line.y, label=_shown(line.name), **look)
            if len(line.low):
                band: dict[str, Any] = {"color": colour, "alpha": 0.15, "lw": 0}
                band["step"] = "post" if line.steps else None
                axes.fill_between(line.x, line.low, line.high, **band)
        last = max((max(line.x) for line in lines if len(line.x)), default=0.0)
        for mark in marks:
            if mark < last:
                axes.axvline(mark, color=SOFT, lw=1, ls=(0, (3, 3)))
        for level, name in levels:
            axes.axhline(level, color=SOFT, lw=1, ls=(0, (3, 3)))
            axes.annotate(
                name,
                (1, level),
                xycoords=("axes fraction", "data"),
                xytext=(-2, 3),
                textcoords="offset points",
                ha="right",
                color=SOFT,
                fontsize=9,
            )
        if log_y:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        if len(lines) > 1:
            axes.legend(frameon=False, fontsize=9, labelcolor=INK, loc="best")

    return draw_svg(draw, x=x, y=y)


def histogram(
    values: Sequence[float], *, x: str, y: str, bins: Sequence[float], marks: Sequence[float] = ()
) -> str:
    """SVG of how often values fall between the edges `bins`; `marks` are vertical lines."""

    def draw(axes: "Axes") -> None:
        axes.hist(values, bins=list(bins), color=ACCENT, alpha=0.75, edgecolor=GRID, linewidth=0.6)
        for mark in marks:
            axes.axvline(mark, color=SOFT, lw=1, ls=(0, (3, 3)))

    return draw_svg(draw, x=x, y=y)


def draw_svg(
    draw: "Callable[[Axes], None]", *, x: str, y: str, size: tuple[float, float] = SIZE
) -> str:
    """SVG of anything drawn on matplotlib's axes with the colours of this module."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    style: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": "report",
        "text.parse_math": False,  # a model's name may hold a dollar sign
        "font.size": 10,
        "axes.edgecolor": SOFT,
        "axes.labelcolor": INK,
        "xtick.color": SOFT,
        "ytick.color": SOFT,
        "text.color": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": GRID,
        "grid.linewidth": 0.8,
        "axes.axisbelow": True,
    }
    with mpl.rc_context(style):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        file = io.StringIO()
        with warnings.catch_warnings():
            # The reader's font draws the letters, not the one that matplotlib measures with.
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            warnings.filterwarnings("ignore", message="Matplotlib currently does not support")
            figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return _made_ours(file.getvalue())


def _shown(name: str) -> str:
    """A name as it is, although matplotlib leaves those with an underscore out of legends."""
    return f"\N{ZERO WIDTH SPACE}{name}" if name.startswith("_") else name


def _made_ours(svg: str) -> str:
    """Without what only files need, with the document's colours and font."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' id="[A-Za-z0-9.]+_\d+"', "", svg)  # twice in a document with two plots
    svg = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1; font-family: inherit", svg)
    svg = re.sub(r">\s+<", "><", svg)
    for drawn, wanted in COLOURS.items():
        svg = svg.replace(drawn, wanted)
    return svg.replace("<svg ", '<svg aria-hidden="true" ', 1)
