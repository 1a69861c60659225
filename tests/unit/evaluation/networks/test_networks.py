from pathlib import Path

import numpy as np
import pytest
import torch

from evaluation.networks.light_asd import (
    DURATIONS_S,
    FRAME_RATE,
    ROWS_PER_FRAME,
    load_light_asd,
    speaking_scores,
)
from evaluation.networks.mfcc import mfcc
from evaluation.networks.syncnet import SyncNet, load_syncnet, read_offset
from ltx2.errors import CheckpointError


def test_digital_silence_has_the_floor_of_energy_and_nothing_else() -> None:
    rows = mfcc(np.zeros(16_000))
    assert rows.shape == (99, 13)
    assert rows[:, 0] == pytest.approx(np.log(2.0**-52))
    assert np.abs(rows[:, 1:]).max() < 1e-9


def test_every_frame_gets_a_score_at_any_frame_rate() -> None:
    rng = np.random.default_rng(0)
    for frame_rate in (24.0, 30.0):
        crops = rng.integers(0, 256, (10, 112, 112), dtype=np.uint8)
        sound = rng.normal(0, 900, round(10 / frame_rate * 16_000))
        scores = speaking_scores(crops, sound, frame_rate)
        assert scores.shape == (10,)
        assert np.isfinite(scores).all()


@torch.inference_mode()
def test_a_track_in_pieces_is_scored_as_if_each_were_seen_alone() -> None:
    network = load_light_asd()
    generator = torch.Generator().manual_seed(0)
    crops = 255 * torch.rand(29, 112, 112, generator=generator)
    rows = torch.randn(29 * ROWS_PER_FRAME, 13, generator=generator)
    piece = round(DURATIONS_S[0] * FRAME_RATE)
    alone = [
        network(crops[None, first:last], rows[None, 4 * first : 4 * last])[0, :, 1]
        for first, last in ((0, piece), (piece, 29))
    ]
    found = network.scores_by_duration(crops, rows)[0]
    assert torch.allclose(found, torch.cat(alone), atol=1e-5)


def test_sound_ahead_of_the_picture_is_a_positive_offset() -> None:
    rng = np.random.default_rng(1)
    features = rng.normal(size=(80, 64))
    reading = read_offset(features[10:60], features[14:64])  # sound row t = picture row t + 4
    assert reading.offset_frames == 4
    assert reading.fine_offset_frames == pytest.approx(4, abs=0.3)
    assert not reading.at_edge


def test_weights_are_read_from_a_file_and_others_refused(tmp_path: Path) -> None:
    weights = SyncNet().state_dict()
    kept = {name: value for name, value in weights.items() if "num_batches" not in name}
    torch.save(kept, tmp_path / "good.model")
    loaded = load_syncnet(tmp_path / "good.model").state_dict()
    assert torch.equal(loaded["netfclip.3.weight"], kept["netfclip.3.weight"])
    torch.save({"netfclip.3.weight": torch.zeros(2)}, tmp_path / "other.model")
    (tmp_path / "broken.model").write_bytes(b"no weights")
    for name in ("other.model", "broken.model", "missing.model"):
        with pytest.raises(CheckpointError, match="syncnet_v2"):
            load_syncnet(tmp_path / name)
