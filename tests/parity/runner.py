"""Finds recorded cases and the modules that know how to run them."""

import json
import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from safetensors import safe_open

from tests import parity
from tests.parity.result import Result

Run = Callable[[Path], Iterator[Result]]

OPTIONAL = {
    "sampling": r"guidance/out/delta_(cfg_star|apg)_.+",
    "transformer": r".+/out_bf16/.+",  # one reference's own rounding
}
"""Recorded outputs of what is optional and not implemented, by component."""


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
    """One summary per case, in the order in which the runner reports them.

    After them comes a failed one for every recorded output that was compared with nothing.
    """
    pending: list[Result] = []
    compared: set[str] = set()
    for result in run(folder.path):
        compared |= {f"{result.case}/out/{result.tensor}", f"{result.case}/{result.tensor}"}
        if pending and pending[0].case != result.case:
            yield _summarise(pending)
            pending = []
        pending.append(result)
    if pending:
        yield _summarise(pending)
    for name in _recorded_outputs(folder):
        if name not in compared and not _is_optional(folder, name):
            case, tensor = name.split("/", 1)
            label = f"{tensor} was recorded and not compared"
            lacking = Result(folder.component, case, label, float("inf"), 0.0, passed=False)
            yield CaseSummary(case, lacking, passed=False)


def optional_outputs(folder: Folder) -> Mapping[str, list[str]]:
    """Recorded outputs of a folder that nobody has to reproduce, by case."""
    found: dict[str, list[str]] = {}
    for name in _recorded_outputs(folder):
        if _is_optional(folder, name):
            case, tensor = name.split("/", 1)
            found.setdefault(case, []).append(tensor)
    return found


def _read_folder(file: Path) -> Folder:
    try:
        facts = json.loads(file.read_text())
        component = facts.get("component", file.parent.name)
        return Folder(component, file.parent, tuple(facts.get("cases", ())))
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"{file} cannot be read: {error!r}") from error


def _recorded_outputs(folder: Folder) -> list[str]:
    file = folder.path / "io.safetensors"
    if not file.is_file():
        return []
    with safe_open(file, "pt") as tensors:
        names = list(tensors.keys())
    return sorted(name for name in names if re.fullmatch(r"[^/]+/out[^/]*/.+", name))


def _is_optional(folder: Folder, name: str) -> bool:
    return re.fullmatch(OPTIONAL.get(folder.component, "(?!)"), name) is not None


def _summarise(results: list[Result]) -> CaseSummary:
    # Failed ones first: with a relative tolerance a passing tensor may have the larger ratio.
    worst = max(results, key=lambda r: (not r.passed, r.max_error / (r.tolerance or 1e-12)))
    return CaseSummary(worst.case, worst, all(result.passed for result in results))
