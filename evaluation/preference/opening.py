"""From a draft to an open study: clips checked, pairs made alike, sessions drawn, all hashed."""

import logging
import secrets
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from evaluation.preference.clips import Source, gather
from evaluation.preference.design import PlannedSession, PlannedTrial, design
from evaluation.preference.stimulus import ATTENTION_SHIFT_S, common_frame, make_pair, opaque_name
from evaluation.preference.store import Entry, Stimuli, Store, pair_name
from evaluation.preference.study import PROMPT_ADHERENCE, Study, with_prompts
from ltx2.errors import LTX2Error, RequestError

logger = logging.getLogger(__name__)

OnPair = Callable[[int, int], None]
"""Called with the pairs made so far and all of them."""


def open_study(
    store: Store, study_id: str, folder: Path, *, on_pair: OnPair = lambda done, of: None
) -> Entry:
    """The log's first entry; from now on raters may join.

    Args:
        store: that holds the draft.
        study_id: of the draft.
        folder: where the clips to be shown go.
        on_pair: progress.

    Raises:
        RequestError: the study is no draft, clips are missing, unreadable or silent (all are
            named), shapes differ too much, there are too few prompts, or some prompts have no text
            although raters are asked about it.
        MediaError: the clips to be shown cannot be written.
    """
    row = store.study(study_id)
    if row.status != "draft":
        raise RequestError(
            f"The study is {row.status} and was opened before.",
            next_step="Create another study to ask anything else.",
        )
    gathered = gather(row.plan)
    gathered.require_complete()
    plan = _answerable(with_prompts(row.plan, gathered.prompts))
    sessions = design(plan)
    wanted = _pairs_of(sessions, plan)
    _require_like_shapes(wanted.values(), gathered.sources, plan)
    stimuli = {}
    for done, (name, trial) in enumerate(wanted.items()):
        on_pair(done, len(wanted))
        stimuli[name] = _made(trial, gathered.sources, plan, folder / study_id, row.secret)
    clips = {"/".join(key): source.sha256 for key, source in gathered.sources.items()}
    return store.open(study_id, plan, sessions, stimuli, clips)


@dataclass(frozen=True)
class Opening:
    """How far the opening of a study is.

    Attributes:
        done, of: pairs made.
        error: why it failed; empty while it did not.
    """

    done: int = 0
    of: int = 0
    error: str = ""


class Opener:
    """Opens studies in the background, one at a time: making pairs takes minutes.

    Args:
        store: that holds the drafts.
        folder: where the clips to be shown go.
    """

    def __init__(self, store: Store, folder: Path) -> None:
        self._store = store
        self._folder = folder
        self._lock = threading.Lock()
        self._openings: dict[str, Opening] = {}
        self._running: threading.Thread | None = None

    def start(self, study_id: str) -> None:
        """Nothing, at once; `progress` tells the rest.

        Raises:
            RequestError: another one is being opened.
        """
        with self._lock:
            if self._running is not None and self._running.is_alive():
                raise RequestError("A study is being opened.", next_step="Wait until it is open.")
            self._openings[study_id] = Opening()
            self._running = threading.Thread(target=self._open, args=(study_id,), daemon=True)
            self._running.start()

    def progress(self, study_id: str) -> Opening | None:
        """How far it is; None where nothing was started here."""
        return self._openings.get(study_id)

    def wait(self) -> None:
        """Returns when nothing is being opened."""
        if self._running is not None:
            self._running.join()

    def _open(self, study_id: str) -> None:
        def on_pair(done: int, of: int) -> None:
            self._openings[study_id] = Opening(done, of)

        try:
            open_study(self._store, study_id, self._folder, on_pair=on_pair)
        except LTX2Error as error:
            self._openings[study_id] = Opening(error=str(error))
        except Exception:
            logger.exception("A study could not be opened.")
            self._openings[study_id] = Opening(error="It failed; the server's log says why.")
            raise
        else:
            count = self._openings[study_id].of
            self._openings[study_id] = Opening(count, count)


def _answerable(plan: Study) -> Study:
    """The plan without the question about the prompts where none of them has a text to show."""
    silent = [prompt.id for prompt in plan.prompts if not prompt.text.strip()]
    if plan.axis(PROMPT_ADHERENCE) is None or not silent:
        return plan
    if len(silent) < len(plan.prompts):
        named = ", ".join(silent[:10]) + (" ..." if len(silent) > 10 else "")
        raise RequestError(
            f"Raters are asked which clip follows the prompt, but some have no text: {named}.",
            next_step=f"Write it into the manifest, or take {PROMPT_ADHERENCE} out of the axes.",
        )
    axes = tuple(axis for axis in plan.axes if axis.key != PROMPT_ADHERENCE)
    return plan.model_copy(update={"axes": axes})


def _pairs_of(sessions: Sequence[PlannedSession], plan: Study) -> dict[str, PlannedTrial]:
    """What must be ready to be shown, by `pair_name`."""
    trials = [trial for session in sessions for trial in session.trials]
    if plan.pair_choice == "active":
        pairs = list(combinations([model.name for model in plan.models], 2))
        prompts = sorted({trial.prompt for trial in trials if trial.kind == "test"})
        trials += [PlannedTrial("test", prompt, *pair) for prompt in prompts for pair in pairs]
    return {
        pair_name(trial.prompt, trial.left, trial.right, trial.late_side): trial for trial in trials
    }


def _require_like_shapes(
    trials: Iterable[PlannedTrial],
    sources: Mapping[tuple[str, str], Source],
    plan: Study,
) -> None:
    """All that cannot be made alike is said at once, before minutes of encoding."""
    problems = []
    for trial in trials:
        left, right = sources[trial.left, trial.prompt], sources[trial.right, trial.prompt]
        try:
            common_frame(left, right, plan.stimulus)
        except RequestError as error:
            problems.append(error)
    if problems:
        listed = "\n".join(f"- {problem.message}" for problem in problems)
        raise RequestError(
            f"{len(problems)} pairs cannot be made alike:\n{listed}\n",
            next_step=problems[0].next_step,
        )


def _made(
    trial: PlannedTrial,
    sources: Mapping[tuple[str, str], Source],
    plan: Study,
    folder: Path,
    secret: bytes,
) -> Stimuli:
    first, second = sorted((trial.left, trial.right))
    nonce = secrets.token_hex(8)
    paths = [folder / f"{opaque_name(secret, nonce, side)}.mp4" for side in "ab"]
    left, right = sources[first, trial.prompt], sources[second, trial.prompt]
    late_s = ATTENTION_SHIFT_S if trial.late_side is not None else 0.0
    made = make_pair(left, right, (paths[0], paths[1]), plan.stimulus, late_s=(0.0, late_s))
    frame = common_frame(left, right, plan.stimulus)
    return Stimuli(
        (made[0].path, made[1].path),
        frame.duration_s,
        (made[0].covariates, made[1].covariates),
    )
