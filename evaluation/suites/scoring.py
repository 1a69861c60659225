"""Measures the clips of a run; nothing is measured twice."""

import hashlib
import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.canonical import digest
from evaluation.expectation import Expectation
from evaluation.measurement import Measured, MeasurementFailed, Metric, NotMeasurable, Outcome
from evaluation.suites.records import (
    MEASURING_PACKAGES,
    ItemRecord,
    RunFolder,
    ScoredRecord,
    environment,
    measuring_weights,
)
from ltx2 import Clip
from ltx2.errors import GenerationCancelled, LTX2Error, RequestError
from ltx2.files import replaced
from ltx2.progress import OnProgress, Progress, ShouldCancel, ignore_progress, never_cancel

logger = logging.getLogger(__name__)

CACHE, RESULTS = "measurements", "measurements.jsonl"
WRITE_S = 20.0
"""How often rows are written meanwhile, for whoever watches."""


@dataclass(frozen=True)
class ScoreCounts:
    """How scoring went: the file of all rows, and how many were measured now or found measured."""

    path: Path
    measured: int
    kept: int


def chosen_metrics(names: Sequence[str]) -> tuple[Metric, ...]:
    """Metrics of the registry called one of `names`, or "NAME.something"; all without names.

    Raises:
        RequestError: a name is that of none.
    """
    from evaluation.metrics.registry import all_metrics

    metrics = all_metrics()
    for name in names:
        if not any(_is(metric, name) for metric in metrics):
            raise RequestError(
                f"There is no metric {name}.",
                next_step=f"Choose of {', '.join(metric.name for metric in metrics)}.",
            )
    return tuple(m for m in metrics if not names or any(_is(m, name) for name in names))


def score_run(
    folder: RunFolder,
    metrics: Sequence[Metric],
    *,
    arguments: Sequence[str] = (),
    on_progress: OnProgress = ignore_progress,
    should_cancel: ShouldCancel = never_cancel,
) -> ScoreCounts:
    """Measures every clip of a run with every metric and writes a row of JSON for each.

    Rows are kept by the digest of the clip's bytes, of what was asked, and of the metric's name and
    version, so that it can be stopped at any moment and started again.

    Raises:
        RequestError: the folder holds no run.
        GenerationCancelled: `should_cancel` said so.
    """
    run = folder.read_run()
    if run is None:
        raise RequestError(
            f"{folder.path} holds no run.", next_step="Make one with: python -m evaluation run"
        )
    cache = folder.path / CACHE
    cache.mkdir(exist_ok=True)
    scored = ScoredRecord(
        environment=environment(MEASURING_PACKAGES),
        weights=measuring_weights(),
        arguments=tuple(arguments),
        started=_now(),
    )
    folder.write_scored(scored)
    records = [record for record in map(folder.read_item, run.keys) if record is not None]
    rows: list[dict[str, Any]] = []
    measured = 0
    path = folder.path / RESULTS
    written = time.monotonic()
    num_before = _num_lines(path)
    for number, record in enumerate(records):
        on_progress(Progress("measure", number, len(records)))
        if record.status != "ok":
            rows.append({**_of_item(record), "status": record.status, "reason": record.reason})
            continue
        clip = folder.clip(record.key)
        read = _Reader(clip)
        for metric in metrics:
            if should_cancel():
                raise GenerationCancelled
            kept = cache / f"{_key(clip, record.expected, metric)}.json"
            found = _read(kept)
            if found is None:
                found = _measure(metric, read, record.expected)
                measured += 1
                # A bug or a lack of memory may be gone the next time.
                if found["status"] != "error":
                    with replaced(kept) as part:
                        part.write_text(json.dumps(found), encoding="utf-8")
            rows.append(
                {**_of_item(record), "clip_sha256": _media_digest(*_stamped(clip)), **found}
            )
        # What was measured before is kept until there is more than that.
        if len(rows) > num_before and time.monotonic() - written > WRITE_S:
            _write(path, rows)
            written = time.monotonic()
    _write(path, rows)
    folder.write_scored(scored.model_copy(update={"finished": _now()}))
    on_progress(Progress("measure", len(records), max(len(records), 1)))
    num_rows = sum("metric" in row for row in rows)
    return ScoreCounts(path, measured, num_rows - measured)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _num_lines(path: Path) -> int:
    try:
        with path.open("rb") as file:
            return sum(1 for _ in file)
    except FileNotFoundError:
        return 0


def _write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with replaced(path) as part:
        part.write_text(
            "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8"
        )


class _Reader:
    """A clip that is read when the first metric asks for it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._clip: Clip | None = None

    def __call__(self) -> Clip:
        if self._clip is None:
            self._clip = Clip.load(self._path)
        return self._clip


def _measure(metric: Metric, read: _Reader, expected: Expectation) -> dict[str, Any]:
    started = time.monotonic()
    outcome: Outcome
    try:
        outcome = metric.measure(read(), expected)
    except LTX2Error as error:
        outcome = MeasurementFailed(str(error))
    except Exception as error:
        # One metric's bug must not cost the others' results.
        logger.exception("The metric %s failed.", metric.name)
        outcome = MeasurementFailed(f"{type(error).__name__}: {error}")
    return {
        "metric": metric.name,
        "version": metric.version,
        "measured_by": metric.measured_by,
        "seconds": round(time.monotonic() - started, 3),
        **_as_json(outcome),
    }


def _as_json(outcome: Outcome) -> dict[str, Any]:
    match outcome:
        case Measured():
            status = "ok"
        case NotMeasurable():
            status = "unmeasurable"
        case MeasurementFailed():
            status = "error"
    return {"status": status, **_plain(asdict(outcome))}


def _plain(value: Any) -> Any:
    """JSON values: arrays as lists, what is not a finite number as null."""
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value


def _of_item(record: ItemRecord) -> dict[str, Any]:
    return {
        "key": record.key,
        "item": record.item,
        "seed": record.seed,
        "language": record.language,
        "group": record.group,
        "variant": dict(record.variant),
        "tags": list(record.tags),
    }


def _key(path: Path, expected: Expectation, metric: Metric) -> str:
    return digest([_media_digest(*_stamped(path)), asdict(expected), metric.name, metric.version])


def _stamped(path: Path) -> tuple[Path, int]:
    return path, path.stat().st_mtime_ns


@lru_cache(maxsize=1)
def _media_digest(path: Path, modified: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _is(metric: Metric, name: str) -> bool:
    return metric.name == name or metric.name.startswith(f"{name}.")
