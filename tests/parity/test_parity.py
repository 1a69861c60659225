import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.conftest import ROOT
from tests.parity import cases_e2e
from tests.parity.__main__ import main
from tests.parity.result import Result, compare
from tests.parity.runner import find_folders, find_runners, optional_outputs, run_folder

RUNNERS = find_runners()


@pytest.mark.parametrize("component", sorted(RUNNERS))
def test_every_recorded_case_of_a_component_is_reproduced(
    golden_folder: Path, component: str
) -> None:
    folders = [f for f in find_folders(golden_folder) if f.component == component]
    if not folders:
        pytest.skip(f"{golden_folder} has no recorded {component}")
    for folder in folders:
        summaries = list(run_folder(folder, RUNNERS[component]))
        assert summaries
        assert [s.worst for s in summaries if not s.passed] == []


def test_a_value_beyond_its_tolerance_or_not_finite_fails() -> None:
    expected = torch.tensor([0.0, 10.0])
    near, far = torch.tensor([0.5e-4, 10.0009]), torch.tensor([2e-4, 10.0])
    assert compare("c", "case", "name", near, expected).passed
    assert not compare("c", "case", "name", far, expected).passed
    assert not compare("c", "case", "name", torch.tensor([0.0, torch.nan]), expected).passed
    assert not compare("c", "case", "name", torch.zeros(3), expected).passed


def _record(folder: Path, name: str, component: str) -> None:
    (folder / name).mkdir(parents=True)
    facts = {"component": component, "cases": {"a": {}, "b": {}}}
    (folder / name / "case.json").write_text(json.dumps(facts))


def test_a_folder_that_is_missing_empty_or_broken_is_a_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "nowhere")]) == 1
    assert main([str(tmp_path)]) == 1
    _record(tmp_path, "sampling", "sampling")  # without its tensors
    assert main([str(tmp_path)]) == 1
    assert "FAILED" in capsys.readouterr().out
    (tmp_path / "sampling" / "case.json").write_text("{")
    assert main([str(tmp_path)]) == 1


def test_components_nobody_runs_are_listed_and_do_not_count_as_passed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _record(tmp_path, "unheard_of", "unheard_of")
    assert main([str(tmp_path)]) == 1
    assert "no runner" in capsys.readouterr().out


def test_a_recorded_output_that_nobody_compares_is_a_failure(tmp_path: Path) -> None:
    _record(tmp_path, "transformer", "transformer")
    names = ("a/in/x", "a/out/x", "a/out_drop/x", "a/out/y", "a/out_bf16/x", "b/out/x")
    recorded = {name: torch.zeros(1) for name in names}
    save_file(recorded, tmp_path / "transformer" / "io.safetensors")
    (folder,) = find_folders(tmp_path)

    def run(_: Path) -> Iterator[Result]:
        for case, name in (("a", "x"), ("a", "out_drop/x")):
            yield compare("transformer", case, name, torch.zeros(1), torch.zeros(1))

    passed, *failed = run_folder(folder, run)
    assert passed.passed
    assert not any(summary.passed for summary in failed)
    assert [(s.case, s.worst.tensor.split()[0]) for s in failed] == [("a", "out/y"), ("b", "out/x")]
    assert optional_outputs(folder) == {"a": ["out_bf16/x"]}


def test_a_whole_clip_of_unknown_guidance_is_not_run_without() -> None:
    assert cases_e2e._guidance("t2v_cfg", {}).video.cfg_scale == 4.0
    with pytest.raises(ValueError, match="'t2v_other'"):
        cases_e2e._guidance("t2v_other", {})


@pytest.mark.slow
def test_the_command_prints_one_line_per_case(golden_folder: Path) -> None:
    command = [sys.executable, "-m", "tests.parity", str(golden_folder / "sampling")]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout
    cases = json.loads((golden_folder / "sampling" / "case.json").read_text())["cases"]
    assert len(ran.stdout.splitlines()) == len(cases) + 1
