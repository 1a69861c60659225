"""When sound and picture do not come together, and how far the measuring itself can be trusted."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluation import measurement
from evaluation.metrics.lip_sync.pooled import LEAST_ITEMS, PooledOffset, pooled_offset
from evaluation.reports.measured.estimates import mean_of, share_of
from evaluation.reports.measured.results import Row, RunResults
from evaluation.reports.measured.windows import (
    ACCEPTABLE_MS,
    DETECTABLE_MS,
    SIGN,
    is_acceptable,
    is_in_step,
)
from evaluation.reports.parts import (
    Cell,
    Notes,
    Part,
    Plot,
    Section,
    Span,
    SpanRow,
    Spans,
    Table,
)
from evaluation.reports.plots import ACCENT, GRID, INK, SOFT, WARM, Curve, curves, draw_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POOLED = "lip_sync.landmarks"
"""The metric whose clips have a curve of agreement, measurable by themselves or not."""
TITLES = {
    "lip_sync.landmarks": "Lips, landmark estimate",
    "lip_sync.syncnet": "Lips, SyncNet",
    "lip_sync.closure": "Lips, closure at p, b and m",
    "impacts.offset": "Impacts",
}
BIN_MS, SHOWN_MS = 20.0, 400.0
SIZE = (7.2, 2.4)


def offsets(
    runs: Sequence[RunResults], calibrations: Sequence[Mapping[str, Any]] = ()
) -> Section | None:
    """Histograms of offsets over the windows of ITU-R BT.1359; None where none was looked for."""
    parts: list[Part] = []
    for metric, title in TITLES.items():
        for run in runs:
            rows = [(item.item, row) for item, row in run.asked(metric)]
            known = [
                (i, float(r.value)) for i, r in rows if r.status == "ok" and r.value is not None
            ]
            if known:
                parts.append(_histogram(f"{run.name}. {title}", known, len(rows)))
    asked = [metric for metric in TITLES if any(any(run.asked(metric)) for run in runs)]
    if not asked:
        return None
    parts = [
        Notes(
            [
                f"{SIGN} Shaded by ITU-R BT.1359-1: not noticed, {DETECTABLE_MS[0]:g} to "
                f"{DETECTABLE_MS[1]:+g} ms, and still accepted, {ACCEPTABLE_MS[0]:g} to "
                f"{ACCEPTABLE_MS[1]:+g} ms.",
                "Clips that could not be measured are not in the histograms; a model that hides "
                "mouths or mumbles looks better than it is where that share is large.",
            ]
        ),
        _table(runs, asked),
        *_pooled(runs),
        *parts,
    ]
    return Section("Offset of sound and picture", [*parts, *map(_calibration, calibrations)])


def _table(runs: Sequence[RunResults], metrics: Sequence[str]) -> Table:
    rows: list[list[str | Cell]] = []
    for metric in metrics:
        for run in runs:
            every = [(item.item, row) for item, row in run.asked(metric)]
            if not every:
                continue
            known = [
                (i, float(r.value)) for i, r in every if r.status == "ok" and r.value is not None
            ]
            missing = (len(every) - len(known)) / len(every)
            name = f"{TITLES[metric]}: {run.name}"
            unmeasured = Cell(f"{missing:.0%}", "unsure" if missing else "", missing)
            mean = mean_of(known)
            if mean is None:
                rows.append([name, "0", unmeasured, "", "", "", ""])
                continue
            in_step = share_of((i, float(is_in_step(v))) for i, v in known)
            accepted = share_of((i, float(is_acceptable(v))) for i, v in known)
            spread = "" if np.isnan(mean.low) else f" ({mean.low:+.0f} to {mean.high:+.0f})"
            assert in_step is not None
            assert accepted is not None
            rows.append(
                [
                    name,
                    str(len(known)),
                    unmeasured,
                    f"{np.median([v for _, v in known]):+.0f}",
                    f"{mean.value:+.0f}{spread}",
                    f"{in_step.value:.0%} ({in_step.low:.0%} to {in_step.high:.0%})",
                    f"{accepted.value:.0%}",
                ]
            )
    heads = ["", "Clips", "Not measurable", "Median (ms)", "Mean and 95 % (ms)"]
    return Table(
        "Offsets in milliseconds.",
        [*heads, "Not noticed, 95 %", "Accepted"],
        rows,
        (1, 2, 3, 4, 5, 6),
    )


def _pooled(runs: Sequence[RunResults]) -> list[Part]:
    """One offset of all clips of a run together, and of each language where there are several."""
    rows, lines = [], []
    for run in runs:
        groups: dict[str, list[tuple[str, measurement.Curve]]] = {}
        asked: dict[str, int] = {}
        for item, row in run.asked(POOLED):
            names = ["all clips", item.language] if item.language != "zxx" else ["all clips"]
            for name in names:
                asked[name] = asked.get(name, 0) + 1
                if (curve := _agreement_of(row)) is not None:
                    groups.setdefault(name, []).append((item.item, curve))
        told = {name for name, pairs in groups.items() if len({i for i, _ in pairs}) >= LEAST_ITEMS}
        if len(told) > 2:  # all clips, and languages with clips enough to be compared
            asked = {name: count for name, count in asked.items() if name in told}
        else:
            asked = {name: count for name, count in asked.items() if name == "all clips"}
        for name, count in asked.items():
            found = pooled_offset(groups.get(name, ()))
            rows.append(_pooled_row(name, run.name, found, len(groups.get(name, ())), count))
            if name == "all clips" and isinstance(found, PooledOffset):
                x, y = ([float(v) for v in axis] for axis in (found.curve.x, found.curve.y))
                lines.append(Curve(run.name, x, y))
    if not rows:
        return []
    spans = Spans(
        "One pooled offset of lips and sound: where the mean agreement of all clips is largest, "
        "those included that cannot be measured by themselves.",
        "sound early by (ms)",
        rows,
        reference=0.0,
        heads_before=["Clips with a mouth", "Items"],
        heads_after=["Offset (ms)", "95 % (ms)", "By BT.1359"],
        name_head="Clips",
        legend="Bars are 95 % intervals by a bootstrap over items. A pooled offset is that of the "
        "model, not of any clip: clips that are early and late in turn look in step together, and "
        "where all clips begin to speak at one moment, another clip's sound gives the same offset.",
    )
    if not lines:
        return [spans]
    ends = [
        [line.name, f"{line.x[int(np.argmax(line.y))]:+.0f}", f"{max(line.y):.2f}"]
        for line in lines
    ]
    table = Table("Where it is largest.", ["Run", "Offset (ms)", "Correlation"], ends, (1, 2))
    caption = "Mean agreement of lips and sound over all clips, at every offset."
    plot = curves(lines, x="sound early by (ms)", y="correlation")
    return [spans, Plot(plot, caption, table)]


def _pooled_row(
    name: str,
    run: str,
    found: PooledOffset | measurement.NotMeasurable,
    num_clips: int,
    asked: int,
) -> SpanRow:
    clips = f"{num_clips} of {asked}"
    if isinstance(found, measurement.NotMeasurable):
        return SpanRow(name, None, [clips, ""], ["", found.reason, ""], run)
    span = Span(found.offset_ms, found.low_ms, found.high_ms)
    if is_in_step(found.low_ms) and is_in_step(found.high_ms):
        verdict = Cell("not noticed", "good")
    elif is_acceptable(found.low_ms) and is_acceptable(found.high_ms):
        verdict = Cell("accepted")
    else:
        verdict = Cell("not surely accepted", "unsure")
    interval = f"{found.low_ms:+.0f} to {found.high_ms:+.0f}"
    after: list[str | Cell] = [f"{found.offset_ms:+.0f}", interval, verdict]
    return SpanRow(name, span, [clips, str(found.num_items)], after, run)


def _agreement_of(row: Row) -> measurement.Curve | None:
    """The curve of a measurement over offsets; None where no mouth was seen to move."""
    for curve in row.evidence:
        if str(curve["name"]).startswith("agreement"):
            x = np.array(curve["x"], float)
            y = np.array([np.nan if value is None else value for value in curve["y"]], float)
            return measurement.Curve(curve["name"], x, y, curve["x_label"], curve["y_label"])
    return None


def _histogram(title: str, known: Sequence[tuple[str, float]], asked: int) -> Plot:
    values = [value for _, value in known]
    shown = np.clip(values, -SHOWN_MS, SHOWN_MS)
    edges = np.arange(-SHOWN_MS - BIN_MS / 2, SHOWN_MS + BIN_MS, BIN_MS)

    def draw(axes: "Axes") -> None:
        from matplotlib.ticker import MaxNLocator

        axes.axvspan(*ACCEPTABLE_MS, color=WARM, alpha=0.12, lw=0)
        axes.axvspan(*DETECTABLE_MS, color=ACCENT, alpha=0.18, lw=0)
        axes.hist(shown, bins=list(edges), color=ACCENT, edgecolor=GRID, linewidth=0.6)
        axes.axvline(0, color=SOFT, lw=1, ls=(0, (3, 3)))
        axes.set_xlim(-SHOWN_MS - BIN_MS, SHOWN_MS + BIN_MS)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))

    counts, _ = np.histogram(shown, edges)
    rows = [
        [f"{middle - BIN_MS / 2:+.0f} to {middle + BIN_MS / 2:+.0f}", str(count)]
        for middle, count in zip(edges[:-1] + BIN_MS / 2, counts, strict=True)
        if count
    ]
    beyond = int((np.abs(values) > SHOWN_MS).sum())
    more = f" {beyond} beyond {SHOWN_MS:g} ms stand at the ends." if beyond else ""
    caption = f"{title}: {len(values)} of {asked} clips were measurable.{more}"
    table = Table("Clips by offset.", ["Offset (ms)", "Clips"], rows, (1,))
    return Plot(draw_svg(draw, x="sound early by (ms)", y="clips", size=SIZE), caption, table)


def _calibration(record: Mapping[str, Any]) -> Plot:
    """Planted offsets of good clips against what was measured."""
    own = [r for r in record["rows"] if r["planted_ms"] is not None]
    known = [r for r in own if r["measured_ms"] is not None]
    planted = np.array([r["planted_ms"] for r in known], float)
    measured = np.array([r["measured_ms"] for r in known], float)

    def draw(axes: "Axes") -> None:
        if len(planted):
            ends = [min(planted.min(), measured.min()), max(planted.max(), measured.max())]
            axes.plot(ends, ends, color=SOFT, lw=1, ls=(0, (3, 3)))
        axes.plot(planted, measured, "o", ms=5, color=ACCENT, alpha=0.6, mec=INK, mew=0.4)

    rows = []
    for shift in sorted({r["planted_ms"] for r in own}):
        found = [r["measured_ms"] for r in known if r["planted_ms"] == shift]
        count = sum(r["planted_ms"] == shift for r in own)
        middle = f"{np.median(found):+.0f}" if found else ""
        rows.append([f"{shift:+.0f}", middle, f"{len(found)} of {count}"])
    error, accepted = record.get("mean_abs_error_ms"), record.get("false_accept_share")
    swapped = sum(r["planted_ms"] is None for r in record["rows"])
    caption = (
        f"Calibration{_named(record)}: the sound of {len({r['clip'] for r in own})} clips known to "
        f"be in step was moved. Mean absolute error "
        f"{'not known' if error is None else f'{error:.0f} ms'}, "
        f"{len(known)} of {len(own)} measurable"
    )
    if accepted is not None:
        caption += f"; with another clip's sound {accepted:.0%} of {swapped} still gave an offset"
    table = Table(
        "Planted and measured.",
        ["Planted (ms)", "Median measured (ms)", "Measurable"],
        rows,
        (0, 1, 2),
    )
    return Plot(draw_svg(draw, x="planted (ms)", y="measured (ms)"), f"{caption}.", table)


def _named(record: Mapping[str, Any]) -> str:
    return f" of {record['name']}" if record.get("name") else ""
