"""Clips of a study: which files they are, what they hold, and what is wrong with them.

A folder of a model holds `PROMPT_ID.mp4` (also .mov, .webm, .mkv), and may hold a manifest:
`manifest.json` (a list of objects) or `manifest.csv`, with the columns id (or prompt_id), and any
of prompt (or text), language, suite.
"""

import csv
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from evaluation.loudness import loudness_lufs
from evaluation.preference.study import Study, StudyModel, StudyPrompt
from ltx2.clip import Clip
from ltx2.errors import LTX2Error, RequestError
from ltx2.media.decode import read_clip

SUFFIXES = (".mp4", ".mov", ".webm", ".mkv")
MANIFESTS = ("manifest.json", "manifest.csv")

MIN_DURATION_S = 1.0
"""Shorter clips cannot be judged, and loudness gating needs 0.4 s."""

SILENCE_LUFS = -60.0
"""Softer clips count as silent: raising them to -23 LUFS would show noise, not sound."""

SHARPNESS_FRAMES, SHARPNESS_HEIGHT = 8, 360

BLACK_LEVEL = 20.0
"""Mean of 0..255 below which a picture counts as black."""


@dataclass(frozen=True)
class Source:
    """A clip that can be shown.

    Attributes:
        model, prompt: whose it is and of what.
        path: of the file as it came.
        sha256: of the file, hexadecimal.
        width, height: in pixels.
        frame_rate: pictures per second.
        duration_s: of the pictures.
        sample_rate: of the sound as it came.
        lufs: integrated loudness as it came.
        leading_black_s: how long the start is black.
        sharpness: mean size of the Laplacian of the brightness, 0..255, at a height of about 360
            pixels: what is seen at the distance from which the whole picture is seen.
    """

    model: str
    prompt: str
    path: Path
    sha256: str
    width: int
    height: int
    frame_rate: float
    duration_s: float
    sample_rate: int
    lufs: float
    leading_black_s: float
    sharpness: float = 1.0


@dataclass(frozen=True)
class Problem:
    """Why a clip cannot be shown.

    Attributes:
        model, prompt: whose clip.
        reason: a sentence for people.
    """

    model: str
    prompt: str
    reason: str

    def __str__(self) -> str:
        return f"{self.model}, prompt {self.prompt}: {self.reason}"


@dataclass(frozen=True)
class Gathered:
    """All clips of a study.

    Attributes:
        sources: by (model, prompt).
        problems: every one, not only the first.
        prompts: in the study's order, or sorted where the study names none.
    """

    sources: Mapping[tuple[str, str], Source]
    problems: tuple[Problem, ...]
    prompts: tuple[StudyPrompt, ...]

    def require_complete(self) -> None:
        """Nothing, if every clip can be shown.

        Raises:
            RequestError: names every clip that cannot.
        """
        if not self.prompts:
            raise RequestError(
                "The study has no clips.", next_step="Name folders that hold PROMPT_ID.mp4."
            )
        if self.problems:
            listed = "\n".join(f"- {problem}" for problem in self.problems)
            raise RequestError(
                f"{len(self.problems)} clips cannot be shown:\n{listed}\n",
                next_step="Replace them, or take their prompts out of the study.",
            )


def gather(study: Study) -> Gathered:
    """Every clip of the study, read and checked.

    Raises:
        RequestError: a manifest cannot be read.
    """
    files = {model.name: _files(model) for model in study.models}
    prompts = study.prompts or _named(study.models, files)
    sources, problems = {}, []
    for prompt in prompts:
        for model in study.models:
            found = examine(model.name, prompt.id, files[model.name].get(prompt.id))
            if isinstance(found, Source):
                sources[model.name, prompt.id] = found
            else:
                problems.append(found)
    return Gathered(sources, tuple(problems), tuple(prompts))


def _files(model: StudyModel) -> dict[str, Path]:
    if model.folder is None:
        return dict(model.clips)
    if not model.folder.is_dir():
        return {}
    return {
        path.stem: path
        for path in sorted(model.folder.iterdir(), reverse=True)
        if path.suffix.lower() in SUFFIXES
    }


