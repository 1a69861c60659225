"""The command `python -m ltx2 plan`; heavy imports wait until it runs."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ltx2.errors import RequestError
from ltx2.given_options import parse_upscale
from ltx2.training.plan_command import plan_training_run

if TYPE_CHECKING:
    from ltx2.generation.plan import Choice, Plan
    from ltx2.runtime.memory import Placement

GB = 1e9


def plan(  # noqa: PLR0913 - every option of the command is a parameter
    config: Annotated[
        Path | None,
        typer.Argument(help="YAML file as for `train`, to plan that; without it, to plan a clip."),
    ] = None,
    model: Annotated[str, typer.Option(help="Known name, model folder or file.")] = "puppet",
    device: Annotated[
        str,
        typer.Option(
            help="rtx-4090, rtx-5090, h100, h200, l40s, zerogpu-large, zerogpu-xlarge, or "
            "this-machine, which is measured."
        ),
    ] = "this-machine",
    width: Annotated[int | None, typer.Option(help="Pixels.")] = None,
    height: Annotated[int | None, typer.Option(help="Pixels.")] = None,
    frames: Annotated[int | None, typer.Option(help="Length in pictures.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Length.")] = None,
    frame_rate: Annotated[float | None, typer.Option(help="Pictures per second.")] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps.")] = None,
    upscale: Annotated[
        str | None,
        typer.Option(metavar="space|space-1.5|time,...", help="Stages, as for `generate`."),
    ] = None,
    dtype: Annotated[str, typer.Option(help='"float32", "bfloat16", ...')] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    size: Annotated[
        str | None, typer.Option(help="Training: size of the clips, WIDTHxHEIGHTxFRAMES.")
    ] = None,
    memory: Annotated[
        float | None,
        typer.Option(help="Training: GiB of the card; says what to change if it is too little."),
    ] = None,
) -> None:
    """Tell what a clip or a training run needs, without loading anything.

    A published model that is not here is planned from its architecture.
    """
    if config is not None:
        if size is None:
            raise RequestError(
                "A training run is planned for a size.", next_step="Add --size, as in 512x320x49."
            )
        plan_training_run(config, size, memory, frame_rate or 24.0)
        return
    from ltx2.generation.plan import plan_clip, sizes_of
    from ltx2.request import Request
    from ltx2.runtime.devices import find_device

    values: dict[str, Any] = {
        "width": width,
        "height": height,
        "num_frames": frames,
        "duration_s": seconds,
        "frame_rate": frame_rate,
        "num_steps": steps,
    }
    said = {name: value for name, value in values.items() if value is not None}
    if upscale is not None:
        said["upscale"] = parse_upscale(upscale)
    request = Request(prompt="any", **said)
    found = plan_clip(request, sizes_of(model, dtype=dtype), find_device(device))
    typer.echo(json.dumps(found.to_json(), indent=2) if as_json else describe(found))


def describe(plan: "Plan") -> str:
    """A plan in lines that people read."""
    request, device = plan.request, plan.device
    lines = [
        f"{plan.sizes.name}, {request.width} x {request.height}, {request.num_frames} frames at "
        f"{request.frame_rate:g} per second, on {device.name}",
        "",
        "Parameters",
        *(f"  {name:<32} {count / 1e9:9.3f} billion" for name, count in _parameters(plan)),
        "",
        "Denoising" + ("" if plan.parts == 1 else f", each of {plan.parts} parts"),
    ]
    for stage in plan.stages:
        tiles = "" if stage.tiles == 1 else f" in {stage.tiles} tiles"
        lines += [
            f"  {stage.width} x {stage.height} x {stage.num_frames}{tiles}: "
            f"{stage.tokens.video:,} + {stage.tokens.audio:,} tokens, {stage.steps} steps of "
            f"{stage.passes} passes",
            f"    {stage.flops_per_pass.total / 1e12:.1f} TFLOP a pass (attention "
            f"{stage.flops_per_pass.attention / 1e12:.1f}), {stage.flops_per_step / 1e12:.1f} a "
            f"step, about {stage.seconds_per_step:.2f} s a step, {_time(stage.seconds)}",
        ]
    lines += [f"  decoding: {plan.decode_flops / 1e12:.1f} TFLOP", "", *_memory(plan), ""]
    lines += [
        f"Time: about {_time(plan.seconds)}, of which loading {_time(plan.load_s)}, denoising "
        f"{_time(plan.parts * sum(stage.seconds for stage in plan.stages))}, decoding "
        f"{_time(plan.decode_s)}",
        f"  from {device.linear / 1e12:.2f} TFLOP/s with weights, {device.attention / 1e12:.2f} in "
        f"attention, {device.link / GB:.1f} GB/s to the device, {device.disk / GB:.1f} GB/s from "
        f"disk ({device.source})",
    ]
    return "\n".join(lines)


def _parameters(plan: "Plan") -> list[tuple[str, int]]:
    parameters = plan.sizes.parameters
    return [*parameters.items(), ("together", sum(parameters.values()))]


def _memory(plan: "Plan") -> list[str]:
    """What every way to run it needs, and what that is made of in the chosen one."""
    device = plan.device
    rows: dict[Placement, list[Choice]] = {}
    for choice in plan.choices:
        rows.setdefault(choice.placement, []).append(choice)
    kinds = list(dict.fromkeys(choice.quantisation for choice in plan.choices))
    lines = [
        f"Memory needed, of {device.memory / GB:.1f} GB, by quantisation of the blocks (* fits)",
        f"  {'offload (text encoder)':<24}" + "".join(f"{kind:>13}" for kind in kinds),
    ]
    for placement, choices in rows.items():
        name = f"{placement.networks.value} ({placement.text_encoder.value})"
        said = {c.quantisation: f"{c.needed / GB:.1f} GB {'*' if c.fits else ' '}" for c in choices}
        lines.append(f"  {name:<24}" + "".join(f"{said.get(kind, '-  '):>13}" for kind in kinds))
    if plan.chosen is None:
        return [*lines, "  Nothing fits: make the clip shorter or smaller."]
    placement = plan.chosen.placement
    lines += [
        f"  Taken: offload {placement.networks.value}, of the text encoder "
        f"{placement.text_encoder.value}, quantisation {plan.chosen.quantisation}",
        *(f"    {name:<32} {size / GB:7.2f} GB" for name, size in plan.chosen.memory.items()),
    ]
    return lines


def _time(seconds: float) -> str:
    from ltx2.serving.preflight import in_words

    return in_words(seconds)
