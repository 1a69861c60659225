"""How much could be measured, and why the rest could not."""

import re
from collections import Counter
from collections.abc import Sequence

from evaluation.reports.measured.results import RunResults
from evaluation.reports.parts import Folded, Part, Section, Share, Shares, Table

NUMBER = re.compile(r"\d+(\.\d+)?")


def measurable(runs: Sequence[RunResults]) -> Section | None:
    """Shares by metric, with the reasons; None where nothing was scored."""
    metrics = sorted({row.metric for run in runs for row in run.rows})
    if not metrics:
        return None
    parts: list[Part] = []
    reasons = []
    for run in runs:
        bars = []
        for metric in metrics:
            every = [row for _, row in run.of(metric) if row.metric == metric]
            rows = [row for _, row in run.asked(metric) if row.metric == metric]
            if not every:
                continue
            if not rows:
                bars.append((metric, "asked of no clip", [Share("not asked", 1.0, 3)]))
                continue
            counts = Counter(row.status for row in rows)
            bars.append(
                (
                    metric,
                    f"{len(rows)} clips",
                    [
                        Share("measured", counts["ok"] / len(rows), 0),
                        Share("not measurable", counts["unmeasurable"] / len(rows), 2),
                        Share("error", counts["error"] / len(rows), 5),
                    ],
                )
            )
            # Reasons that differ in a number only are one reason.
            why = Counter(NUMBER.sub("…", row.reason) for row in rows if row.status != "ok")
            reasons += [[metric, run.name, reason, str(n)] for reason, n in why.most_common()]
        if bars:
            parts.append(Shares(f"{run.name}: what could be measured.", bars))
    if reasons:
        heads = ["Metric", "Run", "Reason", "Clips"]
        parts.append(Folded("Reasons", [Table("Why not.", heads, reasons, (3,))]))
    return Section("What could not be measured", parts)