def _named(
    models: Sequence[StudyModel], files: Mapping[str, Mapping[str, Path]]
) -> tuple[StudyPrompt, ...]:
    """Prompts of all manifests and all files: one that a single model lacks is not forgotten."""
    known: dict[str, StudyPrompt] = {}
    for model in models:
        for prompt in _manifest(model):
            known.setdefault(prompt.id, prompt)
    for model in models:
        for name in files[model.name]:
            known.setdefault(name, StudyPrompt(id=name))
    return tuple(known[name] for name in sorted(known))


def _manifest(model: StudyModel) -> Iterator[StudyPrompt]:
    if model.folder is None:
        return
    for path in (model.folder / name for name in MANIFESTS):
        if not path.is_file():
            continue
        try:
            for row in _rows(path):
                yield StudyPrompt(
                    id=row.get("id") or row.get("prompt_id") or "",
                    text=row.get("prompt") or row.get("text") or "",
                    language=row.get("language") or "",
                    suite=row.get("suite") or "",
                )
        except (OSError, ValueError, ValidationError, AttributeError, csv.Error) as error:
            raise RequestError(
                f"The manifest of {model.name} ({path.name}) cannot be read.",
                next_step="Give each clip an id, and prompt, language and suite where known.",
            ) from error
        return


def _rows(path: Path) -> list[dict[str, Any]]:
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix == ".csv":
        return list(csv.DictReader(text.splitlines()))
    rows = json.loads(text)
    if not isinstance(rows, list):
        raise ValueError("no list")
    return rows


def examine(
    model: str, prompt: str, path: Path | None, *, read: Callable[[Path], Clip] = read_clip
) -> Source | Problem:
    """What the clip is, or why it cannot be shown.

    Args:
        model, prompt: whose clip, of what.
        path: of the file; None where there is none.
        read: decodes it.
    """
    if path is None or not path.is_file():
        return Problem(model, prompt, "the clip is missing.")
    try:
        clip = read(path)
        content = path.read_bytes()
    except (LTX2Error, OSError) as error:
        reason = error.message if isinstance(error, LTX2Error) else "it cannot be opened."
        return Problem(model, prompt, f"unreadable. {reason}")
    if clip.waveform.shape[1] == 0:
        return Problem(model, prompt, "it has no sound track.")
    if clip.duration_s < MIN_DURATION_S:
        return Problem(model, prompt, f"it lasts {clip.duration_s:.2f} s, less than 1 s.")
    lufs = loudness_lufs(clip.waveform, clip.sample_rate)
    if lufs < SILENCE_LUFS:
        return Problem(model, prompt, "its sound is silent.")
    height, width = clip.frames.shape[1:3]
    return Source(
        model=model,
        prompt=prompt,
        path=path,
        sha256=hashlib.sha256(content).hexdigest(),
        width=width,
        height=height,
        frame_rate=clip.frame_rate,
        duration_s=clip.duration_s,
        sample_rate=clip.sample_rate,
        lufs=lufs,
        leading_black_s=_leading_black_s(clip),
        sharpness=_sharpness(clip.frames),
    )


def _sharpness(frames: np.ndarray) -> float:
    """Of up to `SHARPNESS_FRAMES` pictures [F, H, W, 3], evenly spread."""
    found = []
    for index in np.linspace(0, len(frames) - 1, min(len(frames), SHARPNESS_FRAMES)).astype(int):
        grey = frames[index].mean(axis=-1)
        step = max(1, round(len(grey) / SHARPNESS_HEIGHT))
        height, width = (size // step for size in grey.shape)
        grey = grey[: height * step, : width * step]
        small = grey.reshape(height, step, width, step).mean(axis=(1, 3))
        inner = small[1:-1, 1:-1]
        around = small[:-2, 1:-1] + small[2:, 1:-1] + small[1:-1, :-2] + small[1:-1, 2:]
        found.append(np.abs(4 * inner - around).mean())
    return float(np.mean(found))


def _leading_black_s(clip: Clip) -> float:
    for index, frame in enumerate(clip.frames):
        if frame[::4, ::4].mean() >= BLACK_LEVEL:
            return index / clip.frame_rate
    return clip.duration_s
