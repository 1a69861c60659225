"""The upsampler's likeness to pictures drawn large."""

import shutil

import pytest
import torch

from ltx2.model.config import UpsamplerConfig
from ltx2.model.upsampler import LatentUpsampler
from ltx2.model.video_vae import VideoVAE, VideoVAEConfig
from ltx2.training.puppet import architecture
from ltx2.training.puppet.measure import unseen_scenes
from ltx2.training.puppet.upscaling import judge_upsampler

needs_voices = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="needs espeak-ng")


@needs_voices
def test_each_way_to_a_large_picture_is_compared_with_the_picture_drawn_large():
    torch.manual_seed(0)
    vae = VideoVAE(VideoVAEConfig.from_metadata(architecture.CONFIG)).eval()
    upsampler = LatentUpsampler(UpsamplerConfig.from_metadata(architecture.UPSAMPLER_CONFIG))
    told = []
    quality = judge_upsampler(
        upsampler, vae, unseen_scenes(1, seed=3), on_progress=lambda now: told.append(now.step)
    )
    assert told == [1]
    ratios = (quality.upsampler, quality.bicubic, quality.ceiling)
    assert all(0 < ratio < 20 for ratio in ratios)
    assert len(set(ratios)) == 3
