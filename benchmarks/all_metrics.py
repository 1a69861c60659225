"""How long every metric takes on a clip of 5 s at 768 x 512; the aim is 30 s on two cores in all.

What several metrics need (faces, words, voice activity) is found once and counts for whichever asks
first; networks are loaded before. Seconds of the processor are printed beside those of the clock,
with the load, since other work on the machine stretches the clock only. What could not be measured
may have cost less than it would in another clip, so the table says it.

    python -m benchmarks.all_metrics CLIP_WITH_A_SPEAKER
"""

import argparse
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from evaluation.expectation import Expectation, ExpectedLine
from evaluation.measurement import Measured, MeasurementFailed
from evaluation.metrics.registry import all_metrics
from ltx2 import Clip

SIZE, SECONDS = (768, 512), 5.0
ASKED = Expectation(
    lines=(
        ExpectedLine("Hello there.", "en", "a", "left"),
        ExpectedLine("Yes.", "en", "b", "right"),
    )
)


def main() -> None:
    """Measure each and print a row for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", type=Path)
    clip = resized(Clip.load(parser.parse_args().clip))
    warm = replace(clip, frames=clip.frames[:30].copy(), waveform=clip.waveform.copy())
    for metric in all_metrics():
        metric.measure(warm, ASKED)
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    print("| metric | clock | processor | |")
    print("| --- | ---: | ---: | --- |")
    total = np.zeros(2)
    for metric in all_metrics():
        begun = np.array([time.perf_counter(), time.process_time()])
        outcome = metric.measure(clip, ASKED)
        spent = np.array([time.perf_counter(), time.process_time()]) - begun
        total += spent
        if isinstance(outcome, MeasurementFailed):
            raise SystemExit(f"{metric.name}: {outcome.message}")
        said = "measured" if isinstance(outcome, Measured) else outcome.reason
        print(f"| {metric.name} | {spent[0]:.2f} s | {spent[1]:.2f} s | {said} |")
    print(f"| all | {total[0]:.1f} s | {total[1]:.1f} s | |")


def resized(clip: Clip) -> Clip:
    """The first seconds of a clip at the size of the aim, what is beyond its shape cut off."""
    count = round(SECONDS * clip.frame_rate)
    frames = [
        np.asarray(ImageOps.fit(Image.fromarray(frame), SIZE)) for frame in clip.frames[:count]
    ]
    samples = round(SECONDS * clip.sample_rate)
    return replace(clip, frames=np.stack(frames), waveform=clip.waveform[:, :samples], recipe=None)


if __name__ == "__main__":
    main()
