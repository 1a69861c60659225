"""What a run's folder says: what was asked, what became of each clip, and what was measured."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from evaluation.suites.records import ItemRecord, RunFolder, RunRecord
from evaluation.suites.scoring import RESULTS
from ltx2.errors import RequestError

Status = Literal["ok", "unmeasurable", "error"]


@dataclass(frozen=True)
class Row:
    """One measurement of one clip.

    Attributes:
        key: of the clip.
        metric, version, measured_by: what gave the number.
        status: "ok" has a value; the others have a reason.
        value, unit: the number.
        details: further numbers and words of the metric.
        evidence: curves, each with name, x, y, x_label and y_label.
        clip_sha256: of the file that was measured; empty in rows of older versions.
    """

    key: str
    metric: str
    version: int
    measured_by: str
    status: Status
    value: float | None = None
    unit: str = ""
    reason: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    evidence: Sequence[Mapping[str, Any]] = ()
    clip_sha256: str = ""


@dataclass(frozen=True)
class RunResults:
    """Everything about one run.

    Attributes:
        name: unique among the runs of a report: of the generator, and of the suite where several
            runs are of one generator.
        folder: where its files are.
        run: what was asked last.
        items: by key, in the order asked; what was not tried is not among them.
        rows: measurements.
    """

    name: str
    folder: RunFolder
    run: RunRecord
    items: Mapping[str, ItemRecord]
    rows: tuple[Row, ...]

    def of(self, *metrics: str) -> Iterator[tuple[ItemRecord, Row]]:
        """Measurements by metrics called so, or "NAME.something", each with its item."""
        for row in self.rows:
            if any(row.metric == name or row.metric.startswith(f"{name}.") for name in metrics):
                yield self.items[row.key], row

    def asked(self, *metrics: str) -> Iterator[tuple[ItemRecord, Row]]:
        """The same without questions that an item does not pose, such as words of a waterfall."""
        return ((item, row) for item, row in self.of(*metrics) if is_asked(item, row.metric))


def is_asked(item: ItemRecord, metric: str) -> bool:
    """Whether an item poses a question: lips where somebody speaks, impacts where nobody does."""
    if metric.startswith("impacts."):
        return item.language == "zxx"
    if metric.startswith("lip_sync."):
        return item.language != "zxx"
    return bool(item.expected.lines) or not metric.startswith(("language.", "speakers."))


def load_results(folders: Sequence[Path]) -> tuple[RunResults, ...]:
    """Results of runs, named apart.

    Raises:
        RequestError: a folder holds no run, or is given twice.
    """
    if len({path.resolve() for path in folders}) < len(folders):
        raise RequestError("A run is given twice.", next_step="Give each folder once.")
    runs = []
    for path in folders:
        folder = RunFolder(path)
        run = folder.read_run()
        if run is None:
            raise RequestError(
                f"{path} holds no run.", next_step="Make one with: python -m evaluation run"
            )
        runs.append((folder, run))
    names = _names([run for _, run in runs])
    return tuple(_loaded(name, *run) for name, run in zip(names, runs, strict=True))


def _loaded(name: str, folder: RunFolder, run: RunRecord) -> RunResults:
    records = {key: folder.read_item(key) for key in run.keys}
    items = {key: record for key, record in records.items() if record is not None}
    return RunResults(name, folder, run, items, tuple(_rows(folder.path / RESULTS, set(items))))


def _rows(path: Path, keys: set[str]) -> Iterator[Row]:
    """Measurements of the clips asked for; a file that is not there has none."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"{path} cannot be read: {error}.", next_step="Score again.") from error
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            found = json.loads(line)
            if found["key"] in keys and "metric" in found:
                yield _row(found)
        except (ValueError, KeyError, TypeError) as error:
            raise RequestError(
                f"{path}:{number} is no measurement.",
                next_step="Score again with: python -m evaluation score",
            ) from error


def _row(found: Mapping[str, Any]) -> Row:
    return Row(
        key=found["key"],
        metric=found["metric"],
        version=found["version"],
        measured_by=found["measured_by"],
        status=found["status"],
        value=found.get("value"),
        unit=found.get("unit") or "",
        reason=found.get("reason") or found.get("message") or "",
        details=found.get("details") or {},
        evidence=found.get("evidence") or (),
        clip_sha256=found.get("clip_sha256", ""),
    )


def _names(runs: Sequence[RunRecord]) -> list[str]:
    """Generator; with the suite where a generator has several runs, and a number where it must."""
    generators = [str(run.generator["name"]) for run in runs]
    names = [
        name if generators.count(name) == 1 else f"{name}, {run.suite}"
        for name, run in zip(generators, runs, strict=True)
    ]
    return [
        name if names.count(name) == 1 else f"{name} ({names[:place].count(name) + 1})"
        for place, name in enumerate(names)
    ]
