"""Measures the clips of a run; nothing is measured twice."""

import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from shutil import which
from typing import Any

import numpy as np

from evaluation.canonical import digest
from evaluation.expectation import Expectation
from evaluation.measurement import Measured, MeasurementFailed, Metric, NotMeasurable, Outcome
from evaluation.suites.records import (
    MEASURING_PACKAGES,
    MEASURING_PROGRAMS,
    ItemRecord,
    RunFolder,
    ScoredRecord,
    environment,
    measuring_weights,
)
from ltx2 import Clip
from ltx2.errors import GenerationCancelled, LTX2Error, MediaError, RequestError
from ltx2.files import replaced
from ltx2.progress import OnProgress, Progress, ShouldCancel, ignore_progress, never_cancel

logger = logging.getLogger(__name__)

CACHE, RESULTS = "measurements", "measurements.jsonl"
MODELS_OF: Mapping[str, tuple[str, ...]] = {
    "LTX2_WHISPER": ("speech", "language", "speakers", "lip_sync.closure"),
    "LTX2_SYNCNET_WEIGHTS": ("lip_sync.syncnet",),
}
"""Variables that name a model, and the metrics whose numbers depend on it."""
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
    return tuple(metric for metric in metrics if not names or _is_any(metric, names))


def score_run(
    folder: RunFolder,
    metrics: Sequence[Metric],
    *,
    others: Sequence[Metric] = (),
    arguments: Sequence[str] = (),
    on_progress: OnProgress = ignore_progress,
    should_cancel: ShouldCancel = never_cancel,
) -> ScoreCounts:
    """Measures every clip of a run with every metric and writes a row of JSON for each.

    Rows are kept by the digest of the clip's bytes, of what was asked, and of the metric's name,
    version and named model, so that it can be stopped at any moment and started again. What could
    not be measured is tried again once a package is there that was missing.

    Args:
        folder: of the run.
        metrics: to measure with.
        others: whose rows are taken over where they are there, without measuring anything.
        arguments: of the command, for the record.
        on_progress: told before every clip, as stage "measure".
        should_cancel: asked before every measurement.

    Raises:
        RequestError: the folder holds no run.
        GenerationCancelled: `should_cancel` said so.
    """
    run = folder.read_run()
    if run is None:
        raise RequestError(
            f"{folder.path} holds no run.", next_step="Make one with: python -m evaluation run"
        )
    (folder.path / CACHE).mkdir(exist_ok=True)
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
        for row, is_new in _rows_of_clip(folder, record, metrics, others, should_cancel):
            rows.append(row)
            measured += is_new
        # What was measured before is kept until there is more than that.
        if len(rows) > num_before and time.monotonic() - written > WRITE_S:
            _write(path, rows)
            written = time.monotonic()
    _write(path, rows)
    folder.write_scored(scored.model_copy(update={"finished": _now()}))
    on_progress(Progress("measure", len(records), max(len(records), 1)))
    num_rows = sum("metric" in row for row in rows)
    return ScoreCounts(path, measured, num_rows - measured)


def _rows_of_clip(
    folder: RunFolder,
    record: ItemRecord,
    metrics: Sequence[Metric],
    others: Sequence[Metric],
    should_cancel: ShouldCancel,
) -> Iterator[tuple[dict[str, Any], bool]]:
    """Rows of one clip, and whether each was measured now; arguments as of `score_run`."""
    clip = folder.clip(record.key)
    read = _Reader(clip)
    about = {**_of_item(record), "clip_sha256": _media_digest(*_stamped(clip))}
    absent = _absent_tools()
    for metric in (*metrics, *others):
        if should_cancel():
            raise GenerationCancelled
        kept = folder.path / CACHE / f"{_key(clip, record.expected, metric)}.json"
        found = _read(kept)
        is_stale = found is None or not set(found.get("absent", ())) <= absent
        is_new = is_stale and metric not in others
        if is_new:
            found = _measure(metric, read, record.expected)
            if found["status"] == "unmeasurable":
                found["absent"] = sorted(absent)
            # A bug or a lack of memory may be gone the next time.
            if found["status"] != "error":
                with replaced(kept) as part:
                    part.write_text(json.dumps(found), encoding="utf-8")
        if found is not None:
            yield {**about, **found}, is_new


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
    """A clip that is read when the first metric asks for it, and is not read again if it fails."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read: Clip | MediaError | None = None

    def __call__(self) -> Clip:
        if self._read is None:
            try:
                self._read = Clip.load(self._path)
            except MediaError as error:
                self._read = error
        if isinstance(self._read, MediaError):
            raise self._read
        return self._read


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
    depends = [_media_digest(*_stamped(path)), asdict(expected), metric.name, metric.version]
    models = {name: os.environ.get(name) for name, of in MODELS_OF.items() if _is_any(metric, of)}
    return digest([*depends, *(name for name in models.values() if name)])


def _absent_tools() -> set[str]:
    """Packages and programs of metrics that are not on this machine."""
    programs = {name for name in MEASURING_PROGRAMS if which(name) is None}
    return programs | (set(MEASURING_PACKAGES) - environment(MEASURING_PACKAGES).keys())


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


def _is_any(metric: Metric, names: Sequence[str]) -> bool:
    return any(_is(metric, name) for name in names)


def _is(metric: Metric, name: str) -> bool:
    return metric.name == name or metric.name.startswith(f"{name}.")
