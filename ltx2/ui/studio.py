"""What the page's handlers call: the models for all visitors, and their wishes to stop."""

import errno
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import ltx2
from ltx2.checkpoint.catalog import LORA_FOLDER, embedded_models, find_model, loras_of
from ltx2.clip import Clip
from ltx2.errors import GenerationCancelled, RequestError, ResourceError
from ltx2.progress import OnProgress, Progress, ShouldCancel
from ltx2.request import ModelProfile, Request
from ltx2.settings import Settings

logger = logging.getLogger(__name__)


class ClipMaker(Protocol):
    """A loaded model: `ltx2.Pipeline`, or a stand-in."""

    def __call__(
        self, request: Request, *, on_progress: OnProgress, should_cancel: ShouldCancel
    ) -> Clip:
        """The clip that was asked for."""
        ...


Loras = Sequence[tuple[Path, float]]
"""LoRA files with their strengths."""


@dataclass(frozen=True)
class Offer:
    """A model that visitors can choose.

    Attributes:
        name: as visitors see it.
        profile: its usual settings and limits.
        load: builds the model with LoRAs in it.
        licence: of the weights; None if unknown.
        loras: files that fit the model, by the names that visitors see.
    """

    name: str
    profile: ModelProfile
    load: Callable[[Loras], ClipMaker]
    licence: str | None = None
    loras: dict[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Choice:
    """What a visitor wants clips made with.

    Attributes:
        model: name of an offer; None for the usual one.
        lora: name of one of its LoRAs; None for none.
        strength: of the LoRA; 1 is as it was trained.
    """

    model: str | None = None
    lora: str | None = None
    strength: float = 1.0


Stop = Future[None]
"""A wish to stop one clip, done when it is expressed."""


@dataclass
class _Visitor:
    """Wishes to stop of one visitor's clips.

    Attributes:
        num_asked: clips asked for whose end the page has not seen.
        waiting: of clips whose work has not begun, oldest first.
        making: of clips being made.
    """

    num_asked: int = 0
    waiting: deque[Stop] = field(default_factory=deque)
    making: list[Stop] = field(default_factory=list)


class Studio:
    """Makes clips with one model at a time, loaded when the first clip is asked for.

    Loading imports PyTorch, which takes seconds; until then the page needs only the profiles.

    Args:
        offers: models to choose from, the usual one first; of one name each.
    """

    def __init__(self, offers: Sequence[Offer]) -> None:
        self.offers = tuple(offers)
        self._busy = threading.Lock()
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._loaded: tuple[Choice, Future[ClipMaker]] | None = None
        self._visitors: dict[str, _Visitor] = {}
        self._visitors_lock = threading.Lock()

    def offer(self, name: str | None) -> Offer:
        """The offer of a name, or the usual one.

        Raises:
            RequestError: there is none of that name.
        """
        for offer in self.offers:
            if name in (None, offer.name):
                return offer
        names = ", ".join(offer.name for offer in self.offers)
        raise RequestError(f"There is no model {name!r} here.", next_step=f"Choose one of {names}.")

    def make(
        self,
        request: Request,
        path: Path,
        *,
        session: str | None,
        on_progress: OnProgress,
        choice: Choice = Choice(),
    ) -> Path:
        """The path of the clip just made, one clip at a time; `path`'s folder is made if missing.

        Args:
            request: what to make.
            path: file to write.
            session: the visitor who may stop it; None for callers that cannot.
            on_progress: told about loading as well as the model's own stages.
            choice: what to make it with.

        Raises:
            LTX2Error: the clip cannot be made or written.
            GenerationCancelled: the visitor stopped it.
        """
        started = time.perf_counter()
        with self._stop_of(session) as stop, self._busy:
            maker = self._maker(choice, stop, on_progress)
            clip = maker(request, on_progress=on_progress, should_cancel=stop.done)
        _make_folder(path.parent)
        saved = clip.save(path)
        frames, height, width, _ = clip.frames.shape
        elapsed_s = time.perf_counter() - started
        logger.info("%d frames of %d x %d px in %.1f s", frames, width, height, elapsed_s)
        return saved

    def expect(self, session: str) -> None:
        """A visitor is about to ask for a clip; earlier wishes to stop are not about this one."""
        with self._visitors_lock:
            visitor = self._visitors.setdefault(session, _Visitor())
            visitor.num_asked += 1
            visitor.waiting.append(Future())

    def stop(self, session: str) -> None:
        """A visitor's clips stop at the next step, also those that still wait for their turn."""
        with self._visitors_lock:
            visitor = self._visitors.get(session, _Visitor())
            _express([*visitor.waiting, *visitor.making])

    def finish(self, session: str) -> None:
        """A clip that was expected has ended, also when it never began."""
        with self._visitors_lock:
            visitor = self._visitors.get(session)
            if visitor is not None:
                visitor.num_asked -= 1
                self._forget_if_idle(session, visitor)

    def leave(self, session: str) -> None:
        """A visitor closed the page: what runs for them stops, and they are forgotten."""
        self.stop(session)
        with self._visitors_lock:
            self._visitors.pop(session, None)

    def _maker(self, choice: Choice, stop: Stop, on_progress: OnProgress) -> ClipMaker:
        """The model of a choice; a visitor who stops does not wait for it to load."""
        if stop.done():
            raise GenerationCancelled
        offer = self.offer(choice.model)
        wanted = Choice(offer.name, choice.lora, choice.strength if choice.lora else 1.0)
        loras = _loras(offer, choice)
        is_new = False
        if self._loaded is None or self._loaded[0] != wanted or _has_failed(self._loaded[1]):
            self._loaded = None  # gives its memory back before the next one takes any
            self._loaded = wanted, self._loader.submit(offer.load, loras)
            is_new = True
        loading = self._loaded[1]
        if not is_new and loading.done():
            return loading.result()
        on_progress(Progress("load", 0, 1))
        either: list[Future[Any]] = [loading, stop]
        wait(either, return_when=FIRST_COMPLETED)
        if stop.done():
            raise GenerationCancelled  # the loading goes on, for whoever comes next
        maker = loading.result()
        on_progress(Progress("load", 1, 1))
        return maker

    @contextmanager
    def _stop_of(self, session: str | None) -> Iterator[Stop]:
        """The wish to stop the clip that a visitor's oldest expectation is about."""
        if session is None:
            yield Future()
            return
        with self._visitors_lock:
            visitor = self._visitors.setdefault(session, _Visitor())
            stop = visitor.waiting.popleft() if visitor.waiting else Future()
            visitor.making.append(stop)
        try:
            yield stop
        finally:
            with self._visitors_lock:
                visitor.making.remove(stop)
                self._forget_if_idle(session, visitor)

    def _forget_if_idle(self, session: str, visitor: _Visitor) -> None:
        is_idle = visitor.num_asked <= 0 and not visitor.making
        if is_idle and self._visitors.get(session) is visitor:
            del self._visitors[session]


def open_studio(settings: Settings) -> Studio:
    """The studio of the chosen model, whose header alone is read for now.

    Where it is one of those that this project carries, the others are offered too, and the one
    with the fewest steps is the usual one unless another was chosen.

    Raises:
        CheckpointError: there is no such model, or its header is damaged.
    """
    names = embedded_models()
    if settings.model not in names:
        return Studio([_offer(settings.model, settings)])
    offers = [_offer(name, settings) for name in names]
    is_default = settings.model == Settings.model

    def rank(offer: Offer) -> tuple[bool, int]:
        return not is_default and offer.name != settings.model, offer.profile.num_steps

    return Studio(sorted(offers, key=rank))


def _offer(model: str, settings: Settings) -> Offer:
    found = find_model(model, text_encoder=settings.text_encoder)

    def load(loras: Loras) -> ClipMaker:
        return ltx2.load(
            model,
            text_encoder=settings.text_encoder,
            device=settings.device,
            dtype=settings.dtype,
            loras=loras,
        )

    return Offer(found.name, found.profile, load, found.licence, loras_of(found))


def _loras(offer: Offer, choice: Choice) -> Loras:
    if choice.lora is None:
        return ()
    if choice.lora not in offer.loras:
        raise RequestError(
            f"The model {offer.name} has no LoRA {choice.lora!r}.",
            next_step=f"Choose one of {', '.join(offer.loras)}."
            if offer.loras
            else f"Leave it out, or put its file into the folder {LORA_FOLDER} beside the model.",
        )
    return ((offer.loras[choice.lora], choice.strength),)


def _has_failed(loading: Future[ClipMaker]) -> bool:
    return loading.done() and loading.exception() is not None


def _express(stops: Sequence[Stop]) -> None:
    for stop in stops:
        if not stop.done():
            stop.set_result(None)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ResourceError(
                "The disk is full, so the clip could not be kept.",
                next_step="Delete files on the server, then generate it again.",
            ) from error
        raise ResourceError(
            f"The clip could not be kept: its folder cannot be made ({error.strerror}).",
            next_step="Set GRADIO_TEMP_DIR to a folder that the server may write to, and restart.",
        ) from error
