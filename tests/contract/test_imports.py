"""Imports go down only, there are no cycles, and heavy libraries stay in their places."""

import ast
import subprocess
import sys
from functools import cache

import pytest

from tests.conftest import ROOT

FLOORS = (
    {"errors"},
    {"conditions"},
    {"timeline"},
    {"settings", "geometry", "progress", "preview", "files", "spreadsheet", "sqlite", "rates"},
    {"request", "clip", "media", "model", "prompting", "inputs"},
    {"diffusion", "checkpoint"},
    {"runtime"},
    {"generation"},
    {"pipeline"},
    {"best"},
    {"training", "serving", "puppet"},
    {"ui"},
    {"given_options"},
    {"plan_command"},
    {"__main__"},
)
"""Parts of the package, low to high."""

HEAVY = {"torch", "transformers", "diffusers"}


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


PATHS = [*(ROOT / "ltx2").rglob("*.py"), *(ROOT / "evaluation").rglob("*.py"), ROOT / "app.py"]
MODULES = {module_name(path): path for path in PATHS}

EVALUATION_FLOORS = (
    {"expectation", "loudness", "canonical"},
    {"measurement"},
    {"networks"},
    {"metrics"},
    {"preference", "suites"},
    {"reports"},
    {"ui"},
    {"__main__"},
)
"""Parts of the workbench that judges clips, low to high; it stands on the other package."""

PUBLIC = {
    *(
        "clip",
        "conditions",
        "errors",
        "files",
        "geometry",
        "given_options",
        "inputs",
        "media",
        "progress",
        "prompting",
    ),
    *("puppet", "rates", "request", "settings", "spreadsheet", "sqlite"),
}
"""What the workbench may use of the other package, beside what that package itself offers."""

PAGE = {"serving", "ui"}
"""What its tabs may use as well: they are on the other package's page."""


def floor_of(module):
    """0 for the lowest; the package itself is the public face and lies below everything."""
    if module == "app":
        return len(FLOORS) + len(EVALUATION_FLOORS)
    package, part = [*module.split("."), ""][:2]
    if not part:
        return -1
    floors = (*FLOORS, *EVALUATION_FLOORS) if package == "evaluation" else FLOORS
    return next((i for i, parts in reversed([*enumerate(floors)]) if part in parts), None)


@cache
def imports(module, *, lazy=True):
    """Full names that a module imports; without `lazy` only what runs when it is imported."""
    tree = ast.parse(MODULES[module].read_text())
    found = set()
    for node in _nodes(tree, lazy=lazy):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in MODULES else node.module)
    return frozenset(found)


def _nodes(node, *, lazy):
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if not lazy and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        yield child
        yield from _nodes(child, lazy=lazy)


def own_imports(module, *, lazy=True):
    return {name for name in imports(module, lazy=lazy) if name in MODULES}


def importers_of(library):
    return {m for m in MODULES if any(n.split(".")[0] == library for n in imports(m))}


def test_every_module_has_a_floor():
    assert [module for module in MODULES if floor_of(module) is None] == []


def test_imports_never_go_up():
    upward = [
        (module, name)
        for module in MODULES
        for name in own_imports(module)
        if floor_of(name) > floor_of(module) and module != "ltx2"
    ]
    assert upward == []


def test_clips_are_made_without_knowing_who_judges_them():
    makers = [module for module in MODULES if module.split(".")[0] == "ltx2"]
    assert [m for m in makers if any(n.startswith("evaluation") for n in imports(m))] == []


def test_clips_are_judged_by_what_everybody_can_see_of_the_maker():
    inside = [
        (module, name)
        for module in MODULES
        if module.startswith("evaluation")
        for name in own_imports(module)
        if name.startswith("ltx2.")
        and name.split(".")[1] not in PUBLIC
        and not (module.startswith("evaluation.ui") and name.split(".")[1] in PAGE)
    ]
    assert inside == []


def test_there_is_no_import_cycle():
    done, path = set(), []

    def visit(module):
        if module in done:
            return
        assert module not in path, f"cycle: {' -> '.join([*path, module])}"
        path.append(module)
        for name in sorted(own_imports(module, lazy=False)):
            visit(name)
        done.add(path.pop())

    for module in sorted(MODULES):
        visit(module)


def test_gradio_stays_in_the_user_interface():
    assert all(m == "app" or ".ui" in m for m in importers_of("gradio"))


def test_transformers_is_imported_by_the_text_encoder_and_the_enhancer_alone():
    assert importers_of("transformers") == {
        "ltx2.model.text.encoder",
        "ltx2.prompting.local_enhancer",
    }


def test_av_is_imported_by_the_media_package_alone():
    found = importers_of("av")
    assert found
    assert {module for module in found if not module.startswith("ltx2.media.")} <= {
        "evaluation.preference.stimulus",
        "evaluation.reports.measured.small_clips",
    }


def test_diffusers_makes_the_clips_of_other_models_alone():
    assert importers_of("diffusers") == {"evaluation.suites.generators.diffusers_wan"}


def test_networks_know_neither_files_nor_requests():
    for module in MODULES:
        if module.startswith("ltx2.model"):
            own = {name.split(".")[1] for name in own_imports(module) if "." in name}
            assert own <= {"errors", "geometry", "model"}, module


@pytest.mark.parametrize(
    "statement",
    [
        "import ltx2",
        "import ltx2; ltx2.Request(prompt='x'); ltx2.Guidance; ltx2.CheckpointError",
        "import app",
        "import ltx2.checkpoint.catalog, ltx2.checkpoint.layouts",
        "import evaluation.preference.ranking, evaluation.preference.commands",
        "import ltx2.prompting.dialogue, ltx2.prompting.hints, ltx2.prompting.local_enhancer",
    ],
)
def test_no_pytorch_is_loaded_before_a_clip_is_made(statement):
    code = f"import sys; {statement}; print(*sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not HEAVY & set(ran.stdout.split())


def test_the_public_face_has_every_name_it_promises():
    import ltx2

    for name in ltx2.__all__:
        assert getattr(ltx2, name).__name__ == name
    assert set(ltx2.__all__) <= set(dir(ltx2))
    assert not hasattr(ltx2, "no_such_name")
    promised = ltx2.__all__
    assert promised == sorted(promised)
