"""Whether a metric agrees with people, where both judged the same clips.

A pair of clips that people compared is agreed on where the metric prefers the same one. Kendall's
tau-b counts such pairs less the others, with ties on either side; its interval is a bootstrap over
prompts, since votes on one prompt are no independent evidence.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evaluation.reports.measured.results import Row, RunResults
from evaluation.reports.parts import Cell, Notes, Section, Span, SpanRow, Spans

if TYPE_CHECKING:
    from evaluation.preference.store import Store

DRAWS = 2000
LEAST_PAIRS = 10
"""Fewer compared pairs say nothing about a metric."""


@dataclass(frozen=True)
class Judgement:
    """What one vote says of a pair of clips.

    Attributes:
        axis: the question.
        prompt: within its study.
        left, right: SHA-256 of the clips as they were before they were made alike.
        sign: 1 prefers the left clip, -1 the right one, 0 neither.
    """

    axis: str
    prompt: str
    left: str
    right: str
    sign: int


@dataclass(frozen=True)
class Agreement:
    """Of one metric with the answers to one question.

    Attributes:
        accuracy: share of the pairs on which people are of a mind that the metric orders alike; a
            metric that does not tell them apart counts half.
        tau, low, high: Kendall's tau-b with its 95 % interval.
        num_pairs: compared pairs whose clips were both measured.
    """

    accuracy: float
    tau: float
    low: float
    high: float
    num_pairs: int

    @property
    def predicts(self) -> bool:
        """Whether the interval is above 0 and there are pairs enough."""
        return self.num_pairs >= LEAST_PAIRS and self.low > 0


def _near_zero(row: Row) -> float:
    return -abs(row.value or 0.0)


def _high(row: Row) -> float:
    return row.value or 0.0


def _low(row: Row) -> float:
    return -(row.value or 0.0)


GOODNESS: Mapping[str, Callable[[Row], float]] = {
    "language.match": _high,
    "language.quality": _high,
    "language.word_error": _low,
    "speakers.accuracy": _high,
    "speakers.voice": _high,
    "speakers.wrong_face": _low,
    "speakers.off_screen": _low,
    "speakers.several_mouths": _low,
    "speakers.conversation_error": _low,
    "lip_sync.landmarks": _near_zero,
    "lip_sync.syncnet": _near_zero,
    "lip_sync.closure": _near_zero,
    "impacts.offset": _near_zero,
    "health": _low,
    "drift.sharpness": _near_zero,
    "drift.colour": _near_zero,
    "drift.motion": _near_zero,
    "drift.loudness": _near_zero,
    "drift.sync": _near_zero,
    "drift.voice": _near_zero,
    "drift.face": _near_zero,
    "drift.identity": _low,
    "drift.words": _low,
}
"""What makes the better of two clips, by metric; what is not here has no better end."""


def judgements(store: "Store", study_id: str) -> list[Judgement]:
    """Every vote of a study on its test pairs; none before it was opened."""
    from evaluation.preference.export import SIGNS, last_votes

    opened = next((e for e in store.entries(study_id) if "clips_sha256" in e.content), None)
    if opened is None:
        return []
    clips: Mapping[str, str] = opened.content["clips_sha256"]
    return [
        Judgement(axis, f"{study_id}/{vote['prompt']}", left, right, SIGNS[answer])
        for vote in (entry.content for entry in last_votes(store, study_id))
        if vote["kind"] == "test"
        and (left := clips.get(f"{vote['left']}/{vote['prompt']}"))
        and (right := clips.get(f"{vote['right']}/{vote['prompt']}"))
        for axis, answer in vote["answers"].items()
    ]


def agreement(
    goodness: Mapping[str, float], votes: Iterable[Judgement], *, seed: int = 0
) -> Agreement | None:
    """How a metric agrees with votes on one question; None where no pair has both.

    Args:
        goodness: of clips by SHA-256; higher is better.
        votes: of any raters.
        seed: of the bootstrap.
    """
    nets: dict[tuple[str, str, str], int] = {}
    for vote in votes:
        if vote.left in goodness and vote.right in goodness and vote.left != vote.right:
            first, second = sorted((vote.left, vote.right))
            sign = vote.sign if vote.left == first else -vote.sign
            place = (vote.prompt, first, second)
            nets[place] = nets.get(place, 0) + sign
    if not nets:
        return None
    people = np.sign(np.array(list(nets.values())))
    metric = np.sign(np.array([goodness[a] - goodness[b] for _, a, b in nets]))
    decided = people != 0
    accuracy = float((1 + people * metric)[decided].mean() / 2) if decided.any() else math.nan
    prompts = sorted({place[0] for place in nets})
    index = np.array([prompts.index(place[0]) for place in nets])
    draws = np.random.default_rng(seed).multinomial(
        len(prompts), np.full(len(prompts), 1 / len(prompts)), DRAWS
    )
    weights = draws[:, index]
    drawn = _tau(people, metric, weights)
    drawn = drawn[np.isfinite(drawn)]
    low, high = (
        np.percentile(drawn, [2.5, 97.5]) if len(prompts) > 1 and len(drawn) else (-1.0, 1.0)
    )
    tau = float(_tau(people, metric, np.ones((1, len(people))))[0])
    return Agreement(accuracy, tau, float(low), float(high), len(nets))


def _tau(people: np.ndarray, metric: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Tau-b of every row of weights [draws, pairs]; NaN where either side ties everything."""
    told = np.sqrt((weights @ people**2) * (weights @ metric**2))
    with np.errstate(invalid="ignore", divide="ignore"):
        found: np.ndarray = (weights @ (people * metric)) / told
    return found


