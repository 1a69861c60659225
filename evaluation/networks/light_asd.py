"""Light-ASD: how much each picture of a face looks like somebody who is speaking now.

Liao et al., "A Light Weight Model for Active Speaker Detection", CVPR 2023. With the shipped
weights the score follows the lips' movement and hardly the sound: it compares faces inside a
spoken line, and says nothing about synchrony.
Letters: B batch, T frames, C channels, N frames of a track.
"""

from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import gelu

from evaluation.networks.mfcc import mfcc

WEIGHTS = Path(__file__).parent / "weights" / "light_asd_talkset.safetensors"
FRAME_RATE = 25.0
"""Of the pictures that the network was trained on."""
ROWS_PER_FRAME = 4
SAMPLES_PER_FRAME = 640
DURATIONS_S = (1, 2, 3, 4, 5, 6)
"""Lengths of the pieces whose scores are averaged."""
GREY_MEAN, GREY_DEVIATION = 0.4161, 0.1688
BATCH_NORM_EPS = 1e-3
CHANNELS = (1, 32, 64, 128)
STRETCH = 100
"""Frames of a long track that are embedded at once; all those of a minute take gigabytes."""
REACH = 6
"""Frames before and after one that its embedding of the picture depends on: two in each block."""


class _VisualBlock(nn.Module):
    """Two branches, each over space and then over time, summed."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1) -> None:
        super().__init__()
        for size in (3, 5):
            reach = size // 2
            space = nn.Conv3d(
                inputs,
                outputs,
                (1, size, size),
                (1, stride, stride),
                (0, reach, reach),
                bias=False,
            )
            time = nn.Conv3d(outputs, outputs, (size, 1, 1), padding=(reach, 0, 0), bias=False)
            self.add_module(f"s_{size}", space)
            self.add_module(f"bn_s_{size}", nn.BatchNorm3d(outputs, BATCH_NORM_EPS))
            self.add_module(f"t_{size}", time)
            self.add_module(f"bn_t_{size}", nn.BatchNorm3d(outputs, BATCH_NORM_EPS))
        self.last = nn.Conv3d(outputs, outputs, 1, bias=False)
        self.bn_last = nn.BatchNorm3d(outputs, BATCH_NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        return _two_branches(self, x, "s")


class _AudioBlock(nn.Module):
    """Two branches, each over coefficients and then over time, summed."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        for size in (3, 5):
            reach = size // 2
            across = nn.Conv2d(inputs, outputs, (size, 1), padding=(reach, 0), bias=False)
            time = nn.Conv2d(outputs, outputs, (1, size), padding=(0, reach), bias=False)
            self.add_module(f"m_{size}", across)
            self.add_module(f"bn_m_{size}", nn.BatchNorm2d(outputs, BATCH_NORM_EPS))
            self.add_module(f"t_{size}", time)
            self.add_module(f"bn_t_{size}", nn.BatchNorm2d(outputs, BATCH_NORM_EPS))
        self.last = nn.Conv2d(outputs, outputs, 1, bias=False)
        self.bn_last = nn.BatchNorm2d(outputs, BATCH_NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        return _two_branches(self, x, "m")


def _two_branches(block: nn.Module, x: Tensor, first: str) -> Tensor:
    total: Tensor | float = 0.0
    for size in (3, 5):
        branch = x
        for name in (f"{first}_{size}", f"t_{size}"):
            normalised = block.get_submodule(f"bn_{name}")(block.get_submodule(name)(branch))
            branch = torch.relu(normalised)
        total = total + branch
    last = block.get_submodule("last")(total)
    return torch.relu(block.get_submodule("bn_last")(last))


class _VisualEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block1 = _VisualBlock(CHANNELS[0], CHANNELS[1], stride=2)
        self.block2 = _VisualBlock(CHANNELS[1], CHANNELS[2])
        self.block3 = _VisualBlock(CHANNELS[2], CHANNELS[3])
        self.pool = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))

    def forward(self, crops: Tensor) -> Tensor:
        """[B, T, 112, 112] in 0..255 to [B, T, 128]."""
        x = ((crops / 255 - GREY_MEAN) / GREY_DEVIATION)[:, None]
        x = self.pool(self.block1(x))
        x = self.block3(self.pool(self.block2(x)))
        return x.amax(dim=(3, 4)).transpose(1, 2)  # [B, C, T, h, w] -> [B, T, C]


class _AudioEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block1 = _AudioBlock(CHANNELS[0], CHANNELS[1])
        self.block2 = _AudioBlock(CHANNELS[1], CHANNELS[2])
        self.block3 = _AudioBlock(CHANNELS[2], CHANNELS[3])
        self.pool = nn.MaxPool2d((1, 3), (1, 2), (0, 1))

    def forward(self, rows: Tensor) -> Tensor:
        """[B, 4T, 13] to [B, T, 128]."""
        x = rows.transpose(1, 2)[:, None]  # [B, 1, 13, 4T]
        x = self.pool(self.block1(x))
        x = self.block3(self.pool(self.block2(x)))
        return x.mean(dim=2).transpose(1, 2)


