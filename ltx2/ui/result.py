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
from ltx2.ui.going_on import GoingOn, build_going_on
from ltx2.ui.language import label, phrase, retold, say

STAGES = {
    "start": (phrase("Starting"), 0.0, 0.0),
    "load": (phrase("Loading the model"), 0.0, 0.05),
    "encode prompt": (phrase("Reading the prompt"), 0.05, 0.08),
    "read files": (phrase("Reading the files"), 0.08, 0.1),
    "denoise": (phrase("Making picture and sound"), 0.1, 0.8),
    "enlarge space": (phrase("Enlarging the picture"), 0.8, 0.805),
    "enlarge space-1.5": (phrase("Enlarging the picture"), 0.805, 0.81),
    "enlarge time": (phrase("Adding pictures in between"), 0.81, 0.82),
    "refine": (phrase("Refining picture and sound"), 0.82, 0.9),
    "decode video": (phrase("Rendering the frames"), 0.9, 0.95),
    "decode audio": (phrase("Rendering the sound"), 0.95, 0.98),
    "save": (phrase("Writing the file"), 0.98, 1.0),
    "stop": (phrase("Stopping after this step"), 0.0, 0.0),
}
"""What each stage is called on the page, and which part of the progress bar it fills."""

STEP = phrase("{stage}: step {step} of {total}")

ONE_OF = phrase("Clip {number} of {count}: {progress}")

LEFT = phrase("{progress}, about {time} left")

COPY_LINK_JS = """
() => {
    const link = new URL(window.location.href);
    navigator.clipboard?.writeText(link.href);
    return [];
}
"""

SAVE_JS = """
(recipe) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([recipe], {type: "application/json"}));
    link.download = `ltx2-${JSON.parse(recipe).request.seed}.json`;
    link.click();
    URL.revokeObjectURL(link.href);
    return [];
}
"""
"""The recipe as a file called like its clip; Gradio's own button calls every one file.json."""


@dataclass(frozen=True)
class Shown:
    """What the page knows of the job that it shows, so that only what is new is sent.

    Attributes:
        job: its id; empty for none.
        status: where it stood.
        step: of the last preview; 0 before there is one.
        stop: label of the button to stop it; empty for none.
    """

    job: str = ""
    status: str = ""
    step: int = 0
    stop: str = ""


NOTHING = Shown()


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
    health: gr.HTML
    going_on: GoingOn
    recipe: gr.Code


def build_result() -> Result:
    """Layout: what happens now, the clip, how it was made."""
    status = gr.HTML(render_idle(), elem_id="status")
    use_failed = gr.Button(
        label("Use these settings"), size="sm", visible=False, min_width=120, elem_id="use-failed"
    )
    preview = gr.HTML("", visible=False, elem_id="preview")
    video = gr.Video(
        label=label("Clip"),
        show_label=False,
        interactive=False,
        autoplay=True,
        buttons=["download"],
        elem_id="clip",
    )
    with gr.Column(visible=False) as details:
        summary = gr.Markdown(elem_id="summary")
        with gr.Row(elem_id="actions"):
            again = gr.Button(label("Again, with a new seed"), size="sm", min_width=120)
            use_settings = gr.Button(label("Use these settings"), size="sm", min_width=120)
            link = gr.Button(label("Copy link"), size="sm", min_width=120)
        health = gr.HTML("", elem_id="health")
        going_on = build_going_on()
        with gr.Accordion(label("Recipe, also inside the file"), open=False, elem_id="recipe"):
            recipe = gr.Code(
                language="json",
                interactive=False,
                show_label=False,
                show_line_numbers=False,
                wrap_lines=True,
                max_lines=30,
                buttons=["copy"],
            )
            save = gr.Button(label("Save as a file"), size="sm", elem_id="save-recipe")
    link.click(None, None, None, js=COPY_LINK_JS, api_visibility="private")
    save.click(None, recipe, None, js=SAVE_JS, api_visibility="private")
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
        health=health,
        going_on=going_on,
        recipe=recipe,
    )


def render_idle() -> str:
    """What stands there before anything was asked."""
    text = label("Your clip appears here.")  # put in by each browser, so nothing is escaped
    return f'<div class="status idle" role="status"><p>{text}</p></div>'


def render_status(job: Job) -> str:
    """Where a job stands, as HTML that screen readers announce."""
    match job.state:
        case Queued(position):
            return _status(_waiting(position), share=0.0)
        case Running(stage, step, total, _, seconds_left, clip, clips):
            title, start, end = STAGES.get(stage, (stage.capitalize(), 0.0, 1.0))
            title = say(title)
            if stage == "stop":  # its step is that of the work before
                return _status(f"{title}.")
            text = title if total == 1 else say(STEP, stage=title, step=step, total=total)
            if clips > 1:
                text = say(ONE_OF, number=clip, count=clips, progress=text)
            if seconds_left is not None:
                text = say(LEFT, progress=text, time=in_words(seconds_left))
            share = start + (end - start) * step / total
            return _status(f"{text}.", share=(clip - 1 + share) / clips)
        case Done(seconds=seconds):
            return _status(say("Made in {time}.", time=_seconds(seconds)))
        case Failed(message, next_step):
            return _status(retold(f"{message} {next_step}"), kind="failed")
        case Cancelled():
            return _status(say("Stopped."))


def render_failure(message: str) -> str:
    """A sentence about a clip that is not there."""
    return _status(message, kind="failed")


def render_preflight(found: Preflight) -> str:
    """Whether a clip fits, and how long it takes; nothing where nothing is known."""
    if not found.sentence:
        return ""
    is_refused = isinstance(found.verdict, TooLarge)
    return _status(retold(found.sentence), kind="failed" if is_refused else "")


def render_sketch(sketch: Sketch) -> str:
    """What the clip looks and sounds like so far."""
    picture = base64.b64encode(sketch.pictures).decode()
    alt = escape(say("Preview after step {step} of {total}", step=sketch.step, total=sketch.total))
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
        facts.append(say("{count} frames/s", count=f"{request.frame_rate:g}"))
    facts += [
        say("{count} steps", count=request.num_steps),
        say("seed {seed}", seed=request.seed),
        recipe.model,
    ]
    facts += [f"{Path(lora.file).stem} {lora.shown_strength}" for lora in recipe.loras]
    if recipe.computation is not None:
        facts.append(str(recipe.computation))
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
        name = escape(say("Progress"))
        bar = f'<progress max="1" value="{share:.3f}" aria-label="{name}"></progress>'
    role = "alert" if kind == "failed" else "status"
    return f'<div class="status {kind}" role="{role}"><p>{escape(text)}</p>{bar}</div>'


def _waiting(position: int) -> str:
    if position == 0:
        return say("Waiting: yours is next.")
    if position == 1:
        return say("Waiting: 1 clip before yours.")
    return say("Waiting: {count} clips before yours.", count=position)


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else in_words(seconds)
