"""Clips that play in the report, the same items of every run side by side, with their numbers."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from evaluation.reports.measured.results import Row, RunResults
from evaluation.reports.measured.small_clips import small_clip
from evaluation.reports.parts import Clips, Notes, Part, Playable, Plot, Section, Table
from evaluation.reports.plots import Curve, curves
from evaluation.suites.records import ItemRecord
from ltx2.errors import LTX2Error

logger = logging.getLogger(__name__)

BUDGET_BYTES = 12_000_000
"""Of all clips of a report; mail servers refuse much larger files."""
MOST_ITEMS = 12
MAX_POINTS = 300
GOLDEN = (5**0.5 - 1) / 2


def clips(runs: Sequence[RunResults], budget_bytes: int = BUDGET_BYTES) -> Section | None:
    """Items spread evenly over the suite, not picked by how they came out; None without clips.

    Args:
        runs: whose clips are shown.
        budget_bytes: that all of them may take in the report.
    """
    made = [
        {r.item: r for r in reversed(list(run.items.values())) if r.status == "ok"} for run in runs
    ]
    names = list(
        dict.fromkeys(r.item for run in runs for r in run.items.values() if r.status == "ok")
    )
    shared = [name for name in names if all(name in items for items in made)] or names
    if not shared:
        return None
    left, parts = budget_bytes, []
    chosen = spread(shared, MOST_ITEMS)
    for name in chosen:
        shown = []
        for run, items in zip(runs, made, strict=True):
            if name in items and (one := _playable(run, items[name], left)) is not None:
                shown.append(one)
                left -= len(one.video) + len(one.poster)
        if shown:
            record = next(items[name] for items in made if name in items)
            parts.append(Clips(f"{name}: {record.request.prompt}", shown))
    num_shown = len(parts)
    if len(runs) == 1 and parts:
        # One clip a row would be mostly paper.
        named = [
            replace(part.clips[0], title=part.caption) for part in parts if isinstance(part, Clips)
        ]
        parts = [Clips("Clips with what was asked.", named)]
    if not parts:
        return None
    note = (
        f"{num_shown} of {len(shared)} items, spread over the suite by a rule and with the first "
        "seed: none was picked by its result. Smaller and coarser than what was measured."
    )
    return Section("Clips", [Notes([note]), *parts])


def spread(names: Sequence[str], count: int) -> list[str]:
    """At most `count` of the names, one of each of so many stretches.

    Where in a stretch goes round with the golden ratio: a fixed step would meet the same length or
    language every time, as items of one scene stand together.
    """
    count = min(count, len(names))
    step = len(names) / count
    return [names[int((place + place * GOLDEN % 1) * step)] for place in range(count)]


def _playable(run: RunResults, record: ItemRecord, left: int) -> Playable | None:
    try:
        small = small_clip(run.folder.clip(record.key))
    except (LTX2Error, OSError) as error:
        logger.warning("A clip is not shown: %s", error)
        return None
    if small.num_bytes > left:
        return None
    rows = [row for row in run.rows if row.key == record.key]
    return Playable(run.name, small.video, small.poster, headline(rows), measured(rows))


def headline(rows: Sequence[Row]) -> list[str]:
    """A few words of what was measured of a clip."""
    found = {row.metric: row for row in rows if row.status == "ok"}
    lines = []
    if (row := found.get("language.word_error")) is not None:
        lines.append(f"heard: {row.details.get('text') or 'nothing'}")
    for metric, words in (("lip_sync.landmarks", "lips"), ("impacts.offset", "impacts")):
        if (row := found.get(metric)) is not None and row.value is not None:
            lines.append(f"{words} {row.value:+.0f} ms")
    if (row := found.get("speakers.accuracy")) is not None:
        counts: Mapping[str, Any] = row.details.get("counts", {})
        lines.append(", ".join(f"{n} {verdict}" for verdict, n in counts.items() if n))
    return lines


def measured(rows: Sequence[Row]) -> list[Part]:
    """Every number of a clip, or why there is none, and its evidence as plots."""
    if not rows:
        return []
    table = Table(
        "Every measurement of this clip.",
        ["Metric", "Value", "By"],
        [[row.metric, _said(row), row.measured_by] for row in rows],
    )
    return [table, *(plot for row in rows for plot in evidence(row))]


def evidence(row: Row) -> list[Plot]:
    """One plot for every pair of axes that a metric's curves have."""
    by_axes: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for curve in row.evidence:
        if len(curve["x"]) > 1:
            by_axes.setdefault((curve["x_label"], curve["y_label"]), []).append(curve)
    return [_plot(row, x, y, found) for (x, y), found in by_axes.items()]


def _plot(row: Row, x: str, y: str, found: Sequence[Mapping[str, Any]]) -> Plot:
    lines = [Curve(str(curve["name"]), *_thinned(curve["x"], curve["y"])) for curve in found]
    table = Table(
        "Ends of the curves.",
        ["Curve", "Points", "Smallest", "Largest"],
        [[line.name, str(len(line.x)), *(f"{end:.3g}" for end in _ends(line.y))] for line in lines],
        (1, 2, 3),
    )
    return Plot(
        curves(lines, x=x, y=y), f"{row.metric}: {', '.join(line.name for line in lines)}", table
    )


def _thinned(x: Sequence[float], y: Sequence[float | None]) -> tuple[list[float], list[float]]:
    step = -(-len(x) // MAX_POINTS)
    return list(x[::step]), [float("nan") if value is None else value for value in y[::step]]


def _ends(values: Sequence[float]) -> tuple[float, float]:
    known = [value for value in values if value == value]
    return (min(known), max(known)) if known else (float("nan"), float("nan"))


def _said(row: Row) -> str:
    if row.status == "ok" and row.value is not None:
        return f"{row.value:.3g} {row.unit}".strip()
    return f"{'not measurable' if row.status == 'unmeasurable' else 'error'}: {row.reason}"
