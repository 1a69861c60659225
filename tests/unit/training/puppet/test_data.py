"""Shards on disk: the same index gives the same clips, and latents follow them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from ltx2.model.audio_vae import AudioVAE, AudioVAEConfig
from ltx2.model.video_vae import VideoVAE, VideoVAEConfig
from ltx2.training.puppet import architecture
from ltx2.training.puppet.data import (
    FIRST_CONVERSATION_SHARD,
    Shards,
    complete_shards,
    render_shard,
    shard_frames,
)
from ltx2.training.puppet.latents import LatentShards, encode_missing

pytestmark = pytest.mark.skipif(
    shutil.which("espeak-ng") is None, reason="espeak-ng, which speaks the words, is missing"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work folder with one short and one long shard of two clips each."""
    folder = tmp_path_factory.mktemp("work")
    for index in (0, 3):
        render_shard(folder / "shards", index, clips=2)
    return folder


def test_a_shard_is_rendered_the_same_again(folder: Path, tmp_path: Path) -> None:
    again = render_shard(tmp_path, 0, clips=2)
    for name in ("frames.npy", "waveforms.npy"):
        assert np.array_equal(np.load(again / name), np.load(folder / "shards/shard_0000" / name))


def test_a_shard_that_was_cut_short_is_not_counted_and_is_rendered_anew(tmp_path: Path) -> None:
    shard = tmp_path / "shard_0001"
    shard.mkdir()
    (shard / "frames.npy").write_bytes(b"half")
    assert complete_shards(tmp_path) == []
    render_shard(tmp_path, 1, clips=1)
    assert complete_shards(tmp_path) == [shard]
    assert np.load(shard / "frames.npy").shape[0] == 1


def test_every_fourth_shard_holds_clips_of_twice_the_length() -> None:
    assert [shard_frames(i) for i in range(4)] == [49, 49, 49, 97]


def test_later_shards_hold_conversations_only(tmp_path: Path) -> None:
    shard = render_shard(tmp_path, FIRST_CONVERSATION_SHARD, clips=6)
    captions = json.loads((shard / "captions.json").read_text())
    english = [text for clip in captions for text in clip if " left" in text]
    assert len(english) > 6
    assert all(" right" in text for text in english)


def test_cuts_have_the_length_asked_for_and_lie_in_range(folder: Path) -> None:
    shards = Shards.open(folder / "shards")
    generator = torch.Generator().manual_seed(0)
    video = shards.random_video(3, 17, generator)
    waveform = shards.random_waveform(3, 4000, generator)
    assert video.shape == (3, 3, 17, 96, 96)
    assert waveform.shape == (3, 2, 4000)
    assert -1.0 <= float(video.min()) < float(video.max()) <= 1.0


def test_latents_follow_the_shards_and_batches_have_one_length(folder: Path) -> None:
    torch.manual_seed(0)
    video_vae = VideoVAE(VideoVAEConfig.from_metadata(architecture.CONFIG))
    audio_vae = AudioVAE(AudioVAEConfig.from_metadata(architecture.CONFIG))
    encode_missing(folder, video_vae, audio_vae)
    shards = LatentShards.open(folder)
    assert [tuple(v.shape[2:]) for v in shards.video] == [(7, 6, 6), (13, 6, 6)]
    assert [a.shape[2] for a in shards.audio] == [51, 101]
    known = set(shards.all_captions())
    sizes = set()
    generator = torch.Generator().manual_seed(1)
    for _ in range(8):
        batch = shards.random_batch(4, generator)
        sizes.add((len(batch.captions), batch.video.shape[2], batch.audio.shape[2]))
        assert set(batch.captions) <= known
    # Long clips come in smaller batches, so that steps cost about the same.
    assert sizes == {(4, 7, 51), (2, 13, 101)}


def test_captions_of_a_shard_are_paraphrases_of_its_clips(folder: Path) -> None:
    captions = json.loads((folder / "shards/shard_0000/captions.json").read_text())
    assert len(captions) == 2
    assert all(len(set(paraphrases)) > 1 for paraphrases in captions)
