import json

import numpy as np
import pytest

from evaluation.measurement import Curve, Measured, Metric, NotMeasurable
from evaluation.metrics.registry import all_metrics
from evaluation.suites import scoring
from evaluation.suites.records import RunFolder
from evaluation.suites.runner import run_suite
from evaluation.suites.scoring import chosen_metrics, score_run
from ltx2.errors import GenerationCancelled, GenerationError, RequestError
from tests.unit.evaluation.suites.makers import Maker, suite_of


class Counted:
    """A metric's function that counts its calls."""

    def __init__(self, answer):
        self.calls = 0
        self.answer = answer

    def __call__(self, clip, expectation):
        self.calls += 1
        return self.answer(clip, expectation)


def metric(name, answer, version=1):
    return Metric(name, version, "a test", Counted(answer))


def num_words(clip, expectation):
    curve = Curve("level", np.arange(2.0), np.array([1.0, np.nan]), "time (s)", "level")
    words = len(expectation.lines[0].text.split())
    return Measured(
        words, "words", details={"frames": np.int64(len(clip.frames))}, evidence=(curve,)
    )


@pytest.fixture
def folder(tmp_path):
    folder = RunFolder(tmp_path / "run")
    fails = {"item-2": GenerationError("It failed.", next_step="Try again.")}
    run_suite(suite_of(3), Maker(fails=fails), folder)
    return folder


def rows_of(counts):
    return [json.loads(line) for line in counts.path.read_text().splitlines()]


def test_every_clip_is_measured_and_a_failed_one_has_a_row_of_its_own(folder):
    silent = metric("none", lambda clip, expected: NotMeasurable("No face is seen."))
    counts = score_run(folder, [metric("words", num_words), silent])
    rows = rows_of(counts)
    assert [(row["item"], row.get("metric"), row["status"]) for row in rows] == [
        ("item-0", "words", "ok"),
        ("item-0", "none", "unmeasurable"),
        ("item-1", "words", "ok"),
        ("item-1", "none", "unmeasurable"),
        ("item-2", None, "error"),
    ]
    assert rows[0]["value"] == 2
    assert rows[0]["evidence"][0]["y"] == [1.0, None]
    assert rows[1]["reason"] == "No face is seen."
    assert rows[4]["reason"] == "It failed. Try again."


def test_what_is_measured_is_not_measured_again_until_the_metric_changes(folder):
    first = metric("words", num_words)
    assert score_run(folder, [first]).measured == 2
    again, newer = metric("words", num_words), metric("words", num_words, version=2)
    counts = score_run(folder, [again])
    assert (counts.measured, counts.kept, again.measure.calls) == (0, 2, 0)
    assert score_run(folder, [newer]).measured == 2


def test_rows_of_metrics_that_are_not_chosen_stay(folder):
    words, silent = metric("words", num_words), metric("none", lambda *_: NotMeasurable("No."))
    score_run(folder, [words, silent])
    counts = score_run(folder, [silent], others=[words, metric("new", num_words)])
    said = {(row["item"], row.get("metric")) for row in rows_of(counts)}
    assert {("item-0", "words"), ("item-1", "none")} <= said
    assert words.measure.calls == 2
    assert not any(name == "new" for _, name in said)


def test_what_lacked_a_package_is_tried_again_once_it_is_there(folder, monkeypatch):
    lacking = metric("none", lambda *_: NotMeasurable("The package dlib-bin is missing."))
    monkeypatch.setattr(scoring, "MEASURING_PACKAGES", ("numpy", "no-such-package"))
    score_run(folder, [lacking, metric("words", num_words)])
    assert score_run(folder, [lacking]).measured == 0
    monkeypatch.setattr(scoring, "MEASURING_PACKAGES", ("numpy",))
    assert score_run(folder, [lacking, metric("words", num_words)]).measured == 2
    assert score_run(folder, [lacking]).measured == 0


def test_another_named_model_measures_anew(folder, monkeypatch):
    named = metric("language.word_error", num_words)
    monkeypatch.delenv("LTX2_WHISPER", raising=False)
    assert score_run(folder, [named]).measured == 2
    monkeypatch.setenv("LTX2_WHISPER", "large-v3")
    assert score_run(folder, [named, metric("health", num_words)]).measured == 4
    assert score_run(folder, [named]).measured == 0


def test_a_clip_that_cannot_be_read_is_read_once(folder, monkeypatch):
    folder.clip(folder.read_run().keys[0]).write_bytes(b"no clip")
    read = []
    load = scoring.Clip.load
    monkeypatch.setattr(scoring.Clip, "load", lambda path: read.append(path) or load(path))
    rows = rows_of(score_run(folder, [metric("words", num_words), metric("more", num_words)]))
    assert [row["status"] for row in rows] == ["error", "error", "ok", "ok", "error"]
    assert len(read) == 2


def test_another_clip_under_the_same_name_is_measured_anew(folder):
    score_run(folder, [metric("words", num_words)])
    first, second = (folder.clip(key) for key in folder.read_run().keys[:2])
    first.write_bytes(second.read_bytes() + b"\0")
    assert score_run(folder, [metric("words", num_words)]).measured == 1


def test_a_metric_that_fails_costs_nobody_else_anything_and_is_tried_again(folder):
    broken = metric("broken", lambda clip, expected: 1 / 0)
    for _ in range(2):
        rows = rows_of(score_run(folder, [broken, metric("words", num_words)]))
        assert [row["status"] for row in rows] == ["error", "ok", "error", "ok", "error"]
        assert rows[0]["message"] == "ZeroDivisionError: division by zero"
    assert broken.measure.calls == 4


def test_a_damaged_clip_and_a_damaged_measurement_are_no_end(folder):
    score_run(folder, [metric("words", num_words)])
    for kept in (folder.path / "measurements").glob("*.json"):
        kept.write_text('{"half":')
    folder.clip(folder.read_run().keys[0]).write_bytes(b"no clip")
    rows = rows_of(score_run(folder, [metric("words", num_words)]))
    assert [row["status"] for row in rows] == ["error", "ok", "error"]


def test_scoring_goes_on_after_a_stop(folder):
    one = metric("words", num_words)
    with pytest.raises(GenerationCancelled):
        score_run(folder, [one], should_cancel=lambda: one.measure.calls == 1)
    assert score_run(folder, [one]).measured == 1


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(RequestError, match="holds no run"):
        score_run(RunFolder(tmp_path), [])


def test_the_registry_finds_the_metrics_of_the_package():
    names = [metric.name for metric in all_metrics()]
    assert "health" in names
    assert len(set(names)) == len(names)


def test_metrics_are_chosen_by_name_or_group():
    assert [m.name for m in chosen_metrics(["health"])] == ["health"]
    assert all(m.name.startswith("language.") for m in chosen_metrics(["language"]))
    with pytest.raises(RequestError, match="There is no metric taste"):
        chosen_metrics(["taste"])
