"""What the lower floors of the workbench refuse, in the visitor's language."""

from types import SimpleNamespace

import numpy as np
import pytest

from evaluation.preference.clips import Gathered, Problem, examine
from evaluation.preference.design import design
from evaluation.preference.study import Study, StudyPrompt
from evaluation.preference.uploads import Upload, keep_uploads
from evaluation.reports.measured.results import load_results
from evaluation.suites.given import Given
from evaluation.suites.making import Task, make_clip
from evaluation.suites.records import RunFolder
from evaluation.suites.runner import run_suite
from evaluation.ui.new_study import add_upload
from evaluation.ui.suite_runs import SuiteRuns
from ltx2 import Clip
from ltx2.errors import LTX2Error
from ltx2.progress import never_cancel
from ltx2.serving import grid
from ltx2.ui.language import LANGUAGES, said
from tests.unit.evaluation.suites.makers import Maker, suite_of


def a_study(**fields):
    models = [{"name": "ours", "folder": "a"}, {"name": "theirs", "folder": "b"}]
    return Study(name="A study", models=models, **fields)


def problem_of(frames, samples, folder):
    """Why a clip of so many pictures and silent samples cannot be shown."""
    clip = Clip(
        np.zeros((frames, 64, 64, 3), np.uint8),
        np.zeros((2, samples), np.float32),
        24.0,
        16_000,
    )
    return examine("v1.5 Pro", "two", folder / "any", read=lambda path: clip)


def refusals(folder):
    (folder / "any").write_bytes(b"no clip")
    yield "\n".join(
        str(problem)
        for problem in (
            examine("v1.5 Pro", "two", None),
            examine("v1.5 Pro", "two", folder / "any"),
            problem_of(48, 0, folder),
            problem_of(12, 8_000, folder),
            problem_of(48, 32_000, folder),
        )
    )
    problem = Problem("ours", "one", "the clip is missing.")
    uploads = [
        Upload("o" * 121, "a.txt", folder / "any"),
        Upload("theirs", "b.mp4", folder / "any"),
    ]
    for refused in (
        lambda: Gathered({}, (), ()).require_complete(),
        lambda: Gathered({}, (problem,), (StudyPrompt(id="one"),)).require_complete(),
        lambda: keep_uploads(uploads, folder),
        lambda: keep_uploads(uploads[:1], folder),
        lambda: design(a_study(prompts=[{"id": "one"}])),
        lambda: Study.from_yaml("name: [\n"),
        lambda: Study.from_yaml("[]"),
        lambda: add_upload((), "", []),
        lambda: add_upload((), "ours", []),
    ):
        with pytest.raises(LTX2Error) as caught:
            refused()
        yield str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("language", LANGUAGES)
def test_why_a_study_cannot_be_opened_is_told_line_by_line(language, tmp_path):
    for text in refusals(tmp_path):
        for line, told in zip(text.splitlines(), said(text, language).splitlines(), strict=True):
            assert told != line


def run_refusals(folder):
    """What the Suites tab may have to say of runs."""
    suite = suite_of(1)
    queue = SimpleNamespace(in_request=True)
    (folder / "run.json").write_text("{}")
    (folder / "files").mkdir()
    kept = RunFolder(folder / "kept")
    run_suite(suite, Maker(), kept)
    for refused in (
        lambda: suite.chosen(["no", "such"]),
        lambda: SuiteRuns(folder, queue).start(suite, "any", (1,)),
        lambda: SuiteRuns(folder, queue).run("none"),
        lambda: run_suite(suite, Maker(name="other"), kept),
        lambda: load_results([folder / "files"]),
        lambda: grid.numbers("one", int, "Seeds"),
    ):
        with pytest.raises(LTX2Error) as caught:
            refused()
        yield str(caught.value)
    with kept.writing(), pytest.raises(LTX2Error) as caught, RunFolder(kept.path).writing():
        pass
    yield str(caught.value)
    given = Given(audio=folder / "a.wav")
    task = Task("0" * 64, suite.items[0].model_copy(update={"given": given}), None)
    yield make_clip(Maker(), task, folder / "out.mp4", never_cancel).reason


def test_why_a_run_cannot_go_on_is_told_in_every_language(tmp_path):
    for text in run_refusals(tmp_path):
        for language in LANGUAGES:
            assert said(text, language) != text, text