class _BackAndForth(nn.Module):
    """A recurrent layer through time, and after it one backward in time."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.gru_forward = nn.GRU(size, size, batch_first=True)
        self.gru_backward = nn.GRU(size, size, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        there = gelu(self.gru_forward(x)[0])
        back = self.gru_backward(there.flip(1))[0].flip(1)
        return gelu(back)


class _Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.visualEncoder = _VisualEncoder()
        self.audioEncoder = _AudioEncoder()
        self.GRU = _BackAndForth(CHANNELS[-1])


class _Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.FC = nn.Linear(CHANNELS[-1], 2)


class LightASD(nn.Module):
    """The network with both heads; attribute names are those of the authors' files."""

    def __init__(self) -> None:
        super().__init__()
        self.model = _Model()
        self.lossAV = _Head()
        self.lossV = _Head()

    def embed_faces(self, crops: Tensor) -> Tensor:
        """[B, T, 112, 112] grey in 0..255 to [B, T, 128]."""
        return self.model.visualEncoder(crops)

    def embed_sound(self, rows: Tensor) -> Tensor:
        """MFCC [B, 4T, 13] to [B, T, 128]."""
        return self.model.audioEncoder(rows)

    def join(self, sound: Tensor, faces: Tensor) -> Tensor:
        """Both embeddings [B, T, 128], summed and seen in their context [B, T, 128]."""
        return self.model.GRU(sound + faces)

    def forward(self, crops: Tensor, rows: Tensor) -> Tensor:
        """Logits [B, T, 2] of silent and speaking."""
        return self.lossAV.FC(self.join(self.embed_sound(rows), self.embed_faces(crops)))

    @torch.inference_mode()
    def scores_by_duration(self, crops: Tensor, rows: Tensor) -> Tensor:
        """Speaking logit of each frame [6, T] with the track cut to pieces of 1 to 6 seconds.

        Args:
            crops: [T, 112, 112], 0..255.
            rows: MFCC [4T, 13].
        """
        faces = _FacesInPieces(self, crops)
        passes = []
        for duration in DURATIONS_S:
            piece = round(duration * FRAME_RATE)
            parts = []
            for start in range(0, len(crops), piece):
                end = min(start + piece, len(crops))
                sound = self.embed_sound(rows[None, start * ROWS_PER_FRAME : end * ROWS_PER_FRAME])
                joined = self.join(sound, faces(start, end)[None])
                parts.append(self.lossAV.FC(joined)[0, :, 1])
            passes.append(torch.cat(parts))
        return torch.stack(passes)


class _FacesInPieces:
    """Embeddings of pieces of a track, the same as if each were seen alone.

    A frame's embedding depends on `REACH` frames to each side, so only those near the ends of a
    piece differ from those of the whole track: six ways to cut cost little more than one.

    Args:
        network: that embeds.
        crops: of the whole track [T, 112, 112].
    """

    def __init__(self, network: LightASD, crops: Tensor) -> None:
        self._length = len(crops)
        self._embed = cache(lambda start, end: network.embed_faces(crops[None, start:end])[0])
        self._whole = torch.cat([self._stretch(first) for first in range(0, len(crops), STRETCH)])

    def __call__(self, start: int, end: int) -> Tensor:
        """Of the frames from `start` to before `end` [end - start, 128]."""
        if end - start <= 2 * REACH:
            return self._embed(start, end)
        faces = self._whole[start:end].clone()
        if start > 0:
            faces[:REACH] = self._embed(start, start + 2 * REACH)[:REACH]
        if end < self._length:
            faces[-REACH:] = self._embed(end - 2 * REACH, end)[-REACH:]
        return faces

    def _stretch(self, first: int) -> Tensor:
        """Of the next `STRETCH` frames of the whole track, seen with those around them."""
        start, end = max(0, first - REACH), min(self._length, first + STRETCH + REACH)
        return self._embed(start, end)[first - start : first - start + STRETCH]


@cache
def load_light_asd() -> LightASD:
    """The network with the shipped weights, in evaluation mode; loaded once per process."""
    network = LightASD()
    network.load_state_dict(load_file(WEIGHTS))
    return network.eval()


def speaking_scores(
    crops: NDArray[np.uint8], samples: NDArray[np.floating], frame_rate: float
) -> NDArray[np.float32]:
    """Speaking score of every frame of a track [N], averaged over six ways to cut it.

    Above 0 means speaking. Pictures keep their rate; the sound's windows are stretched to it,
    as in the authors' own evaluation on films.

    Args:
        crops: grey inner crops [N, 112, 112] (`face_crop.grey_centres`).
        samples: the track's mono sound at 16 kHz on the scale of 16-bit integers.
        frame_rate: of the crops, in Hz.
    """
    step = round(SAMPLES_PER_FRAME / ROWS_PER_FRAME * FRAME_RATE / frame_rate)
    # The last window reaches beyond the end, so that the last frame gets a score too.
    needed = len(crops) * ROWS_PER_FRAME * step + SAMPLES_PER_FRAME
    padded = np.pad(samples, (0, max(0, needed - len(samples))))
    rows = mfcc(padded, speed=FRAME_RATE / frame_rate)[: len(crops) * ROWS_PER_FRAME]
    network = load_light_asd()
    tensors = (torch.from_numpy(array.astype(np.float32)) for array in (crops, rows))
    return network.scores_by_duration(*tensors).mean(dim=0).numpy()


def smoothed(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """Means over five frames as the authors draw them [N + 1], from scores [N].

    A track has one frame more than it has scores; the very last score is never used.
    """
    last = len(scores) - 1
    return np.array(
        [np.mean(scores[max(f - 2, 0) : min(f + 3, last)]) for f in range(len(scores) + 1)]
    )
