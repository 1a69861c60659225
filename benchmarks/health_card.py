"""How long the health card of a clip takes, beside a naive one that looks at every pixel.

The naive peer asks the first three questions (motion, jumps, black pictures) the plain way: every
frame in grey at full size, every difference between neighbours. The best of several runs counts.

    python -m benchmarks.health_card
"""

import time
from collections.abc import Callable

import numpy as np

from evaluation.expectation import Expectation
from evaluation.metrics.health import health_card
from ltx2 import Clip

SIZES = {"768 x 512, 5 s": (512, 768, 121), "96 x 96, 4 s": (96, 96, 97)}
RUNS = 3


def a_clip(height: int, width: int, num_frames: int) -> Clip:
    """Noise that moves over the picture, with a tone."""
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (height, width, 3), np.uint8)
    frames = np.stack([np.roll(picture, 2 * number, axis=1) for number in range(num_frames)])
    time_s = np.arange(round(num_frames / 24 * 24_000)) / 24_000
    tone = (0.2 * np.sin(2 * np.pi * 300 * time_s)).astype(np.float32)
    return Clip(frames, np.stack([tone, tone]), 24.0, 24_000)


def naive(clip: Clip) -> tuple[float, float, int]:
    """Largest change, last change and number of black pictures, at full size."""
    grey = clip.frames @ np.array([0.299, 0.587, 0.114])
    changes = np.abs(np.diff(grey, axis=0)).mean(axis=(1, 2))
    black = np.percentile(grey, 99, axis=(1, 2)) < 30
    return float(changes.max()), float(changes[-1]), int(black.sum())


def best_of(act: Callable[[], object]) -> float:
    """Seconds of the fastest run."""
    seconds = []
    for _ in range(RUNS):
        begun = time.perf_counter()
        act()
        seconds.append(time.perf_counter() - begun)
    return min(seconds)


def main() -> None:
    """Measure both and print a row for each size."""
    print("| clip | health card | naive, three questions only |")
    print("| --- | ---: | ---: |")
    for name, size in SIZES.items():
        clip = a_clip(*size)
        ours = best_of(lambda clip=clip: health_card(clip, Expectation()))  # type: ignore[misc]
        theirs = best_of(lambda clip=clip: naive(clip))  # type: ignore[misc]
        print(f"| {name} | {ours:.2f} s | {theirs:.2f} s |")


if __name__ == "__main__":
    main()
