"""Command line of the puppet recipe: `python -m ltx2.training.puppet STAGE --folder DIR`."""

import dataclasses
import json
import logging
from pathlib import Path
from typing import Annotated

import torch
import typer

from ltx2.errors import GenerationCancelled, LTX2Error
from ltx2.training.puppet import stages
from ltx2.training.puppet.lora_clips import LESSONS, write_clips
from ltx2.training.puppet.loras import train_loras
from ltx2.training.puppet.scenes import SceneKind
from ltx2.training.puppet.warm_start import write_work_folder

app = typer.Typer(help=stages.__doc__, no_args_is_help=True)

Folder = Annotated[Path, typer.Option(help="work folder, kept between runs")]
Threads = Annotated[int, typer.Option(help="processor threads to use")]
Steps = Annotated[int, typer.Option(help="steps in total, counting those already done")]
Target = Annotated[Path, typer.Option(help="checkpoint folder to write")]
EXIT_CANCELLED = 130
DEFAULT_FOLDER, WEIGHTS_FOLDER = Path("runs/puppet"), Path("ltx2/weights/puppet")


def _start(threads: int) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(threads)


@app.command()
def start_from(
    checkpoint: Annotated[Path, typer.Argument(help="exported checkpoint folder")] = WEIGHTS_FOLDER,
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Put a checkpoint's weights into a work folder, whose stages then go on from them."""
    _start(1)
    write_work_folder(checkpoint, folder)


@app.command()
def render(folder: Folder = DEFAULT_FOLDER, first: int = 0, count: int = stages.SHARDS) -> None:
    """Render shards of training clips."""
    _start(1)
    stages.render(folder, first=first, count=count)


@app.command()
def render_pairs(folder: Folder = DEFAULT_FOLDER, count: int = stages.PAIR_SHARDS) -> None:
    """Render shards of large and small pictures of the same scenes."""
    _start(1)
    stages.render_pairs(folder, count=count)


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
def distill(
    folder: Folder = DEFAULT_FOLDER, threads: Threads = 2, steps: Steps = stages.DISTILL_STEPS
) -> None:
    """Train the transformer that needs eight steps and no guidance."""
    _start(threads)
    stages.distill(folder, steps=steps)


@app.command()
def pairs(folder: Folder = DEFAULT_FOLDER, threads: Threads = 2) -> None:
    """Encode the shards of large and small pictures."""
    _start(threads)
    stages.encode_large_pairs(folder)


@app.command()
def upsampler(
    folder: Folder = DEFAULT_FOLDER, threads: Threads = 2, steps: Steps = stages.UPSAMPLER_STEPS
) -> None:
    """Train the latent upsampler."""
    _start(threads)
    stages.train_upsampler(folder, steps=steps)


@app.command()
def lora_clips(
    target: Annotated[Path, typer.Option(help="folder for clips and captions")],
    lesson: Annotated[str, typer.Option(help=f"one of {', '.join(LESSONS)}")],
    count: int = 160,
) -> None:
    """Write the clips that teach a LoRA."""
    _start(1)
    write_clips(target, lesson, count=count)


@app.command()
def loras(
    folder: Folder = DEFAULT_FOLDER, target: Target = WEIGHTS_FOLDER, threads: Threads = 2
) -> None:
    """Train the LoRAs on the exported checkpoint, and put them beside it."""
    _start(threads)
    train_loras(folder, target)


@app.command("all")
def run_all(
    folder: Folder = DEFAULT_FOLDER, target: Target = WEIGHTS_FOLDER, threads: Threads = 2
) -> None:
    """Every stage from nothing to a checkpoint folder."""
    _start(threads)
    stages.run_all(folder, target)


@app.command()
def export(
    folder: Folder = DEFAULT_FOLDER,
    target: Target = WEIGHTS_FOLDER,
) -> None:
    """Write the checkpoint folder from what is trained so far."""
    _start(1)
    stages.export_checkpoint(folder, target)


@app.command()
def measure(
    model: Annotated[
        list[str] | None,
        typer.Option(help="checkpoint folder or name; may be given again to compare [puppet]"),
    ] = None,
    clips: Annotated[int, typer.Option(help="unseen scenes to generate and judge")] = 60,
    kind: Annotated[
        SceneKind | None, typer.Option(help="what every scene shows [all kinds]")
    ] = None,
    drift: Annotated[int, typer.Option(help="long clips of the first model to judge")] = 0,
    upscaling: Annotated[
        int, typer.Option(help="scenes for the upsampler beside the first model")
    ] = 0,
    seed: int = 1000,
    json_path: Annotated[
        Path | None, typer.Option("--json", help="file for the same figures as JSON")
    ] = None,
) -> None:
    """Judge generated clips of unseen scenes, and the ceiling that the autoencoders set."""
    from tqdm import tqdm

    from ltx2.pipeline import load
    from ltx2.training.puppet import measure
    from ltx2.training.puppet.quality import Summary, summarise
    from ltx2.training.puppet.upscaling import judge_upsampler, upsampler_beside

    scenes = measure.unseen_scenes(clips, seed=seed, kind=kind)
    long_scenes = measure.drift_scenes(drift, seed=seed)
    pipelines = {name: load(name) for name in model or ["puppet"]}
    first = next(iter(pipelines.values()))
    columns: dict[str, Summary] = {}
    beside = upsampler_beside(next(iter(pipelines))) if upscaling else None
    with tqdm(total=clips * (1 + len(pipelines)) + drift + upscaling, unit="clip") as bar:
        for name, pipeline in pipelines.items():
            judged = measure.judge_generated(
                pipeline, scenes, seed=seed, on_progress=lambda _: bar.update()
            )
            columns[name] = summarise(judged)
        judged, ratio = measure.judge_ceiling(first, scenes, on_progress=lambda _: bar.update())
        columns["ceiling"] = summarise(judged)
        windows = measure.judge_drift(
            first, long_scenes, seed=seed, on_progress=lambda _: bar.update()
        )
        upscaled = beside and judge_upsampler(
            beside,
            first.networks.video_vae,
            measure.unseen_scenes(upscaling, seed=seed),
            on_progress=lambda _: bar.update(),
        )
    shown = f"the kind {kind}" if kind else "all kinds"
    typer.echo(f"{clips} unseen scenes of {shown}, seed {seed}\n")
    typer.echo(measure.side_by_side(columns))
    typer.echo(measure.autoencoders_line(columns["ceiling"], ratio))
    for name in list(pipelines)[1:]:
        behind = measure.points_behind(next(iter(columns.values())), columns[name])
        listed = ", ".join(f"{row} by {points:.0f} points" for row, points in behind)
        typer.echo(
            f"{name} lies more than {measure.DISTILLED_POINTS:.0f} points behind in: "
            f"{listed or 'nothing'}.\n"
        )
    if windows:
        typer.echo(f"{drift} clips of {measure.DRIFT_S:g} s, judged in windows\n")
        typer.echo(measure.side_by_side(windows))
    if upscaled is not None:
        typer.echo(
            f"Upsampler, {upscaling} scenes: {upscaled.upsampler:.1f} dB; enlarged bicubically "
            f"{upscaled.bicubic:.1f} dB; large pictures through the autoencoder "
            f"{upscaled.ceiling:.1f} dB.\n"
        )
    if json_path is not None:
        figures = {
            "upscaling": upscaled and dataclasses.asdict(upscaled),
            "clips": clips,
            "kind": kind,
            "seed": seed,
            "psnr_db": ratio,
            "columns": measure.as_json(columns),
            "drift": measure.as_json(windows),
        }
        json_path.write_text(json.dumps(figures, indent=2) + "\n")


@app.command()
def measure_loras(
    model: Annotated[
        list[str] | None, typer.Option(help="checkpoint folder or name; may be given again")
    ] = None,
    clips: Annotated[int, typer.Option(help="unseen calm scenes to generate")] = 10,
    seed: int = 1000,
) -> None:
    """Say what each LoRA does to clips of unseen scenes at strength 1."""
    from ltx2.training.puppet.lora_effects import calm_scenes, judge_loras

    for name in model or ["puppet", "puppet-distilled"]:
        found = judge_loras(name, calm_scenes(clips, seed=seed), seed=seed)
        typer.echo(
            f"{name}: zoom-out is seen in {found.zoomed} of {found.clips} clips, without it in "
            f"{found.zoomed_without}; blueprint brings the mean distance from its colours from "
            f"{found.distance_without:.0f} to {found.distance:.0f}."
        )


@app.command()
def curves(
    target: Annotated[Path, typer.Option(help="picture to write")],
    logs: Annotated[Path, typer.Option(help="folder of the stages' logs")] = WEIGHTS_FOLDER
    / "training",
) -> None:
    """Draw the training logs, and print what each stage took as a Markdown table."""
    from ltx2.training.puppet.curves import as_table, draw_curves, read_log

    read = [read_log(path) for path in stages.find_logs(logs)]
    draw_curves(read, target)
    typer.echo(as_table(read))


@app.command()
def strip(
    target: Annotated[Path, typer.Option(help="picture to write")],
    model: Annotated[str, typer.Option(help="checkpoint folder or name")] = "puppet",
    seed: int = 1,
) -> None:
    """Draw frames and sound of ten fixed prompts, and say what is right in each."""
    from ltx2.pipeline import load
    from ltx2.training.puppet.measure import generate, judge_clip
    from ltx2.training.puppet.prompts import TEN_PROMPTS, TEN_SCENES
    from ltx2.training.puppet.strip import write_strip

    clips = list(generate(load(model), TEN_SCENES, seed=seed))
    for prompt, scene, clip in zip(TEN_PROMPTS, TEN_SCENES, clips, strict=True):
        wrong = judge_clip(clip, scene).wrong()
        listed = "; ".join(f"{name}: {found}" for name, found in wrong.items())
        typer.echo(f"{prompt} {f'wrong: {listed}' if wrong else 'all right'}")
    rows = [(p, c.frames, c.waveform) for p, c in zip(TEN_PROMPTS, clips, strict=True)]
    write_strip(rows, target)


def main() -> None:
    """Runs a command; foreseen failures are a line, and a stopped stage can be run again."""
    try:
        app()
    except GenerationCancelled:
        typer.echo("Stopped; the same command goes on from here.", err=True)
        raise SystemExit(EXIT_CANCELLED) from None
    except LTX2Error as error:
        typer.echo(f"Error: {error}", err=True)
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
