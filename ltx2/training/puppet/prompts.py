"""Ten scenes in combinations that training never sees, for pictures and tables that stay alike."""

from __future__ import annotations

from ltx2.training.puppet.captions import caption
from ltx2.training.puppet.scenes import (
    BouncingBall,
    Line,
    Puppet,
    Scene,
    Surroundings,
    Talk,
    Xylophone,
)

TEN_SCENES: tuple[Scene, ...] = (
    Talk(
        (Puppet("red", "pink", "crown", "high", "left"),),
        (Line(0, "hello"),),
        Surroundings("cyan"),
        start_s=0.4,
        variation=1,
    ),
    Talk(
        (Puppet("green", "none", "top hat", "low", "right"),),
        (Line(0, "tomorrow"),),
        Surroundings("black", camera="zoom in"),
        start_s=0.35,
        variation=2,
    ),
    Talk(
        (Puppet("orange", "none", "party hat", "high", "centre"),),
        (Line(0, "gracias", "es"),),
        Surroundings("grey", ambience="rain"),
        start_s=0.45,
        variation=3,
    ),
    Talk(
        (Puppet("yellow", "brown", "top hat", "low", "centre"),),
        (Line(0, "Schmetterling", "de"),),
        Surroundings("black"),
        start_s=0.5,
        variation=4,
    ),
    Talk(
        (
            Puppet("green", "brown", "none", "low", "left"),
            Puppet("red", "none", "party hat", "high", "right"),
        ),
        (Line(1, "banana"),),
        Surroundings("white"),
        start_s=0.5,
        variation=5,
    ),
    Talk(
        (
            Puppet("green", "none", "crown", "low", "left"),
            Puppet("red", "white", "crown", "high", "right"),
        ),
        (Line(0, "seven"), Line(1, "goodbye")),
        Surroundings("cyan"),
        start_s=0.2,
        variation=6,
    ),
    Talk(
        (
            Puppet("yellow", "none", "top hat", "high", "left"),
            Puppet("green", "pink", "top hat", "low", "right"),
        ),
        (Line(1, "bonjour", "fr"), Line(0, "robot")),
        Surroundings("black", ambience="wind"),
        start_s=0.15,
        variation=7,
    ),
    BouncingBall("red", "water", "left", Surroundings("black"), start_height=0.42, variation=8),
    BouncingBall(
        "yellow",
        "metal",
        "right",
        Surroundings("white", camera="pan left"),
        start_height=0.44,
        variation=9,
    ),
    Xylophone(("red", "blue", "red"), Surroundings("pink"), start_s=0.25, variation=10),
)

TEN_PROMPTS: tuple[str, ...] = tuple(caption(scene) for scene in TEN_SCENES)
