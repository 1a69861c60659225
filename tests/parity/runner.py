"""Finds recorded cases and the modules that know how to run them."""

import json
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from tests import parity
from tests.parity.result import Result

Run = Callable[[Path], Iterator[Result]]


@dataclass(frozen=True)
class Folder:
    """The recorded cases of one component.

    Attributes:
        component: what they exercise.
        path: where they lie.
        cases: their names, in order.
    """

    component: str
    path: Path
    cases: tuple[str, ...]


@dataclass(frozen=True)
class CaseSummary:
    """All results of one case.

    Attributes:
        case: name of the case.
        worst: the tensor nearest to its tolerance, or furthest beyond it.
        passed: whether every tensor is within its tolerance.
    """

    case: str
    worst: Result
    passed: bool


def find_runners() -> Mapping[str, Run]:
    """What runs a component, by the component's name: every module called `cases_*`."""
    runners: dict[str, Run] = {}
    for found in pkgutil.iter_modules(parity.__path__):
        if found.name.startswith("cases_"):
            module = import_module(f"tests.parity.{found.name}")
            components = getattr(module, "COMPONENTS", None) or (module.COMPONENT,)
            runners.update(dict.fromkeys(components, module.run))
    return runners


def find_folders(folder: Path) -> tuple[Folder, ...]:
    """Components recorded in `folder`, which may be one of them itself.

    Raises:
        ValueError: there are none, or a case file cannot be read.
    """
    files = sorted(folder.glob("case.json")) or sorted(folder.glob("*/case.json"))
    if not files:
        raise ValueError(f"{folder} holds no folder with a case.json")
    return tuple(_read_folder(file) for file in files)


def run_folder(folder: Folder, run: Run) -> Iterator[CaseSummary]:
    """One summary per case, in the order in which the runner reports them."""
    pending: list[Result] = []
    for result in run(folder.path):
        if pending and pending[0].case != result.case:
            yield _summarise(pending)
            pending = []
        pending.append(result)
    if pending:
        yield _summarise(pending)


def _read_folder(file: Path) -> Folder:
    try:
        facts = json.loads(file.read_text())
        component = facts.get("component", file.parent.name)
        return Folder(component, file.parent, tuple(facts.get("cases", ())))
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"{file} cannot be read: {error!r}") from error


def _summarise(results: list[Result]) -> CaseSummary:
    # Failed ones first: with a relative tolerance a passing tensor may have the larger ratio.
    worst = max(results, key=lambda r: (not r.passed, r.max_error / (r.tolerance or 1e-12)))
    return CaseSummary(worst.case, worst, all(result.passed for result in results))
