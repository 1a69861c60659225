"""Makes clips on a Ray cluster: a worker for each GPU, or for each CPU where there is none.

Only here Ray is imported, which is optional (requirements-cluster.txt).
"""

import contextlib
import logging
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from evaluation.suites.generators import find_generator
from evaluation.suites.generators.base import Generator
from evaluation.suites.making import MakesMany, Outcome, Task, made_at, make_clip
from evaluation.suites.schema import Item
from evaluation.suites.spreading import Delivery, Hello, WorkerLostError, check_hello, spread
from ltx2 import Request
from ltx2.errors import LTX2Error, RequestError, ResourceError
from ltx2.progress import ShouldCancel

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT_S, GOODBYE_S, PATIENCE_S = 5.0, 10.0, 30.0
SERVICES = ("veo", "sora")


@contextmanager
def cluster_generator(model: str, address: str) -> "Iterator[ClusterGenerator]":
    """A generator that has the clips of `model` made on a cluster.

    Args:
        model: see `find_generator`; paths are those of the cluster's machines.
        address: HOST:PORT or ray://HOST:PORT; "auto" is the cluster that this machine is part of.

    Raises:
        RequestError: the address cannot be reached, or the model is a service.
        ResourceError: Ray is not installed.
    """
    kind, colon, _ = model.partition(":")
    if colon and kind in SERVICES:
        raise RequestError(
            f"{model} makes its clips on machines of its own.", next_step="Leave --ray out."
        )
    with _connected(address), on_workers(partial(find_generator, model)) as generator:
        yield generator


@contextmanager
def on_workers(new_generator: Callable[[], Generator]) -> "Iterator[ClusterGenerator]":
    """A generator whose workers are gone afterwards, on the cluster one is connected to.

    Args:
        new_generator: called on each worker.

    Raises:
        LTX2Error: the model cannot be loaded, or no worker can be started.
    """
    crew = RayCrew(new_generator)
    try:
        yield ClusterGenerator(crew)
    finally:
        crew.dismiss_all()


