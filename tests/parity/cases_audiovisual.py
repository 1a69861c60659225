"""Light-ASD, SyncNet and what feeds them against recorded outputs."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from evaluation.networks.face_crop import crop_bounds, crops, grey_centres, smoothed_places
from evaluation.networks.light_asd import load_light_asd, smoothed
from evaluation.networks.mfcc import filterbank, mfcc
from evaluation.networks.syncnet import SyncNet, read_offset
from tests.parity.result import Result, compare

COMPONENTS = ("light_asd", "syncnet")

SYNCNET_SEED = 2024
"""The recorded streams ran with weights drawn by NumPy's legacy generator from this seed."""
VSHIFTS = {"in_sync_short_v10": 10}


def run(folder: Path) -> Iterator[Result]:
    """Every recorded output of one of the two networks."""
    tensors = load_file(folder / "io.safetensors")
    yield from (_light_asd if folder.name == "light_asd" else _syncnet)(tensors)


def _light_asd(recorded: dict[str, Tensor]) -> Iterator[Result]:
    yield _close("light_asd", "filterbank", "filterbank", filterbank(), recorded["filterbank"])
    for name in ("speechlike", "digital_silence_inside", "shorter_than_a_window"):
        # The logarithm of 2^-52 turns the rounding of silence into 1e-7.
        atol = 1e-6 if "silence" in name else 1e-9
        rows = mfcc(recorded[f"mfcc.{name}.wave"].numpy())
        yield _close("light_asd", "mfcc", name, rows, recorded[f"mfcc.{name}.mfcc"], atol)
    yield from _face_crop(recorded)
    yield from _networks(recorded)


def _face_crop(recorded: dict[str, Tensor]) -> Iterator[Result]:
    boxes = recorded["face_crop.boxes"].numpy()
    places, bounds = smoothed_places(boxes), crop_bounds(boxes)
    expected = recorded["face_crop.size_x_y_smoothed"]
    yield _close("light_asd", "face_crop", "size_x_y_smoothed", places, expected, 1e-9)
    edges = np.stack([bounds.padding, bounds.top, bounds.bottom, bounds.left, bounds.right], 1)
    expected = recorded["face_crop.pad_top_bottom_left_right"]
    yield _close("light_asd", "face_crop", "bounds", edges, expected, 0.0)
    chosen = recorded["face_crop.frame_index"].numpy()
    some = type(bounds)(
        *(getattr(bounds, side)[chosen] for side in ("padding", "top", "bottom", "left", "right"))
    )
    cut = crops(iter(recorded["face_crop.frames_rgb"].numpy()), some)
    # Two implementations of bilinear resizing round differently.
    expected = recorded["face_crop.crop224_rgb"]
    yield _close("light_asd", "face_crop", "crop224_rgb", cut, expected, 2.0)
    expected = recorded["face_crop.crop112_grey"]
    yield _close("light_asd", "face_crop", "crop112_grey", grey_centres(cut), expected, 2.0)


