"""Network pictures to display pictures and back."""

import numpy as np
import torch
from einops import rearrange
from torch import Tensor


def to_uint8_frames(video: Tensor) -> np.ndarray:
    """Pictures [F, H, W, 3] uint8 of a decoded video [3, F, H, W] in about -1..1.

    Values are cut to the range and truncated, not rounded, as the released pipelines do.
    """
    frames = ((video.float() + 1.0) / 2.0).clamp(0.0, 1.0) * 255.0
    return rearrange(frames, "c f h w -> f h w c").byte().cpu().numpy()


def from_uint8_frames(frames: np.ndarray) -> Tensor:
    """Video [3, F, H, W] float32 in -1..1 of pictures [F, H, W, 3] uint8."""
    video = torch.from_numpy(np.array(frames)).float() / 127.5 - 1.0
    return rearrange(video, "f h w c -> c f h w")
