"""Command line: `python -m ltx2 generate` and `python -m ltx2 inspect`.

Commands import what they need when they run, so that `--help` answers at once.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ltx2.errors import GenerationCancelled, LTX2Error, MediaError, RequestError
from ltx2.settings import Settings

if TYPE_CHECKING:
    from tqdm import tqdm

    from ltx2.progress import Progress
    from ltx2.request import ModelProfile, Request

EXIT_ERROR = 2
EXIT_CANCELLED = 130
"""What shells report for a program that Ctrl-C ended."""

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi")

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def _describe_program() -> None:
    """Makes clips, pictures and sound together, from text."""


@app.command()
def generate(  # noqa: PLR0913 - every option of the command is a parameter
    output: Annotated[Path, typer.Option(help="The MP4 file to write.")],
    prompt: Annotated[str | None, typer.Option(help="What to show and what to hear.")] = None,
    negative_prompt: Annotated[str | None, typer.Option(help="What to keep away from.")] = None,
    recipe: Annotated[
        Path | None, typer.Option(help="Clip whose settings to start from; options change them.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Known name, model folder or file.")] = None,
    text_encoder: Annotated[
        Path | None, typer.Option(help="Text encoder's folder, if the model has none beside it.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help='"cpu", "cuda", ...; found if not said.')
    ] = None,
    dtype: Annotated[str | None, typer.Option(help='"float32", "bfloat16", ...')] = None,
    seconds: Annotated[float | None, typer.Option(help="Length.")] = None,
    frames: Annotated[int | None, typer.Option(help="Length in pictures.")] = None,
    width: Annotated[int | None, typer.Option(help="Pixels.")] = None,
    height: Annotated[int | None, typer.Option(help="Pixels.")] = None,
    frame_rate: Annotated[float | None, typer.Option(help="Pictures per second.")] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same clip.")] = None,
    cfg: Annotated[float | None, typer.Option(help="Picture: toward the prompt; 1 is off.")] = None,
    stg: Annotated[float | None, typer.Option(help="Picture: structure; 0 is off.")] = None,
    modality: Annotated[
        float | None, typer.Option(help="Picture: toward the sound; 1 is off.")
    ] = None,
    rescale: Annotated[float | None, typer.Option(help="Picture: softening, 0 to 1.")] = None,
    audio_cfg: Annotated[float | None, typer.Option(help="Sound: toward the prompt.")] = None,
    audio_stg: Annotated[float | None, typer.Option(help="Sound: structure.")] = None,
    audio_modality: Annotated[float | None, typer.Option(help="Sound: toward the picture.")] = None,
    audio_rescale: Annotated[float | None, typer.Option(help="Sound: softening.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the output file.")] = False,
) -> None:
    """Make a clip with sound and write it as an MP4 file that carries its own recipe.

    What is not said is taken from --recipe, then from the model's usual settings.
    """
    options = {
        "prompt": prompt,
        "negative_prompt": negative_prompt,
        "duration_s": seconds,
        "num_frames": frames,
        "width": width,
        "height": height,
        "frame_rate": frame_rate,
        "num_steps": steps,
        "seed": seed,
    }
    guidance = {
        "video_guidance": _guidance(cfg, stg, modality, rescale),
        "audio_guidance": _guidance(audio_cfg, audio_stg, audio_modality, audio_rescale),
    }
    with _errors_in_one_line():
        _check_output(output, force=force)
        given = {name: value for name, value in options.items() if value is not None}
        request = _request(recipe, given, guidance)
        settings = Settings.from_environment(os.environ)

        import ltx2

        started = time.monotonic()
        pipeline = ltx2.load(
            model or settings.model,
            text_encoder=text_encoder or settings.text_encoder,
            device=device or settings.device,
            dtype=dtype or settings.dtype,
        )
        request = _with_guidance(request, pipeline.profile, guidance)
        with _progress_bars() as show:
            clip = pipeline(request, on_progress=show)
        clip.save(output)
        height, width = clip.frames.shape[1:3]
        typer.echo(
            f"{output}: {width} x {height} pixels, {clip.duration_s:.2f} s, "
            f"{output.stat().st_size / 1e6:.2f} MB, made in {time.monotonic() - started:.1f} s"
        )


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(help="Checkpoint file, model folder, or clip.")],
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Say what a checkpoint holds, or how a clip was made."""
    with _errors_in_one_line():
        if path.suffix.lower() in VIDEO_SUFFIXES:
            _show_recipe(path)
            return
        from ltx2.checkpoint.layouts import describe

        description = describe(path)
        typer.echo(json.dumps(description.to_json(), indent=2) if as_json else str(description))