@torch.inference_mode()
def _networks(recorded: dict[str, Tensor]) -> Iterator[Result]:
    network = load_light_asd()
    for case, frames in (("clip_a", 50), ("clip_b", 74)):
        pictures = recorded[f"{case}.crops"][None, :frames].float()
        faces = network.embed_faces(pictures)
        sound = network.embed_sound(recorded[f"{case}.mfcc"][None])
        joined = network.join(sound, faces)
        for name, value, atol in (
            ("visual_embed", faces, 1e-4),
            ("audio_embed", sound, 1e-4),
            ("gru_out", joined, 1e-4),
            ("logits_av", network.lossAV.FC(joined), 1e-3),
            ("logits_v", network.lossV.FC(faces), 1e-3),
        ):
            yield compare("light_asd", case, name, value[0], recorded[f"{case}.{name}"], atol=atol)
    rows = mfcc(recorded["clip_b.wave"].numpy())
    yield _close("light_asd", "clip_b", "mfcc_float64", rows, recorded["clip_b.mfcc_float64"], 1e-9)
    pieces = {"clip_b": torch.arange(75), "clip_long": recorded["clip_long.crop_index"]}
    for case, index in pieces.items():
        rows = mfcc(recorded[f"{case}.wave"].numpy())
        count = min(len(index), len(rows) // 4)
        scores = network.scores_by_duration(
            recorded["clip_b.crops"][index[:count]].float(),
            torch.from_numpy(rows[: 4 * count].astype(np.float32)),
        )
        for name, value in (("scores_by_duration", scores), ("score_mean", scores.mean(dim=0))):
            yield compare("light_asd", case, name, value, recorded[f"{case}.{name}"], atol=1e-3)
        if case == "clip_long":
            # Rounded to one decimal first, as recorded; a value near x.x5 may flip.
            means = smoothed(np.round(scores.mean(dim=0).numpy().astype(np.float64), 1))
            expected = recorded["clip_long.score_smoothed"]
            yield _close("light_asd", case, "score_smoothed", means, expected, 0.05)


def _syncnet(recorded: dict[str, Tensor]) -> Iterator[Result]:
    for case in ("audio_leads_3", "audio_lags_5", "in_sync_short_v10", "unrelated"):
        reading = read_offset(
            recorded[f"{case}.video"].numpy(),
            recorded[f"{case}.audio"].numpy(),
            VSHIFTS.get(case, 15),
        )
        for name, value in (
            ("distances", reading.distances),
            ("mean_distance", reading.mean_distance),
            ("framewise_confidence", reading.confidence),
        ):
            yield _close("syncnet", case, name, value, recorded[f"{case}.{name}"], 1e-4)
    yield from _streams(recorded)


@torch.inference_mode()
def _streams(recorded: dict[str, Tensor]) -> Iterator[Result]:
    network = recorded_syncnet()
    frames, rows = recorded["network.frames_bgr"].float(), recorded["network.mfcc"]
    lips = torch.stack([frames[:, v : v + 5] for v in range(2)])
    sound = torch.stack([rows[None, :, 4 * v : 4 * v + 20] for v in range(2)])
    for name, value in (
        ("lip_conv_features", network.netcnnlip(lips).flatten(1)),
        ("audio_conv_features", network.netcnnaud(sound).flatten(1)),
        ("video_embed", network.embed_lips(lips)),
        ("audio_embed", network.embed_sound(sound)),
    ):
        expected = recorded[f"network.{name}"]
        atol = 1e-4 * float(expected.abs().max())  # of the largest value: these are raw features
        yield compare("syncnet", "network", name, value, expected, atol=atol)


def recorded_syncnet() -> SyncNet:
    """SyncNet with the weights that the recorded streams ran with."""
    network = SyncNet().eval()
    weights = network.state_dict()
    names = sorted(name for name in weights if "num_batches_tracked" not in name)
    for number, name in enumerate(names):
        shape = tuple(weights[name].shape)
        drawn = np.random.RandomState(SYNCNET_SEED * 1000 + number).standard_normal(shape)
        weights[name] = torch.from_numpy(_scaled(name, drawn)).float()
    network.load_state_dict(weights)
    return network


def _scaled(name: str, drawn: np.ndarray) -> np.ndarray:
    if name.endswith("running_var"):
        return 1 + 0.2 * np.abs(drawn)
    if name.endswith(("running_mean", "bias")):
        return 0.1 * drawn
    if drawn.ndim == 1:  # of a batch norm
        return 1 + 0.1 * drawn
    return drawn * np.sqrt(2 / np.prod(drawn.shape[1:]))


def _close(
    component: str,
    case: str,
    name: str,
    actual: np.ndarray,
    expected: Tensor,
    atol: float = 1e-9,
) -> Result:
    return compare(component, case, name, torch.from_numpy(actual), expected, atol=atol, rtol=0.0)
