"""A server that is killed with a job running: the next one knows what happened to every job."""

import subprocess
import sys
from pathlib import Path

from ltx2.media.decode import read_clip
from ltx2.serving.jobs import Done, Failed, Queued
from tests.unit.serving.stand_ins import a_queue

REPOSITORY = Path(__file__).parents[2]

SERVE_FOREVER = """
import sys, threading
from pathlib import Path
from tests.unit.serving.stand_ins import REQUEST, Maker, a_queue

gate = threading.Semaphore(3)  # the steps of one clip
maker = Maker(gate)
queue = a_queue(Path(sys.argv[1]), maker)
queue.start()
done = queue.submit("ann", REQUEST)
queue.wait(done)
maker.begun.clear()
running = queue.submit("ann", REQUEST.model_copy(update={"seed": 7}))
waiting = queue.submit("bob", REQUEST)
maker.begun.wait()
print(done.id, running.id, waiting.id, flush=True)
threading.Event().wait()
"""


def test_after_kill_9_what_ran_has_failed_what_waited_is_made_and_what_was_done_is_there(tmp_path):
    server = subprocess.Popen(
        [sys.executable, "-c", SERVE_FOREVER, str(tmp_path)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        done, running, waiting = server.stdout.readline().split()
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
    (tmp_path / "clips" / f"{running}.mp4.part").touch()

    queue = a_queue(tmp_path)
    assert isinstance(queue.find("ann", done).state, Done)
    failed = queue.find("ann", running)
    assert failed.state == Failed("The server stopped while it was made.", "Generate it again.")
    assert failed.request.seed == 7
    assert queue.find("bob", waiting).state == Queued(0)
    queue.start()
    made = queue.wait(queue.find("bob", waiting), timeout_s=60.0)
    assert len(read_clip(queue.path(made)).frames) == 9
    names = {path.name for path in queue.folder.iterdir()}
    assert names == {f"{done}.mp4", f"{waiting}.mp4"}
    queue.close()
    queue.store.close()
