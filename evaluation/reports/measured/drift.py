"""What becomes of clips as they go on: slopes, and how long they hold."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluation.metrics.drift import BREAK_S, Series, bend, bends_most_at
from evaluation.metrics.face_identity import ANOTHER_PERSON
from evaluation.metrics.survival import Lifetime, first_failure, kaplan_meier, log_rank
from evaluation.reports.measured.estimates import Estimate, crossed_mean_of
from evaluation.reports.measured.results import Row, RunResults
from evaluation.reports.measured.windows import DETECTABLE_MS
from evaluation.reports.parts import (
    Folded,
    Notes,
    Part,
    Plot,
    Section,
    Span,
    SpanRow,
    Spans,
    Table,
)
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


NOISE_BY_SEED = ("pipeline", "diffusers", "command", "veo")
"""Generators whose clips of one seed begin with the same noise, whatever the prompt."""

ONE_NOISE = (
    "all clips have one seed, so the same noise at the same moments. What it does in all of them "
    "looks like drift; slopes and breaks have intervals with several: --seeds 1,2,3,4."
)

BANDS: Mapping[str, Band] = {
    "drift.sharpness": Band(-6.0, 6.0),
    "drift.colour": Band(-30.0, 30.0),
    "drift.loudness": Band(-10.0, 10.0),
    "drift.sync": Band(*DETECTABLE_MS, is_relative=False),
    "drift.identity": Band(-math.inf, ANOTHER_PERSON, is_relative=False),
    "drift.words": Band(-math.inf, 0.5, is_relative=False),
    "drift.voice": Band(0.6, math.inf, is_relative=False),
}
"""Sync and identity as in the literature (BT.1359, dlib's 0.6). A voice's cosine of 0.6 is our own:
of windows of different people 95 % lie below it, of one person none; the customary 0.75 would
accuse a real speaker of twenty seconds. The others are our own too: half or double the detail, a
third of the way to grey, a third as loud, half of the words."""


def drift(runs: Sequence[RunResults]) -> Section | None:
    """Slopes, the test for a break at 20 s, how long clips hold, curves; None if not asked."""
    names = sorted({row.metric for run in runs for _, row in run.of(GROUP)})
    if not names:
        return None
    found = {name: {run.name: _of(run, name) for run in runs} for name in names}
    measured = {
        name: clips
        for name, clips in found.items()
        if any(clip.is_known for of_run in clips.values() for clip in of_run)
    }
    if not measured:
        reasons = sorted({row.reason for run in runs for _, row in run.of(GROUP) if row.reason})
        return Section("Drift", [Notes([f"No clip could be measured. {reasons[0]}"])])
    parts: list[Part] = [_slopes(measured), _breaks(measured), *_survivals(measured)]
    over_time = [_over_time(name, clips) for name, clips in measured.items()]
    parts.append(Folded("Every quantity over time", over_time))
    alone = sorted(
        {
            name
            for clips in measured.values()
            for name, of_run in clips.items()
            if of_run and len({clip.noise for clip in of_run}) == 1
        }
    )
    if alone:
        parts.insert(0, Notes([f"{', '.join(alone)}: {ONE_NOISE}"]))
    return Section("Drift", parts)


@dataclass(frozen=True)
class _Drifting:
    """A measurement of one clip, and with what other clips it goes together.

    Attributes:
        prompt: clips of one prompt are no independent evidence, whatever their seeds and lengths: a
            clip made in parts begins with the whole of a shorter one.
        noise: that it was made from.
        row: the slope.
        series: the quantity over time; None where nothing of it could be measured.
    """

    prompt: str
    noise: str
    row: Row
    series: Series | None

    @property
    def is_known(self) -> bool:
        """Whether there is a slope."""
        return self.row.status == "ok" and self.row.value is not None


Clips = Mapping[str, Sequence[_Drifting]]
"""Measurements of one quantity by the name of their run."""


def _of(run: RunResults, metric: str) -> list[_Drifting]:
    by_seed = run.run.generator.get("kind") in NOISE_BY_SEED
    return [
        _Drifting(item.request.prompt, str(item.seed) if by_seed else item.key, row, _series(row))
        for item, row in run.of(metric)
        if row.metric == metric
    ]


def _series(row: Row) -> Series | None:
    curve: Mapping[str, Any] | None = next(iter(row.evidence), None)
    if curve is None or not curve["x"]:
        return None
    values = np.array([np.nan if y is None else y for y in curve["y"]], float)
    return Series(np.array(curve["x"], float), values) if np.isfinite(values).any() else None


def _interval(mean: Estimate) -> str:
    if math.isfinite(mean.low):
        return f"{mean.low:+.3g} to {mean.high:+.3g}"
    return "one prompt: none" if mean.num_items == 1 else "one seed: none"


def _unit(clips: Clips) -> str:
    return next(clip.row.unit for of_run in clips.values() for clip in of_run if clip.is_known)


def _quantity(metric: str) -> str:
    return metric.removeprefix(f"{GROUP}.")


def _slopes(measured: Mapping[str, Clips]) -> Spans:
    """Slopes in units of their largest end, so that one scale serves all."""
    rows = []
    for metric, clips in measured.items():
        means = {
            name: crossed_mean_of((c.prompt, c.noise, float(c.row.value or 0)) for c in known)
            for name, of_run in clips.items()
            if (known := [clip for clip in of_run if clip.is_known])
        }
        ends = [e for m in means.values() if m is not None for e in (m.low, m.high, m.value)]
        largest = max((abs(end) for end in ends if math.isfinite(end)), default=1.0) or 1.0
        group = f"{_quantity(metric)} ({_unit(clips)})"
        for name, of_run in clips.items():
            if not of_run:
                continue
            mean = means.get(name)
            if mean is None:
                before, after = [f"0 of {len(of_run)}"], ["", "nothing measurable"]
                rows.append(SpanRow(name, None, before, after, group))
                continue
            span = Span(mean.value / largest, mean.low / largest, mean.high / largest)
            rows.append(
                SpanRow(
                    name,
                    span if math.isfinite(mean.low) else None,
                    [f"{mean.num_clips} of {len(of_run)}"],
                    [f"{mean.value:+.3g}", _interval(mean)],
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
        legend="Theil-Sen slope of each clip; bars are 95 % intervals that know of prompts and "
        "seeds. Every quantity has its own scale.",
    )


def _breaks(measured: Mapping[str, Clips]) -> Part:
    rows = []
    for metric, clips in measured.items():
        for name, of_run in clips.items():
            bends = [
                (clip, clip.series, found)
                for clip in of_run
                if clip.series is not None and (found := bend(clip.series)) is not None
            ]
            mean = crossed_mean_of(
                ((clip.prompt, clip.noise, found) for clip, _, found in bends),
                questions=len(measured),
            )
            if mean is None:
                continue
            most_s = bends_most_at([series for _, series, _ in bends])
            rows.append(
                [
                    f"{_quantity(metric)}: {name}",
                    f"{mean.num_clips} of {mean.num_items} prompts",
                    f"{mean.value:+.3g} {_unit(clips)}",
                    _interval(mean),
                    "" if most_s is None else f"{most_s:g} s",
                ]
            )
    if not rows:
        return Notes(
            [f"No clip is much longer than {BREAK_S:g} s: whether clips break there is not tested."]
        )
    caption = (
        f"Whether change quickens after {BREAK_S:g} s. A break there has an interval without 0 and "
        "bends most about there: what bends at another moment bends a little at this one too. The "
        "intervals of one run hold together."
    )
    heads = ["", "Clips", "Slope after less slope before", "95 %", "Bends most at"]
    return Table(caption, heads, rows, (2, 3, 4))


def _survivals(measured: Mapping[str, Clips]) -> list[Part]:
    """Curves of what fails somewhere, and one table of what holds everywhere."""
    parts: list[Part] = []
    held = []
    for metric, clips in measured.items():
        band = BANDS.get(metric)
        if band is None:
            continue
        lives = {
            name: [_lifetime(clip, band) for clip in of_run if clip.series is not None]
            for name, of_run in clips.items()
        }
        lives = {name: found for name, found in lives.items() if found}
        if any(life.failed for found in lives.values() for life in found):
            parts.append(_survival(_quantity(metric), band, lives))
            continue
        for name, found in lives.items():
            last = max(life.time_s for life in found)
            row = [_quantity(metric), band.words, name, f"{len(found)}", f"{last:.0f}"]
            held.append(row)
    if held:
        heads = ["Quantity", "Band", "Run", "Clips", "Seconds, at most"]
        parts.append(Table("What holds in every clip.", heads, held, (3, 4)))
    return parts


def _lifetime(clip: _Drifting, band: Band) -> Lifetime:
    assert clip.series is not None
    times_s, values = clip.series.times_s, clip.series.values
    first = float(values[np.isfinite(values)][0]) if band.is_relative else 0.0
    return first_failure(times_s, values, (band.low + first, band.high + first), clip.prompt)


def _survival(quantity: str, band: Band, lives: Mapping[str, Sequence[Lifetime]]) -> Plot:
    lines, rows = [], []
    for name, found in lives.items():
        curve = kaplan_meier(found)
        # Where nobody has failed yet there is no interval: it is all that is possible.
        low, high = np.nan_to_num(curve.low, nan=0.0), np.nan_to_num(curve.high, nan=1.0)
        last = max(life.time_s for life in found)
        share, low_end, high_end = ([*part, float(part[-1])] for part in (curve.share, low, high))
        lines.append(Curve(name, [*curve.times_s, last], share, low_end, high_end, steps=True))
        rows += [
            [name, f"{time:.1f}", f"{holds:.0%}", f"{lowest:.0%} to {highest:.0%}"]
            for time, holds, lowest, highest in zip(
                curve.times_s, curve.share, curve.low, curve.high, strict=True
            )
        ]
    caption = f"Share of clips whose {quantity} still holds ({band.words}) after so many seconds."
    if len(lives) > 1:
        p_value = log_rank(list(lives.values()))
        caption += f" Log-rank test that all runs hold alike: p = {p_value:.3f}."
    table = Table("Kaplan-Meier.", ["Run", "Seconds", "Holds", "95 %"], rows, (1, 2, 3))
    return Plot(curves(lines, x="seconds", y="share that holds", ends=(0.0, 1.05)), caption, table)


def _over_time(metric: str, clips: Clips) -> Plot:
    """Mean over the clips that are long enough, window by window.

    What clips differ by from the start is taken out, or bands would show that alone.
    """
    lines, rows = [], []
    for name, of_run in clips.items():
        known = [(clip, clip.series) for clip in of_run if clip.series is not None]
        own = [float(np.nanmean(series.values)) for _, series in known]
        common = float(np.mean(own)) if own else 0.0
        means = {}
        for time in sorted({float(time) for _, series in known for time in series.times_s}):
            found = crossed_mean_of(
                (clip.prompt, clip.noise, common + float(value) - mean)
                for (clip, series), mean in zip(known, own, strict=True)
                for value in series.values[series.times_s == time]
                if math.isfinite(value)
            )
            if found is not None:
                means[time] = found
        if not means:
            continue
        # Without an interval the band is as thin as the line.
        bands = [
            (m.low, m.high) if math.isfinite(m.low) else (m.value, m.value) for m in means.values()
        ]
        values = [mean.value for mean in means.values()]
        low, high = [low for low, _ in bands], [high for _, high in bands]
        lines.append(Curve(name, list(means), values, low, high))
        rows += [
            [name, f"{time:g}", f"{mean.num_clips}", f"{mean.value:.3g}", _interval(mean)]
            for time, mean in means.items()
        ]
    unit = _unit(clips).removesuffix("/s")
    table = Table("Means.", ["Run", "Seconds", "Clips", "Mean", "95 %"], rows, (1, 2, 3, 4))
    drawn = curves(lines, x="seconds", y=f"{_quantity(metric)} ({unit})", marks=[BREAK_S])
    caption = f"{_quantity(metric).capitalize()} by window, mean over clips, "
    return Plot(drawn, caption + "without what they differ by throughout.", table)
