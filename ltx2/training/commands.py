"""Commands of `python -m ltx2` that train; heavy imports wait until one runs."""

import logging
from pathlib import Path
from typing import Annotated

import typer


def train(
    config: Annotated[Path, typer.Argument(help="YAML file that says what to train and on what.")],
) -> None:
    """Train the transformer or a LoRA as a file says; run it again to go on after a stop.

    For several GPUs: torchrun --nproc-per-node 4 -m ltx2 train CONFIG.yaml
    """
    from ltx2.training.config import read_config

    settings = read_config(config)

    from ltx2.training import trainer

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    with trainer.stopped_by_signals() as should_stop:
        newest = trainer.train(settings, should_stop=should_stop)
    typer.echo(f"Wrote {newest}")
