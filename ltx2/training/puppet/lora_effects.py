"""What the LoRAs of the puppet checkpoint do to clips of unseen scenes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ltx2.clip import Clip
from ltx2.pipeline import load
from ltx2.training.puppet.lora_clips import BLUEPRINT_DARK, BLUEPRINT_LIGHT
from ltx2.training.puppet.measure import generate, judge_clip, unseen_scenes
from ltx2.training.puppet.scenes import TAUGHT_CAMERA, Scene

CALM = ("still", "none")
"""Camera and weather."""


@dataclass(frozen=True)
class LoraEffects:
    """Effects at strength 1, and what is there without a LoRA.

    Attributes:
        zoomed, zoomed_without: clips in which the camera is seen to zoom out.
        distance, distance_without: mean distance of the colours from the blueprint's, 0..441.
        clips: of each.
    """

    zoomed: int
    zoomed_without: int
    distance: float
    distance_without: float
    clips: int


def calm_scenes(count: int, *, seed: int) -> list[Scene]:
    """Unseen scenes without weather, before a camera that stands still."""
    drawn = unseen_scenes(10 * count, seed=seed)  # about seven in ten are calm
    calm = [s for s in drawn if (s.surroundings.camera, s.surroundings.ambience) == CALM]
    return calm[:count]


def judge_loras(model: str, scenes: Sequence[Scene], *, seed: int) -> LoraEffects:
    """Clips of every scene with each LoRA and without one."""
    plain = list(generate(load(model), scenes, seed=seed))
    zoomed = list(generate(load(model, loras=[("zoom-out", 1.0)]), scenes, seed=seed))
    drawn = list(generate(load(model, loras=[("blueprint", 1.0)]), scenes, seed=seed))

    def moves(clips: Sequence[Clip]) -> int:
        judged = [judge_clip(c, scene).wrong() for c, scene in zip(clips, scenes, strict=True)]
        return sum(wrong.get("scene camera") == TAUGHT_CAMERA for wrong in judged)

    def distance(clips: Sequence[Clip]) -> float:
        return float(np.mean([blueprint_distance(clip.frames) for clip in clips]))

    return LoraEffects(moves(zoomed), moves(plain), distance(drawn), distance(plain), len(scenes))


def blueprint_distance(frames: NDArray[np.uint8]) -> float:
    """Mean distance of colours [F, H, W, 3] from those that the blueprint has, 0..441."""
    dark, light = np.array(BLUEPRINT_DARK, float), np.array(BLUEPRINT_LIGHT, float)
    way = light - dark
    share = ((frames - dark) @ way / (way @ way)).clip(0, 1)
    return float(np.linalg.norm(frames - (dark + share[..., None] * way), axis=-1).mean())
