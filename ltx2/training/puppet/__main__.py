"""Command line of the puppet recipe: `python -m ltx2.training.puppet STAGE --folder DIR`."""

import logging
from pathlib import Path
from typing import Annotated

import torch
import typer

from ltx2.training.puppet import stages

app = typer.Typer(help=stages.__doc__, no_args_is_help=True)

Folder = Annotated[Path, typer.Option(help="work folder, kept between runs")]
Threads = Annotated[int, typer.Option(help="processor threads to use")]
Steps = Annotated[int, typer.Option(help="steps in total, counting those already done")]
DEFAULT_FOLDER = Path("runs/puppet")


def _start(threads: int) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(threads)


@app.command()
def render(folder: Folder = DEFAULT_FOLDER, first: int = 0, count: int = 16) -> None:
    """Render shards of training clips."""
    _start(1)
    stages.render(folder, first=first, count=count)


@app.command()
def video_vae(
    folder: Folder = DEFAULT_FOLDER, threads: Threads = 2, steps: Steps = stages.VIDEO_VAE_STEPS
) -> None:
    """Train the video autoencoder."""
    _start(threads)
    stages.train_video_vae(folder, steps=steps)


@app.command()
def video_decoder(
    folder: Folder = DEFAULT_FOLDER, threads: Threads = 2, steps: Steps = stages.VIDEO_DECODER_STEPS
) -> None:
    """Train the video decoder on, with the encoder fixed."""
    _start(threads)
    stages.train_video_decoder(folder, steps=steps)


@app.command()
def audio_vae(
    folder: Folder = DEFAULT_FOLDER, threads: Threads = 2, steps: Steps = stages.AUDIO_VAE_STEPS
) -> None:
    """Train the audio autoencoder."""
    _start(threads)
    stages.train_audio_vae(folder, steps=steps)


@app.command()
def vocoder(
    folder: Folder = DEFAULT_FOLDER, threads: Threads = 2, steps: Steps = stages.VOCODER_STEPS
) -> None:
    """Train the vocoder."""
    _start(threads)
    stages.train_vocoder(folder, steps=steps)


@app.command()
def latents(folder: Folder = DEFAULT_FOLDER, threads: Threads = 2) -> None:
    """Encode the rendered shards."""
    _start(threads)
    stages.encode_latents(folder)


@app.command()
def transformer(
    folder: Folder = DEFAULT_FOLDER,
    threads: Threads = 2,
    steps: Steps = stages.TRANSFORMER_STEPS,
    batch: int = stages.TRANSFORMER_BATCH,
) -> None:
    """Train text encoder, connectors and transformer."""
    _start(threads)
    stages.train_transformer(folder, steps=steps, batch=batch)


@app.command()
def export(
    folder: Folder = DEFAULT_FOLDER,
    target: Annotated[Path, typer.Option(help="checkpoint folder to write")] = Path(
        "ltx2/weights/puppet"
    ),
) -> None:
    """Write the checkpoint folder from what is trained so far."""
    _start(1)
    stages.export_checkpoint(folder, target)


@app.command()
def measure(
    model: Annotated[str, typer.Option(help="checkpoint folder or name")] = "puppet",
    clips: Annotated[int, typer.Option(help="unseen scenes to generate and judge")] = 60,
    seed: int = 1000,
) -> None:
    """Judge generated clips of unseen scenes, and the ceiling that the autoencoders set."""
    from tqdm import tqdm

    from ltx2.pipeline import load
    from ltx2.training.puppet import quality
    from ltx2.training.puppet.measure import (
        judge_ceiling,
        judge_generated,
        side_by_side,
        unseen_scenes,
    )

    pipeline, scenes = load(model), unseen_scenes(clips, seed=seed)
    with tqdm(total=clips, unit="clip") as bar:
        judged = judge_generated(pipeline, scenes, seed=seed, on_progress=lambda _: bar.update())
    ceiling, ratio = judge_ceiling(pipeline, scenes)
    typer.echo(f"{clips} unseen scenes; the ceiling is at {ratio:.1f} dB\n")
    typer.echo(side_by_side(quality.summarise(judged), quality.summarise(ceiling)))


@app.command()
def strip(
    target: Annotated[Path, typer.Option(help="picture to write")],
    model: Annotated[str, typer.Option(help="checkpoint folder or name")] = "puppet",
    seed: int = 1,
) -> None:
    """Draw frames and sound of ten fixed prompts, and say what is right in each."""
    from ltx2.pipeline import load
    from ltx2.training.puppet.measure import generate
    from ltx2.training.puppet.prompts import TEN_PROMPTS, TEN_SCENES
    from ltx2.training.puppet.quality import judge, verdicts
    from ltx2.training.puppet.strip import write_strip

    clips = list(generate(load(model), list(TEN_SCENES), seed=seed))
    for prompt, scene, clip in zip(TEN_PROMPTS, TEN_SCENES, clips, strict=True):
        judged = judge(clip.frames, clip.waveform, clip.frame_rate, clip.sample_rate, scene)
        wrong = [name for name, verdict in verdicts(judged) if verdict.right is False]
        typer.echo(f"{prompt} {'all right' if not wrong else 'wrong: ' + ', '.join(wrong)}")
    rows = [(p, c.frames, c.waveform) for p, c in zip(TEN_PROMPTS, clips, strict=True)]
    write_strip(rows, target)


if __name__ == "__main__":
    app()
