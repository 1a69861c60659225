"""The queue and its workers: one thread for each device makes one clip after another."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ltx2.clip import Clip
from ltx2.errors import GenerationCancelled, LTX2Error, RequestError, ResourceError
from ltx2.progress import Progress
from ltx2.request import Request
from ltx2.runtime.memory import Place, look, overhead
from ltx2.serving.jobs import (
    INTERRUPTED,
    USUAL,
    Choice,
    Done,
    End,
    Failed,
    Job,
    QueueFullError,
)
from ltx2.serving.kept_inputs import sweep
from ltx2.serving.making import Making
from ltx2.serving.models import INPUTS_FOLDER, ClipMaker, Models
from ltx2.serving.preflight import Preflight, TooLarge, check
from ltx2.serving.previews import Sketch
from ltx2.serving.store import Grouped, Member, Store
from ltx2.serving.timing import (
    Forecast,
    forecast,
    work_of,
)

logger = logging.getLogger(__name__)

UNDO_S = 7 * 24 * 3600.0
"""How long a deleted job can be restored."""

MAX_BEST_OF = 8
"""Clips of which a job can keep one."""

Score = Callable[[Clip], float | None]

LOOK_AGAIN_S = 5.0
"""Between looks at a store that had no job, or no room on its disk."""

BROKEN = Failed(
    "Something broke on our side.",
    next_step="Try again, and if it happens again, look at the server's log.",
)


@dataclass(frozen=True)
class Limits:
    """How many jobs may wait.

    Attributes:
        per_owner: of one visitor.
        in_all: of everybody.
    """

    per_owner: int = 16
    in_all: int = 200


class JobQueue:
    """Takes jobs, has them made in turn, and knows how far each one is.

    Jobs that an earlier server left running fail here; those that waited are made.

    Args:
        store: what outlives this process.
        models: one for each device, with the same offers.
        folder: of the clips.
        limits: on what may wait.
        sign: puts a signed statement into a clip's file, where there is a certificate.
        in_request: clips are made by `make_now` alone, inside their visitors' requests.
        score: how good a clip is, more is better, and None where that cannot be measured; without
            it nobody can ask for the best of several.

    Raises:
        ResourceError: the folder or the store cannot be written.
    """

    def __init__(
        self,
        store: Store,
        models: Sequence[Models],
        folder: str | Path,
        *,
        limits: Limits = Limits(),
        sign: Callable[[Path], None] | None = None,
        in_request: bool = False,
        score: Score | None = None,
    ) -> None:
        self.store = store
        self.models = tuple(models)
        self.folder = Path(folder)
        self._limits = limits
        self._sign = sign
        self.in_request = in_request
        self.score = score
        self._changed = threading.Condition()
        self._making: dict[str, Making] = {}
        self._unsaved: dict[str, End] = {}
        self._seen: dict[Models, tuple[Place | None, Choice | None]] = {}
        self._is_closing = False
        self._threads: list[threading.Thread] = []
        _make_folder(self.folder)
        for job_id in store.end_interrupted():
            _remove(self._path(job_id))
        self.purge()

    def start(self) -> None:
        """Workers begin, one thread for each device."""
        for models in self.models:
            thread = threading.Thread(
                target=self._work, args=(models,), name=f"worker {models.device}", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def submit(self, owner: str, request: Request, choice: Choice = USUAL) -> Job:
        """The job just put into the queue, at once.

        Raises:
            QueueFullError: too many wait already.
            RequestError: the model cannot make it, it does not fit into memory, or the model is
                not offered.
            ResourceError: it cannot be stored.
        """
        named = self._checked(request, choice)
        with self._changed:
            self._check_room(owner)
            job = self.store.add(owner, request, replace(named, best_of=choice.best_of))
            self._changed.notify_all()
        return job

    def submit_group(self, owner: str, members: Sequence[Member]) -> str:
        """Id of the group whose jobs were just put into the queue: all of them, or none.

        Raises:
            QueueFullError: too many would wait.
            RequestError, ResourceError: as for `submit`.
        """
        checked: dict[tuple[Request, Choice], Choice] = {}
        named = []
        for member in members:
            # Neither words nor seeds change how much memory a clip takes.
            alike = member.request.model_copy(update={"prompt": "?", "seed": 0})
            key = alike, member.choice
            if key not in checked:
                checked[key] = self._checked(*key)
            named.append(replace(member, choice=checked[key]))
        with self._changed:
            self._check_room(owner, len(named))
            group_id = self.store.add_group(owner, named)
            self._changed.notify_all()
        return group_id

    def group(self, owner: str, group_id: str) -> tuple[Grouped, ...]:
        """A visitor's jobs of a group as they are now, in the order in which they were asked.

        Raises:
            UnknownJobError: there are none, or they are another visitor's.
        """
        with self._changed:
            found = self.store.group(owner, group_id)
            return tuple(replace(each, job=self.now(each.job)) for each in found)

    def cancel_group(self, owner: str, group_id: str) -> tuple[Grouped, ...]:
        """The jobs of a group, which end now or at their next step.

        Raises:
            UnknownJobError: there are none, or they are another visitor's.
        """
        with self._changed:
            for each in self.store.group(owner, group_id):
                if not isinstance(each.job.state, End):
                    self.cancel(owner, each.job.id)
            return self.group(owner, group_id)

    def find(self, owner: str, job_id: str) -> Job:
        """A visitor's job as it is now.

        Raises:
            UnknownJobError: there is none, or it is another visitor's.
        """
        with self._changed:  # it must not end between the two looks
            return self.now(self.store.find(owner, job_id))

    def now(self, job: Job) -> Job:
        """A job from the store with how far it is, which only memory knows."""
        with self._changed:
            if job.id in self._unsaved:
                return replace(job, state=self._unsaved[job.id])
            making = self._making.get(job.id)
            return job if making is None else replace(job, state=making.state())

    def sketch(self, job: Job) -> Sketch | None:
        """The last preview of a job that is being made; None before there is one, and after."""
        making = self._making.get(job.id)
        return None if making is None else making.sketch

    def wait(self, job: Job, timeout_s: float | None = None) -> Job:
        """The job once it has ended, or as it is when the time is up or the queue closes.

        Raises:
            UnknownJobError: it was purged.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._is_closing or isinstance(self.find(job.owner, job.id).state, End),
                timeout_s,
            )
            return self.find(job.owner, job.id)

    def check_open(self, job: Job) -> None:
        """Whoever waits for a job need not wait for ever.

        Raises:
            ResourceError: the queue closes, so that a job that has not ended will not end now.
        """
        if self._is_closing and not isinstance(job.state, End):
            raise ResourceError(
                "The server is stopping before the clip is made.",
                next_step="Ask again once it runs.",
            )

    def cancel(self, owner: str, job_id: str) -> Job:
        """The job, which ends now if it waits and at its next step if it is being made.

        Raises:
            UnknownJobError: there is none, or it is another visitor's.
        """
        with self._changed:
            was_waiting = self.store.cancel_queued(owner, job_id)
            making = self._making.get(job_id)
            if making is not None and not was_waiting:
                making.stop.express()
            self._changed.notify_all()
            return self.find(owner, job_id)

    def delete(self, owner: str, job_id: str) -> Job:
        """The job just cancelled and deleted, which `restore` of the store undoes for a while.

        Raises:
            UnknownJobError: there is none, or it is another visitor's.
        """
        self.cancel(owner, job_id)
        self.purge()
        return self.now(self.store.delete(owner, job_id))

    def purge(self) -> None:
        """Jobs that were deleted long ago are gone, with their files; old inputs as well."""
        for name in self.store.purge(deleted_for=UNDO_S):
            _remove(self.folder / name)
        sweep(self.inputs_folder, self.store.needed_inputs())

    @property
    def inputs_folder(self) -> Path:
        """Holds the files that clips are made from, under their digests."""
        return self.folder.parent / INPUTS_FOLDER

    def path(self, job: Job) -> Path | None:
        """The clip of a job that is done."""
        return self.folder / job.state.file if isinstance(job.state, Done) else None

    def preflight(self, request: Request, choice: Choice = USUAL) -> Preflight:
        """Whether a clip fits, and about how long it takes once its turn comes.

        Raises:
            RequestError: the model cannot make it, or is not offered.
        """
        models = self.models[0]
        choice = models.named(choice)
        offer = models.chosen(choice)
        place = self._place(models, choice)
        return check(
            request,
            offer.profile,
            offer.anatomy,
            place,
            self._forecast(models, request, choice),
            offload=offer.offload,
        )

    def close(self, timeout_s: float = 10.0) -> None:
        """Stops the workers: what waits goes on waiting, what is being made has failed."""
        with self._changed:
            self._is_closing = True
            for making in self._making.values():
                making.interrupt()
            self._changed.notify_all()
        deadline = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        for job_id in list(self._making):  # its step takes longer than we can wait
            self.store.end(job_id, INTERRUPTED)
        for models in self.models:
            models.close()

    def make_now(self, job: Job, models: Models) -> Job:
        """The job once it has ended, made in this thread if it still waits, out of turn.

        For where a clip can only be made inside its visitor's request, and no worker was started.

        Raises:
            UnknownJobError: it was purged.
        """
        making = self._begin(lambda: self.store.start(job.id))
        if making is not None:
            self._make(making, models)
        return self.wait(job)

    def _work(self, models: Models) -> None:
        while (making := self._wait_for_job()) is not None:
            self._make(making, models)
            with suppress(LTX2Error):  # the next clip is the next chance
                self.purge()

    def _wait_for_job(self) -> Making | None:
        """The next job, now running; None once the queue closes."""
        with self._changed:
            while not self._is_closing:
                try:
                    making = self._begin(self.store.start_next)
                except LTX2Error as error:
                    logger.error("the library cannot be used: %s", error)
                    making = None
                if making is not None:
                    return making
                self._changed.wait(LOOK_AGAIN_S)
        return None

    def _begin(self, start: Callable[[], Job | None]) -> Making | None:
        with self._changed:
            self._save_ends()
            job = start()
            if job is None:
                return None
            making = self._making[job.id] = Making(job)
            self._changed.notify_all()
            return making

    def _make(self, making: Making, models: Models) -> None:
        end = self._end_of(making, models)
        with self._changed:
            self._unsaved[making.job.id] = end
            del self._making[making.job.id]
            self._save_ends()
            self._changed.notify_all()

    def _end_of(self, making: Making, models: Models) -> End:
        """How a job ends; this is the only place here that catches everything."""
        job = making.job
        try:
            # The server may offer other models than when this was asked.
            choice = models.named(job.choice)
            self._seen[models] = look(models.device), models.loaded
            making.forecast = self._forecast(models, job.request, choice)
            maker = models.take(choice, making.stop, making.on_progress)
            clip = self._best(maker, making)
            making.on_progress(Progress("save", 0, 1))
            saved = clip.save(self._path(job.id))
            if self._sign is not None:
                self._sign(saved)
            size = saved.stat().st_size
            work = work_of(job.request, models.offer(choice.model).profile)
        except GenerationCancelled:
            return making.end_if_stopped
        except LTX2Error as error:
            logger.warning("a clip could not be made: %s", error)
            return Failed(error.message, error.next_step)
        except Exception:
            logger.exception("a clip failed unexpectedly")
            return BROKEN
        run = making.run(models.chosen(choice).timed_as, models.device, work)
        logger.info("%d steps of %d tokens in %.1f s", work.steps, work.tokens, run.seconds)
        try:
            self.store.add_run(run)
        except LTX2Error as error:
            logger.warning("how long it took could not be kept: %s", error)
        seed = clip.recipe.request.seed if clip.recipe else job.request.seed
        return Done(saved.name, seed, making.seconds, size)

    def _best(self, maker: ClipMaker, making: Making) -> Clip:
        """The clip; of several the one with the highest score, and of equal ones the first."""
        best: tuple[float, Clip] | None = None
        request = making.job.request
        for index in range(making.job.choice.best_of):
            making.clip = index + 1
            clip = maker(
                request.model_copy(update={"seed": request.seed + index}),
                on_progress=making.on_progress,
                should_cancel=making.stop,
                on_preview=making.on_preview,
            )
            value = self.score(clip) if self.score and making.job.choice.best_of > 1 else None
            rank = float("-inf") if value is None else value
            if best is None or rank > best[0]:
                best = rank, clip
        assert best is not None
        return best[1]

    def _save_ends(self) -> None:
        """How jobs ended goes to disk, also what there was no room for before."""
        for job_id, end in list(self._unsaved.items()):
            try:
                self.store.end(job_id, end)
            except LTX2Error as error:
                logger.error("how a job ended could not be kept: %s", error)
                return
            del self._unsaved[job_id]

    def _checked(self, request: Request, choice: Choice) -> Choice:
        """The choice with its model named; the clip fits."""
        if choice.best_of > 1 and self.score is None:
            raise RequestError(
                "Nothing here tells which clip is the best.", next_step="Ask for one clip."
            )
        if not 1 <= choice.best_of <= MAX_BEST_OF:
            raise RequestError(
                f"The best of {choice.best_of} clips was asked for.",
                next_step=f"Choose a number from 1 to {MAX_BEST_OF}.",
            )
        named = self.models[0].named(choice)
        verdict = self.preflight(request, named).verdict
        if isinstance(verdict, TooLarge):
            raise RequestError(
                "There is not enough memory for this clip.",
                next_step=verdict.change.sentence if verdict.change else "Choose a smaller model.",
            )
        return named

    def _check_room(self, owner: str, num_jobs: int = 1) -> None:
        most = self._limits.per_owner
        if num_jobs > most:
            raise QueueFullError(
                f"These are {num_jobs} clips, and {most} of yours may wait.",
                next_step=f"Ask for at most {most} at once.",
            )
        if (num_waiting := self.store.num_queued(owner)) + num_jobs > most:
            raise QueueFullError(
                f"{num_waiting} of your clips wait already.",
                next_step="Wait for one of them to be made, or cancel one."
                if num_jobs == 1
                else f"Wait until {most - num_jobs} or fewer are left, or cancel some.",
            )
        if self.store.num_queued() + num_jobs > self._limits.in_all:
            raise QueueFullError(
                f"{self._limits.in_all} clips wait already, which is all that this server takes.",
                next_step="Try again in a few minutes.",
            )

    def _forecast(self, models: Models, request: Request, choice: Choice) -> Forecast | None:
        offer = models.chosen(choice)
        return forecast(
            self.store.runs(offer.timed_as, models.device),
            work_of(request, offer.profile),
            is_loaded=models.loaded == choice,
        )

    def _place(self, models: Models, choice: Choice) -> Place | None:
        """Memory for a choice while nothing else is made; if something is, as it was before."""
        if self._making and models in self._seen:
            place, loaded = self._seen[models]
        else:
            place, loaded = look(models.device), models.loaded
        if place is None or loaded is None:
            return place
        if loaded == choice:
            return replace(place, is_loaded=True)
        left = models.chosen(loaded).anatomy
        freed = overhead(place) + (left.resident if left else 0)
        return place.with_freed(freed)

    def _path(self, job_id: str) -> Path:
        return self.folder / f"{job_id}.mp4"


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(
            f"The folder of clips {folder} cannot be made ({error.strerror}).",
            next_step="Choose a folder that the server may write to.",
        ) from error


def _remove(path: Path) -> None:
    """The file is gone, and what was there of it before it was whole."""
    for file in (path, path.with_name(f"{path.name}.part")):
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("a clip's file could not be removed: %s", error.strerror)
