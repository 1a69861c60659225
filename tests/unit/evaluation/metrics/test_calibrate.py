import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from evaluation.__main__ import app
from evaluation.metrics.calibrate import calibrate
from evaluation.metrics.lip_sync.landmarks import METRIC
from ltx2 import Clip
from ltx2.errors import RequestError
from ltx2.training.puppet.scenes import Line, Puppet, Surroundings, Talk
from ltx2.training.puppet.world import render


def _save_puppet(path: Path, word: str, skin: str) -> None:
    scene = Talk(
        surroundings=Surroundings("grey"),
        variation=2,
        puppets=(Puppet(skin, "none", "none", "high", "centre"),),
        lines=(Line(0, word),),
        start_s=0.6,
    )
    made = render(scene, num_frames=49, height=96, width=96)
    Clip(made.frames, made.waveform, made.frame_rate, made.sample_rate).save(path)


@pytest.mark.slow
def test_the_command_ends_with_one_object_of_planted_and_measured(tmp_path: Path) -> None:
    _save_puppet(tmp_path / "a.mp4", "banana", "red")
    _save_puppet(tmp_path / "b.mp4", "goodbye", "blue")
    (tmp_path / "notes.txt").write_text("no clip")
    result = CliRunner().invoke(
        app, ["calibrate", "lip-sync", str(tmp_path), "--shifts", "-80,80", "--json"]
    )
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout.splitlines()[-1])
    assert facts["mean_abs_error_ms"] <= 10
    assert facts["measurable_share"] == 1
    planted = [row["planted_ms"] for row in facts["rows"]]
    assert sorted(planted, key=str) == sorted([-80, 80, None] * 2, key=str)
    assert 0 <= facts["false_accept_share"] <= 1


def test_a_folder_that_is_missing_or_empty_is_a_clear_error(tmp_path: Path) -> None:
    for folder in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(RequestError):
            calibrate(folder, METRIC, (0,))
    result = CliRunner().invoke(app, ["calibrate", "lip-sync", str(tmp_path / "nowhere")])
    assert result.exit_code == 2
    assert "Name a folder" in result.output


@pytest.mark.exhaustive
def test_real_clips_are_read_and_swapped_sound_is_refused(data_folder: Path) -> None:
    errors, measurable, accepted = [], [], []
    for name in ("grid", "talking_heads"):
        shifts = (-400, -200, -80, 0, 80, 200, 400)
        for row in calibrate(data_folder / name, METRIC, shifts).rows:
            if row.planted_ms is None:
                accepted.append(row.measured_ms is not None)
                continue
            measurable.append(row.measured_ms is not None)
            if row.measured_ms is not None:
                errors.append(abs(row.measured_ms - row.planted_ms))
    assert np.mean(errors) <= 25
    assert np.mean(measurable) >= 0.6
    assert np.mean(accepted) <= 0.05
