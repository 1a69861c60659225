"""SyncNet: how far apart lips and sound are, and how well they fit.

Chung and Zisserman, "Out of time: automated lip sync in the wild", ACCV workshops 2016. The
weights (`syncnet_v2.model`) come from the authors' page, www.robots.ox.ac.uk/~vgg/software/lipsync,
and are not shipped. LSE-C and LSE-D are those of Prajwal et al., "A Lip Sync Expert Is All You
Need", 2020. Letters: B batch, M windows, V largest shift.
"""

import hashlib
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from numpy.typing import NDArray
from scipy.signal import medfilt
from torch import Tensor, nn

from evaluation.networks.mfcc import mfcc
from ltx2.errors import CheckpointError, ResourceError

FRAME_RATE = 25.0
WINDOW_FRAMES, WINDOW_ROWS, ROWS_PER_FRAME = 5, 20, 4
SAMPLES_PER_FRAME = 640
LARGEST_SHIFT = 15
"""Frames searched to both sides, as in every published LSE."""
BATCH = 20
DISTANCE_EPS = 1e-6
CONFIDENCE_SMOOTHING = 9
UNUSED = "num_batches_tracked"
NEXT_STEP = "Take syncnet_v2.model from www.robots.ox.ac.uk/~vgg/software/lipsync."


class SyncNet(nn.Module):
    """Two streams to a common space; attribute names are those of the authors' file."""

    def __init__(self) -> None:
        super().__init__()
        self.netcnnaud = nn.Sequential(
            *_layer2d(1, 64, 3, 1),
            nn.MaxPool2d(1, 1),
            *_layer2d(64, 192, 3, 1),
            nn.MaxPool2d(3, (1, 2)),
            *_layer2d(192, 384, 3, 1),
            *_layer2d(384, 256, 3, 1),
            *_layer2d(256, 256, 3, 1),
            nn.MaxPool2d(3, 2),
            *_layer2d(256, 512, (5, 4), 0),
        )
        self.netfcaud = _projection()
        self.netcnnlip = nn.Sequential(
            *_layer3d(3, 96, (5, 7, 7), stride=2),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *_layer3d(96, 256, (1, 5, 5), stride=2, padding=1),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
            *_layer3d(256, 256, (1, 3, 3), padding=1),
            *_layer3d(256, 256, (1, 3, 3), padding=1),
            *_layer3d(256, 256, (1, 3, 3), padding=1),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *_layer3d(256, 512, (1, 6, 6)),
        )
        self.netfclip = _projection()

    def embed_sound(self, windows: Tensor) -> Tensor:
        """MFCC windows [B, 1, 13, 20] to [B, 1024]."""
        return self.netfcaud(self.netcnnaud(windows).flatten(1))

    def embed_lips(self, windows: Tensor) -> Tensor:
        """BGR crops [B, 3, 5, 224, 224] in 0..255 to [B, 1024]."""
        return self.netfclip(self.netcnnlip(windows).flatten(1))


@dataclass(frozen=True)
class SyncReading:
    """What the distances between two series of embeddings say.

    Attributes:
        offset_frames: positive = sound early; whole frames.
        fine_offset_frames: the same between frames, by a parabola through the minimum.
        lse_d: least mean distance; lower is better.
        lse_c: median of the mean distances less the least one; higher is better.
        mean_distance: at each shift, sound's index less picture's from -V to V [2V + 1].
        distances: of each window [M, 2V + 1].
        confidence: of each window, smoothed over nine [M].
        at_edge: whether the best shift is the largest searched: then there is no match.
    """

    offset_frames: int
    fine_offset_frames: float
    lse_d: float
    lse_c: float
    mean_distance: NDArray[np.float64]
    distances: NDArray[np.float64]
    confidence: NDArray[np.float64]
    at_edge: bool


def read_offset(
    video: NDArray[np.floating], audio: NDArray[np.floating], largest_shift: int = LARGEST_SHIFT
) -> SyncReading:
    """Offset and its quality from embeddings of pictures and sound, [M, 1024] each."""
    shift = largest_shift
    padded = np.pad(np.asarray(audio, np.float64), ((shift, shift), (0, 0)))
    video = np.asarray(video, np.float64)
    distances = np.stack(
        [
            np.linalg.norm(video - padded[j : j + len(video)] + DISTANCE_EPS, axis=1)
            for j in range(2 * shift + 1)
        ],
        axis=1,
    )
    mean = distances.mean(axis=0)
    best, middle = int(mean.argmin()), float(np.median(mean))
    return SyncReading(
        offset_frames=shift - best,
        fine_offset_frames=shift - best - _vertex(mean, best),
        lse_d=float(mean[best]),
        lse_c=middle - float(mean[best]),
        mean_distance=mean,
        distances=distances,
        confidence=medfilt(middle - distances[:, best], CONFIDENCE_SMOOTHING),
        at_edge=best in (0, 2 * shift),
    )


