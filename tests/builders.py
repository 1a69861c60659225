"""Small clips and recipes for tests, with values that are easy to recognise."""

import numpy as np

from ltx2.clip import Clip
from ltx2.geometry import num_samples
from ltx2.request import Recipe, Request


def a_recipe(prompt="A red ball bounces twice.", **request):
    return Recipe(
        software="ltx2 0.1.0",
        model="puppet",
        fingerprint="0123456789abcdef",
        request=Request(prompt=prompt, **request),
    )


def smooth_frames(num_frames=25, height=64, width=96):
    """Slow colour waves [F, H, W, 3] uint8."""
    y, x = np.mgrid[0:height, 0:width] / 64
    time = np.arange(num_frames)[:, None, None] / 24
    waves = (np.sin(3 * x + time), np.cos(2 * y + 2 * time), np.sin(x + y - time))
    return np.stack([127 + 120 * wave for wave in waves], axis=-1).round().astype(np.uint8)


def noise_frames(num_frames=25, height=64, width=96):
    """Pictures that no encoder can make small [F, H, W, 3] uint8."""
    return np.random.default_rng(0).integers(0, 256, (num_frames, height, width, 3), np.uint8)


def tones(duration_samples, sample_rate):
    """A different tone in each channel [2, S] float32."""
    time = np.arange(duration_samples) / sample_rate
    left, right = np.sin(2 * np.pi * 440 * time), np.sin(2 * np.pi * 660 * time)
    return np.stack([0.5 * left, 0.3 * right]).astype(np.float32)


def a_clip(frames=None, frame_rate=24.0, sample_rate=16_000, waveform=None, recipe=None):
    frames = smooth_frames() if frames is None else frames
    if waveform is None:
        waveform = tones(num_samples(len(frames), frame_rate, sample_rate), sample_rate)
    return Clip(frames, waveform, frame_rate, sample_rate, recipe)