def _show_recipe(path: Path) -> None:
    from ltx2.media.decode import read_recipe

    recipe = read_recipe(path)
    if recipe is None:
        raise MediaError(
            f"{path} carries no recipe.", next_step="Only clips made by this program have one."
        )
    typer.echo(recipe.model_dump_json(indent=2))


def _check_output(output: Path, *, force: bool) -> None:
    """Complain about the output before the minutes of work, not after."""
    if output.suffix.lower() != ".mp4":
        raise RequestError(f"The output is called {output.name}.", next_step="Name it *.mp4.")
    if not output.absolute().parent.is_dir():
        raise RequestError(
            f"There is no folder {output.absolute().parent}.",
            next_step="Create it or choose another output.",
        )
    if output.is_dir() or (output.exists() and not force):
        raise RequestError(
            f"{output} exists already.", next_step="Choose another name or add --force."
        )


def _guidance(*scales: float | None) -> dict[str, float]:
    """The guidance scales that were said, by their names in a request."""
    names = ("cfg_scale", "stg_scale", "modality_scale", "rescale")
    return {name: scale for name, scale in zip(names, scales, strict=True) if scale is not None}


def _request(
    recipe: Path | None, options: dict[str, Any], guidance: dict[str, dict[str, float]]
) -> "Request":
    """Request of a clip's recipe with the options on top; guidance is checked, not yet applied."""
    from ltx2.request import Request

    values: dict[str, Any] = {}
    if recipe is not None:
        from ltx2.media.decode import read_recipe

        found = read_recipe(recipe)
        if found is None:
            raise RequestError(
                f"{recipe} carries no recipe.", next_step="Choose a clip that this program made."
            )
        values = found.request.model_dump()
    if "duration_s" in options or "num_frames" in options:
        values.update(duration_s=None, num_frames=None)
    values.update(options)
    Request(**{**values, **guidance})
    return Request(**values)


def _with_guidance(
    request: "Request", profile: "ModelProfile", given: dict[str, dict[str, float]]
) -> "Request":
    """Request whose guidance differs from its own, or the model's usual one, in what was given."""
    values = request.model_dump()
    for name, scales in given.items():
        if scales:
            usual = getattr(request, name) or getattr(profile, name)
            values[name] = {**usual.model_dump(), **scales}
    return type(request)(**values)


@contextmanager
def _progress_bars() -> "Iterator[_Bars]":
    bars = _Bars()
    try:
        yield bars
    finally:
        bars.close()


class _Bars:
    """One bar per stage on the error stream; nothing where that is not a terminal."""

    def __init__(self) -> None:
        self._stage = ""
        self._bar: tqdm | None = None

    def __call__(self, progress: "Progress") -> None:
        if self._bar is None or progress.stage != self._stage:
            from tqdm import tqdm

            self.close()
            self._stage = progress.stage
            self._bar = tqdm(total=progress.total, desc=progress.stage, disable=None)
        self._bar.update(progress.step - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


@contextmanager
def _errors_in_one_line() -> Iterator[None]:
    """Foreseen failures become a line and an exit code; others keep their traceback."""
    try:
        yield
    except LTX2Error as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(EXIT_ERROR) from error
    except (KeyboardInterrupt, GenerationCancelled) as error:
        typer.echo("Cancelled; no file was written.", err=True)
        raise typer.Exit(EXIT_CANCELLED) from error


if __name__ == "__main__":
    app(prog_name="python -m ltx2")
