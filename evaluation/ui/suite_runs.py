"""Runs of suites that this server makes and measures: folders that outlive tabs and server."""

import logging
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from evaluation.suites.commands import SUITES
from evaluation.suites.generators.base import Generator
from evaluation.suites.generators.pipeline import version_of
from evaluation.suites.given import Given
from evaluation.suites.making import MakesMany
from evaluation.suites.records import RunFolder
from evaluation.suites.runner import Plan, plan_run, run_suite
from evaluation.suites.schema import Item, Suite, given_fields, load_suite
from ltx2 import Request
from ltx2.errors import GenerationCancelled, GenerationError, LTX2Error, RequestError
from ltx2.inputs import Inputs
from ltx2.progress import OnProgress, Progress, ShouldCancel
from ltx2.serving.jobs import Choice, End, Failed, QueueFullError
from ltx2.serving.models import INPUTS_FOLDER
from ltx2.serving.worker import JobQueue

logger = logging.getLogger(__name__)

OWNER = "suites of this server"
"""Whose the jobs of runs are; no visitor's number looks so."""

WAIT_S, FULL_S = 0.5, 5.0
NICENESS = 10
"""Measuring waits for whoever makes clips."""

Stage = Literal["waiting", "making", "measuring", "stopped", "done", "failed"]


