"""Fits the landmark ridge: `python -m evaluation.metrics.lip_sync.train FOLDER...`.

The clips must be known to be in step. Beside the weights it writes those that were fitted without
each clip, and prints what they measure on it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from evaluation.measurement import NotMeasurable
from evaluation.metrics.faces import FaceTrack, find_faces
from evaluation.metrics.lip_sync import ridge
from evaluation.metrics.lip_sync.landmarks import evidence_of, person_reading
from evaluation.metrics.sound import mono_speech
from evaluation.metrics.speech_features import speech_features
from ltx2 import Clip
from ltx2.errors import LTX2Error, MediaError, ResourceError


def train(
    folders: Annotated[list[Path], typer.Argument(help="Clips with one face, in step.")],
    out: Annotated[Path, typer.Option(help="File to write.")] = ridge.WEIGHTS,
) -> None:
    """Fit the weights and print what each clip measures with those that never saw it."""
    examples: list[_Example] = []
    for path in sorted(file for folder in folders for file in folder.iterdir()):
        try:
            examples.append(_example(path))
        except LTX2Error as error:
            typer.echo(f"{path.name}: left out. {error}", err=True)
    held_out = []
    for example in examples:
        held_out.append(_fitted([other for other in examples if other is not example]))
        typer.echo(_line(example, held_out[-1]))
    out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        out,
        weights=_fitted(examples).astype(np.float32),
        held_out=np.array(held_out, np.float32),
        signatures=np.array([example.signature for example in examples], np.float32),
    )
    typer.echo(f"{out}: {len(examples)} clips")


@dataclass(frozen=True)
class _Example:
    """What is kept of a clip: features [N, D], movements [T, K] and what a reading needs."""

    name: str
    face: FaceTrack
    features: np.ndarray
    movements: np.ndarray
    signature: np.ndarray
    speech: np.ndarray
    frame_rate: float
    duration_s: float


def _fitted(examples: list[_Example]) -> np.ndarray:
    axes = ridge.principal_axes([example.features for example in examples])
    pairs = []
    for example in examples:
        predictors = ridge.tap_features(example.features, example.duration_s, axes)
        known = np.isfinite(example.movements).all(axis=1)
        pairs.append((predictors[known], example.movements[known]))
    return ridge.fit(pairs, axes)


def _example(path: Path) -> _Example:
    clip = Clip.load(path)
    faces = find_faces(clip, cartoon=False).tracks
    if not faces:
        raise MediaError(f"{path.name} shows no face.", next_step="Leave it out.")
    features = speech_features(clip)
    if isinstance(features, NotMeasurable):
        raise ResourceError(features.reason, next_step=features.next_step)
    return _Example(
        path.stem,
        faces[0],
        features,
        ridge.lip_movements(faces[0], clip.frame_rate, clip.duration_s),
        ridge.signature(clip),
        mono_speech(clip),
        clip.frame_rate,
        clip.duration_s,
    )


def _line(example: _Example, weights: np.ndarray) -> str:
    expected = ridge.expected_movements(
        example.features, weights, example.speech, example.duration_s
    )
    reading = person_reading(example.face, expected, example.frame_rate, example.duration_s)
    if reading is None:
        return f"{example.name}: nothing to compare"
    return (
        f"{example.name}: {reading.offset_ms:+.0f} ms, peak {reading.peak:.2f},"
        f" evidence {evidence_of(reading):.2f}"
    )


if __name__ == "__main__":
    typer.run(train)
