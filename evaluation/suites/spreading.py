"""Tasks over several workers, any of which may be lost; which machines they are is no matter here.

A worker that is lost is replaced, and what it was making is given to another one.
"""

import logging
from collections import Counter, deque
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from evaluation.suites.making import Outcome, Task, now
from ltx2.errors import GenerationCancelled, LTX2Error, RequestError, ResourceError
from ltx2.progress import ShouldCancel

logger = logging.getLogger(__name__)

MOST_TRIES = 3
"""As often a task is given to workers that are lost over it, before it counts as failed."""

MOST_LOST_STARTS = 3
"""So many workers in a row that are lost before they can work are not replaced any more."""

POLL_S = 0.5


class WorkerLostError(Exception):
    """A worker ended, or cannot be reached any more."""


@dataclass(frozen=True)
class Hello:
    """What a worker says once its model is loaded.

    Attributes:
        where: name of the machine.
        name, version, description: of its generator.
        problem: why it cannot work.
    """

    where: str
    name: str = ""
    version: str = ""
    description: Any = None
    problem: LTX2Error | None = None


@dataclass(frozen=True)
class Delivery:
    """What a worker gives for a task: the outcome and, if there is one, the clip as MP4."""

    outcome: Outcome
    clip: bytes = b""


class Crew(Protocol):
    """Starts workers and talks to them.

    Attributes:
        size: most workers at a time.
    """

    size: int

    def hire(self) -> tuple[Any, Hashable]:
        """A new worker, and the job of which `Hello` is the result."""

    def give(self, worker: Any, task: Task) -> Hashable:
        """The job of which `Delivery` is the result."""

    def done(self, jobs: Sequence[Any], timeout_s: float) -> Sequence[Any]:
        """Those jobs that have ended, once there is one or the time is over."""

    def result(self, job: Any) -> Any:
        """What a job that has ended gave.

        Raises:
            WorkerLostError: nothing, as its worker was lost.
        """

    def dismiss(self, worker: Any) -> None:
        """Ends a worker, lost or not."""


def spread(
    crew: Crew,
    tasks: Sequence[Task],
    version: str,
    idle: Sequence[Any],
    should_cancel: ShouldCancel,
) -> Iterator[tuple[Task, Delivery]]:
    """What became of every task, in the order in which they are done.

    Args:
        crew: of the workers.
        tasks: any number.
        version: of the generator that every worker must have, for its clips to be the same.
        idle: workers that have said hello before.
        should_cancel: asked at least every `POLL_S`.

    Raises:
        GenerationCancelled: `should_cancel` said so.
        LTX2Error: a worker cannot load its model, has another version of it, or none can start.
    """
    shift = _Shift(crew, tasks, version, idle)
    while shift.goes_on():
        if should_cancel():
            raise GenerationCancelled
        for job in crew.done(tuple(shift.jobs), POLL_S):
            ended = shift.end(job)
            if ended is not None:
                yield ended


class _Shift:
    """Who makes what: every worker has one job, its start or a task, or is idle."""

    def __init__(
        self, crew: Crew, tasks: Sequence[Task], version: str, idle: Sequence[Any]
    ) -> None:
        self.jobs: dict[Hashable, tuple[Any, Task | None]] = {}
        self._crew = crew
        self._version = version
        self._waiting = deque(tasks)
        self._idle = list(idle)
        self._tries: Counter[str] = Counter()
        self._lost_starts: list[str] = []

    def goes_on(self) -> bool:
        """Whether there is anything left to do; gives it to workers, new ones if need be.

        Raises:
            ResourceError: no worker can be started.
        """
        while self._idle and self._waiting:
            worker, task = self._idle.pop(), self._waiting.popleft()
            self._tries[task.key] += 1
            self.jobs[self._crew.give(worker, task)] = (worker, task)
        making = sum(task is not None for _, task in self.jobs.values())
        starting = len(self.jobs) - making
        if len(self._lost_starts) < MOST_LOST_STARTS:
            for _ in range(min(self._crew.size - making, len(self._waiting)) - starting):
                worker, job = self._crew.hire()
                self.jobs[job] = (worker, None)
        elif self._waiting and not self.jobs:
            raise ResourceError(
                f"Workers were lost before they could work: {self._lost_starts[-1]}",
                next_step="Every machine needs the workbench, its packages and the model.",
            )
        return bool(self._waiting) or making > 0

    def end(self, job: Hashable) -> tuple[Task, Delivery] | None:
        """Takes the result of a job; what became of its task, if that is known now."""
        worker, task = self.jobs.pop(job)
        try:
            result = self._crew.result(job)
        except WorkerLostError as error:
            self._crew.dismiss(worker)
            return self._lost(task, error)
        if task is None:
            check_hello(result, self._version)
            self._lost_starts.clear()
        self._idle.append(worker)
        return None if task is None else (task, result)

    def _lost(self, task: Task | None, error: WorkerLostError) -> tuple[Task, Delivery] | None:
        if task is None:
            self._lost_starts.append(str(error))
            logger.warning("A worker was lost before it could work: %s", error)
            return None
        tries = self._tries[task.key]
        logger.warning("A worker was lost over item %s, try %d: %s", task.item.id, tries, error)
        if tries < MOST_TRIES:
            self._waiting.appendleft(task)
            return None
        reason = f"{tries} workers were lost while they made it: {error}"
        return task, Delivery(Outcome("error", now(), 0.0, reason))


def check_hello(hello: Hello, version: str | None = None) -> None:
    """Refuses a worker that cannot work, or whose clips would be other ones.

    Raises:
        LTX2Error: it does.
    """
    if hello.problem is not None:
        raise hello.problem
    if version is not None and hello.version != version:
        raise RequestError(
            f"{hello.where} has other weights or another version of {hello.name}.",
            next_step="Give every machine of the cluster the same files and packages.",
        )