@torch.inference_mode()
def embed(
    network: SyncNet, crops: NDArray[np.uint8], samples: NDArray[np.floating]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Embeddings of lips and sound, [M, 1024] each, one for each picture but the last five.

    Args:
        network: with its weights, in evaluation mode.
        crops: RGB crops [N, 224, 224, 3] (`face_crop.crops`).
        samples: the track's mono sound on the scale of 16-bit integers, 640 for each picture;
            for pictures at another rate than 25 Hz resample it so.
    """
    count = min(len(crops), len(samples) // SAMPLES_PER_FRAME) - WINDOW_FRAMES
    rows = torch.from_numpy(mfcc(samples).T.astype(np.float32))  # [13, R]
    pictures = torch.from_numpy(np.ascontiguousarray(crops[..., ::-1])).permute(3, 0, 1, 2)
    lips, sounds = [], []
    for first in range(0, count, BATCH):
        places = range(first, min(first + BATCH, count))
        lips.append(
            network.embed_lips(
                torch.stack([pictures[:, v : v + WINDOW_FRAMES].float() for v in places])
            )
        )
        sounds.append(
            network.embed_sound(
                torch.stack(
                    [rows[None, :, ROWS_PER_FRAME * v :][..., :WINDOW_ROWS] for v in places]
                )
            )
        )
    return torch.cat(lips).numpy(), torch.cat(sounds).numpy()


def find_weights(named: str) -> Path:
    """File with the authors' weights.

    Args:
        named: its path, or a file of the Hugging Face Hub as "OWNER/REPO/NAME", fetched once into
            the Hub's cache (HF_HOME, HF_TOKEN and HF_HUB_OFFLINE count).

    Raises:
        CheckpointError: there is no such file, or what came is not what the Hub says.
        ResourceError: the Hub does not answer.
    """
    path = Path(named).expanduser()
    if path.exists() or path.is_absolute() or named.count("/") < 2:
        return path
    owner, repo, name = named.split("/", 2)
    try:
        found = Path(hf_hub_download(f"{owner}/{repo}", name))
    except LocalEntryNotFoundError as error:
        raise ResourceError(
            f"{named} is not on this machine, and the Hugging Face Hub does not answer.",
            next_step="Check the network and HF_HUB_OFFLINE, or give the path of the file.",
        ) from error
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise CheckpointError(
            f"The Hugging Face Hub gives no {named}: {type(error).__name__}.",
            next_step="Check the name, and HF_TOKEN if the repository is private.",
        ) from error
    _check_digest(found)
    return found


def _check_digest(path: Path) -> None:
    """The Hub's cache names the content of a large file by its SHA-256."""
    promised = path.resolve().name
    if not re.fullmatch("[0-9a-f]{64}", promised):
        return
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() == promised:
            return
    raise CheckpointError(
        f"{path.name} in the Hub's cache is damaged: its checksum is not the promised one.",
        next_step=f"Delete {path.resolve()} and measure again; it is fetched anew.",
    )


@lru_cache(maxsize=1)
def load_syncnet(path: Path) -> SyncNet:
    """The network with the weights of a file, in evaluation mode.

    Raises:
        CheckpointError: the file is missing, unreadable, or holds something else.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            weights: object = load_file(path)
        else:
            weights = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(
            f"The SyncNet weights {path.name} cannot be read: {error}", next_step=NEXT_STEP
        ) from error
    network = SyncNet()
    _fill(network, weights, path.name)
    return network.eval()


def _fill(network: SyncNet, weights: object, name: str) -> None:
    if not isinstance(weights, Mapping):
        raise CheckpointError(f"{name} holds no SyncNet weights.", next_step=NEXT_STEP)
    expected = {key: value.shape for key, value in network.state_dict().items()}
    given = {key: value for key, value in weights.items() if not key.endswith(UNUSED)}
    needed = {key for key in expected if not key.endswith(UNUSED)}
    wrong = sorted(needed ^ given.keys()) or sorted(
        key for key in needed if given[key].shape != expected[key]
    )
    if wrong:
        listed = ", ".join(wrong[:3])
        raise CheckpointError(
            f"{name} does not fit SyncNet: {len(wrong)} tensors differ, as {listed}.",
            next_step=NEXT_STEP,
        )
    network.load_state_dict(given, strict=False)


def _layer2d(
    inputs: int, outputs: int, kernel: int | tuple[int, int], padding: int
) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=padding)
    return convolution, nn.BatchNorm2d(outputs), nn.ReLU()


def _layer3d(
    inputs: int, outputs: int, kernel: tuple[int, int, int], *, stride: int = 1, padding: int = 0
) -> tuple[nn.Module, ...]:
    convolution = nn.Conv3d(
        inputs, outputs, kernel, (1, stride, stride), padding=(0, padding, padding)
    )
    return convolution, nn.BatchNorm3d(outputs), nn.ReLU()


def _projection() -> nn.Sequential:
    return nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, 1024))


def _vertex(values: NDArray[np.float64], place: int) -> float:
    """Distance of a parabola's minimum from the least value, -0.5..0.5."""
    if not 0 < place < len(values) - 1:
        return 0.0
    before, least, after = values[place - 1 : place + 2]
    bend = before - 2 * least + after
    return float(np.clip((before - after) / (2 * bend), -0.5, 0.5)) if bend > 0 else 0.0
