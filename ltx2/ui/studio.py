"""What the page's handlers call: one model for all visitors, and their wishes to stop."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import ltx2
from ltx2.checkpoint.catalog import find_model
from ltx2.clip import Clip
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


class Studio:
    """Makes clips with one model, loaded when the first clip is asked for.

    Loading imports PyTorch, which takes seconds; until then the page needs only the profile.

    Args:
        name: the model's name as visitors see it.
        profile: its usual settings and limits.
        load: builds the model; called at most once, unless it fails.
        licence: of the weights; None if unknown.
    """

    def __init__(
        self,
        *,
        name: str,
        profile: ModelProfile,
        load: Callable[[], ClipMaker],
        licence: str | None = None,
    ) -> None:
        self.name = name
        self.profile = profile
        self.licence = licence
        self._load = load
        self._maker: ClipMaker | None = None
        self._busy = threading.Lock()
        self._stops: dict[str, threading.Event] = {}

    def make(
        self, request: Request, path: Path, *, session: str | None, on_progress: OnProgress
    ) -> Path:
        """The path of the clip just made, one clip at a time; `path`'s folder is made if missing.

        Args:
            request: what to make.
            path: file to write.
            session: the visitor who may stop it; None for callers that cannot.
            on_progress: told about loading as well as the model's own stages.

        Raises:
            LTX2Error: the clip cannot be made or written.
            GenerationCancelled: the visitor stopped it.
        """
        started = time.perf_counter()
        with self._busy:
            maker = self._loaded(on_progress)
            clip = maker(request, on_progress=on_progress, should_cancel=self._stop(session).is_set)
        path.parent.mkdir(parents=True, exist_ok=True)
        saved = clip.save(path)
        frames, height, width, _ = clip.frames.shape
        elapsed_s = time.perf_counter() - started
        logger.info("%d frames of %d x %d px in %.1f s", frames, width, height, elapsed_s)
        return saved

    def expect(self, session: str) -> None:
        """A visitor is about to ask for a clip: earlier wishes to stop are over."""
        self._stop(session).clear()

    def stop(self, session: str) -> None:
        """A visitor's clip stops at the next step, also while it still waits for its turn."""
        self._stop(session).set()

    def leave(self, session: str) -> None:
        """A visitor closed the page: what runs for them stops, and they are forgotten."""
        event = self._stops.pop(session, None)
        if event is not None:
            event.set()

    def _loaded(self, on_progress: OnProgress) -> ClipMaker:
        if self._maker is None:
            on_progress(Progress("load", 0, 1))
            self._maker = self._load()
            on_progress(Progress("load", 1, 1))
        return self._maker

    def _stop(self, session: str | None) -> threading.Event:
        if session is None:
            return threading.Event()
        return self._stops.setdefault(session, threading.Event())


def open_studio(settings: Settings) -> Studio:
    """The studio of the chosen model, whose header alone is read for now.

    Raises:
        CheckpointError: there is no such model, or its header is damaged.
    """
    found = find_model(settings.model, text_encoder=settings.text_encoder)

    def load() -> ClipMaker:
        return ltx2.load(
            settings.model,
            text_encoder=settings.text_encoder,
            device=settings.device,
            dtype=settings.dtype,
        )

    return Studio(name=found.name, profile=found.profile, load=load, licence=found.licence)
