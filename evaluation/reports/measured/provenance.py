"""How to make a run again: settings, versions, digests of weights and suites."""

from collections.abc import Sequence
from typing import Any

from evaluation.reports.measured.results import RunResults
from evaluation.reports.parts import Facts, Folded, Part, Section


def provenance(runs: Sequence[RunResults]) -> Section:
    """One folded part a run."""
    return Section("How it was made", [Folded(run.name, _of(run)) for run in runs])


def _of(run: RunResults) -> list[Part]:
    record = run.run
    scored = run.folder.read_scored()
    made = [
        ("Suite", f"{record.suite}: {record.title}"),
        ("Digest of the suite", record.suite_digest),
        ("Seeds", ", ".join(map(str, record.seeds))),
        ("Settings", _words(record.settings) or "none beyond the suite's"),
        ("Last started (UTC)", record.started),
        ("Command", " ".join(record.arguments)),
        *((f"Generator: {name}", _words(value)) for name, value in record.generator.items()),
        *((f"Made with {name}", value) for name, value in record.environment.items()),
    ]
    if scored is None:
        return [Facts(made)]
    measured = [
        ("Measured (UTC)", scored.started),
        *((f"Measured with {name}", value) for name, value in scored.environment.items()),
        *((f"SHA-256 of {name}", value) for name, value in scored.weights.items()),
    ]
    return [Facts(made), Facts(measured)]


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_words(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_words, value)) or "none"
    return "not known" if value is None else str(value)
