"""Lip movements expected from sound: a linear map from Whisper's features, fitted by ridge.

Letters: T times at `RATE`, K features of the lips, N features of the sound of D numbers each,
A of their principal axes, P = 3 A predictors, C training clips.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d
from scipy.signal import butter, sosfiltfilt

from evaluation.metrics.faces import CHIN, FOREHEAD, LOWER_LIP, MOUTH_CORNERS, UPPER_LIP, FaceTrack
from evaluation.metrics.sound import SPEECH_RATE
from evaluation.metrics.speech_features import FEATURE_RATE
from ltx2 import Clip

Array = NDArray[np.float64]

RATE = 100.0
BAND_HZ = (1.0, 8.0)
"""Syllables; slower is posture, faster is jitter of the landmarks."""
TAPS_S = (-0.06, 0.0, 0.06)
NUM_AXES = 96
PENALTY = 8000.0
"""Of the squared weights, with every predictor and feature scaled to vary by 1."""
OUTER_LIPS = (0, 17)
LARGEST_HOLE_S = 0.2
DIGITAL_SILENCE, SILENT_ROWS = 1e-9, 5
"""Power beside the loud parts that no microphone reaches, and for how many rows it must last."""
WEIGHTS = Path(__file__).parent / "weights" / "landmark_ridge.npz"
SIGNATURE_SIDE = 4
LARGEST_SIGNATURE_DIFFERENCE = 2.0
"""Grey levels by which decoders may differ on the same file."""


@dataclass(frozen=True)
class Ridge:
    """Fitted weights, and those fitted without one of the training clips each.

    A training clip is recognised by its pictures and measured with weights that never saw it, so
    that calibrating on the training clips is honest.

    Attributes:
        weights: [3, D, K], by tap.
        held_out: [C, 3, D, K].
        signatures: of the training clips [C, 3 * 16].
    """

    weights: Array
    held_out: Array
    signatures: Array

    @classmethod
    def load(cls, path: Path = WEIGHTS) -> Self:
        """Weights from a file written by `train`."""
        with np.load(path) as file:
            names = ("weights", "held_out", "signatures")
            return cls(*(file[name].astype(np.float64) for name in names))

    def weights_for(self, clip: Clip) -> Array:
        """Weights [3, D, K] that were not fitted on this clip."""
        away = np.abs(self.signatures - signature(clip)).max(axis=1)
        nearest = int(away.argmin())
        known = away[nearest] <= LARGEST_SIGNATURE_DIFFERENCE
        return self.held_out[nearest] if known else self.weights


@cache
def shipped_ridge() -> Ridge:
    """The weights that come with the package."""
    return Ridge.load()


def principal_axes(features: Sequence[NDArray[np.float32]]) -> Array:
    """Axes along which features vary most, scaled so that they vary by 1 [D, A]."""
    every = np.concatenate(features).astype(np.float64)
    spread, axes = np.linalg.eigh(np.cov(every.T))
    order = np.argsort(-spread)[:NUM_AXES]
    scaled: Array = axes[:, order] / np.sqrt(spread[order])
    return scaled


def fit(pairs: Sequence[tuple[Array, Array]], axes: Array) -> Array:
    """Weights [3, D, K] from predictors [T, P] along axes [D, A] and lip movements [T, K]."""
    gram = sum(sound.T @ sound for sound, _ in pairs) + PENALTY * np.eye(pairs[0][0].shape[1])
    products = sum(sound.T @ lips for sound, lips in pairs)
    along = np.linalg.solve(gram, products).reshape(len(TAPS_S), axes.shape[1], -1)
    return np.einsum("da,tak->tdk", axes, along).astype(np.float64)


def signature(clip: Clip) -> Array:
    """Brightness of 16 fields in the first, middle and last picture [48]."""
    parts = []
    for number in (0, len(clip.frames) // 2, len(clip.frames) - 1):
        grey = clip.frames[number].mean(axis=-1)
        for band in np.array_split(grey, SIGNATURE_SIDE, axis=0):
            parts += [part.mean() for part in np.array_split(band, SIGNATURE_SIDE, axis=1)]
    return np.array(parts)


def lip_movements(face: FaceTrack, frame_rate: float, duration_s: float) -> Array:
    """Opening within and around the lips, and width, each varying by 1 [T, 3]; NaN if unseen."""
    assert face.landmarks is not None
    points = face.landmarks.astype(np.float64)
    height = _distance(points, FOREHEAD, CHIN)
    pairs = zip(UPPER_LIP, LOWER_LIP, strict=True)
    inner = np.mean([_distance(points, *pair) for pair in pairs], axis=0)
    raw = np.stack(
        [inner, _distance(points, *OUTER_LIPS), _distance(points, *MOUTH_CORNERS)], axis=1
    )
    times = np.arange(int(duration_s * RATE)) / RATE
    seen = np.isfinite(raw[:, 0])
    # A picture shows the middle of the time for which it stands.
    known = (face.frames[seen] + 0.5) / frame_rate
    shares = raw[seen] / height[seen, None]
    moves = np.stack([np.interp(times, known, column) for column in shares.T], axis=1)
    moves = _band_passed(moves)
    away = np.abs(times[:, None] - known[None]).min(axis=1)
    moves[away > LARGEST_HOLE_S / 2] = np.nan
    return moves / (np.nanstd(moves, axis=0) + 1e-12)


def expected_movements(
    features: NDArray[np.float32], weights: Array, speech: NDArray[np.float32], duration_s: float
) -> Array:
    """Movements that the sound lets expect, band-passed [T, K].

    NaN in digital silence: that is where a sound was cut or shifted, not where somebody pauses.

    Args:
        features: of the sound [N, D] (`speech_features`).
        weights: [3, D, K].
        speech: the sound itself, mono at 16 kHz.
        duration_s: of the clip.
    """
    silent = digital_silence(speech, duration_s)
    moves = np.zeros((len(silent), weights.shape[2]))
    # Silence that was put in is nothing that somebody said.
    shown = _at_rate(features, len(silent))
    shown[silent] = shown[~silent].mean(axis=0) if not silent.all() else 0.0
    rows = np.arange(len(silent))
    for tap, part in zip(TAPS_S, weights, strict=True):
        moves += (shown @ part)[np.clip(rows + round(tap * RATE), 0, len(rows) - 1)]
    moves = _band_passed(moves)
    moves[silent] = np.nan
    return moves


def tap_features(
    features: NDArray[np.float32], duration_s: float, axes: Array
) -> NDArray[np.float64]:
    """What `fit` takes [T, 3 * A]: features along some axes [D, A], at each tap, band-passed."""
    count = int(duration_s * RATE)
    shown = _at_rate(features, count) @ axes
    rows = np.arange(count)
    taps = [shown[np.clip(rows + round(tap * RATE), 0, count - 1)] for tap in TAPS_S]
    return _band_passed(np.concatenate(taps, axis=1))


def digital_silence(speech: NDArray[np.float32], duration_s: float) -> NDArray[np.bool_]:
    """Where the sound [S] is quieter than any microphone [T]."""
    count, hop = int(duration_s * RATE), round(SPEECH_RATE / RATE)
    padded = np.pad(speech, (0, max(0, count * hop - speech.size)))[: count * hop]
    power = np.square(padded.astype(np.float64)).reshape(count, hop).mean(axis=1)
    loud = np.quantile(power, 0.95) + 1e-12
    quiet = (power < DIGITAL_SILENCE * loud).astype(float)
    return uniform_filter1d(quiet, SILENT_ROWS) > 0.5


def _at_rate(features: NDArray[np.float32], count: int) -> Array:
    """Features, whose times are the middles of 20 ms, at the middles of 10 ms [T, D]."""
    places = np.clip((np.arange(count) + 0.5) * FEATURE_RATE / RATE - 0.5, 0, len(features) - 1)
    first = np.minimum(places.astype(int), max(0, len(features) - 2))
    share = (places - first)[:, None]
    last = np.minimum(first + 1, len(features) - 1)
    return features[first] * (1 - share) + features[last] * share


def _distance(points: Array, a: int, b: int) -> Array:
    return np.linalg.norm(points[:, a] - points[:, b], axis=-1)


def _band_passed(values: Array) -> Array:
    """Values [T, K] between the limits of `BAND_HZ`, without delay."""
    filters = butter(2, BAND_HZ, "band", fs=RATE, output="sos")
    return sosfiltfilt(filters, values, axis=0, padlen=min(len(values) - 1, int(RATE)))
