import pytest

from evaluation.suites.export import export_clips
from evaluation.suites.records import RunFolder
from evaluation.suites.runner import run_suite
from ltx2.errors import RequestError
from tests.unit.evaluation.suites.makers import Maker, suite_of


def test_clips_of_a_run_become_the_folder_of_a_studys_model_byte_for_byte(tmp_path):
    folder = RunFolder(tmp_path / "run")
    run_suite(suite_of(3), Maker(skips={"item-2"}), folder, seeds=(4, 5))
    target = tmp_path / "model"
    assert export_clips(folder, target) == 2
    records = [folder.read_item(key) for key in folder.read_run().keys]
    for record in (r for r in records if r.status == "ok" and r.seed == 4):
        copied = target / f"{record.item}.mp4"
        assert copied.read_bytes() == folder.clip(record.key).read_bytes()
    assert (target / "manifest.csv").read_text().splitlines() == [
        "id,prompt,language,suite",
        'item-0,"A man says ""number 0"".",en,small',
        'item-1,"A man says ""number 1"".",en,small',
    ]


def test_nothing_is_written_over_and_what_is_missing_is_said(tmp_path):
    folder = RunFolder(tmp_path / "run")
    run_suite(suite_of(1), Maker(), folder)
    with pytest.raises(RequestError, match=r"no clip of seed 9"):
        export_clips(folder, tmp_path / "model", seed=9)
    with pytest.raises(RequestError, match="is in use"):
        export_clips(folder, folder.path)
    with pytest.raises(RequestError, match="holds no run"):
        export_clips(RunFolder(tmp_path), tmp_path / "model")
