"""Clips that teach a LoRA what the puppet model does not know: a camera move or a style.

They are written as a user's own clips would be, MP4 files with a caption beside each, so that
the trainer for everybody makes these LoRAs too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ltx2.clip import Clip
from ltx2.training.puppet import architecture
from ltx2.training.puppet.scenes import TAUGHT_CAMERA, Scene, sample_scene
from ltx2.training.puppet.world import render

BLUEPRINT_DARK, BLUEPRINT_LIGHT = (14, 42, 120), (236, 244, 255)
SEED = 7000


def zooming_out(scene: Scene) -> Scene:
    """The scene seen by a camera that zooms out."""
    around = dataclasses.replace(scene.surroundings, camera=TAUGHT_CAMERA)
    return dataclasses.replace(scene, surroundings=around)


def standing_still(scene: Scene) -> Scene:
    """The scene seen by a camera that does not move."""
    around = dataclasses.replace(scene.surroundings, camera="still")
    return dataclasses.replace(scene, surroundings=around)


def as_blueprint(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pictures [F, H, W, 3] in shades of one blue, from dark to nearly white.

    The shade is the luma of ITU-R BT.601.
    """
    luma = frames.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32) / 255
    dark, light = np.array(BLUEPRINT_DARK), np.array(BLUEPRINT_LIGHT)
    return (dark + luma[..., None] * (light - dark) + 0.5).astype(np.uint8)


def unchanged(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The pictures as they are."""
    return frames


LESSONS: dict[
    str, tuple[Callable[[Scene], Scene], Callable[[NDArray[np.uint8]], NDArray[np.uint8]]]
] = {
    "zoom-out": (zooming_out, unchanged),
    "blueprint": (standing_still, as_blueprint),
}
"""What each LoRA is shown: how a scene and its pictures are changed. Captions stay as they are."""


def write_clips(folder: Path, lesson: str, *, count: int) -> None:
    """Writes `count` clips with captions beside them that are not there yet.

    Args:
        folder: made when missing.
        lesson: one of `LESSONS`.
        count: clips in all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    change_scene, change_frames = LESSONS[lesson]
    rng = np.random.default_rng(SEED)
    for number in range(count):
        clip = render(
            change_scene(sample_scene(rng)),
            num_frames=architecture.NUM_FRAMES,
            height=architecture.HEIGHT,
            width=architecture.WIDTH,
            frame_rate=architecture.FRAME_RATE,
            sample_rate=architecture.SAMPLE_RATE,
        )
        path = folder / f"{lesson}_{number:03d}.mp4"
        if path.exists():
            continue
        made = Clip(
            frames=change_frames(clip.frames),
            waveform=clip.waveform,
            frame_rate=clip.frame_rate,
            sample_rate=clip.sample_rate,
        )
        made.save(path)
        path.with_suffix(".txt").write_text(clip.caption)
