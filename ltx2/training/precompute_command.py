"""The command `python -m ltx2 precompute`; heavy imports wait until it runs."""

from pathlib import Path
from typing import Annotated

import typer


def precompute(
    clips: Annotated[Path, typer.Argument(help="Folder of clips with captions.")],
    output: Annotated[Path, typer.Option(help="Folder of the dataset to write.")],
    size: Annotated[
        list[str], typer.Option(help="WIDTHxHEIGHTxFRAMES; repeat it for several shapes.")
    ],
    model: Annotated[
        str, typer.Option(help="Known name, model folder or checkpoint file.")
    ] = "puppet",
    text_encoder: Annotated[
        Path | None, typer.Option(help="Folder of the text encoder, if not beside the model.")
    ] = None,
    frame_rate: Annotated[
        float | None, typer.Option(help="Pictures per second; the model's usual rate if left out.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, ...; auto takes what is there.")] = "auto",
) -> None:
    """Turn clips with captions into what `train` reads; run it again to go on after a stop."""
    from tqdm import tqdm

    from ltx2.progress import Progress
    from ltx2.training.precompute import Size
    from ltx2.training.precompute import precompute as run

    sizes = [Size.parse(text) for text in size]
    with tqdm(unit="") as bar:

        def show(progress: Progress) -> None:
            bar.total, bar.n = progress.total, progress.step
            bar.set_description(progress.stage)

        report = run(
            clips,
            output,
            model=model,
            text_encoder=text_encoder,
            sizes=sizes,
            frame_rate=frame_rate,
            device=device,
            on_progress=show,
        )
    for name, reason in report.left_out:
        typer.echo(f"left out {name}: {reason}")
    for name in report.others:
        typer.echo(f"there is an example of {name}, a clip that is not in {clips}")
    typer.echo(f"{report.made} examples made, {report.kept} kept, {len(report.left_out)} left out")
