"""The logs of the recipe as a picture and a table."""

import json

import pytest
from PIL import Image

from ltx2.training.puppet.curves import as_table, draw_curves, read_log


def write(path, *lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def line(step, psnr, seconds=2.0):
    return {"step": step, "seconds_per_step": seconds, "loss": 1.0, "psnr": psnr}


def test_steps_done_again_after_a_stop_count_once_and_their_time_counts(tmp_path):
    log = read_log(
        write(tmp_path / "vae.jsonl", line(20, 10), line(40, 12), line(20, 11), line(40, 13))
    )
    assert log.name == "vae"
    assert log.steps == (20, 40)
    assert log.figures == {"psnr": (11, 13)}
    assert log.seconds == 2.0 * (20 + 20 + 0 + 20)


def test_the_table_has_a_row_per_stage_with_what_it_took_and_reached(tmp_path):
    logs = [
        read_log(write(tmp_path / "vae.jsonl", line(20, 10), line(1200, 27.25, seconds=0.1))),
        read_log(write(tmp_path / "vocoder.jsonl", line(30, 5))),
    ]
    rows = as_table(logs).splitlines()
    assert rows[2] == "| vae | 1,200 | 3 | psnr 27.2 |"
    assert rows[3] == "| vocoder | 30 | 1 | psnr 5 |"


@pytest.mark.slow
def test_the_picture_has_a_panel_per_stage_and_more_rows_for_more_stages(tmp_path):
    logs = [
        read_log(write(tmp_path / f"{n}.jsonl", line(20, 10), line(40, 60 + n))) for n in range(5)
    ]
    one = Image.open(draw_curves(logs[:4], tmp_path / "one.png"))
    two = Image.open(draw_curves(logs, tmp_path / "two.png"))
    assert two.height == 2 * one.height
    assert len(two.getcolors(1 << 20)) > 10
