"""Who said which line, beside who was asked to."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from evaluation.reports.measured.estimates import pooled_share_of
from evaluation.reports.measured.results import RunResults
from evaluation.reports.parts import Cell, Notes, Section, Span, SpanRow, Spans, Table
from evaluation.suites.records import ItemRecord

METRIC = "speakers.accuracy"
PLACES = ("left", "centre", "right", "off-screen")
UNKNOWN = ("undecided", "not heard")


def speakers(runs: Sequence[RunResults]) -> Section | None:
    """Accuracy by how the prompt was varied, and confusion of places; None without such lines."""
    judged = [run for run in runs if any(_lines(run))]
    if not judged:
        return None
    return Section(
        "Who says which line",
        [
            Notes(
                [
                    "A line counts where one face could be named; undecided and unheard lines are "
                    "in the tables below, not in the shares.",
                    "With places and order counterbalanced, a model that always lets the left face "
                    "or the first one speak is right in half of the lines of two speakers.",
                ]
            ),
            _by_variant(judged),
            *map(_confusion, judged),
        ],
    )


def _lines(run: RunResults) -> Iterator[tuple[ItemRecord, int, str, str]]:
    """Item, number of the line, verdict and place of the face that spoke, of every line asked."""
    for item, row in run.of(METRIC):
        for line in row.details.get("lines") or ():
            verdict = str(line["verdict"])
            spoke = verdict if verdict in UNKNOWN else str(line.get("place") or "off-screen")
            yield item, int(line["line"]), verdict, spoke


def _counted(name: str) -> list[tuple[int, str]]:
    """To sort by: numbers in a name by their size."""
    parts = re.findall(r"\d+|\D+", name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _by_variant(runs: Sequence[RunResults]) -> Spans:
    rows = []
    for run in runs:
        groups: dict[str, list[tuple[str, float]]] = {"all lines": []}
        undecided: Counter[str] = Counter()
        for item, number, verdict, _ in _lines(run):
            place = item.expected.lines[number].place or "no place"
            names = [
                "all lines",
                f"asked of the {place}" if place != "off-screen" else "asked of a voice off screen",
                f"line {number + 1}",
                *(f"{factor}: {value}" for factor, value in item.variant.items()),
            ]
            for name in names:
                groups.setdefault(name, [])
                if verdict in UNKNOWN:
                    undecided[name] += 1
                else:
                    groups[name].append((item.item, float(verdict == "right")))
        for name in ["all lines", *sorted(set(groups) - {"all lines"}, key=_counted)]:
            found = pooled_share_of(groups[name])
            before = [str(len(groups[name])), str(undecided[name])]
            if found is None:
                rows.append(SpanRow(name, None, before, ["", ""], run.name))
                continue
            span = Span(100 * found.value, 100 * found.low, 100 * found.high)
            after = [f"{found.value:.0%}", f"{found.low:.0%} to {found.high:.0%}"]
            rows.append(SpanRow(name, span, before, after, run.name))
    return Spans(
        "Lines said by the face that was asked to.",
        "right (%)",
        rows,
        scale=(0.0, 100.0),
        reference=50.0,
        heads_before=["Decided", "Undecided or unheard"],
        heads_after=["Share", "95 %"],
        name_head="Lines",
        legend="Bars are 95 % intervals over clips; the dashed line is chance with two speakers.",
    )


def _confusion(run: RunResults) -> Table:
    counts: Counter[tuple[str, str]] = Counter(
        (item.expected.lines[number].place or "no place", spoke)
        for item, number, _, spoke in _lines(run)
    )
    asked = [place for place in PLACES if any(pair[0] == place for pair in counts)]
    spoke = [p for p in (*PLACES, *UNKNOWN) if any(pair[1] == p for pair in counts)]
    rows: list[list[str | Cell]] = []
    for place in asked:
        total = sum(counts[place, other] for other in spoke)
        cells = [_cell(counts[place, other], total, place, other) for other in spoke]
        rows.append([place, str(total), *cells])
    return Table(
        f"{run.name}: where the speaker was asked to be (rows) and where the face that spoke is "
        "(columns), in % of the lines.",
        ["Asked", "Lines", *spoke],
        rows,
        tuple(range(1, 2 + len(spoke))),
    )


def _cell(count: int, total: int, asked: str, spoke: str) -> Cell:
    if not count:
        return Cell("")
    share = count / total
    tone = "good" if asked == spoke else "unsure" if spoke in UNKNOWN else "bad"
    return Cell(f"{share:.0%}", tone, share, f"{count} of {total}")  # type: ignore[arg-type]
