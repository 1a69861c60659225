"""How well the offsets of lips and impacts are measured, on clips whose truth is known or judged.

Rendered clips are in step: what is read is the error. Generated clips have no truth; the trainer's
judge, who knows how things are drawn, gives a second reading. Every clip also gets the sound of
two others, with other words: what is measurable then is a false accept. Rendered clips have the
weather that the world draws, which mostly is none; then the same have none, rain and wind in turn.

    python -m benchmarks.sync_metrics [--model puppet-distilled] [--seed 9000] [--part lips]
"""

import argparse
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from evaluation.expectation import Expectation
from evaluation.measurement import Curve, Measured, Metric, NotMeasurable, Outcome
from evaluation.metrics import impacts
from evaluation.metrics.faces import share_faces
from evaluation.metrics.lip_sync import landmarks
from evaluation.metrics.lip_sync.pooled import pooled_offset
from ltx2 import Clip, load
from ltx2.training.puppet.measure import generate, judge_clip, unseen_scenes
from ltx2.training.puppet.scenes import AMBIENCES, Scene, SceneKind, Talk
from ltx2.training.puppet.world import render

RENDERED_WORDS, RENDERED_TURNS, RENDERED_BALLS = 90, 30, 45
GENERATED_WORDS, GENERATED_TURNS, GENERATED_BALLS = 40, 24, 40
SWAPS = 2

IN_TURN = ", weathers in turn"


@dataclass(frozen=True)
class Example:
    """A clip, what it shows, and the offset that is known or judged of it (ms)."""

    clip: Clip
    scene: Scene
    reference_ms: float | None


@dataclass(frozen=True)
class Reading:
    """What a metric says of an example, with its own sound and with those of others."""

    example: Example
    own: Outcome
    swapped: tuple[Outcome, ...]


def main() -> None:
    """Print a row for every set of clips."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", action="append", help="may be given again; none renders only")
    parser.add_argument("--seed", type=int, default=9000)
    parser.add_argument("--part", choices=("lips", "impacts"), help="both unless given")
    asked = parser.parse_args()
    print(
        "| clips | measurable singly | offset | from the reference | swaps accepted | pooled |"
        " pooled, swapped |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for part, metric in (("lips", landmarks.METRIC), ("impacts", impacts.METRIC)):
        if asked.part not in (None, part):
            continue
        for name, examples in sets(part, asked.seed, asked.model or []):
            read = readings(examples, metric, is_cartoon=part == "lips")
            print(row(name, read), flush=True)
            if name.endswith(IN_TURN):
                for weather in AMBIENCES:
                    some = [r for r in read if r.example.scene.surroundings.ambience == weather]
                    print(row(f"... of them with weather {weather}", some), flush=True)


def sets(part: str, seed: int, models: Sequence[str]) -> Iterator[tuple[str, list[Example]]]:
    """Rendered clips, then those of each model."""
    kinds = {
        "lips": (
            ("one word", RENDERED_WORDS, GENERATED_WORDS, SceneKind.MONOLOGUE),
            ("two in turn", RENDERED_TURNS, GENERATED_TURNS, SceneKind.CONVERSATION),
        ),
        "impacts": (("balls", RENDERED_BALLS, GENERATED_BALLS, SceneKind.BALL),),
    }[part]
    for name, count, _, kind in kinds:
        unseen = scenes(count, seed, kind)
        yield f"{count} rendered, {name}", [example(scene) for scene in unseen]
        in_turn = zip(unseen, itertools.cycle(AMBIENCES), strict=False)
        yield f"{count} rendered, {name}{IN_TURN}", [example(weathered(*pair)) for pair in in_turn]
    for model in models:
        pipeline = load(model)
        for name, _, count, kind in kinds:
            asked = scenes(count, seed, kind)
            made = [
                Example(clip, scene, judge_clip(clip, scene).offset.offset_ms)
                for clip, scene in zip(generate(pipeline, asked, seed=seed), asked, strict=True)
            ]
            yield f"{count} by `{model}`, {name}", made


def scenes(count: int, seed: int, kind: SceneKind) -> list[Scene]:
    """Unseen scenes; of conversations those with two lines."""
    found = unseen_scenes(4 * count, seed=seed, kind=kind)
    wanted = [s for s in found if kind is not SceneKind.CONVERSATION or len(lines(s)) == 2]
    return wanted[:count]


def lines(scene: Scene) -> tuple[str, ...]:
    """Words that are said."""
    return tuple(line.word for line in scene.lines) if isinstance(scene, Talk) else ()


def weathered(scene: Scene, weather: str) -> Scene:
    """The scene in some weather."""
    return replace(scene, surroundings=replace(scene.surroundings, ambience=weather))


def example(scene: Scene) -> Example:
    """The rendered clip of a scene."""
    made = render(scene)
    return Example(
        Clip(made.frames, made.waveform, made.frame_rate, made.sample_rate), made.scene, 0.0
    )


def readings(examples: Sequence[Example], metric: Metric, *, is_cartoon: bool) -> list[Reading]:
    """What the metric says of each clip with its own sound and with those of others."""
    asked = Expectation(is_cartoon=is_cartoon)
    rng = np.random.default_rng(0)
    found = []
    for one in examples:
        others = [
            other
            for other in (examples[number] for number in rng.permutation(len(examples)))
            if other is not one and not set(lines(one.scene)) & set(lines(other.scene))
        ]
        own = metric.measure(one.clip, asked)
        swapped = []
        for other in others[:SWAPS]:
            clip = replace(one.clip, waveform=other.clip.waveform, recipe=None)
            share_faces(one.clip, clip)
            swapped.append(metric.measure(clip, asked))
        found.append(Reading(one, own, tuple(swapped)))
    return found


def row(name: str, read: Sequence[Reading]) -> str:
    """One line of the table."""
    measured = [(r, r.own.value) for r in read if isinstance(r.own, Measured)]
    values = np.array([value for _, value in measured])
    apart = np.array(
        [
            value - r.example.reference_ms
            for r, value in measured
            if r.example.reference_ms is not None
        ]
    )
    swapped = [outcome for r in read for outcome in r.swapped]
    accepted = sum(isinstance(outcome, Measured) for outcome in swapped)
    return (
        f"| {name} | {len(values)} of {len(read)} ({len(values) / len(read):.0%})"
        f" | {sizes(values)} | {sizes(apart)} | {accepted} of {len(swapped)}"
        f" | {pooled((r.own,) for r in read)} | {pooled(r.swapped for r in read)} |"
    )


def pooled(found: Iterable[Sequence[Outcome]]) -> str:
    """The offset that all clips have together, if they have one."""
    curves = [
        (str(number), curve)
        for number, outcomes in enumerate(found)
        for outcome in outcomes
        if isinstance(outcome, Measured | NotMeasurable)
        for curve in outcome.evidence
        if isinstance(curve, Curve)
    ]
    together = pooled_offset(curves)
    if isinstance(together, NotMeasurable):
        return "none"
    return f"{together.offset_ms:+.0f} ms ({together.low_ms:+.0f} to {together.high_ms:+.0f})"


def sizes(milliseconds: np.ndarray) -> str:
    """Median, 90th percentile and mean of sizes."""
    if not milliseconds.size:
        return ""
    size = np.abs(milliseconds)
    return f"{np.median(size):.0f}, {np.quantile(size, 0.9):.0f}, mean {size.mean():.0f} ms"


if __name__ == "__main__":
    main()
