"""Command line: `python -m ltx2 generate`, `inspect`, `serve`, `deploy-space` and `train`.

Commands import what they need when they run, so that `--help` answers at once.
"""

import json
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import wraps
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, cast

import typer

from ltx2.errors import CheckpointError, GenerationCancelled, LTX2Error, MediaError, RequestError
from ltx2.geometry import enlarged_multiple
from ltx2.given_options import GivenOptions, parse_upscale
from ltx2.plan_command import plan
from ltx2.progress import ignore_progress
from ltx2.serving.deploy_command import deploy_space
from ltx2.settings import Settings
from ltx2.training.commands import train
from ltx2.training.precompute_command import precompute
from ltx2.ui.serve_command import serve

if TYPE_CHECKING:
    from tqdm import tqdm

    from ltx2.clip import Clip
    from ltx2.progress import Progress
    from ltx2.request import ModelProfile, Recipe, Request

EXIT_ERROR = 2
EXIT_CANCELLED = 130
"""What shells report for a program that Ctrl-C ended."""

CLIP_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".wav")
"""Files that may carry a recipe."""

_ctrl_c = threading.Event()
"""Ctrl-C was pressed, whatever became of the exception that said so."""

# Plain help: in tables the names of variables would be cut short.
app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _describe_program() -> None:
    """Makes clips, pictures and sound together, from text."""


