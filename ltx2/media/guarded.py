"""Files of strangers, decoded by a process of its own that can be stopped.

A decoder is a million lines of C that follow what a file says. Here it runs in a child with limits
on time, memory and output, and without this process's environment, where secrets may be. Nothing
that the child says is run: it answers with JSON and plain numbers, which are checked.
"""

import logging
import os
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, NoReturn

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ltx2.clip import Clip
from ltx2.conditions import Kind
from ltx2.errors import MediaError, RequestError
from ltx2.media.decode import (
    MAX_DURATION_S,
    MAX_FRAME_RATE,
    SAMPLE_RATES,
    read_clip,
    read_media,
    read_recipe,
)
from ltx2.request import MAX_SIZE, Recipe

logger = logging.getLogger(__name__)

MAX_CHILDREN = 2
"""Files read at once; their memory limits add up."""

MAX_ANSWER_BYTES = 256 * 1024
"""Longest JSON believed: twice a recipe with two prompts of full length in any script."""

PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT")
"""What of the environment the child gets: enough to start, and nothing that is secret."""

ROOT = Path(__file__).parents[2]
"""Where the child finds this package."""

OTHER_FILE = "Choose another file, or copy or download it again."

Task = Literal["recipe", "clip", "media"]


@dataclass(frozen=True)
class Limits:
    """What reading one file may take.

    Attributes:
        seconds: on the clock, the child's start included; of processor time twice as much.
        memory_bytes: of address space, of which programs claim more than they use.
        file_bytes: size of the file.
    """

    seconds: float = 30.0
    memory_bytes: int = 2 * 2**30
    file_bytes: int = 2**30


RECIPE_LIMITS = Limits()

CLIP_LIMITS = Limits(seconds=120.0, memory_bytes=6 * 2**30)
"""A clip may take less than half of the memory, because its pictures are copied once."""

_children = threading.BoundedSemaphore(MAX_CHILDREN)


