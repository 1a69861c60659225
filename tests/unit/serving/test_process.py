import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from ltx2.__main__ import app
from ltx2.errors import RequestError
from ltx2.media.decode import read_recipe
from ltx2.serving.process import Made, Refused, make_clips, plan_clips
from ltx2.settings import Settings
from tests.unit.serving.stand_ins import Maker, an_offer


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """Of a stand-in for the model, and a folder for its clips."""
    maker = Maker()
    monkeypatch.setattr("ltx2.serving.process.open_offers", lambda settings: [an_offer(maker)])
    return Settings(output_dir=tmp_path / "made", device="cpu"), maker


@pytest.fixture
def grid(tmp_path):
    file = tmp_path / "grid.jsonl"
    file.write_text(json.dumps({"prompt": "a ball", "seed": [4, 5], "seconds": 0.4}))
    return file


def test_every_clip_of_a_file_is_made_once(settings, grid):
    settings, maker = settings
    made = list(make_clips(grid, settings))
    assert [type(each) for each in made] == [Made, Made]
    files = sorted(settings.output_dir.iterdir())
    assert [file.name for file in files] == ["001-seed-4.mp4", "002-seed-5.mp4"]
    assert read_recipe(files[1]).request.seed == 5
    files[0].unlink()
    assert [each.sentence for each in make_clips(grid, settings)][1] == "is there already."
    assert len(maker.prompts) == 3


def test_a_clip_that_fails_is_told_and_ends_no_other(settings, grid):
    settings, maker = settings
    maker.error = RequestError("It is too long.", next_step="Shorten it.")
    made = list(make_clips(grid, settings))
    assert made == [Refused(each.name, "It is too long. Shorten it.") for each in made]
    assert len(made) == 2


def test_a_dry_run_tells_and_makes_nothing(settings, grid):
    settings, maker = settings
    planned = list(plan_clips(grid, settings))
    assert planned[1].name == "002-seed-5.mp4"
    assert "prompt a ball" in planned[1].sentence
    assert "seed 5" in planned[1].sentence
    assert maker.prompts == []
    assert not settings.output_dir.exists()


def test_a_line_that_cannot_be_used_is_named_before_anything_is_made(settings, grid):
    grid.write_text('{"prompt": "a ball"}\n{"prompt": "a ball", "seeds": 1}')
    with pytest.raises(RequestError, match="Line 2: seeds"):
        list(make_clips(grid, settings[0]))


def test_serve_makes_the_clips_of_a_file_instead_of_a_page(settings, grid, tmp_path):
    out = replace(settings[0]).output_dir
    arguments = ["serve", "--process", str(grid), "--output-dir", str(out), "--device", "cpu"]
    dry = CliRunner().invoke(app, [*arguments, "--dry-run"])
    assert dry.output.startswith("001-seed-4.mp4: prompt a ball")
    ran = CliRunner().invoke(app, arguments)
    assert ran.exit_code == 0, ran.output
    assert "002-seed-5.mp4: made in" in ran.output
    settings[1].error = RequestError("No.", next_step="Stop.")
    (out / "001-seed-4.mp4").unlink()
    assert CliRunner().invoke(app, arguments).exit_code == 1