@app.command()
def generate(  # noqa: PLR0913 - every option of the command is a parameter
    output: Annotated[Path, typer.Option(help="MP4 file to write, or WAV for the sound.")],
    prompt: Annotated[str | None, typer.Option(help="What to show and what to hear.")] = None,
    negative_prompt: Annotated[str | None, typer.Option(help="What to keep away from.")] = None,
    recipe: Annotated[
        Path | None, typer.Option(help="Clip whose settings to start from; options change them.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Known name, model folder or file.")] = None,
    text_encoder: Annotated[
        Path | None,
        typer.Option(
            help="Text encoder, if the model has none beside it: Gemma's folder, or ComfyUI's file."
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help='"cpu", "cuda", ...; found if not said.')
    ] = None,
    dtype: Annotated[str | None, typer.Option(help='"float32", "bfloat16", ...')] = None,
    quantization: Annotated[
        str | None,
        typer.Option(
            help='How large weights are kept: "none" as in the file, "int8", "fp8"; what '
            "--offload disk leaves in files stays as it is there."
        ),
    ] = None,
    offload: Annotated[
        str | None,
        typer.Option(
            help='Where weights wait: "none" keeps all on the device, "cpu" in main memory, "disk" '
            "in their files; found if not said."
        ),
    ] = None,
    attention: Annotated[
        str | None,
        typer.Option(help='Kernel: "auto", "flash", "cudnn", "efficient" or "math".'),
    ] = None,
    compilation: Annotated[
        str | None,
        typer.Option("--compile", help='The transformer: "none", "blocks", or CUDA "graphs" too.'),
    ] = None,
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
    stg_blocks: Annotated[
        str | None,
        typer.Option(help="Both: blocks of the network that --stg disturbs, as in 28,29."),
    ] = None,
    lora: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE[:STRENGTH[/SOUND]]",
            help="LoRA to add, 1 if not said; another strength for the sound; repeatable.",
        ),
    ] = None,
    live_loras: Annotated[
        bool,
        typer.Option("--live-loras", help="Compute LoRAs beside the weights they change."),
    ] = False,
    stg_mode: Annotated[
        str | None, typer.Option(help='What --stg disturbs with: "values", "drop" or "none".')
    ] = None,
    skip_steps: Annotated[
        int | None, typer.Option(help="Both: steps after each one that repeat its estimate.")
    ] = None,
    image: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE[@SECONDS][:STRENGTH]", help="Picture to show at a moment; repeatable."
        ),
    ] = None,
    audio: Annotated[
        Path | None, typer.Option(help="Sound to make the picture to; it is kept.")
    ] = None,
    foley: Annotated[Path | None, typer.Option(help="Video to make the sound to.")] = None,
    extend: Annotated[
        Path | None, typer.Option(help="Clip to extend by --before and --after.")
    ] = None,
    before: Annotated[float, typer.Option(help="Seconds ahead of the clip.")] = 0.0,
    after: Annotated[float, typer.Option(help="Seconds behind the clip.")] = 0.0,
    retake: Annotated[
        Path | None, typer.Option(help="Clip to make again in the parts --span.")
    ] = None,
    span: Annotated[
        list[str] | None,
        typer.Option(metavar="START-END", help="Seconds of a part to make again; repeatable."),
    ] = None,
    only: Annotated[str, typer.Option(help='Of a retake: "both", "picture" or "sound".')] = "both",
    inpaint: Annotated[
        Path | None, typer.Option(help="Clip to make again where --mask is white.")
    ] = None,
    mask: Annotated[Path | None, typer.Option(help="Image, white where to make again.")] = None,
    reference: Annotated[
        str | None, typer.Option(metavar="FILE[:STRENGTH]", help="Video that an IC-LoRA follows.")
    ] = None,
    reference_downscale: Annotated[
        int, typer.Option(help="How much smaller than the clip the LoRA sees it.")
    ] = 1,
    given: Annotated[
        list[Path] | None,
        typer.Option("--input", help="File that the recipe's clip was made from; repeatable."),
    ] = None,
    makes: Annotated[
        str | None, typer.Option(help='"both", "video" without sound, or "audio" alone.')
    ] = None,
    upscale: Annotated[
        str | None,
        typer.Option(
            metavar="space|space-1.5|time,...",
            help="Stages that enlarge the picture, to 2 or 1.5 times, or double the frame rate; "
            "--width, --height and --frame-rate are the result's.",
        ),
    ] = None,
    refiner: Annotated[
        Path | None, typer.Option(help="Distillation LoRA for the stages of --upscale.")
    ] = None,
    sampler: Annotated[
        str | None, typer.Option(help='"euler", "gradient_estimation" or "res_2s".')
    ] = None,
    schedule: Annotated[
        str | None, typer.Option(help='Noise levels: "constant" or by "tokens".')
    ] = None,
    cross_timestep: Annotated[
        str | None,
        typer.Option(help='Between picture and sound: "own", "gate_from_other" or "other".'),
    ] = None,
    window: Annotated[
        float | None, typer.Option(help="Seconds made at once; longer clips are made in parts.")
    ] = None,
    overlap: Annotated[float | None, typer.Option(help="Seconds that a part sees before.")] = None,
    best_of: Annotated[int, typer.Option(help="Clips to make, of which the best is kept.")] = 1,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:FUNCTION",
            help="Measure of --best-of, as evaluation.metrics.best:lip_sync.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the output file.")] = False,
) -> None:
    """Make a clip with sound and write it as an MP4 file that carries its own recipe.

    What is not said is taken from --recipe, then from the model's usual settings. A recipe also
    chooses the model, the LoRAs, the number type, the quantization, the kernel and the compilation
    that it was made with, unless --model, --lora and so on are said.

    Started by torchrun, several processes make one clip together, or with --best-of as many clips
    at once.
    """
    options: dict[str, Any] = {
        "prompt": prompt,
        "negative_prompt": negative_prompt,
        "duration_s": seconds,
        "num_frames": frames,
        "width": width,
        "height": height,
        "frame_rate": frame_rate,
        "num_steps": steps,
        "seed": seed,
        "makes": makes,
        "sampler": sampler,
        "schedule": schedule,
        "cross_timestep": cross_timestep,
        "window_s": window,
        "overlap_s": overlap,
    }
    files = GivenOptions(
        images=image or (),
        audio=audio,
        foley=foley,
        extend=extend,
        before=before,
        after=after,
        retake=retake,
        spans=span or (),
        only=only,
        inpaint=inpaint,
        mask=mask,
        reference=reference,
        reference_downscale=reference_downscale,
        others=given or (),
    )
    with _errors_in_one_line():
        _check_output(output, force=force)
        blocks = None if stg_blocks is None else _blocks(stg_blocks)
        shared = (blocks, stg_mode, skip_steps)
        guidance = {
            "video_guidance": _guidance(cfg, stg, modality, rescale, *shared),
            "audio_guidance": _guidance(
                audio_cfg, audio_stg, audio_modality, audio_rescale, *shared
            ),
        }
        score = _score(by, best_of)
        if upscale is not None:
            options["upscale"] = parse_upscale(upscale)
        made_by = None if recipe is None else _read_recipe(recipe)
        loras = [_lora(text) for text in lora or ()]
        if made_by is not None and lora is None:
            loras = [
                (Path(applied.file), applied.strength, applied.audio_strength)
                for applied in made_by.loras
            ]
        made_with = None if made_by is None else made_by.computation
        computed: dict[str, Any] = {} if made_with is None else made_with.model_dump()
        from ltx2.inputs import Inputs

        inputs = Inputs()
        said = {name: value for name, value in options.items() if value is not None}
        request = _request(made_by, {**said, **files.to_request(inputs)}, guidance)
        _check_holds(output, request)
        settings = Settings.from_environment(os.environ)
        chosen = model or _usual_model(settings.model, made_by)
        # The environment's text encoder belongs to the environment's model.
        usual_encoder = settings.text_encoder if model or chosen == settings.model else None

        import ltx2
        from ltx2.runtime.parallel import joined, own_device, share_tokens

        started = time.monotonic()
        place = own_device(device or settings.device)
        with joined(place) as team:
            pipeline = ltx2.load(
                chosen,
                text_encoder=text_encoder or usual_encoder,
                device=place,
                dtype=dtype or computed.get("dtype", settings.dtype),
                loras=loras,
                live_loras=live_loras or computed.get("live_loras", False),
                refiner=refiner,
                offload=offload or settings.offload,
                quantization=quantization or computed.get("quantization", settings.quantization),
                attention=attention or computed.get("attention", settings.attention),
                compilation=compilation or computed.get("compilation", settings.compile),
                prompt_cache=settings.prompt_cache,
            )
            if made_by is not None:
                for difference in pipeline.differences_from(made_by):
                    typer.echo(f"Warning: {difference} The clip will differ.", err=True)
            request = _with_guidance(request, pipeline.profile, guidance)
            if team.rank == 0:
                for note in _notes(request, pipeline.profile, has_loras=bool(loras)):
                    typer.echo(f"Note: {note}", err=True)
            if best_of == 1 and team.size > 1:
                share_tokens(pipeline.networks.transformer, team)
            with _progress_bars() if team.rank == 0 else nullcontext(ignore_progress) as show:
                clip = ltx2.best_of(
                    pipeline,
                    request,
                    best_of,
                    score,
                    inputs=inputs,
                    on_progress=show,
                    should_cancel=_ctrl_c.is_set,
                    team=team,
                )
            if team.rank == 0:
                _save(clip, output)
    if team.rank:
        return
    typer.echo(f"{_made(clip, output)}, made in {time.monotonic() - started:.1f} s")


