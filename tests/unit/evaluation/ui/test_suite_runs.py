"""Runs of suites that an earlier server left behind."""

import time

from evaluation.suites.records import RunFolder
from evaluation.ui.suite_runs import SuiteRuns
from ltx2.serving.models import Models, Offer
from ltx2.serving.store import Store
from ltx2.serving.worker import JobQueue
from tests.fakes.model import PROFILE, FakeModel
from tests.unit.evaluation.reports.measured.runs import run_of, usual
from tests.unit.evaluation.suites.makers import suite_of


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


def test_a_run_on_a_cluster_that_does_not_answer_fails_and_says_so(tmp_path, free_tcp_port):
    offer = Offer("stand-in", PROFILE, lambda loras: FakeModel())
    queue = JobQueue(Store(tmp_path / "jobs.sqlite"), [Models([offer])], tmp_path / "clips")
    runs = SuiteRuns(tmp_path / "suites", queue, ray=f"127.0.0.1:{free_tcp_port}")
    name = runs.start(suite_of(1), "stand-in", (1,), on_cluster=True)
    deadline = time.monotonic() + 60
    while not runs.standing(name).is_over and time.monotonic() < deadline:
        time.sleep(0.05)
    assert runs.standing(name).stage == "failed"
    assert "ray" in runs.standing(name).reason.casefold()
