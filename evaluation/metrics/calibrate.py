"""Planted offsets against measured ones, on clips that are known to be in step."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from evaluation.expectation import Expectation
from evaluation.measurement import Measured, Metric, Outcome
from ltx2 import Clip
from ltx2.errors import MediaError, RequestError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PlantedRow:
    """One clip with its sound moved, or with the sound of another.

    Attributes:
        clip: name of the file whose pictures are shown.
        sound: name of the file whose sound is heard.
        planted_ms: positive = sound early; None for the sound of another clip.
        measured_ms: None where it was not measurable.
        confidence: in the metric's own scale.
        reason: why it was not measurable; empty where it was.
    """

    clip: str
    sound: str
    planted_ms: float | None
    measured_ms: float | None
    confidence: float | None
    reason: str


@dataclass(frozen=True)
class Calibration:
    """How a metric reads what was planted; shares and errors are None where nothing tells them.

    Attributes:
        rows: every measurement.
        mean_abs_error_ms: over what was measurable.
        measurable_share: of the clips with their own sound, however moved.
        false_accept_share: of the clips with another's sound that were measurable all the same.
    """

    rows: tuple[PlantedRow, ...]
    mean_abs_error_ms: float | None
    measurable_share: float | None
    false_accept_share: float | None


def calibrate(
    folder: Path, metric: Metric, shifts_ms: Sequence[float], *, is_cartoon: bool = False
) -> Calibration:
    """Measures every clip of a folder with its sound moved, and with every other clip's sound.

    Args:
        folder: videos in step; files that are none are left out.
        metric: gives milliseconds, positive = sound early.
        shifts_ms: to plant, positive = sound early.
        is_cartoon: the clips are the puppet world's; else that is told from what is seen.

    Raises:
        RequestError: the folder is not there, or holds no clip with sound.
    """
    if not folder.is_dir():
        raise RequestError(f"{folder} is not a folder.", next_step="Name a folder of clips.")
    sounds = {path.name: _sound_only(clip) for path, clip in _clips(folder)}
    if not sounds:
        raise RequestError(
            f"{folder} holds no clip with sound that can be read.",
            next_step="Name a folder of videos that are known to be in step.",
        )
    expectation = Expectation(is_cartoon=is_cartoon)
    rows: list[PlantedRow] = []
    for path, clip in _clips(folder):
        faces_of = _SameFaces(clip, metric, expectation)
        for shift in shifts_ms:
            rows.append(_row(path.name, path.name, shift, faces_of(with_sound_early(clip, shift))))
        for other, sound in sounds.items():
            if other != path.name:
                rows.append(_row(path.name, other, None, faces_of(_with_sound_of(clip, sound))))
    return _summary(rows)


def with_sound_early(clip: Clip, early_ms: float) -> Clip:
    """The clip with its sound moved ahead of its pictures; later where negative.

    What moves in is silence, so the length stays.
    """
    count = round(abs(early_ms) / 1000 * clip.sample_rate)
    sound = np.zeros_like(clip.waveform)
    kept = max(sound.shape[1] - count, 0)
    if early_ms >= 0:
        sound[:, :kept] = clip.waveform[:, sound.shape[1] - kept :]
    else:
        sound[:, sound.shape[1] - kept :] = clip.waveform[:, :kept]
    return replace(clip, waveform=sound, recipe=None)


class _SameFaces:
    """Measures clips that share their pictures; faces are searched once."""

    def __init__(self, clip: Clip, metric: Metric, expectation: Expectation) -> None:
        self._clip, self._metric, self._expectation = clip, metric, expectation

    def __call__(self, changed: Clip) -> Outcome:
        from evaluation.metrics.faces import share_faces

        share_faces(self._clip, changed)
        return self._metric.measure(changed, self._expectation)


def _clips(folder: Path) -> Iterator[tuple[Path, Clip]]:
    for path in sorted(folder.iterdir()):
        if not path.is_file():
            continue
        try:
            clip = Clip.load(path)
        except MediaError as error:
            logger.warning("%s is left out: %s", path.name, error)
            continue
        if clip.waveform.size:
            yield path, clip


def _sound_only(clip: Clip) -> Clip:
    """The clip with one picture, so that a folder's sounds fit into memory."""
    return replace(clip, frames=clip.frames[:1].copy(), recipe=None)


def _with_sound_of(clip: Clip, other: Clip) -> Clip:
    """The pictures of one clip with another's sound, cut or filled with silence."""
    length = round(clip.duration_s * other.sample_rate)
    sound = other.waveform[:, :length]
    sound = np.pad(sound, ((0, 0), (0, length - sound.shape[1])))
    return replace(clip, waveform=sound, sample_rate=other.sample_rate, recipe=None)


def _row(clip: str, sound: str, planted_ms: float | None, outcome: Outcome) -> PlantedRow:
    if isinstance(outcome, Measured):
        return PlantedRow(clip, sound, planted_ms, outcome.value, outcome.confidence, "")
    reason = getattr(outcome, "reason", "") or getattr(outcome, "message", "")
    return PlantedRow(clip, sound, planted_ms, None, None, reason)


def _summary(rows: Sequence[PlantedRow]) -> Calibration:
    own = [row for row in rows if row.planted_ms is not None]
    swapped = [row for row in rows if row.planted_ms is None]
    errors = [
        abs(row.measured_ms - row.planted_ms)
        for row in own
        if row.measured_ms is not None and row.planted_ms is not None
    ]
    return Calibration(
        rows=tuple(rows),
        mean_abs_error_ms=float(np.mean(errors)) if errors else None,
        measurable_share=len(errors) / len(own) if own else None,
        false_accept_share=(
            sum(row.measured_ms is not None for row in swapped) / len(swapped) if swapped else None
        ),
    )