@app.command()
def inspect(
    path: Annotated[
        Path, typer.Argument(help="Checkpoint file, model folder, name of a model, or clip.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    digest: Annotated[
        bool, typer.Option("--digest", help="Read samples of the weights, to tell them apart.")
    ] = False,
) -> None:
    """Say what a checkpoint holds, from its header alone, or how a clip was made."""
    with _errors_in_one_line():
        if path.suffix.lower() in CLIP_SUFFIXES:
            typer.echo(_read_recipe(path).model_dump_json(indent=2))
            return
        from ltx2.checkpoint.layouts import describe

        description = describe(_checkpoint(path), digest=digest)
        typer.echo(json.dumps(description.to_json(), indent=2) if as_json else str(description))


@app.command()
def convert(
    source: Annotated[
        Path, typer.Argument(help="Checkpoint file, folder of diffusers, or name of a model.")
    ],
    target: Annotated[
        Path, typer.Argument(help="A .safetensors file, or a folder for diffusers; new.")
    ],
) -> None:
    """Write a checkpoint as one file, or as a folder that diffusers loads."""
    from ltx2.checkpoint.catalog import profile_of
    from ltx2.checkpoint.convert import write_diffusers_folder, write_single_file
    from ltx2.checkpoint.sources import SUFFIX, open_checkpoint

    with _errors_in_one_line(cancelled="Cancelled."):
        file = open_checkpoint(_checkpoint(source))
        if target.suffix == SUFFIX:
            write_single_file(file, target)
        else:
            is_distilled = profile_of(file).sigmas is not None
            write_diffusers_folder(file, target, is_distilled=is_distilled)
            typer.echo(
                "Put the text encoder into its folder text_encoder, and the tokenizer into "
                "tokenizer.",
                err=True,
            )
        typer.echo(f"{target}: {len(file.stored):,} tensors, {file.size_bytes / 1e9:,.2f} GB")


@app.command()
def download(
    name: Annotated[
        str, typer.Argument(help="A published model, gemma, or OWNER/NAME[/FILE] on the Hub.")
    ],
) -> None:
    """Fetch weights into the Hub's cache: resumed where it was cut off, with checksums.

    Afterwards the same name is the --model of other commands.
    """
    from tqdm import tqdm

    from ltx2.checkpoint import catalog, hub_cache
    from ltx2.checkpoint.hub import Transfer

    known = {k.name: f"{k.source.repo}/{k.name}.safetensors" for k in catalog.PUBLISHED}
    known |= dict.fromkeys(("gemma", catalog.TEXT_ENCODER_NAME), catalog.TEXT_ENCODER_SOURCE.repo)
    with (
        _errors_in_one_line(cancelled="Stopped; what came is kept, and the command goes on there."),
        tqdm(unit="B", unit_scale=True, disable=None) as bar,
    ):

        def show(transfer: Transfer) -> None:
            bar.total = transfer.total
            bar.update(transfer.done - bar.n)

        folder = hub_cache.download(
            known.get(name, name), on_transfer=show, should_cancel=_ctrl_c.is_set
        )
    typer.echo(f"{name}: {folder}")


def _checkpoint(path: Path) -> Path:
    """What a path means, or the name of a model."""
    from ltx2.checkpoint.catalog import SUFFIX, locate

    is_path = path.suffix == SUFFIX or os.path.exists(path)  # noqa: PTH110 - never raises
    return path if is_path else locate(str(path))


def _read_recipe(path: Path) -> "Recipe":
    from ltx2.media.decode import read_recipe

    recipe = read_recipe(path)
    if recipe is None:
        raise MediaError(
            f"{path} carries no recipe.", next_step="Choose a clip that this program made."
        )
    return recipe


def _check_output(output: Path, *, force: bool) -> None:
    """Complain about the output before the minutes of work, not after."""
    if output.suffix.lower() not in (".mp4", ".wav"):
        raise RequestError(
            f"The output is called {output.name}.",
            next_step="Name it *.mp4, or *.wav for the sound alone.",
        )
    if not output.absolute().parent.is_dir():
        raise RequestError(
            f"There is no folder {output.absolute().parent}.",
            next_step="Create it or choose another output.",
        )
    if output.is_dir() or (output.exists() and not force):
        raise RequestError(
            f"{output} exists already.", next_step="Choose another name or add --force."
        )


def _check_holds(output: Path, request: "Request") -> None:
    """Complain about a file that could not hold the clip, before the minutes of work."""
    if request.makes == "video" and output.suffix.lower() == ".wav":
        raise RequestError(
            f"A clip without sound cannot be written as {output.name}.",
            next_step="Name it *.mp4, or leave out --makes video.",
        )


def _save(clip: "Clip", output: Path) -> None:
    if output.suffix.lower() == ".wav":
        from ltx2.media.sound import write_sound

        write_sound(clip, output)
    else:
        clip.save(output)


def _score(by: str | None, best_of: int) -> "Callable[[Clip], float | None] | None":
    """The function that "MODULE:FUNCTION" names, which measures clips of --best-of."""
    if (by is None) != (best_of == 1):
        raise RequestError(
            "--best-of and --by belong together.",
            next_step="Say how many clips to make and by what to choose.",
        )
    if by is None:
        return None
    module, _, name = by.partition(":")
    try:
        score = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise RequestError(
            f"There is no measure {by!r}.",
            next_step="Write MODULE:FUNCTION, as evaluation.metrics.best:lip_sync.",
        ) from error
    return cast("Callable[[Clip], float | None]", score)


def _guidance(*values: float | tuple[int, ...] | str | None) -> dict[str, Any]:
    """What was said of one modality's guidance, by its names in a request."""
    scales = ("cfg_scale", "stg_scale", "modality_scale", "rescale")
    names = (*scales, "stg_blocks", "stg_mode", "skip_steps")
    return {name: value for name, value in zip(names, values, strict=True) if value is not None}


def _blocks(text: str) -> tuple[int, ...]:
    """Blocks of a list such as "28,29"."""
    try:
        blocks = tuple(int(part) for part in text.split(","))
    except ValueError:
        blocks = ()
    if not blocks or min(blocks) < 0:
        raise RequestError(
            f"--stg-blocks is {text!r}.", next_step="Write numbers from 0 on, as in 28,29."
        )
    return blocks


def _lora(text: str) -> tuple[Path, float] | tuple[Path, float, float | None]:
    """LoRA of "FILE", "FILE:STRENGTH" or "FILE:STRENGTH/SOUND"; file names may hold colons."""
    name, colon, strength = text.rpartition(":")
    if not colon or Path(text).exists():
        return Path(text), 1.0
    video, slash, audio = strength.partition("/")
    try:
        numbers = float(video), float(audio) if slash else 0.0
    except ValueError:
        return Path(text), 1.0
    if not all(math.isfinite(number) for number in numbers):
        raise RequestError(
            f"The strength of the LoRA {name} is {strength}.", next_step="Write a number like 0.8."
        )
    return (Path(name), *numbers) if slash else (Path(name), numbers[0])


def _request(
    recipe: "Recipe | None", options: dict[str, Any], guidance: dict[str, dict[str, Any]]
) -> "Request":
    """Request of a recipe with the options on top; guidance is checked, not yet applied."""
    from ltx2.request import Request

    values = {} if recipe is None else recipe.request.model_dump()
    if "duration_s" in options or "num_frames" in options:
        values.update(duration_s=None, num_frames=None)
    values.update(options)
    Request(**{**values, **guidance})
    return Request(**values)


def _usual_model(model: str, recipe: "Recipe | None") -> str:
    """The model to load where none is said: the recipe's, wherever it is, or `model`."""
    if recipe is None:
        return model
    from ltx2.checkpoint.catalog import find_model

    # Weights that were downloaded lie somewhere; LTX2_MODEL may say where.
    for name_or_path in (model, recipe.model):
        try:
            found = find_model(name_or_path)
        except CheckpointError:
            continue
        if found.name == recipe.model:
            return name_or_path
    raise RequestError(
        f"The recipe was made with the model {recipe.model}, which is not here.",
        next_step="Give its folder or file, or another model, as --model.",
    )


def _with_guidance(
    request: "Request", profile: "ModelProfile", given: dict[str, dict[str, Any]]
) -> "Request":
    """Request whose guidance differs from its own, or the model's usual one, in what was given."""
    values = request.model_dump()
    for name, scales in given.items():
        if scales:
            usual = getattr(request, name) or getattr(profile, name)
            values[name] = {**usual.model_dump(), **scales}
    return type(request)(**values)


def _notes(request: "Request", profile: "ModelProfile", *, has_loras: bool) -> Iterator[str]:
    """What surprises of a request, to be told before the minutes of work."""
    made = request.resolve(profile)
    asked = (request.width or made.width, request.height or made.height)
    if asked != (made.width, made.height):
        multiple = enlarged_multiple(request.upscale, profile.spatial_multiple)
        stages = f" with --upscale {','.join(request.upscale)}" if request.upscale else ""
        yield (
            f"{asked[0]} x {asked[1]} pixels become {made.width} x {made.height}, as width and "
            f"height divide by {multiple}{stages}."
        )
    if request.reference is not None and not has_loras:
        yield (
            "models follow a reference video with a LoRA that was trained to (--lora); none is "
            "given."
        )


def _made(clip: "Clip", output: Path) -> str:
    """The file that was just written, in words."""
    height, width = clip.frames.shape[1:3]
    is_sound = output.suffix.lower() == ".wav"
    what = f"sound of {clip.sample_rate:,} Hz" if is_sound else f"{width} x {height} pixels"
    return f"{output}: {what}, {clip.duration_s:.2f} s, {output.stat().st_size / 1e6:.2f} MB"


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
def _errors_in_one_line(cancelled: str = "Cancelled; no file was written.") -> Iterator[None]:
    """Foreseen failures become a line and an exit code; others keep their traceback."""
    try:
        yield
    except (KeyboardInterrupt, GenerationCancelled) as error:
        _end(cancelled, error, EXIT_CANCELLED)
    except Exception as error:
        if _ctrl_c.is_set():  # a library made another error of it
            _end(cancelled, error, EXIT_CANCELLED)
        if not isinstance(error, LTX2Error):
            raise
        _end(f"Error: {error}", error, EXIT_ERROR)


def _end(message: str, error: BaseException, code: int) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(code) from error


class _CtrlC(KeyboardInterrupt):
    """Ctrl-C, by a class of its own.

    After a plain KeyboardInterrupt out of `exec` of a string, which is how dataclasses and named
    tuples are made, `python -m` dies of the signal whatever exit code the program chose.
    """


def _on_ctrl_c(_: int, __: FrameType | None) -> NoReturn:
    # Python drops an exception that falls into a destructor; the event is seen at the next step.
    _ctrl_c.set()
    raise _CtrlC


def _add(command: Callable[..., None]) -> None:
    """Another package's command, with failures told as here."""

    @wraps(command)
    def run(*args: Any, **options: Any) -> None:
        with _errors_in_one_line(cancelled="Cancelled."):
            command(*args, **options)

    app.command()(run)


_add(plan)
_add(precompute)
_add(serve)
_add(train)
_add(deploy_space)


def main() -> None:
    """Run a command; Ctrl-C ends it with its own exit code wherever it falls."""
    signal.signal(signal.SIGINT, _on_ctrl_c)
    try:
        app(prog_name="python -m ltx2")
    finally:
        # The interpreter's end takes a moment, in which there is nothing left to cancel.
        signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    main()
