"""How much an upsampler adds to a small picture, on scenes that training never saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from ltx2.checkpoint.catalog import find_model
from ltx2.checkpoint.loader import load_upsampler
from ltx2.checkpoint.reader import CheckpointFile
from ltx2.media.frames import from_uint8_frames
from ltx2.model.upsampler import LatentUpsampler
from ltx2.model.video_vae import VideoVAE
from ltx2.progress import OnProgress, Progress, ignore_progress
from ltx2.training.autoencoders import psnr
from ltx2.training.puppet import architecture
from ltx2.training.puppet.export import UPSAMPLER_FILE
from ltx2.training.puppet.scenes import Scene
from ltx2.training.puppet.world import render


@dataclass(frozen=True)
class UpscalingQuality:
    """Likeness to pictures drawn at twice the size, mean PSNR in dB.

    Attributes:
        upsampler: latents of the small picture, upsampled and decoded.
        bicubic: the small picture, decoded and enlarged.
        ceiling: the large picture through the autoencoder.
    """

    upsampler: float
    bicubic: float
    ceiling: float


def upsampler_beside(model: str) -> LatentUpsampler:
    """The upsampler in the folder of a model.

    Args:
        model: known name or checkpoint folder.

    Raises:
        CheckpointError: there is none.
    """
    file = CheckpointFile.open(find_model(model).file.path.parent / UPSAMPLER_FILE)
    return load_upsampler(file, dtype=torch.float32, device="cpu").eval()


@torch.inference_mode()
def judge_upsampler(
    upsampler: LatentUpsampler,
    vae: VideoVAE,
    scenes: Sequence[Scene],
    *,
    on_progress: OnProgress = ignore_progress,
) -> UpscalingQuality:
    """What an upsampler reaches, and what it lies between."""
    ratios = []
    for number, scene in enumerate(scenes, start=1):
        large, small = (
            from_uint8_frames(
                render(
                    scene, num_frames=architecture.LARGE_NUM_FRAMES, height=side, width=side
                ).frames
            )[None]
            for side in (architecture.LARGE_SIDE, architecture.HEIGHT)
        )
        latents = vae.encode(small)
        made = vae.decode(vae.normalise(upsampler(vae.denormalise(latents))))
        frames = vae.decode(latents)[0].transpose(0, 1)  # [F, 3, H, W]
        enlarged = F.interpolate(frames, scale_factor=2, mode="bicubic").transpose(0, 1)[None]
        through = vae.decode(vae.encode(large))
        ratios.append([psnr(x.clamp(-1, 1), large) for x in (made, enlarged, through)])
        on_progress(Progress("upscale", number, len(scenes)))
    return UpscalingQuality(*np.mean(ratios, axis=0).tolist())
