import json

import pytest
from typer.testing import CliRunner

from evaluation.__main__ import app
from tests.conftest import ROOT


def said(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_every_delivered_suite_passes_the_check():
    result = said("suites", "check")
    assert result.exit_code == 0, result.output
    assert result.output.count(" items") == len(list((ROOT / "prompts").glob("*.yaml")))


def test_a_wrong_suite_fails_the_check_after_all_have_been_checked(tmp_path):
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("schema_version: 1\nname: wrong\n")
    result = said("suites", "check", wrong, ROOT / "prompts" / "showcase.yaml")
    assert result.exit_code == 2
    assert "wrong.yaml:1: title" in result.output
    assert "showcase.yaml: 6 items" in result.output


def test_the_list_has_names_for_programs():
    rows = json.loads(said("suites", "list", "--json").output)
    assert {"speakers", "puppet-speakers"} <= {row["name"] for row in rows}


@pytest.fixture
def clips(tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    return folder


def test_a_dry_run_says_what_is_missing_and_writes_nothing(clips, tmp_path):
    out = tmp_path / "run"
    result = said("run", "showcase", "--model", f"folder:{clips}", "--out", out, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "6 clips, 6 to make" in result.output
    assert not out.exists()


def test_nothing_is_spent_without_leave(tmp_path):
    result = said("run", "showcase", "--model", "sora:sora-2", "--out", tmp_path / "run")
    assert result.exit_code == 2
    assert "would cost about $4.80" in result.output
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--seeds", "one", "--seeds is 'one'"),
        ("--settings", "steps", "cannot be used"),
        ("--settings", "stepz=3", "stepz"),
        ("--tag", "nothing", "No item of showcase has all of nothing"),
    ],
)
def test_options_that_cannot_be_used_are_refused_in_one_line(
    clips, tmp_path, option, value, message
):
    out = tmp_path / "run"
    result = said("run", "showcase", "--model", f"folder:{clips}", "--out", out, option, value)
    assert result.exit_code == 2
    assert message in result.output


def test_a_clip_of_the_embedded_model_is_made_and_measured(puppet_folder, tmp_path):
    out = tmp_path / "run"
    suite = tmp_path / "one.yaml"
    suite.write_text(
        "schema_version: 1\nname: one\ntitle: One\ndescription: One.\nlicence: CC0-1.0\n"
        "world: puppet\nitems:\n- {id: ball, prompt: A red ball on a white background bounces on a "
        "wood floor with a short knock.}\n"
    )
    made = said("run", suite, "--model", "puppet-distilled", "--out", out)
    assert made.exit_code == 0, made.output
    assert "1 made, 0 kept" in made.output
    assert "1 kept" in said("run", suite, "--model", "puppet-distilled", "--out", out).output
    scored = said("score", out, "--metric", "health")
    assert scored.exit_code == 0, scored.output
    (row,) = map(json.loads, (out / "measurements.jsonl").read_text().splitlines())
    assert (row["item"], row["metric"]) == ("ball", "health")
    assert row["status"] in ("ok", "unmeasurable")
