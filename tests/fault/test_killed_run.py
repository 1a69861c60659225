"""A run that is killed goes on where it was, and no clip is half."""

import signal
import subprocess
import sys
import time

import pytest

from evaluation.suites.records import RunFolder
from evaluation.suites.runner import Counts, run_suite
from ltx2 import Clip
from tests.conftest import ROOT
from tests.unit.evaluation.suites.makers import Maker, suite_of

PROGRAM = """
import sys, time
from evaluation.suites.records import RunFolder
from evaluation.suites.runner import run_suite
from tests.unit.evaluation.suites.makers import Maker, suite_of

class Slow(Maker):
    def __call__(self, item, request, output, **options):
        output.write_bytes(b"half a clip")
        time.sleep(0.1)
        return super().__call__(item, request, output, **options)

run_suite(suite_of(40), Slow(), RunFolder(sys.argv[1]))
"""


@pytest.mark.slow
def test_kill_9_leaves_whole_clips_and_a_run_that_goes_on(tmp_path):
    folder = RunFolder(tmp_path / "run")
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(folder.path)], cwd=ROOT)
    try:
        deadline = time.monotonic() + 60
        while len(list(folder.path.glob("clips/*.mp4"))) < 3:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL
    clips = list(folder.path.glob("clips/*.mp4"))
    assert 3 <= len(clips) < 40
    assert all(len(Clip.load(clip).frames) == 9 for clip in clips)

    maker = Maker()
    counts = run_suite(suite_of(40), maker, folder)
    assert counts == Counts(made=40 - len(clips), kept=len(clips))
    assert [folder.read_item(key).status for key in folder.read_run().keys] == ["ok"] * 40
    assert list(folder.path.glob("work-*")) == []
