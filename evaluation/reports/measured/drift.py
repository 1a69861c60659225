"""What becomes of clips as they go on: slopes, and how long they hold."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluation.measurement import NotMeasurable
from evaluation.metrics.drift import BREAK_S, Series, break_test
from evaluation.metrics.survival import Lifetime, first_failure, kaplan_meier, log_rank
from evaluation.reports.measured.estimates import mean_of
from evaluation.reports.measured.results import Row, RunResults
from evaluation.reports.measured.windows import DETECTABLE_MS
from evaluation.reports.parts import Notes, Part, Plot, Section, Span, SpanRow, Spans, Table
from evaluation.reports.plots import Curve, curves

GROUP = "drift"


@dataclass(frozen=True)
class Band:
    """Between which values a quantity still holds.

    Attributes:
        low, high: in the quantity's unit.
        is_relative: added to the first window's value.
    """

    low: float
    high: float
    is_relative: bool = True

    @property
    def words(self) -> str:
        """For captions."""
        if self.is_relative:
            return f"{self.low:+g} to {self.high:+g} of the first window's"
        if math.isinf(self.high):
            return f"at least {self.low:g}"
        if math.isinf(self.low):
            return f"at most {self.high:g}"
        return f"{self.low:g} to {self.high:g}"


BANDS: Mapping[str, Band] = {
    "drift.sharpness": Band(-6.0, 6.0),
    "drift.colour": Band(-30.0, 30.0),
    "drift.loudness": Band(-10.0, 10.0),
    "drift.sync": Band(*DETECTABLE_MS, is_relative=False),
    "drift.identity": Band(-math.inf, 0.6, is_relative=False),
    "drift.words": Band(-math.inf, 0.5, is_relative=False),
    "drift.voice": Band(0.75, math.inf, is_relative=False),
}
"""Sync, identity and voice as in the literature (BT.1359, dlib's 0.6, a cosine of 0.75); the others
are our own: half or double the detail, a third of the way to grey, a third as loud."""


def drift(runs: Sequence[RunResults]) -> Section | None:
    """Slopes with intervals, survival curves, the test for a break at 20 s; None if not asked."""
    names = sorted({row.metric for run in runs for _, row in run.of(GROUP)})
    if not names:
        return None
    measured = [n for n in names if any(r.status == "ok" for run in runs for _, r in _of(run, n))]
    if not measured:
        reasons = sorted({row.reason for run in runs for _, row in run.of(GROUP) if row.reason})
        return Section("Drift", [Notes([f"No clip could be measured. {reasons[0]}"])])
    parts: list[Part] = [_slopes(runs, measured)]
    for name in measured:
        if name in BANDS:
            parts.append(_survival(runs, name, BANDS[name]))
    return Section("Drift", [*parts, *_breaks(runs, measured)])


def _of(run: RunResults, metric: str) -> list[tuple[str, Row]]:
    return [(item.item, row) for item, row in run.of(metric) if row.metric == metric]


def _slopes(runs: Sequence[RunResults], metrics: Sequence[str]) -> Spans:
    """Slopes in units of their largest end, so that one scale serves all."""
    rows = []
    for metric in metrics:
        found = [
            (run, mean_of((i, float(r.value or 0)) for i, r in _known(run, metric))) for run in runs
        ]
        ends = [abs(e) for _, m in found if m for e in (m.low, m.high, m.value) if math.isfinite(e)]
        largest = max(ends, default=1.0) or 1.0
        unit = next(r.unit for run in runs for _, r in _known(run, metric))
        for run, mean in found:
            asked = len(_of(run, metric))
            if not asked:
                continue
            before = [f"{len(_known(run, metric))} of {asked}"]
            if mean is None:
                rows.append(SpanRow(run.name, None, before, ["", "nothing measurable"], metric))
                continue
            known = math.isfinite(mean.low)
            span = Span(mean.value / largest, mean.low / largest, mean.high / largest)
            interval = f"{mean.low:+.3g} to {mean.high:+.3g}" if known else "one item: none"
            group = f"{metric.removeprefix('drift.')} ({unit})"
            rows.append(
                SpanRow(
                    run.name,
                    span if known else None,
                    before,
                    [f"{mean.value:+.3g}", interval],
                    group,
                )
            )
    return Spans(
        "Change a second, mean over clips.",
        "of the largest end",
        rows,
        scale=(-1.0, 1.0),
        reference=0.0,
        heads_before=["Clips"],
        heads_after=["Slope", "95 %"],
        name_head="Run",
        legend="Theil-Sen slope of each clip; bars are 95 % intervals over items. Every quantity "
        "has its own scale.",
    )


def _known(run: RunResults, metric: str) -> list[tuple[str, Row]]:
    return [(i, r) for i, r in _of(run, metric) if r.status == "ok" and r.value is not None]


def _survival(runs: Sequence[RunResults], metric: str, band: Band) -> Plot:
    lines, rows, lives = [], [], []
    for run in runs:
        found = [life for _, row in _of(run, metric) if (life := _lifetime(row, band)) is not None]
        if not found:
            continue
        lives.append(found)
        curve = kaplan_meier(found)
        last = max(life.time_s for life in found)
        lines.append(
            Curve(
                run.name,
                [*curve.times_s, last],
                [*curve.share, curve.share[-1]],
                [*np.nan_to_num(curve.low, nan=0.0), float(np.nan_to_num(curve.low[-1]))],
                [
                    *np.nan_to_num(curve.high, nan=1.0),
                    float(np.nan_to_num(curve.high[-1], nan=1.0)),
                ],
                steps=True,
            )
        )
        rows += [
            [run.name, f"{time:.1f}", f"{share:.0%}", f"{low:.0%} to {high:.0%}"]
            for time, share, low, high in zip(
                curve.times_s, curve.share, curve.low, curve.high, strict=True
            )
        ]
    quantity = metric.removeprefix("drift.")
    caption = f"Share of clips whose {quantity} still holds ({band.words}) after so many seconds."
    if len(lives) > 1:
        caption += f" Log-rank test that all runs hold alike: p = {log_rank(lives):.3f}."
    table = Table("Kaplan-Meier.", ["Run", "Seconds", "Holds", "95 %"], rows, (1, 2, 3))
    return Plot(curves(lines, x="seconds", y="share that holds", ends=(0.0, 1.05)), caption, table)


def _lifetime(row: Row, band: Band) -> Lifetime | None:
    data = _series(row)
    if data is None:
        return None
    first = float(data.values[np.isfinite(data.values)][0]) if band.is_relative else 0.0
    limits = (band.low + first, band.high + first)
    return first_failure(data.times_s, data.values, limits, float(data.times_s[-1]))


def _series(row: Row) -> Series | None:
    """The quantity over time; None where the row has no curve of it."""
    curve: Mapping[str, Any] | None = next(iter(row.evidence), None)
    if curve is None or not curve["x"]:
        return None
    values = np.array([np.nan if y is None else y for y in curve["y"]], float)
    return Series(np.array(curve["x"], float), values) if np.isfinite(values).any() else None


def _breaks(runs: Sequence[RunResults], metrics: Sequence[str]) -> list[Part]:
    rows = []
    for metric in metrics:
        for run in runs:
            series = [s for _, row in _of(run, metric) if (s := _series(row)) is not None]
            if not any(s.times_s[-1] > BREAK_S for s in series):
                continue
            found = break_test(series)
            if isinstance(found, NotMeasurable):
                rows.append([f"{metric}: {run.name}", found.reason, ""])
            else:
                interval = f"{found.low:+.3g} to {found.high:+.3g}"
                rows.append([f"{metric}: {run.name}", f"{found.difference:+.3g}", interval])
    if not rows:
        return [
            Notes(
                [f"No clip is longer than {BREAK_S:g} s: whether clips break there is not tested."]
            )
        ]
    heads = ["", "Slope after less slope before", "95 %"]
    return [Table(f"Whether change quickens after {BREAK_S:g} s.", heads, rows, (1, 2))]