@dataclass(frozen=True)
class Standing:
    """How far a run is.

    Attributes:
        stage: what is being done.
        progress: of making, if that is being done.
        seconds_left: until all clips are made; None while nothing is known.
        reason: why it failed.
    """

    stage: Stage
    progress: Progress | None = None
    seconds_left: float | None = None
    reason: str = ""

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens by itself."""
        return self.stage in ("stopped", "done", "failed")


class QueueGenerator(Generator):
    """Makes clips through the server's queue, in turn with those of visitors.

    Args:
        queue: of the server.
        model: name of an offer.
        dtype: that the server computes with.
    """

    def __init__(self, queue: JobQueue, model: str, dtype: str = "auto") -> None:
        self._queue = queue
        self._offer = queue.models[0].offer(model)
        self._dtype = dtype
        self.name = self._offer.name

    def version(self) -> str:
        """The same as the command line's, so that both find each other's clips."""
        return version_of(self._weights(), [], self._dtype)

    def describe(self) -> Mapping[str, Any]:
        """Name and digest of the weights, and the device."""
        return {
            "kind": "pipeline",
            "model": self.name,
            "weights_digest": self._weights(),
            "device": self._queue.models[0].device,
        }

    def _weights(self) -> str:
        return self.name if self._offer.digest is None else self._offer.digest()

    def takes(self, given: Given) -> bool:
        """Every file that a request can name."""
        return True

    def __call__(
        self,
        item: Item,
        request: Request,
        output: Path,
        *,
        on_progress: OnProgress,
        should_cancel: ShouldCancel,
    ) -> None:
        """Waits for a place in the queue, and for the clip."""
        queue, choice = self._queue, Choice(self.name)
        given_fields(item, Inputs(queue.folder.parent / INPUTS_FOLDER))
        while True:
            try:
                job = queue.submit(OWNER, request, choice)
                break
            except QueueFullError:
                if should_cancel():
                    raise GenerationCancelled from None
                time.sleep(FULL_S)
        try:
            while not isinstance(job.state, End):
                job = queue.wait(job, WAIT_S)
                queue.check_open(job)
                if should_cancel():
                    raise GenerationCancelled
            made = queue.path(job)
            if made is not None:
                shutil.copyfile(made, output)
                return
        finally:
            queue.delete(OWNER, job.id)
        if isinstance(job.state, Failed):
            raise GenerationError(job.state.message, next_step=job.state.next_step)
        raise GenerationCancelled


@dataclass
class _Live:
    """A run that a thread of this process is busy with."""

    stop: threading.Event
    standing: Standing
    started: float


class SuiteRuns:
    """Starts, stops and finds runs, one of which is made at a time.

    Args:
        folder: of all runs.
        queue: makes the clips.
        dtype: that the server computes with.
        ray: address of a cluster that may make them instead; None where there is none.
        model: name or path of the server's model, by which the cluster finds it.
    """

    def __init__(
        self,
        folder: Path,
        queue: JobQueue,
        dtype: str = "auto",
        *,
        ray: str | None = None,
        model: str = "",
    ) -> None:
        self.folder = folder
        self.ray = ray
        self._queue = queue
        self._dtype = dtype
        self._model = model
        self._live: dict[str, _Live] = {}
        self._lock = threading.Lock()
        self._turn = threading.Lock()

    @property
    def models(self) -> list[str]:
        """Names of the models that the server offers."""
        return [offer.name for offer in self._queue.models[0].offers]

    def names(self) -> list[str]:
        """All runs, the newest first."""
        found = [path.parent for path in self.folder.glob("*/run.json")]
        times = {path.name: (path / "run.json").stat().st_mtime for path in found}
        return sorted(times, key=lambda name: -times[name])

    def run(self, name: str) -> RunFolder:
        """The folder of a run.

        Raises:
            RequestError: there is none of that name.
        """
        if name not in self.names():
            raise RequestError("This run is not here.", next_step="Choose one of the list.")
        return RunFolder(self.folder / name)

    def plan(self, suite: Suite, model: str, seeds: Sequence[int]) -> Plan:
        """What starting would make.

        Raises:
            RequestError: the model is not offered.
        """
        generator = QueueGenerator(self._queue, model, self._dtype)
        return plan_run(suite, generator, self._folder_of(suite, model), seeds=seeds)

    def start(
        self, suite: Suite, model: str, seeds: Sequence[int], *, on_cluster: bool = False
    ) -> str:
        """Name of the run, which goes on in the background; what is made is not made again.

        Args:
            on_cluster: have the clips made there instead of by this server's queue.

        Raises:
            RequestError: it is being made already, or clips are made inside requests only.
        """
        cluster = self.ray if on_cluster else None
        if self._queue.in_request and cluster is None:
            raise RequestError(
                "On this server clips are made inside visitors' requests alone.",
                next_step="Run the suite on a machine with a GPU of its own.",
            )
        generator = QueueGenerator(self._queue, model, self._dtype)
        folder = self._folder_of(suite, model)
        name = folder.path.name
        with self._lock:
            if name in self._live and not self._live[name].standing.is_over:
                raise RequestError("This run is being made.", next_step="Wait, or stop it first.")
            live = _Live(threading.Event(), Standing("waiting"), time.monotonic())
            self._live[name] = live
        work = threading.Thread(
            target=self._work,
            args=(live, suite, self._maker(generator, cluster), folder, tuple(seeds)),
            name=f"suite {name}",
            daemon=True,
        )
        work.start()
        return name

    def stop(self, name: str) -> None:
        """Ends a run at its next step; starting it again goes on from there."""
        if name in self._live:
            self._live[name].stop.set()

    def is_live(self, name: str) -> bool:
        """Whether this server started it."""
        return name in self._live

    def standing(self, name: str) -> Standing:
        """How far a run is; one of an earlier server has stopped, or is done."""
        live = self._live.get(name)
        if live is not None:
            return live.standing
        folder = self.run(name)
        record = folder.read_run()
        made = record is not None and all(folder.read_item(key) is not None for key in record.keys)
        scored = folder.read_scored()
        is_measured = record is not None and scored is not None and scored.is_of(record)
        return Standing("done" if made and is_measured else "stopped")

    def _maker(
        self, generator: Generator, cluster: str | None
    ) -> AbstractContextManager[Generator | MakesMany]:
        """What makes the clips while it is entered: the queue, or a cluster with the same model."""
        if cluster is None:
            return nullcontext(generator)
        from evaluation.suites.cluster import cluster_generator

        is_ours = Path(self._model).stem == generator.name
        return cluster_generator(self._model if is_ours else generator.name, cluster)

    def _folder_of(self, suite: Suite, model: str) -> RunFolder:
        safe = "".join(c if c.isalnum() or c in "._-" else "_" for c in f"{suite.name}-{model}")
        return RunFolder(self.folder / safe)

    def _work(
        self,
        live: _Live,
        suite: Suite,
        maker: AbstractContextManager[Generator | MakesMany],
        folder: RunFolder,
        seeds: tuple[int, ...],
    ) -> None:
        """Makes and measures; how it ends is the standing."""
        still: list[bool] = []

        def tell(progress: Progress) -> None:
            # What is there already takes no time and tells nothing about the rest.
            made, left = sum(still[: progress.step]), sum(still[progress.step :])
            each = (time.monotonic() - live.started) / made if made else None
            live.standing = Standing("making", progress, None if each is None else each * left)

        try:
            while not self._turn.acquire(timeout=WAIT_S):
                if live.stop.is_set():
                    raise GenerationCancelled
            try:
                with maker as generator:
                    plan = plan_run(suite, generator, folder, seeds=seeds)
                    missing = {task.key for task in plan.missing}
                    still += [task.key in missing for task in plan.tasks]
                    live.started = time.monotonic()
                    run_suite(
                        suite,
                        generator,
                        folder,
                        seeds=seeds,
                        arguments=("page",),
                        on_progress=tell,
                        should_cancel=live.stop.is_set,
                    )
                live.standing = Standing("measuring")
                _measure(folder.path, live.stop)
            finally:
                self._turn.release()
        except GenerationCancelled:
            live.standing = Standing("stopped")
        except LTX2Error as error:
            live.standing = Standing("failed", reason=str(error))
        except Exception:
            logger.exception("A run failed.")
            live.standing = Standing("failed", reason="It failed; the server's log says why.")
        else:
            live.standing = Standing("done")


def delivered() -> dict[str, Suite]:
    """The suites that come with the workbench, by name."""
    suites = [load_suite(path) for path in sorted(SUITES.glob("*.yaml"))]
    return {suite.name: suite for suite in suites}


def _measure(folder: Path, stop: threading.Event) -> None:
    """Measures in a process of its own, whose memory goes with it."""
    nicely = ["nice", "-n", str(NICENESS)]
    command = [*nicely, sys.executable, "-m", "evaluation", "score", str(folder.absolute())]
    with (folder / "score.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=SUITES.parent,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            while process.poll() is None:
                if stop.wait(WAIT_S):
                    raise GenerationCancelled
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if process.returncode:
        last = (folder / "score.log").read_text("utf-8", "replace").strip()[-300:]
        raise GenerationError("The clips could not be measured.", next_step=last or "Try again.")