@contextmanager
def _connected(address: str) -> Iterator[None]:
    try:
        import ray
    except ImportError as error:
        raise ResourceError(
            "--ray needs the package ray, which is not installed.",
            next_step="Install it with: pip install -r requirements-cluster.txt",
        ) from error
    if address != "auto":
        _check_answers(address)
    try:
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
    except (ray.exceptions.RayError, RuntimeError, ValueError, OSError) as error:
        raise RequestError(
            f"No Ray cluster can be reached at {address}: {_sentence(error)}.",
            next_step="Start one with `ray start --head`, or give --ray HOST:PORT; if it asks for "
            "a token, set RAY_AUTH_MODE=token and give the token as Ray's documentation says.",
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Ray itself tries for a minute, and may end the program."""
    try:
        place = urlsplit(address if "://" in address else f"//{address}")
        if place.hostname is None or place.port is None:
            raise ValueError("it has no port")
        with socket.create_connection((place.hostname, place.port), CONNECT_TIMEOUT_S):
            pass
    except (OSError, ValueError) as error:
        raise RequestError(
            f"No Ray cluster answers at {address}: {error}.",
            next_step="Give --ray HOST:PORT as `ray start --head` says it, or --ray auto.",
        ) from error


class ClusterGenerator(MakesMany):
    """Has clips made by a crew.

    What the record of a run says of the generator is asked of a worker, so that this machine needs
    neither the model nor a GPU. Clips come back as bytes, so that no disk needs to be shared.
    """

    def __init__(self, crew: "RayCrew") -> None:
        self._crew = crew
        worker, job = crew.hire()
        if not crew.done((job,), PATIENCE_S):
            logger.warning("No worker has started yet; the cluster may be busy.")
        try:
            self._hello: Hello = crew.result(job)
        except WorkerLostError as error:
            raise ResourceError(
                f"No worker can be started: {error}",
                next_step="Every machine needs the workbench, its packages and the model.",
            ) from error
        check_hello(self._hello)
        self.name = self._hello.name
        self._idle = [worker]

    def version(self) -> str:
        """Version of the workers' generator."""
        return self._hello.version

    def describe(self) -> Mapping[str, Any]:
        """Description of the workers' generator, and how many there are."""
        return {**self._hello.description, "workers": self._crew.size}

    def leaves_out(self, item: Item, request: Request) -> str:
        """Nothing beforehand: the workers know what they take."""
        return ""

    def make_many(
        self, tasks: Sequence[Task], work: Path, should_cancel: ShouldCancel
    ) -> Iterator[tuple[Task, Outcome]]:
        """Outcomes as they come; each clip lies at `made_at` until the next is asked for.

        Raises:
            GenerationCancelled: `should_cancel` said so.
            LTX2Error: workers cannot work.
        """
        idle, self._idle = self._idle, []
        for task, delivery in spread(self._crew, tasks, self.version(), idle, should_cancel):
            made = made_at(work, task)
            if delivery.clip:
                made.write_bytes(delivery.clip)
            try:
                yield task, delivery.outcome
            finally:
                made.unlink(missing_ok=True)


class Worker:
    """Holds a generator in a process of its own, somewhere in the cluster.

    Args:
        new_generator: called once.
        folder: that relative paths start from, where this machine has it.
    """

    def __init__(self, new_generator: Callable[[], Generator], folder: str) -> None:
        with contextlib.suppress(OSError):
            os.chdir(folder)
        self._new_generator = new_generator
        self._stopped = threading.Event()

    def hello(self) -> Hello:
        """Loads the model."""
        where = socket.gethostname()
        try:
            self._generator = generator = self._new_generator()
            version, description = generator.version(), generator.describe()
        except LTX2Error as error:
            return Hello(where, problem=error)
        return Hello(where, generator.name, version, description)

    def make(self, task: Task) -> Delivery:
        """What became of a task, and its clip."""
        with tempfile.TemporaryDirectory() as work:
            made = made_at(Path(work), task)
            outcome = make_clip(self._generator, task, made, self._stopped.is_set)
            return Delivery(outcome, made.read_bytes() if outcome.status == "ok" else b"")

    def stop(self) -> None:
        """Breaks off what is being made, together with programs that were started for it."""
        self._stopped.set()


class RayCrew:
    """Workers as actors of Ray.

    Attributes:
        size: GPUs of the cluster, or CPUs if it has none.
    """

    def __init__(self, new_generator: Callable[[], Generator]) -> None:
        import ray

        self._ray = ray
        self._new_generator = new_generator
        kind, self.size = slots(ray.cluster_resources())
        logger.info("The cluster has %d workers, one for each %s.", self.size, kind)
        # Two calls at a time: one that makes a clip, one that stops it.
        options: dict[str, Any] = {f"num_{kind.lower()}s": 1, "max_concurrency": 2}
        self._actor: Any = ray.remote(**options)(Worker)
        self._workers: dict[Any, Any] = {}

    def hire(self) -> tuple[Any, Any]:
        """A new actor; it waits until the cluster has room for it."""
        worker = self._actor.remote(self._new_generator, str(Path.cwd()))
        self._workers[worker] = None
        return worker, worker.hello.remote()

    def give(self, worker: Any, task: Task) -> Any:
        """See `Crew.give`."""
        job = self._workers[worker] = worker.make.remote(task)
        return job

    def done(self, jobs: Sequence[Any], timeout_s: float) -> Sequence[Any]:
        """See `Crew.done`."""
        ended: Sequence[Any] = self._ray.wait(list(jobs), num_returns=1, timeout=timeout_s)[0]
        return ended

    def result(self, job: Any) -> Any:
        """See `Crew.result`."""
        try:
            return self._ray.get(job)
        except self._ray.exceptions.RayError as error:
            raise WorkerLostError(_sentence(error)) from error

    def dismiss(self, worker: Any) -> None:
        """Ends an actor's process at once."""
        self._workers.pop(worker, None)
        self._ray.kill(worker)

    def dismiss_all(self) -> None:
        """Breaks off what is being made, waits a little for that, and ends all."""
        busy = [job for job in self._workers.values() if job is not None]
        for worker in self._workers:
            worker.stop.remote()
        if busy:
            self._ray.wait(busy, num_returns=len(busy), timeout=GOODBYE_S)
        for worker in list(self._workers):
            self.dismiss(worker)


def slots(resources: Mapping[str, float]) -> tuple[str, int]:
    """What a worker needs one of, "GPU" or "CPU", and how many there are in the cluster."""
    kind = "GPU" if resources.get("GPU", 0) >= 1 else "CPU"
    return kind, max(1, int(resources.get(kind, 0)))


def _sentence(error: Exception) -> str:
    """The line of Ray's report that says what happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return lines[-1] if any(line.startswith("Traceback") for line in lines) else lines[0]