class _Answer(BaseModel):
    """What the child says: first this as one line, then pictures and sound if it read a clip."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    message: str | None = Field(default=None, max_length=1_000)
    next_step: str = Field(default=OTHER_FILE, max_length=1_000)
    recipe: Recipe | None = None
    kind: Kind = "video"
    num_frames: int = Field(default=0, ge=0, le=round(MAX_DURATION_S * MAX_FRAME_RATE) + 1)
    height: int = Field(default=0, ge=0, le=MAX_SIZE)
    width: int = Field(default=0, ge=0, le=MAX_SIZE)
    num_samples: int = Field(default=0, ge=0, le=round(MAX_DURATION_S * SAMPLE_RATES.stop) + 1)
    frame_rate: float = Field(default=1.0, gt=0.0, le=MAX_FRAME_RATE)
    sample_rate: int = Field(
        default=SAMPLE_RATES.start, ge=SAMPLE_RATES.start, lt=SAMPLE_RATES.stop
    )


def read_recipe_guarded(path: str | Path, limits: Limits = RECIPE_LIMITS) -> Recipe | None:
    """Recipe that a file of ours carries; None for a file without one.

    Raises:
        MediaError: as `read_recipe`, or it takes more time or memory than the limits.
    """
    with _answer_of("recipe", Path(path), limits) as (answer, _):
        return answer.recipe


def read_clip_guarded(path: str | Path, limits: Limits = CLIP_LIMITS) -> Clip:
    """Clip of a video file, as `read_clip` reads it.

    Raises:
        MediaError: as `read_clip`, or it takes more time or memory than the limits.
    """
    return _read("clip", Path(path), limits)[1]


def read_media_guarded(path: str | Path, limits: Limits = CLIP_LIMITS) -> tuple[Kind, Clip]:
    """What a file of any kind holds, as `read_media` reads it.

    Raises:
        MediaError: as `read_media`, or it takes more time or memory than the limits.
    """
    return _read("media", Path(path), limits)


def _read(task: Task, path: Path, limits: Limits) -> tuple[Kind, Clip]:
    with _answer_of(task, path, limits) as (answer, file):
        shape = (answer.num_frames, answer.height, answer.width, 3)
        num_bytes = answer.num_frames * answer.height * answer.width * 3
        expected = file.tell() + num_bytes + 2 * answer.num_samples * 4
        is_empty = not (answer.num_samples if answer.kind == "sound" else num_bytes)
        if is_empty or expected != os.fstat(file.fileno()).st_size:
            _refuse_broken()
        frames = np.fromfile(file, np.uint8, num_bytes).reshape(shape)
        waveform = np.fromfile(file, np.float32, 2 * answer.num_samples).reshape(2, -1)
        clip = Clip(frames, waveform, answer.frame_rate, answer.sample_rate, answer.recipe)
        return answer.kind, clip


@contextmanager
def _answer_of(task: Task, path: Path, limits: Limits) -> Iterator[tuple[_Answer, IO[bytes]]]:
    """What the child read, and its output after that line."""
    path = path.absolute()
    _check_file(path, limits)
    if not _children.acquire(timeout=limits.seconds):
        raise MediaError(
            "Too many files are being read at the moment.", next_step="Try again in a minute."
        )
    # A file, not a pipe: however much it says, nobody has to read it, and its size is limited.
    with tempfile.TemporaryFile() as file:
        try:
            status = _run(task, path, limits, file)
        finally:
            _children.release()
        if status != 0:
            logger.warning("reading a file ended with status %d", status)
            _refuse_broken()
        file.seek(0)
        answer = _parse(file.readline(MAX_ANSWER_BYTES))
        if answer.message is not None:
            raise MediaError(answer.message, next_step=answer.next_step)
        yield answer, file


def _check_file(path: Path, limits: Limits) -> None:
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        raise MediaError(
            "The file cannot be opened.", next_step="Choose it again, or another one."
        ) from error
    if not stat.S_ISREG(found.st_mode):
        raise MediaError("This is not a file.", next_step="Choose a video file.")
    if found.st_size == 0:
        raise MediaError("The file is empty.", next_step=OTHER_FILE)
    if found.st_size > limits.file_bytes:
        raise MediaError(
            f"The file has {found.st_size / 2**20:,.0f} MiB.",
            next_step=f"Choose one of at most {limits.file_bytes / 2**20:,.0f} MiB.",
        )


def _run(task: Task, path: Path, limits: Limits, output: IO[bytes]) -> int:
    """Status that the child ended with.

    Raises:
        MediaError: it took too long, or could not be started.
    """
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    # Each thread, and each arena of the allocator, claims address space.
    environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
    command = [sys.executable, "-m", __name__, task, str(path)]
    command += [str(limits.seconds), str(limits.memory_bytes)]
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        raise MediaError(
            f"The file cannot be read now ({error.strerror}).", next_step="Try again in a minute."
        ) from error
    try:
        return child.wait(limits.seconds)
    except subprocess.TimeoutExpired as error:
        raise MediaError(
            f"Reading the file took more than {limits.seconds:g} s.",
            next_step="Choose a shorter or smaller file.",
        ) from error
    finally:
        child.kill()
        child.wait()


def _parse(line: bytes) -> _Answer:
    try:
        return _Answer.model_validate_json(line)
    except (ValidationError, RequestError, RecursionError):
        _refuse_broken()


def _refuse_broken() -> NoReturn:
    raise MediaError("The file is damaged or not a video.", next_step=OTHER_FILE)


def _limit_this_process(seconds: float, memory_bytes: int) -> None:
    if sys.platform == "win32":  # it has no such limits; the parent's clock remains
        return
    import resource

    for kind, most in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, max(1, round(2 * seconds))),
        (resource.RLIMIT_FSIZE, memory_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 64),
    ):
        hard = resource.getrlimit(kind)[1]
        limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (limit, limit))


def _write_answer(task: str, path: Path, output: IO[bytes]) -> None:
    """The child's work: a line of JSON, then the pictures and the sound of a clip."""
    clip = None
    try:
        if task != "recipe":
            kind, clip = read_media(path) if task == "media" else ("video", read_clip(path))
            num_frames, height, width, _ = clip.frames.shape
            answer = _Answer(
                recipe=clip.recipe,
                kind=kind,
                num_frames=num_frames,
                height=height,
                width=width,
                num_samples=clip.waveform.shape[1],
                frame_rate=clip.frame_rate,
                sample_rate=clip.sample_rate,
            )
        else:
            answer = _Answer(recipe=read_recipe(path))
    except MediaError as error:
        # Paths of this machine are nobody's business; they stand in messages for the command line.
        message = error.message.replace(str(path), path.name)
        answer = _Answer(message=message[:1_000], next_step=error.next_step[:1_000])
    except MemoryError:
        answer = _Answer(
            message="Reading the file takes too much memory.",
            next_step="Cut it shorter or make its pictures smaller.",
        )
    line = answer.model_dump_json(exclude_defaults=True).encode()
    if len(line) >= MAX_ANSWER_BYTES:
        line = _Answer(message="The file's recipe is too long.").model_dump_json().encode()
    output.write(line + b"\n")
    if clip is not None and len(line) < MAX_ANSWER_BYTES:
        output.write(np.ascontiguousarray(clip.frames).data)
        output.write(np.ascontiguousarray(clip.waveform, np.float32).data)
    output.flush()


def _main(task: str, path: str, seconds: str, memory_bytes: str) -> None:
    _limit_this_process(float(seconds), int(memory_bytes))
    # What a library prints must not get between the numbers.
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    _write_answer(task, Path(path), output)


if __name__ == "__main__":
    _main(*sys.argv[1:])
