"""Clips that the owner of a study hands in through the page, kept as folders that a study names."""

import secrets
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from evaluation.preference.clips import MANIFESTS, SUFFIXES, Problem, examine
from evaluation.preference.study import PromptId, StudyModel
from ltx2.errors import RequestError, ResourceError
from ltx2.media.guarded import read_clip_guarded

MAX_FILES = 2_000
"""Files of one study."""

MAX_NAME_BYTES = 255
"""Longest file name that file systems take."""

_PROMPT_ID = TypeAdapter(PromptId)


@dataclass(frozen=True)
class Upload:
    """One file as it came.

    Attributes:
        model: whose clip it is.
        name: as its sender named it, PROMPT_ID.mp4 or a manifest; folders before it are left out.
        file: where the server put it; it is copied, never moved.
    """

    model: str
    name: str
    file: Path


def keep_uploads(uploads: Sequence[Upload], folder: Path) -> tuple[StudyModel, ...]:
    """Models for a study, whose folders hold copies of the files; all of them, or none.

    Each clip is decoded by a process of its own before it is kept.

    Args:
        uploads: of all models.
        folder: where a new folder is made.

    Raises:
        RequestError: names every file that is no clip that can be shown, every clip that one of
            the models lacks, and every name that cannot be used.
        ResourceError: the files cannot be written.
    """
    if len(uploads) > MAX_FILES:
        raise RequestError(
            f"{len(uploads)} files are more than the {MAX_FILES} of one study.",
            next_step="Put the folders where the server can read them, and name them in the study.",
        )
    models = sorted({upload.model for upload in uploads})
    if len(models) < 2:
        raise RequestError(
            "There are clips of fewer than two models.", next_step="Add clips of another one."
        )
    problems = [*_bad_names(uploads), *_missing(uploads)]
    named = {(problem.model, problem.prompt) for problem in problems}
    problems += _bad_clips([u for u in uploads if (u.model, _prompt(u)) not in named])
    if problems:
        listed = "\n".join(f"- {problem}" for problem in problems)
        raise RequestError(
            f"{len(problems)} of the files cannot be used:\n{listed}\n",
            next_step="Replace them; nothing was kept.",
        )
    place = folder / secrets.token_hex(8)
    # Names of models may hold anything; folders are numbered.
    own = {model: place / str(number) for number, model in enumerate(models, 1)}
    try:
        for upload in uploads:
            own[upload.model].mkdir(parents=True, exist_ok=True)
            shutil.copyfile(upload.file, own[upload.model] / _base(upload))
    except OSError as error:
        shutil.rmtree(place, ignore_errors=True)
        raise ResourceError(
            f"The clips cannot be kept: {error.strerror}.",
            next_step="Free disk space on the server, then send them again.",
        ) from error
    return tuple(StudyModel(name=model, folder=own[model]) for model in models)


def _base(upload: Upload) -> str:
    return upload.name.replace("\\", "/").rpartition("/")[2]


def _prompt(upload: Upload) -> str:
    return Path(_base(upload)).stem


def _clips(uploads: Sequence[Upload]) -> Iterator[Upload]:
    for upload in uploads:
        if Path(_base(upload)).suffix.lower() in SUFFIXES:
            yield upload


def _bad_names(uploads: Sequence[Upload]) -> Iterator[Problem]:
    seen: set[tuple[str, str]] = set()
    for upload in uploads:
        name, prompt = _base(upload), _prompt(upload)
        if not 0 < len(upload.model) <= 120:
            yield Problem(
                upload.model[:120], prompt[:120], "the model's name has no 1 to 120 letters."
            )
        if name in MANIFESTS:
            continue
        if Path(name).suffix.lower() not in SUFFIXES:
            yield Problem(upload.model, prompt[:120], f"it is none of {', '.join(SUFFIXES)}.")
            continue
        try:
            _PROMPT_ID.validate_python(prompt)
            usable = len(name.encode()) <= MAX_NAME_BYTES
        except (ValidationError, UnicodeEncodeError):
            usable = False
        if not usable:
            yield Problem(upload.model, prompt[:120], "its name is too long, or is no name.")
        if (upload.model, prompt) in seen:
            yield Problem(upload.model, prompt, "there are two clips of this name.")
        seen.add((upload.model, prompt))


def _missing(uploads: Sequence[Upload]) -> Iterator[Problem]:
    given = {(upload.model, _prompt(upload)) for upload in _clips(uploads)}
    for prompt in sorted({prompt for _, prompt in given}):
        for model in sorted({upload.model for upload in uploads}):
            if (model, prompt) not in given:
                yield Problem(model, prompt, "the clip is missing.")


def _bad_clips(uploads: Sequence[Upload]) -> Iterator[Problem]:
    for upload in _clips(uploads):
        found = examine(upload.model, _prompt(upload), upload.file, read=read_clip_guarded)
        if isinstance(found, Problem):
            yield found
