"""Lip movements expected from sound: a linear map from log-mel spectra, fitted by ridge.

Letters: T times at `RATE`, K features of the lips, M mel bands, P predictors, C training clips.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, uniform_filter1d
from scipy.signal import butter, sosfiltfilt

from evaluation.metrics.faces import CHIN, FOREHEAD, LOWER_LIP, MOUTH_CORNERS, UPPER_LIP, FaceTrack
from evaluation.metrics.sound import SPEECH_RATE
from ltx2 import Clip

Array = NDArray[np.float64]

RATE = 100.0
BAND_HZ = (1.0, 8.0)
"""Syllables; slower is posture, faster is jitter of the landmarks."""
NUM_MELS = 32
TAPS_S = np.arange(-6, 7) * 0.02
PENALTY = 4000.0
"""Of the squared weights, with every predictor and feature scaled to vary by 1."""
OUTER_LIPS = (0, 17)
LARGEST_HOLE_S = 0.2
LOUDNESS_FLOOR = 1e-4
"""Of the power beside the loud parts of a clip."""
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
        weights: [P, K].
        held_out: [C, P, K].
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
        """Weights [P, K] that were not fitted on this clip."""
        away = np.abs(self.signatures - signature(clip)).max(axis=1)
        nearest = int(away.argmin())
        known = away[nearest] <= LARGEST_SIGNATURE_DIFFERENCE
        return self.held_out[nearest] if known else self.weights


@cache
def shipped_ridge() -> Ridge:
    """The weights that come with the package."""
    return Ridge.load()


def fit(pairs: list[tuple[Array, Array]]) -> Array:
    """Weights [P, K] from predictors [T, P] and lip movements [T, K] of some clips."""
    gram = sum(sound.T @ sound for sound, _ in pairs) + PENALTY * np.eye(pairs[0][0].shape[1])
    products = sum(sound.T @ lips for sound, lips in pairs)
    return np.linalg.solve(gram, products).astype(np.float64)


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


def sound_predictors(speech: NDArray[np.float32], duration_s: float) -> Array:
    """Log-mel spectra around each time, band-passed [T, P], of mono sound at 16 kHz.

    NaN in digital silence: that is where a sound was cut or shifted, not where somebody pauses.
    """
    bands, silent = _log_mel(speech)
    heard = bands[~silent] if not silent.all() else bands
    bands = (bands - heard.mean(axis=0)) / (heard.std(axis=0) + 1e-3)
    bands[silent] = 0.0
    bands = gaussian_filter1d(bands, 1.0, axis=0)
    count = int(duration_s * RATE)
    taps = np.round(TAPS_S * RATE).astype(int)
    rows = np.clip(np.arange(count)[:, None] + taps, 0, len(bands) - 1)
    predictors = _band_passed(bands[rows].reshape(count, -1))
    predictors[silent[rows[:, len(taps) // 2]]] = np.nan
    return predictors


def _log_mel(speech: NDArray[np.float32]) -> tuple[Array, NDArray[np.bool_]]:
    """Logarithm of mel spectra [T, M], and where there is digital silence [T]."""
    import librosa

    power = librosa.feature.melspectrogram(
        y=speech,
        sr=SPEECH_RATE,
        n_fft=512,
        hop_length=round(SPEECH_RATE / RATE),
        n_mels=NUM_MELS,
        fmin=60,
        fmax=7600,
    )
    mean = power.mean(axis=0)
    loud = np.quantile(mean, 0.95) + 1e-12
    silent = uniform_filter1d((mean < DIGITAL_SILENCE * loud).astype(float), SILENT_ROWS) > 0.5
    return np.log(power / loud + LOUDNESS_FLOOR).T.astype(np.float64), silent


def _distance(points: Array, a: int, b: int) -> Array:
    return np.linalg.norm(points[:, a] - points[:, b], axis=-1)


def _band_passed(values: Array) -> Array:
    """Values [T, K] between the limits of `BAND_HZ`, without delay."""
    filters = butter(2, BAND_HZ, "band", fs=RATE, output="sos")
    return sosfiltfilt(filters, values, axis=0, padlen=min(len(values) - 1, int(RATE)))
