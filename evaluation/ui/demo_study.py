"""A small study for everybody: clips of two guidance settings, made on the first click."""

import logging
import threading
from dataclasses import dataclass

from evaluation.preference.opening import open_study
from evaluation.preference.study import Axis, SessionPlan, Study, StudyModel, StudyPrompt
from evaluation.ui.rating import Rating
from ltx2.errors import LTX2Error, RequestError
from ltx2.request import Request
from ltx2.serving.jobs import Choice, Done
from ltx2.serving.models import Offer
from ltx2.serving.store import Grouped, Member
from ltx2.serving.worker import JobQueue

logger = logging.getLogger(__name__)

NAME = "Demo: does guidance help?"
MAKER = "demo-study-of-the-workbench-itself"
"""Whose clips they are in the queue; no visitor has this number."""

PROMPTS = 4
RATERS = 100
SEED = 7
WITHOUT = 1.0
"""Guidance scale that is none."""

RECORD = "demo"
"""File in the folder of studies that holds the demo's id."""


@dataclass(frozen=True)
class Offered:
    """Nobody asked for it yet."""


@dataclass(frozen=True)
class Preparing:
    """Clips are being made, then put side by side.

    Attributes:
        done, of: clips, and pairs afterwards.
        pairs: whether the clips are all there.
    """

    done: int
    of: int
    pairs: bool = False


@dataclass(frozen=True)
class Ready:
    """Can be rated."""

    study: str


@dataclass(frozen=True)
class Broken:
    """Could not be made; may be tried again."""

    message: str


State = Offered | Preparing | Ready | Broken


class Demo:
    """The demo study of a server.

    Args:
        rating: keeps it.
        queue: makes its clips, beside those of visitors.
    """

    def __init__(self, rating: Rating, queue: JobQueue) -> None:
        self._rating = rating
        self._queue = queue
        self._lock = threading.Lock()
        self._state: State = Offered()
        self._thread: threading.Thread | None = None

    @property
    def offer(self) -> Offer | None:
        """The first model with guidance and examples; None where no demo can be made."""
        if self._queue.in_request:
            return None  # jobs of nobody's request would never be made
        for offer in self._queue.models[0].offers:
            profile = offer.profile
            if profile.video_guidance.cfg_scale > WITHOUT and profile.example_prompts:
                return offer
        return None

    @property
    def state(self) -> State:
        """Where it is."""
        with self._lock:
            if isinstance(self._state, Offered) and (known := self._known()):
                self._state = Ready(known)
            return self._state

    def start(self) -> State:
        """Where it is after somebody asked for it: its clips are being made, if they are not there.

        Raises:
            RequestError: no model here has guidance.
            QueueFullError: too many clips wait.
        """
        state = self.state
        if isinstance(state, Preparing | Ready):
            return state
        offer = self.offer
        if offer is None:
            raise RequestError(
                "No model here has guidance that could be compared.",
                next_step="Make a study of your own clips instead.",
            )
        members = _members(offer)
        with self._lock:
            if isinstance(self._state, Preparing):
                return self._state
            group = self._queue.submit_group(MAKER, members)
            self._state = Preparing(0, len(members))
            self._thread = threading.Thread(target=self._prepare, args=(group,), daemon=True)
        self._thread.start()
        return self.state

    def wait(self) -> None:
        """Returns when nothing is being prepared."""
        if self._thread is not None:
            self._thread.join()

    def _known(self) -> str | None:
        """The demo's id, if it was opened before and is open still."""
        record = self._rating.folder / RECORD
        try:
            study_id = record.read_text(encoding="utf-8").strip()
            is_open = self._rating.store.study(study_id).status == "open"
        except (OSError, LTX2Error):
            return None
        return study_id if is_open else None

    def _prepare(self, group: str) -> None:
        try:
            study = self._open(self._made(group))
        except LTX2Error as error:
            self._set(Broken(str(error)))
        except Exception:
            logger.exception("The demo study could not be made.")
            self._set(Broken("It failed; the server's log says why."))
            raise
        else:
            (self._rating.folder / RECORD).write_text(study, encoding="utf-8")
            self._set(Ready(study))

    def _set(self, state: State) -> None:
        with self._lock:
            self._state = state

    def _made(self, group: str) -> tuple[Grouped, ...]:
        """The clips once all of them are there, in the order in which they are made."""
        cells = self._queue.group(MAKER, group)
        for number, cell in enumerate(cells):
            self._set(Preparing(number, len(cells)))
            job = self._queue.wait(cell.job)
            self._queue.check_open(job)
            if not isinstance(job.state, Done):
                raise RequestError("A clip could not be made.", next_step="Try again.")
        return self._queue.group(MAKER, group)

    def _open(self, cells: tuple[Grouped, ...]) -> str:
        clips: dict[str, dict[str, object]] = {}
        prompts: dict[str, StudyPrompt] = {}
        for cell in cells:
            key = cell.labels["prompt"]
            clips.setdefault(cell.labels["model"], {})[key] = self._queue.path(cell.job)
            prompts[key] = StudyPrompt(id=key, text=cell.job.request.prompt)
        plan = Study(
            name=NAME,
            models=tuple(
                StudyModel.model_validate({"name": name, "clips": files})
                for name, files in clips.items()
            ),
            prompts=tuple(prompts.values()),
            axes=(Axis(key="prompt_adherence"), Axis(key="overall", points=5, both_bad=True)),
            raters=RATERS,
            session=SessionPlan(
                pairs=len(prompts),
                training=0,
                attention=0,
                repeats=0,
                break_after=0,
                blinding_guesses=min(2, len(prompts)),
            ),
            reveal_models=True,
        )
        row = self._rating.store.create(plan)

        def on_pair(done: int, of: int) -> None:
            self._set(Preparing(done, of, pairs=True))

        open_study(self._rating.store, row.id, self._rating.folder, on_pair=on_pair)
        return row.id


def _members(offer: Offer) -> tuple[Member, ...]:
    """Each prompt with the usual guidance and with none."""
    profile = offer.profile
    usual = profile.video_guidance
    settings = {
        f"guidance {WITHOUT:g}": {"cfg_scale": WITHOUT},
        f"guidance {usual.cfg_scale:g}": {},
    }
    return tuple(
        Member(
            Request(
                prompt=prompt,
                seed=SEED,
                video_guidance=usual.model_copy(update=changes),
                audio_guidance=profile.audio_guidance.model_copy(update=changes),
            ),
            Choice(offer.name),
            {"prompt": f"p{number}", "model": name},
        )
        for number, prompt in enumerate(profile.example_prompts[:PROMPTS], start=1)
        for name, changes in settings.items()
    )
