"""Downloads that go on when nobody looks: one at a time, the same for every browser."""

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ltx2.checkpoint import hub
from ltx2.checkpoint.catalog import PUBLISHED, TEXT_ENCODER_NAME, TEXT_ENCODER_SOURCE, Source
from ltx2.checkpoint.hub import Transfer
from ltx2.errors import GenerationCancelled, LTX2Error, RequestError

logger = logging.getLogger(__name__)

SOURCES: Mapping[str, Source] = {
    **{known.name: known.source for known in PUBLISHED},
    TEXT_ENCODER_NAME: TEXT_ENCODER_SOURCE,
}
"""What can be downloaded, by name."""


@dataclass(frozen=True)
class Absent:
    """Nothing is under way."""


@dataclass(frozen=True)
class Waiting:
    """It comes after another one, or the Hub is being asked."""


@dataclass(frozen=True)
class Coming:
    """Bytes arrive."""

    transfer: Transfer


@dataclass(frozen=True)
class Arrived:
    """All of it is here, checked."""

    paths: tuple[Path, ...]


@dataclass(frozen=True)
class Halted:
    """It ended early; what came is kept.

    Attributes:
        message, next_step: why, and what to do; empty if it was stopped.
    """

    message: str = ""
    next_step: str = ""


State = Absent | Waiting | Coming | Arrived | Halted
"""Where a download stands: exactly one of these."""


class Downloads:
    """Fetches known weights into a folder laid out like ComfyUI's.

    Args:
        root: of the folder.
        sources: what may be asked for, by name.
    """

    def __init__(self, root: Path, *, sources: Mapping[str, Source] = SOURCES) -> None:
        self.root = root
        self.sources = dict(sources)
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._states: dict[str, State] = {}
        self._stops: dict[str, threading.Event] = {}

    def state(self, name: str) -> State:
        """Where a download stands."""
        with self._lock:
            return self._states.get(name, Absent())

    @property
    def is_busy(self) -> bool:
        """Whether any download is under way."""
        with self._lock:
            return any(isinstance(state, Waiting | Coming) for state in self._states.values())

    def start(self, name: str) -> None:
        """Begins a download, or goes on with it, and returns at once.

        Raises:
            RequestError: nothing of that name can be downloaded.
        """
        source = self._source(name)
        with self._lock:
            if isinstance(self._states.get(name), Waiting | Coming):
                return
            self._states[name] = Waiting()
            stop = self._stops[name] = threading.Event()
        threading.Thread(
            target=self._run, args=(name, source, stop), name=f"download {name}", daemon=True
        ).start()

    def cancel(self, name: str) -> None:
        """Stops a download within a second or so; what came is kept.

        Raises:
            RequestError: nothing of that name can be downloaded.
        """
        self._source(name)
        with self._lock:
            if name in self._stops:
                self._stops[name].set()

    def wait(self, name: str, timeout_s: float) -> State:
        """Where a download stands once it has ended, or when the time is up."""
        deadline = time.monotonic() + timeout_s
        while isinstance(self.state(name), Waiting | Coming) and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.state(name)

    def close(self) -> None:
        """Stops all downloads."""
        with self._lock:
            for stop in self._stops.values():
                stop.set()

    def _source(self, name: str) -> Source:
        if name not in self.sources:
            raise RequestError(
                f"{name!r} cannot be downloaded here.",
                next_step=f"Choose one of {', '.join(self.sources)}.",
            )
        return self.sources[name]

    def _run(self, name: str, source: Source, stop: threading.Event) -> None:
        """A thread's work; the only place here that catches everything."""
        while not self._turn.acquire(timeout=0.2):
            if stop.is_set():
                self._set(name, Halted())
                return
        try:
            files = hub.list_files(source)
            paths = hub.fetch(
                files,
                self.root / source.folder,
                on_transfer=lambda transfer: self._set(name, Coming(transfer)),
                should_cancel=stop.is_set,
            )
        except GenerationCancelled:
            self._set(name, Halted())
        except LTX2Error as error:
            logger.warning("a download ended early: %s", error)
            self._set(name, Halted(error.message, error.next_step))
        except Exception:
            logger.exception("a download failed unexpectedly")
            self._set(name, Halted("Something broke on our side.", "Look at the server's log."))
        else:
            self._set(name, Arrived(paths))
        finally:
            self._turn.release()

    def _set(self, name: str, state: State) -> None:
        with self._lock:
            self._states[name] = state
