"""Where a job stands and what came of it, as the page shows it."""

import base64
import io
import json
from dataclasses import dataclass
from html import escape
from pathlib import Path

import gradio as gr
from PIL import Image

from ltx2.errors import ResourceError
from ltx2.files import linked
from ltx2.request import Recipe
from ltx2.serving.jobs import Cancelled, Done, Failed, Job, Queued, Running
from ltx2.serving.preflight import Preflight, TooLarge, in_words
from ltx2.serving.previews import Sketch

STAGES = {
    "start": ("Starting", 0.0, 0.0),
    "load": ("Loading the model", 0.0, 0.05),
    "encode prompt": ("Reading the prompt", 0.05, 0.1),
    "denoise": ("Making picture and sound", 0.1, 0.85),
    "decode video": ("Rendering the frames", 0.85, 0.93),
    "decode audio": ("Rendering the sound", 0.93, 0.98),
    "save": ("Writing the file", 0.98, 1.0),
    "stop": ("Stopping after this step", 0.0, 0.0),
}
"""What each stage is called on the page, and which part of the progress bar it fills."""

COPY_LINK_JS = """
() => {
    const link = new URL(window.location.href);
    navigator.clipboard?.writeText(link.href);
    return [];
}
"""


@dataclass(frozen=True)
class Result:
    """Components that show a job."""

    status: gr.HTML
    use_failed: gr.Button
    preview: gr.HTML
    video: gr.Video
    details: gr.Column
    summary: gr.Markdown
    again: gr.Button
    use_settings: gr.Button
    link: gr.Button
    recipe: gr.Code


def build_result() -> Result:
    """Layout: what happens now, the clip, how it was made."""
    status = gr.HTML(render_idle(), elem_id="status")
    use_failed = gr.Button(
        "Use these settings", size="sm", visible=False, min_width=120, elem_id="use-failed"
    )
    preview = gr.HTML("", visible=False, elem_id="preview")
    video = gr.Video(
        label="Clip",
        show_label=False,
        interactive=False,
        autoplay=True,
        buttons=["download"],
        elem_id="clip",
    )
    with gr.Column(visible=False) as details:
        summary = gr.Markdown(elem_id="summary")
        with gr.Row(elem_id="actions"):
            again = gr.Button("Again, with a new seed", size="sm", min_width=120)
            use_settings = gr.Button("Use these settings", size="sm", min_width=120)
            link = gr.Button("Copy link", size="sm", min_width=120)
        with gr.Accordion("Recipe, also inside the file", open=False, elem_id="recipe"):
            recipe = gr.Code(
                language="json",
                interactive=False,
                show_label=False,
                show_line_numbers=False,
                wrap_lines=True,
                max_lines=30,
                buttons=["copy", "download"],
            )
    link.click(None, None, None, js=COPY_LINK_JS, api_visibility="private")
    return Result(
        status=status,
        use_failed=use_failed,
        preview=preview,
        video=video,
        details=details,
        summary=summary,
        again=again,
        use_settings=use_settings,
        link=link,
        recipe=recipe,
    )


def render_idle() -> str:
    """What stands there before anything was asked."""
    return _status("Your clip appears here.")


def render_status(job: Job) -> str:
    """Where a job stands, as HTML that screen readers announce."""
    match job.state:
        case Queued(position):
            return _status(_waiting(position), share=0.0)
        case Running(stage, step, total, _, seconds_left):
            title, start, end = STAGES.get(stage, (stage.capitalize(), 0.0, 1.0))
            if stage == "stop":  # its step is that of the work before
                return _status(f"{title}.")
            text = title if total == 1 else f"{title}: step {step} of {total}"
            if seconds_left is not None:
                text += f", about {in_words(seconds_left)} left"
            return _status(f"{text}.", share=start + (end - start) * step / total)
        case Done(seconds=seconds):
            return _status(f"Made in {_seconds(seconds)}.")
        case Failed(message, next_step):
            return _status(f"{message} {next_step}", kind="failed")
        case Cancelled():
            return _status("Stopped.")


def render_failure(message: str) -> str:
    """A sentence about a clip that is not there."""
    return _status(message, kind="failed")


def render_preflight(found: Preflight) -> str:
    """Whether a clip fits, and how long it takes; nothing where nothing is known."""
    if not found.sentence:
        return ""
    is_refused = isinstance(found.verdict, TooLarge)
    return _status(found.sentence, kind="failed" if is_refused else "")


def render_sketch(sketch: Sketch) -> str:
    """What the clip looks and sounds like so far."""
    picture = base64.b64encode(sketch.pictures).decode()
    alt = f"Preview after step {sketch.step} of {sketch.total}"
    width, height = Image.open(io.BytesIO(sketch.pictures)).size
    shape = width / sketch.num_pictures / height
    film = (
        f'<div class="film" style="--pictures:{sketch.num_pictures};--shape:{shape:.3f}">'
        f'<img src="data:image/jpeg;base64,{picture}" alt="{alt}"></div>'
    )
    if sketch.sound is None:
        return film
    sound = base64.b64encode(sketch.sound).decode()
    return f'{film}<audio controls src="data:audio/wav;base64,{sound}"></audio>'


def render_summary(recipe: Recipe) -> str:
    """One line of the settings that people compare."""
    request = recipe.request
    facts = [f"{request.width} × {request.height} px"]
    if request.num_frames and request.frame_rate:
        facts.append(f"{request.num_frames / request.frame_rate:.2f} s")
        facts.append(f"{request.frame_rate:g} frames/s")
    facts += [f"{request.num_steps} steps", f"seed {request.seed}", recipe.model]
    facts += [f"{Path(lora.file).stem} {lora.strength:g}" for lora in recipe.loras]
    return " · ".join(facts)


def render_recipe(recipe: Recipe) -> str:
    """The recipe as JSON to copy."""
    return json.dumps(recipe.model_dump(mode="json"), indent=2, ensure_ascii=False)


def lend(clip: Path, job: Job, folder: Path) -> Path:
    """The clip where Gradio may serve it from, under a name that people can keep.

    Args:
        clip: in the library.
        job: that it is of; its id, which nobody can guess, names the folder.
        folder: Gradio's cache, which is swept on a schedule.

    Raises:
        ResourceError: the folder cannot be written.
    """
    seed = job.state.seed if isinstance(job.state, Done) else 0
    target = folder / job.id / f"ltx2-{seed}.mp4"
    if target.exists():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        linked(clip, target)
    except OSError as error:
        raise ResourceError(
            f"The clip cannot be shown ({error.strerror}).",
            next_step="Make room on the server's disk, or set GRADIO_TEMP_DIR to another folder.",
        ) from error
    return target


def _status(text: str, *, share: float | None = None, kind: str = "") -> str:
    bar = ""
    if share is not None:
        bar = f'<progress max="1" value="{share:.3f}" aria-label="Progress"></progress>'
    role = "alert" if kind == "failed" else "status"
    return f'<div class="status {kind}" role="{role}"><p>{escape(text)}</p>{bar}</div>'


def _waiting(position: int) -> str:
    if position == 0:
        return "Waiting: yours is next."
    return f"Waiting: {position} {'clip' if position == 1 else 'clips'} before yours."


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else in_words(seconds)
