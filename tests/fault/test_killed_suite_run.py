"""A run of a suite that is killed goes on where it was."""

import os
import signal
import subprocess
import sys
import time

import pytest

from evaluation.suites.records import RunFolder
from evaluation.suites.runner import Counts, run_suite
from tests.conftest import ROOT
from tests.unit.evaluation.suites.makers import Maker, suite_of

SLOW = """
import sys, time
from evaluation.suites.records import RunFolder
from evaluation.suites.runner import run_suite
from tests.unit.evaluation.suites.makers import Maker, suite_of

class Slow(Maker):
    def __call__(self, item, request, output, **watching):
        made = super().__call__(item, request, output, **watching)
        time.sleep(0.3)
        return made

run_suite(suite_of(40), Slow(), RunFolder(sys.argv[1]))
"""


@pytest.mark.slow
def test_a_run_killed_while_it_makes_clips_loses_none_and_makes_none_twice(tmp_path):
    folder = RunFolder(tmp_path / "run")
    process = subprocess.Popen([sys.executable, "-c", SLOW, str(folder.path)], cwd=ROOT)
    deadline = time.monotonic() + 300
    while len(list(folder.path.glob("clips/*.mp4"))) < 3:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = {path: path.stat().st_mtime_ns for path in folder.path.glob("clips/*.mp4")}
    assert list(folder.path.glob("work-*"))

    maker = Maker()
    counts = run_suite(suite_of(40), maker, folder)
    assert counts == Counts(made=40 - len(before), kept=len(before))
    assert len(maker.made) == counts.made
    assert all(path.stat().st_mtime_ns == then for path, then in before.items())
    assert all(folder.read_item(key).status == "ok" for key in folder.read_run().keys)
    assert [*folder.path.glob("work-*"), *folder.path.glob("*/*.part")] == []
