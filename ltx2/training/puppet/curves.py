"""Draws the logs of the recipe's stages, and tells how long each took."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from PIL import Image

NOT_DRAWN = ("step", "seconds_per_step", "loss")
COLUMNS = 4
PANEL_INCHES = (3.1, 2.3)


@dataclass(frozen=True)
class StageLog:
    """What a stage wrote while it trained.

    Attributes:
        name: of the stage.
        steps: finished steps at each line.
        seconds: all the time it took, without pauses between its parts.
        figures: smoothed figures by name, one per line.
    """

    name: str
    steps: tuple[int, ...]
    seconds: float
    figures: Mapping[str, tuple[float, ...]]


def read_log(path: Path) -> StageLog:
    """The log of one stage.

    Steps that were done again after a stop stand twice in the file; the later ones count.
    """
    lines: dict[int, dict[str, float]] = {}
    seconds, before = 0.0, 0
    for text in path.read_text().splitlines():
        line = json.loads(text)
        step = int(line["step"])
        seconds += line["seconds_per_step"] * max(0, step - before)
        before = step
        lines = {done: values for done, values in lines.items() if done < step} | {step: line}
    names = [name for name in next(iter(lines.values())) if name not in NOT_DRAWN]
    return StageLog(
        path.stem,
        tuple(lines),
        seconds,
        {name: tuple(line[name] for line in lines.values()) for name in names},
    )


def draw_curves(logs: Sequence[StageLog], target: Path) -> Path:
    """The path of the picture just written: a panel per stage, a curve per figure."""
    rows = -(-len(logs) // COLUMNS)
    figure = Figure((PANEL_INCHES[0] * COLUMNS, PANEL_INCHES[1] * rows), layout="constrained")
    panels = iter(figure.subplots(rows, COLUMNS, squeeze=False).flat)
    for log, panel in zip(logs, panels, strict=False):
        for name, values in log.figures.items():
            panel.plot(log.steps, values, label=name, linewidth=1.2)
        panel.set_title(f"{log.name}, {log.steps[-1]:,} steps", fontsize=9)
        panel.tick_params(labelsize=7)
        panel.grid(alpha=0.25)
        panel.legend(fontsize=7)
        if all(
            min(values) > 0 and max(values) > 5 * min(values) for values in log.figures.values()
        ):
            panel.set_yscale("log")
            panel.yaxis.set_major_formatter("{x:g}")
            panel.yaxis.set_minor_formatter(NullFormatter())
    for panel in panels:
        panel.set_axis_off()
    drawn = BytesIO()
    figure.savefig(drawn, dpi=110)
    # A palette: a third of the bytes, which lie in the repository.
    palette = Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    palette.save(target, format="PNG", optimize=True)
    return target


def as_table(logs: Sequence[StageLog]) -> str:
    """Markdown: steps, time and last figures of every stage."""
    rows = ["| stage | steps | minutes | at the end |", "| --- | ---: | ---: | --- |"]
    for log in logs:
        last = ", ".join(f"{name} {values[-1]:.3g}" for name, values in log.figures.items())
        rows.append(f"| {log.name} | {log.steps[-1]:,} | {log.seconds / 60:.0f} | {last} |")
    return "\n".join(rows)
