"""Whose voice it is, as a vector: the speaker encoder of Resemblyzer (Apache-2.0).

Wan et al., "Generalized End-to-End Loss for Speaker Verification", ICASSP 2018. The weights come
with the package `Resemblyzer`, whose own code needs a package that no longer builds everywhere
and is not imported. Letters: S samples, L rows of the spectrum, P pieces.
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ltx2.errors import ResourceError

SAMPLE_RATE = 16_000
NUM_MELS, WINDOW, HOP = 40, 400, 160
PIECE_ROWS = 160
"""1.6 s, the length of training."""
PIECE_STEP = 77
"""Rows from one piece to the next, 1.3 pieces a second."""
LEAST_COVERAGE = 0.75
"""Of the last piece that must be sound and not the silence it is filled with."""
SIZE = 256
LEVEL_DBFS = -30.0
"""Quieter speech is raised to it; the network was trained so."""


class VoiceEncoder(nn.Module):
    """Three recurrent layers and a projection; names are those of the packaged file."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(NUM_MELS, SIZE, 3, batch_first=True)
        self.linear = nn.Linear(SIZE, SIZE)

    def forward(self, mels: Tensor) -> Tensor:
        """Mel spectra [P, 160, 40] to vectors of length 1 [P, 256]."""
        _, (hidden, _) = self.lstm(mels)
        raw = torch.relu(self.linear(hidden[-1]))
        return raw / raw.norm(dim=1, keepdim=True).clamp_min(1e-9)


@cache
def load_voice_encoder() -> VoiceEncoder:
    """The network with the packaged weights, in evaluation mode.

    Raises:
        ResourceError: the package is missing.
    """
    package = find_spec("resemblyzer")
    if package is None or package.origin is None:
        raise ResourceError(
            "Voices cannot be compared: the package Resemblyzer is missing.",
            next_step="Install it: pip install --no-deps Resemblyzer",
        )
    path = Path(package.origin).parent / "pretrained.pt"
    weights = torch.load(path, map_location="cpu", weights_only=True)["model_state"]
    network = VoiceEncoder()
    network.load_state_dict({name: weights[name] for name in network.state_dict()})
    return network.eval()


@torch.inference_mode()
def voice_vector(speech: NDArray[np.floating]) -> NDArray[np.float64]:
    """Vector of length 1 [256] of the voice in a sound without pauses.

    Args:
        speech: mono at 16 kHz [S], -1..1; half a second or more tells something.

    Raises:
        ResourceError: the package is missing.
    """
    network = load_voice_encoder()
    import librosa

    level = 10 * np.log10(np.mean(np.square(speech, dtype=np.float64)) + 1e-12)
    loud = np.asarray(speech, np.float32) * np.float32(10 ** (max(0.0, LEVEL_DBFS - level) / 20))
    rows = len(loud) // HOP + 1
    starts = _starts(rows)
    needed = (starts[-1] + PIECE_ROWS) * HOP
    padded = np.pad(loud, (0, max(0, needed - len(loud))))
    mels = librosa.feature.melspectrogram(
        y=padded, sr=SAMPLE_RATE, n_fft=WINDOW, hop_length=HOP, n_mels=NUM_MELS
    ).T.astype(np.float32)  # [L, 40]
    pieces = np.stack([mels[start : start + PIECE_ROWS] for start in starts])
    mean = network(torch.from_numpy(pieces)).numpy().astype(np.float64).mean(axis=0)
    whole: NDArray[np.float64] = mean / max(float(np.linalg.norm(mean)), 1e-9)
    return whole


def _starts(rows: int) -> list[int]:
    """First rows of the pieces; a last one that would be mostly silence is left out."""
    starts = list(range(0, max(1, rows - PIECE_ROWS + PIECE_STEP + 1), PIECE_STEP))
    if len(starts) > 1 and (rows - starts[-1]) / PIECE_ROWS < LEAST_COVERAGE:
        starts.pop()
    return starts
