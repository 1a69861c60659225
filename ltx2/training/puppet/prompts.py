"""Ten scenes in combinations that training never sees, for pictures and tables that stay alike."""

from __future__ import annotations

from ltx2.training.puppet.captions import caption
from ltx2.training.puppet.scenes import BouncingBall, Scene, TalkingFace

TEN_SCENES: tuple[Scene, ...] = (
    TalkingFace("purple", "crown", "white", "left", "hello", "en", "high", 0.4, 1),
    TalkingFace("red", "crown", "black", "right", "banana", "en", "low", 0.35, 2),
    TalkingFace("green", "party hat", "pink", "centre", "goodbye", "en", "low", 0.45, 3),
    TalkingFace("yellow", "none", "black", "right", "music", "en", "high", 0.5, 4),
    TalkingFace("red", "none", "cyan", "centre", "tomorrow", "en", "high", 0.3, 5),
    TalkingFace("purple", "party hat", "pink", "left", "robot", "en", "low", 0.55, 6),
    BouncingBall("red", "wood", "black", "left", 0.42, 7),
    BouncingBall("red", "metal", "cyan", "right", 0.44, 8),
    BouncingBall("orange", "wood", "white", "centre", 0.46, 9),
    BouncingBall("orange", "metal", "grey", "left", 0.4, 10),
)

TEN_PROMPTS: tuple[str, ...] = tuple(caption(scene) for scene in TEN_SCENES)
