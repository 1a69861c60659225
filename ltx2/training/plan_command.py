"""Says how much memory a training run needs; heavy imports wait until it is asked."""

from pathlib import Path

import typer


def plan_training_run(config: Path, size: str, memory: float | None, frame_rate: float) -> None:
    """Print how much memory a training run needs, without loading anything.

    A model file that is not there is taken for the published 19B.

    Args:
        config: YAML file as for `train`.
        size: of the clips, WIDTHxHEIGHTxFRAMES.
        memory: GiB of the card; says what to change if it is too little.
        frame_rate: pictures per second.

    Raises:
        RequestError: the file or the size cannot be understood.
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
