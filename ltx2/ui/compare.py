"""A second clip of the visitor beside the shown one: in step, one of them heard, and what differs.

Nothing is hidden here and nothing is counted; to judge without knowing is the raters' page.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from ltx2.errors import LTX2Error, RequestError
from ltx2.media.decode import read_recipe
from ltx2.request import Recipe
from ltx2.serving.jobs import Done, Job
from ltx2.serving.worker import JobQueue
from ltx2.ui.errors import errors_on_page
from ltx2.ui.language import label, phrase, say, words_of
from ltx2.ui.library import render_caption
from ltx2.ui.result import Shown, lend
from ltx2.ui.visitors import checked, is_known

STATIC = Path(__file__).parent / "static"

MAX_OTHERS = 200
"""Newest clips that can be chosen from."""

WORDS = (
    phrase("Shown clip"),
    phrase("Other clip"),
    phrase("Hear this"),
    phrase("Heard"),
    phrase("Play"),
    phrase("Pause"),
    phrase("Position in both clips"),
    phrase("Keys: space plays, 1 and 2 choose the sound, arrows move."),
    phrase("Setting"),
    phrase("The same settings."),
)
"""What `static/compare.js` says."""

SETTINGS = {
    "prompt": phrase("Prompt"),
    "negative_prompt": phrase("Negative prompt"),
    "seed": phrase("Seed"),
    "model": phrase("Model"),
    "loras": phrase("LoRAs"),
    "num_steps": phrase("Steps"),
    "num_frames": phrase("Frames"),
    "frame_rate": phrase("Frames per second"),
    "width": phrase("Width in pixels"),
    "height": phrase("Height in pixels"),
    "video_guidance": phrase("Guidance, picture"),
    "audio_guidance": phrase("Guidance, sound"),
}
"""What two recipes are compared by, in this order; other settings go by their own names."""


@dataclass(frozen=True)
class Comparison:
    """Components of the comparison.

    Attributes:
        other: which clip stands beside the shown one.
        pair: both, or nothing.
    """

    area: gr.Accordion
    other: gr.Dropdown
    pair: gr.HTML


def build_comparison() -> Comparison:
    """Layout: which other clip, then both."""
    with gr.Accordion(label("Compare with another clip"), open=False, elem_id="compare") as area:
        other = gr.Dropdown(
            [], value=None, label=label("Your clips"), elem_id="compare-with", filterable=True
        )
        pair = gr.HTML(
            None,
            html_template='<div class="comparison" role="group" tabindex="-1"></div>',
            css_template=(STATIC / "compare.css").read_text("utf-8"),
            js_on_load=(STATIC / "compare.js").read_text("utf-8"),
            apply_default_css=False,
            elem_id="compare-pair",
            words=words_of(WORDS),
        )
    return Comparison(area, other, pair)


def bind_comparison(
    view: Comparison, shown: gr.State, changed: gr.Video, queue: JobQueue, owner: gr.BrowserState
) -> None:
    """Events of the comparison.

    Args:
        view: its components.
        shown: the job whose clip is shown.
        changed: the shown clip; when there is another one, the comparison is over.
        queue: knows the clips.
        owner: the visitor.
    """
    handlers = ComparisonHandlers(queue, Path(changed.GRADIO_CACHE))
    gr.on(
        [view.area.expand, changed.change],
        handlers.on_list,
        [owner, shown],
        [view.other, view.pair],
        show_progress="hidden",
        api_visibility="private",
    )
    view.other.input(
        handlers.on_choose,
        [owner, shown, view.other],
        view.pair,
        show_progress="hidden",
        api_visibility="private",
    )


@dataclass(frozen=True)
class ComparisonHandlers:
    """What happens when a visitor compares.

    Attributes:
        queue: knows the clips.
        folder: Gradio's cache, where files may be served from.
    """

    queue: JobQueue
    folder: Path

    def on_list(self, owner: str, shown: Shown) -> tuple[Any, None]:
        """The visitor's other clips, the newest first, and nothing beside the shown one yet."""
        jobs: tuple[Job, ...] = ()
        if is_known(owner):
            jobs = self.queue.store.search(checked(owner), limit=MAX_OTHERS).jobs
        choices = [
            (f"{render_caption(job)} · {job.state.seed}", job.id)
            for job in jobs
            if isinstance(job.state, Done) and job.id != shown.job
        ]
        return gr.update(choices=choices, value=None), None

    def on_choose(self, owner: str, shown: Shown, other: str | None) -> dict[str, Any] | None:
        """Both clips and what differs between them."""
        if not other:
            return None
        with errors_on_page():
            left = self._clip(self.queue.store.open_link(shown.job))
            right = self._clip(self.queue.find(checked(owner), other))
            one, two = _recipe_of(left), _recipe_of(right)
            rows = [] if one is None or two is None else list(differences(one, two))
            return {"clips": [str(left), str(right)], "differences": rows}

    def _clip(self, job: Job) -> Path:
        if not isinstance(job.state, Done):
            raise RequestError("The clip is not made yet.", next_step="Wait for it.")
        clip = self.queue.path(job)
        if clip is None or not clip.is_file():
            raise RequestError("The clip's file is gone.", next_step="Generate it again.")
        return lend(clip, job, self.folder)


def _recipe_of(clip: Path) -> Recipe | None:
    try:
        return read_recipe(clip)
    except LTX2Error:
        return None  # both can still be watched


def differences(left: Recipe, right: Recipe) -> Iterator[tuple[str, str, str]]:
    """Name of each setting that is not the same, and what it is on either side."""
    settings = [_settings_of(recipe) for recipe in (left, right)]
    names = [*SETTINGS, *(name for name in settings[0] if name not in SETTINGS)]
    for name in names:
        one, other = (known.get(name) for known in settings)
        if one == other:
            continue
        title = say(SETTINGS[name]) if name in SETTINGS else name.replace("_", " ")
        if isinstance(one, dict) and isinstance(other, dict):
            inside = [key for key in one if one[key] != other.get(key)]
            for key in inside:
                words = f"{title}: {key.replace('_', ' ')}"
                yield words, _in_words(one[key]), _in_words(other.get(key))
        else:
            yield title, _in_words(one), _in_words(other)


def _settings_of(recipe: Recipe) -> dict[str, Any]:
    settings = recipe.request.model_dump(mode="json", exclude={"schema_version"})
    loras = [f"{lora.file} {lora.shown_strength}" for lora in recipe.loras]
    computed = {} if recipe.computation is None else recipe.computation.facts
    return {**settings, "model": recipe.model, "loras": loras, "computation": computed}


def _in_words(value: Any) -> str:
    if value in (None, "", []):
        return "-"
    if isinstance(value, float):
        return f"{value:g}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
