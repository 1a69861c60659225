"""Rendered clips on disk: shards of pictures, sound and scenes.

A shard is a folder with `frames.npy` uint8 [N, F, H, W, 3], `waveforms.npy` float16 [N, 2, S]
and `captions.json` (a list of N lists: the caption's paraphrases). Shards are rendered from
their index alone, so the same index always holds the same clips.
"""

import json
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ltx2.training.puppet import architecture
from ltx2.training.puppet.captions import caption
from ltx2.training.puppet.impacts import impact_sound
from ltx2.training.puppet.scenes import SceneKind, sample_scene
from ltx2.training.puppet.world import panned, render

logger = logging.getLogger(__name__)

CLIPS_PER_SHARD = 256
CLIPS_PER_LARGE_SHARD = 128
CAPTIONS_PER_CLIP = 6
PAIR_SHARD_SEED = 9000
FIRST_CONVERSATION_SHARD = 32
"""Shards from here on hold two puppets only: who of them speaks is the hardest thing to learn from
pictures of which mouths are a hundredth."""
LONG_SHARD_EVERY = 4
"""Every so many shards one holds clips of twice the length, so that the model learns both."""


def render_shard(folder: Path, index: int, *, clips: int = CLIPS_PER_SHARD) -> Path:
    """Folder of shard `index`, rendered unless it is already there."""
    kind = None if index < FIRST_CONVERSATION_SHARD else SceneKind.CONVERSATION
    frames = shard_frames(index)
    return _render(folder, index, clips, kind, num_frames=frames, side=architecture.HEIGHT)


def render_pair_shard(folder: Path, index: int, *, clips: int = CLIPS_PER_LARGE_SHARD) -> None:
    """Shard `index` of short clips of twice the size in `large/`, and the same scenes in `small/`.

    Its scenes are others than those of the shards of usual length.
    """
    for name, side in (("large", architecture.LARGE_SIDE), ("small", architecture.HEIGHT)):
        frames, number = architecture.LARGE_NUM_FRAMES, PAIR_SHARD_SEED + index
        _render(folder / name, number, clips, None, num_frames=frames, side=side)


def _render(
    folder: Path,
    index: int,
    clips: int,
    kind: SceneKind | None,
    *,
    num_frames: int,
    side: int,
) -> Path:
    shard = folder / f"shard_{index:04d}"
    if (shard / "captions.json").exists():
        return shard
    shard.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([20260105, index])
    frames: list[np.ndarray] = []
    waveforms: list[np.ndarray] = []
    captions: list[list[str]] = []
    for _ in range(clips):
        scene = sample_scene(rng, kind=kind)
        clip = render(
            scene,
            num_frames=num_frames,
            height=side,
            width=side,
            frame_rate=architecture.FRAME_RATE,
            sample_rate=architecture.SAMPLE_RATE,
        )
        frames.append(clip.frames)
        waveforms.append(clip.waveform.astype(np.float16))
        captions.append([caption(scene, rng) for _ in range(CAPTIONS_PER_CLIP)])
    np.save(shard / "frames.npy", np.stack(frames))
    np.save(shard / "waveforms.npy", np.stack(waveforms))
    # Written last: its presence says that the shard is complete.
    (shard / "captions.json").write_text(json.dumps(captions, ensure_ascii=False))
    return shard


def shard_frames(index: int) -> int:
    """Frames of the clips of shard `index`."""
    return (
        architecture.LONG_NUM_FRAMES
        if (index + 1) % LONG_SHARD_EVERY == 0
        else (architecture.NUM_FRAMES)
    )


def complete_shards(folder: Path) -> list[Path]:
    """Shards that are fully rendered, in order."""
    return [path.parent for path in sorted(folder.glob("shard_*/captions.json"))]


@dataclass(frozen=True)
class Shards:
    """Random access to rendered clips; new shards are picked up by opening again."""

    frames: list[np.ndarray]
    waveforms: list[np.ndarray]

    @classmethod
    def open(cls, folder: Path) -> "Shards":
        """All complete shards of a folder, memory-mapped."""
        paths = complete_shards(folder)
        return cls(
            [np.load(path / "frames.npy", mmap_mode="r") for path in paths],
            [np.load(path / "waveforms.npy", mmap_mode="r") for path in paths],
        )

    def random_video(
        self, batch: int, num_frames: int, generator: torch.Generator, *, side: int | None = None
    ) -> Tensor:
        """Pictures [B, 3, num_frames, H, W] in -1..1, cut at random places.

        Args:
            side: of squares cut at random places of the picture; None takes all of it.
        """
        clips = []
        for shard, clip in self._random_clips(batch, generator):
            frames = self.frames[shard][clip]
            starts = [0, 0, 0]
            sizes = (num_frames, *((side, side) if side else frames.shape[1:3]))
            for axis, size in enumerate(sizes):
                last = frames.shape[axis] - size
                starts[axis] = int(torch.randint(last + 1, (), generator=generator))
            cut = tuple(slice(a, a + size) for a, size in zip(starts, sizes, strict=True))
            clips.append(torch.from_numpy(np.array(frames[cut])))
        video = torch.stack(clips).permute(0, 4, 1, 2, 3)  # [B, 3, F, H, W]
        return video.float() / 127.5 - 1.0

    def random_waveform(self, batch: int, num_samples: int, generator: torch.Generator) -> Tensor:
        """Sound [B, 2, num_samples], cut at random places."""
        clips = []
        for shard, clip in self._random_clips(batch, generator):
            waveform = self.waveforms[shard][clip]
            last = waveform.shape[1] - num_samples
            start = int(torch.randint(last + 1, (), generator=generator))
            cut = np.array(waveform[:, start : start + num_samples], dtype=np.float32)
            clips.append(torch.from_numpy(cut))
        return torch.stack(clips)

    def _random_clips(self, batch: int, generator: torch.Generator) -> list[tuple[int, int]]:
        shards = torch.randint(len(self.frames), (batch,), generator=generator).tolist()
        clips = torch.randint(len(self.frames[0]), (batch,), generator=generator).tolist()
        return list(zip(shards, clips, strict=True))


def struck_metal(batch: int, num_samples: int, generator: torch.Generator) -> Tensor:
    """Cuts of struck metal, of any strength and side [B, 2, num_samples].

    Bells are rare in the world and the hardest thing that a vocoder learns in it.
    """
    cuts = []
    for _ in range(batch):
        strength, pitch, side, place = torch.rand(4, generator=generator).tolist()
        sound = impact_sound(
            "metal",
            strength=0.2 + 0.8 * strength,
            pitch=0.93 + 0.14 * pitch,
            sample_rate=architecture.SAMPLE_RATE,
            seed=int(torch.randint(1 << 16, (), generator=generator)),
        )
        start = int(place * (sound.size - num_samples // 2))
        cut = np.zeros(num_samples, np.float32)
        kept = sound[start : start + num_samples]
        cut[: kept.size] = kept
        cuts.append(torch.from_numpy(panned(cut, 2 * side - 1)))
    return torch.stack(cuts)
