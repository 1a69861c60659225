"""Runs of suites that an earlier server left behind."""

from evaluation.suites.records import RunFolder
from evaluation.ui.suite_runs import SuiteRuns
from tests.unit.evaluation.reports.measured.runs import run_of, usual


def test_a_run_is_done_only_when_all_its_clips_were_measured_since_it_was_started(tmp_path):
    folder = RunFolder(run_of(tmp_path / "run", "one", usual))
    runs = SuiteRuns(tmp_path, queue=None)
    assert runs.standing("run").stage == "done"
    scored = folder.read_scored()
    folder.write_scored(scored.model_copy(update={"finished": ""}))
    assert runs.standing("run").stage == "stopped"  # the server ended while it measured
    folder.write_scored(scored)
    later = folder.read_run().model_copy(update={"started": "2101-01-01T00:00:00+00:00"})
    folder.write_run(later)
    assert runs.standing("run").stage == "stopped"  # started again, with more seeds say
