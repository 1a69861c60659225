"""Rendered shards as latents, which is all that the transformer's training reads.

One safetensors file per shard: `video` float16 [N, C, f, h, w] and `audio` float16
[N, c, l, m], both normalised; the captions are copied beside it.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ltx2.files import replaced
from ltx2.geometry import num_audio_latents
from ltx2.media.frames import from_uint8_frames
from ltx2.model.audio_vae import AudioVAE, MelSpectrogram
from ltx2.model.video_vae import VideoVAE
from ltx2.training.puppet import architecture
from ltx2.training.puppet.data import complete_shards

logger = logging.getLogger(__name__)

ENCODE_BATCH = 8


@torch.no_grad()
def encode_shard(shard: Path, target: Path, video_vae: VideoVAE, audio_vae: AudioVAE) -> None:
    """Writes the latents of one rendered shard to `target`."""
    frames = np.load(shard / "frames.npy", mmap_mode="r")
    waveforms = np.load(shard / "waveforms.npy", mmap_mode="r")
    mel_front_end = MelSpectrogram(audio_vae.config)
    length = num_audio_latents(
        frames.shape[1], architecture.FRAME_RATE, audio_vae.latents_per_second
    )
    video_latents, audio_latents = [], []
    for start in range(0, len(frames), ENCODE_BATCH):
        part = slice(start, start + ENCODE_BATCH)
        video = torch.stack([from_uint8_frames(clip) for clip in frames[part]])
        waveform = torch.from_numpy(np.array(waveforms[part], dtype=np.float32))
        with torch.autocast("cpu", torch.bfloat16):
            video_latents.append(video_vae.encode(video).half())
            mel = mel_front_end(waveform, architecture.SAMPLE_RATE)
            audio_latents.append(audio_vae.encode(mel)[:, :, :length].half())
    target.parent.mkdir(parents=True, exist_ok=True)
    captions = (shard / "captions.json").read_text()
    target.with_suffix(".json").write_text(captions)
    tensors = {
        "video": torch.cat(video_latents).contiguous(),
        "audio": torch.cat(audio_latents).contiguous(),
    }
    with replaced(target) as part_file:
        save_file(tensors, part_file)


def encode_missing(folder: Path, video_vae: VideoVAE, audio_vae: AudioVAE) -> None:
    """Encodes every complete shard that has no latents yet."""
    for shard in complete_shards(folder / "shards"):
        target = folder / "latents" / f"{shard.name}.safetensors"
        if not target.exists():
            encode_shard(shard, target, video_vae, audio_vae)
            logger.info("%s is encoded", shard.name)


@torch.no_grad()
def encode_pairs(folder: Path, video_vae: VideoVAE) -> None:
    """Encodes large pictures and small ones of the same scenes, where there are no latents yet.

    One safetensors file per shard in `pairs/`: `large` float16 [N, C, f, 2h, 2w] and `small`
    [N, C, f, h, w], both normalised.
    """
    for shard in complete_shards(folder / "large"):
        target = folder / "pairs" / f"{shard.name}.safetensors"
        if target.exists():
            continue
        tensors = {}
        for name in ("large", "small"):
            frames = np.load(folder / name / shard.name / "frames.npy", mmap_mode="r")
            latents = []
            for start in range(0, len(frames), ENCODE_BATCH):
                clips = frames[start : start + ENCODE_BATCH]
                video = torch.stack([from_uint8_frames(clip) for clip in clips])
                with torch.autocast("cpu", torch.bfloat16):
                    latents.append(video_vae.encode(video).half())
            tensors[name] = torch.cat(latents).contiguous()
        target.parent.mkdir(parents=True, exist_ok=True)
        with replaced(target) as part_file:
            save_file(tensors, part_file)


@dataclass(frozen=True)
class LatentBatch:
    """Training examples of equal length.

    Attributes:
        video: normalised latents [B, C, f, h, w] float32.
        audio: normalised latents [B, c, l, m] float32.
        captions: one per example.
    """

    video: Tensor
    audio: Tensor
    captions: list[str]


@dataclass(frozen=True)
class LatentShards:
    """Latents of all shards, in memory."""

    video: Sequence[Tensor]
    audio: Sequence[Tensor]
    captions: Sequence[list[list[str]]]

    @classmethod
    def open(cls, folder: Path) -> "LatentShards":
        """All encoded shards of a work folder."""
        video, audio, captions = [], [], []
        for path in sorted((folder / "latents").glob("*.safetensors")):
            tensors = load_file(path)
            video.append(tensors["video"])
            audio.append(tensors["audio"])
            captions.append(json.loads(path.with_suffix(".json").read_text()))
        return cls(video, audio, captions)

    def all_captions(self) -> list[str]:
        """Every caption, paraphrases included."""
        return [text for shard in self.captions for clip in shard for text in clip]

    def random_batch(self, size: int, generator: torch.Generator) -> LatentBatch:
        """Examples of one shard, whose clips all have one length, with one caption each."""
        shard = int(torch.randint(len(self.video), (), generator=generator))
        # A long clip costs twice as much: half as many of them keep steps equally long.
        shortest = min(v.shape[2] for v in self.video)
        size = max(1, size * shortest // self.video[shard].shape[2])
        clips = torch.randint(len(self.video[shard]), (size,), generator=generator)
        texts = [self.captions[shard][int(clip)] for clip in clips]
        picks = torch.randint(len(texts[0]), (size,), generator=generator).tolist()
        return LatentBatch(
            self.video[shard][clips].float(),
            self.audio[shard][clips].float(),
            [text[pick] for text, pick in zip(texts, picks, strict=True)],
        )


@dataclass(frozen=True)
class LatentPairs:
    """Normalised latents of small and large pictures of the same scenes, in memory."""

    small: Tensor
    large: Tensor

    @classmethod
    def open(cls, folder: Path) -> "LatentPairs":
        """All encoded pairs of a work folder."""
        shards = [load_file(path) for path in sorted((folder / "pairs").glob("*.safetensors"))]
        small, large = (torch.cat([shard[name] for shard in shards]) for name in ("small", "large"))
        return cls(small, large)

    def random_batch(self, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Small latents [B, C, f, h, w] and large ones [B, C, f, 2h, 2w], float32."""
        picks = torch.randint(len(self.small), (size,), generator=generator)
        return self.small[picks].float(), self.large[picks].float()