def metrics_and_people(runs: Sequence[RunResults], votes: Sequence[Judgement]) -> Section:
    """The panel: metrics that do not predict what people prefer are greyed out."""
    rows = []
    for axis in sorted({vote.axis for vote in votes}, key=lambda name: (name != "overall", name)):
        for metric, good in GOODNESS.items():
            goodness = {
                row.clip_sha256: good(row)
                for run in runs
                for _, row in run.of(metric)
                if row.metric == metric and row.status == "ok" and row.clip_sha256
            }
            found = agreement(goodness, (vote for vote in votes if vote.axis == axis))
            if found is not None and math.isfinite(found.tau):
                rows.append(_row(axis, metric, found))
    if not rows:
        note = (
            "No study of this server compared clips of these runs. Export the clips with "
            "`python -m evaluation suites export RUN FOLDER`, collect votes on them, and come back."
        )
        return Section("Metrics against people", [Notes([note])])
    return Section(
        "Metrics against people",
        [
            Spans(
                "How each metric orders pairs of clips that people compared, by question.",
                "Kendall's tau-b",
                rows,
                scale=(-1.0, 1.0),
                reference=0.0,
                heads_before=["Pairs", "Ordered alike"],
                heads_after=["Tau", "95 %", "Predicts people"],
                name_head="Metric",
                legend=f"Grey: the interval reaches 0, or there are fewer than {LEAST_PAIRS} "
                "pairs; such a metric says nothing about what people prefer here. Intervals: "
                "bootstrap over prompts.",
            )
        ],
    )


def _row(axis: str, metric: str, found: Agreement) -> SpanRow:
    tone = "good" if found.predicts else "unsure"
    return SpanRow(
        metric,
        Span(found.tau, found.low, found.high) if found.predicts else None,
        [str(found.num_pairs), f"{found.accuracy:.0%}" if math.isfinite(found.accuracy) else ""],
        [
            Cell(f"{found.tau:+.2f}", "" if found.predicts else "unsure"),
            Cell(f"{found.low:+.2f} to {found.high:+.2f}", "" if found.predicts else "unsure"),
            Cell("yes" if found.predicts else "not shown", tone),  # type: ignore[arg-type]
        ],
        axis,
    )
