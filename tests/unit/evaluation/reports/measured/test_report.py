import base64
import json
import re

import pytest
from typer.testing import CliRunner

from evaluation.__main__ import app
from evaluation.reports.measured.clips import clips, spread
from evaluation.reports.measured.published import published
from evaluation.reports.measured.report import run_report
from evaluation.reports.measured.results import load_results
from evaluation.reports.parts import Spans, Table
from ltx2 import Clip
from ltx2.errors import GenerationError, RequestError
from tests.unit.evaluation.reports.measured.runs import row, run_of, usual

CALIBRATION = {
    "rows": [
        {"clip": "x", "sound": "x", "planted_ms": p, "measured_ms": p + 5, "confidence": 1}
        for p in (-80.0, 0.0, 80.0)
    ]
    + [{"clip": "x", "sound": "y", "planted_ms": None, "measured_ms": None, "confidence": None}],
    "mean_abs_error_ms": 5.0,
    "measurable_share": 1.0,
    "false_accept_share": 0.0,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    base = tmp_path_factory.mktemp("runs")
    failing = {"de-right-1": GenerationError("It is all noise.", next_step="Try again.")}
    return [
        run_of(base / "one", "one", usual, seeds=(1, 2)),
        run_of(base / "two", "two & <three>", usual, fails=failing),
    ]


@pytest.fixture(scope="module")
def html(folders):
    return run_report(load_results(folders), calibrations=[CALIBRATION], votes=[])


def text_of(html):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_a_report_has_every_panel_that_the_runs_have_numbers_for(html):
    titles = re.findall(r"<h2[^>]*>([^<]+)</h2>", html)
    assert titles == [
        "Summary",
        "Clips",
        "Languages",
        "Offset of sound and picture",
        "Who says which line",
        "What could not be measured",
        "Metrics against people",
        "Published by others",
        "How it was made",
    ]


def test_a_report_needs_nothing_from_elsewhere_and_runs_no_script(html):
    assert "<script" not in html
    addresses = re.findall(r'(?:src|href|poster)="([^"]*)"', html)
    assert [a for a in addresses if not a.startswith(("data:", "#"))] == []


def test_names_and_prompts_are_shown_as_they_are_and_never_as_html(html):
    assert "two &amp; &lt;three&gt;" in html
    assert "<three>" not in html
    assert "Two &lt;sides&gt;" in html


def test_errors_by_language_have_the_interval_of_their_items(html):
    # Four German lines, half of the words wrong: Wilson with n = 4.
    assert "50% 15% to 85%" in text_of(html)
    assert "0% 0% to 49%" in text_of(html)


def test_the_share_that_could_not_be_measured_stands_beside_the_result(html):
    assert re.search(r"Lips, landmark estimate: one 8 50% \+10", text_of(html))
    assert "8 of 16 clips were measurable" in html
    assert "No face is seen." in html


def test_clips_that_say_little_each_are_pooled_and_said_to_be(tmp_path):
    def faint(record, number, clip):
        x = list(range(-400, 401, 10))
        y = [0.2 - abs(ms - 40) / 4000 for ms in x]
        curve = {
            "name": "agreement of lips and sound",
            "x": x,
            "y": y,
            "x_label": "sound early by (ms)",
            "y_label": "correlation",
        }
        yield row(record, "lip_sync.landmarks", reason="Too faint.", evidence=[curve])

    folder = run_of(tmp_path / "run", "one", faint)
    report = text_of(run_report(load_results([folder]), clip_bytes=0))
    assert "One pooled offset" in report
    assert re.search(r"all clips 8 of 8 8 .*?\+40 \+40 to \+40 not noticed", report)
    assert not re.search(r"de 4 of 4", report)  # four items tell nothing of a language


def test_where_no_mouth_is_seen_no_offset_is_pooled(html):
    assert "Only 0 items have a curve; 5 are needed." in html


def test_what_the_recogniser_makes_of_a_synthetic_voice_stands_beside_its_errors(tmp_path, html):
    def by_whisper(record, number, clip):
        yield row(record, "language.word_error", 0.5, unit="share", recogniser="whisper-base")

    folder = run_of(tmp_path / "run", "one", by_whisper)
    report = text_of(run_report(load_results([folder]), clip_bytes=0))
    assert re.search(r"Lines with speech Lines de \d+% 10 10 en \d+% 10 10", report)
    assert "espeak-ng" not in text_of(html)  # another recogniser was measured with


def test_places_asked_and_places_of_the_face_that_spoke_are_crossed(html):
    # Whoever is asked, the left face speaks.
    assert re.search(r"Asked Lines left left 8 100% right 8 100%", text_of(html))
    assert "place: left" in html
    assert "place: right" in html


def test_the_calibration_stands_beside_the_offsets(html):
    assert "Mean absolute error 5 ms, 3 of 3 measurable; with another clip" in html


def test_a_report_says_what_speaks_against_it(html):
    assert "has 8 items with speech; fewer than 30" in html
    assert "do not have clips of the same items" in html
    assert "recogniser&#39;s own errors are not taken off" in html


def test_versions_and_digests_are_told(html):
    assert "ab" * 32 in html
    assert "Digest of the suite" in html


def test_clips_play_from_the_file_and_are_not_picked(html, tmp_path):
    found = re.findall(r'src="data:video/mp4;base64,([^"]+)"', html)
    assert len(found) == 14  # the seven items that both have
    path = tmp_path / "clip.mp4"
    path.write_bytes(base64.b64decode(found[0]))
    clip = Clip.load(path)
    assert clip.frames.shape[1:] == (64, 64, 3)
    assert abs(clip.waveform).max() > 0.1
    chosen = spread(range(48), 12)
    assert [number // 4 for number in chosen] == list(range(12))  # one of each stretch
    assert len({number % 4 for number in chosen}) == 4  # and not always the same of it


def test_clips_keep_to_their_budget(folders):
    runs = load_results(folders)
    first, *_ = clips(runs[:1], 10**9).parts[1].clips
    few = clips(runs[:1], int(2.5 * (len(first.video) + len(first.poster))))
    assert len(few.parts[1].clips) == 2
    assert clips(runs[:1], 10) is None


def test_a_run_that_was_not_measured_says_so(tmp_path):
    folder = run_of(tmp_path / "run", "one", lambda *_: ())
    assert "Not measured yet: one" in run_report(load_results([folder]), clip_bytes=0)


def test_published_rows_keep_to_their_source():
    tables = [part for part in published().parts if isinstance(part, Table)]
    assert len({table.caption for table in tables}) == len(tables) > 15
    assert not any(isinstance(part, Spans) for part in published().parts)
    for table in tables:
        for cells in table.rows:
            assert len(cells) == len(table.heads)
            assert all(cell.hint.endswith(table.caption.split(").")[0] + ")") for cell in cells[1:])


def said(*arguments):
    return CliRunner().invoke(app, ["report", *map(str, arguments)])


def test_the_command_writes_the_report(folders, tmp_path):
    calibration = tmp_path / "grid.json"
    calibration.write_text(json.dumps(CALIBRATION))
    out = tmp_path / "r.html"
    result = said(*folders, "--out", out, "--calibration", calibration, "--clip-megabytes", 0)
    assert result.exit_code == 0, result.output
    assert "Calibration of grid" in out.read_text()


def test_what_cannot_be_reported_is_refused_in_one_line(folders, tmp_path):
    out = tmp_path / "r.html"
    assert "holds no run" in said(tmp_path, "--out", out).output
    assert "given twice" in said(folders[0], folders[0], "--out", out).output
    wrong = tmp_path / "no.json"
    wrong.write_text("{}")
    assert "is no calibration" in said(folders[0], "--out", out, "--calibration", wrong).output
    assert not out.exists()


def test_a_damaged_measurement_is_named_by_its_line(tmp_path):
    folder = run_of(tmp_path / "run", "one", usual)
    path = folder / "measurements.jsonl"
    path.write_text(path.read_text().splitlines()[0] + '\n{"key": \n')
    with pytest.raises(RequestError, match=r"measurements.jsonl:2 is no measurement"):
        load_results([folder])
