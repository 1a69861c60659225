"""The command `python -m ltx2 plan`; heavy imports wait until it runs."""

from pathlib import Path
from typing import Annotated

import typer


def plan(
    config: Annotated[Path, typer.Argument(help="YAML file as for `train`.")],
    size: Annotated[str, typer.Option(help="Size of the clips, WIDTHxHEIGHTxFRAMES.")],
    memory: Annotated[
        float | None, typer.Option(help="GiB of the card; says what to change if it is too little.")
    ] = None,
    frame_rate: Annotated[float, typer.Option(help="Pictures per second.")] = 24.0,
) -> None:
    """Tell how much memory a training run needs, without loading anything.

    A model file that is not there is taken for the published 19B.
    """
    from ltx2.training.config import read_config
    from ltx2.training.plan import architecture_of, cheaper, plan_training
    from ltx2.training.precompute import Size

    settings, clip = read_config(config), Size.parse(size)
    architecture = architecture_of(settings)
    found = plan_training(settings, architecture, clip, frame_rate=frame_rate)
    for name, amount in found.rows().items():
        typer.echo(f"{name:<28} {amount / 2**30:7.2f} GiB")
    typer.echo(f"{'together':<28} {found.total / 2**30:7.2f} GiB")
    if memory is None:
        return
    budget = int(memory * 2**30)
    if found.total <= budget:
        typer.echo(f"This fits a card of {memory:g} GiB.")
        return
    change = cheaper(settings, architecture, clip, frame_rate=frame_rate, budget_bytes=budget)
    if change is None:
        typer.echo(
            f"This does not fit a card of {memory:g} GiB; make the clips smaller or shorter."
        )
    else:
        typer.echo(f"This does not fit a card of {memory:g} GiB; it does with {change}.")
