"""The Grid view: seeds and settings in every combination, as a table of clips that fills."""

import base64
import io
import logging
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from ltx2.errors import LTX2Error, RequestError
from ltx2.media.decode import read_first_picture
from ltx2.serving import grid
from ltx2.serving.access import Door
from ltx2.serving.jobs import Done, End, Running
from ltx2.serving.models import Models
from ltx2.serving.preflight import in_words
from ltx2.serving.store import Group, Grouped, Member
from ltx2.serving.worker import JobQueue
from ltx2.ui.errors import errors_on_page
from ltx2.ui.events import ANSWERED, QUIET
from ltx2.ui.form import NO_LORA
from ltx2.ui.language import Label, label, phrase, retold, say
from ltx2.ui.library import DOWNLOAD_JS, state_in_a_word
from ltx2.ui.limits import limited
from ltx2.ui.result import LEFT, render_failure
from ltx2.ui.visitors import checked, is_known, recognise

logger = logging.getLogger(__name__)

GRID = "grid"
"""Id of the view's tab, and the word in the address that names a grid."""

POLL_S = 2.0
"""Seconds between looks at a grid: its clips take longer."""

THUMBNAIL = 112
"""Pixels of the longer side of a cell's picture."""

MAX_THUMBNAILS = 1_024
"""Kept in memory, about 3 KB each."""

MAX_PREVIEW_ROWS = 50

MAX_WORDS = 90
"""Characters of a prompt in a table."""

LINK_JS = """
(grid) => {
    const link = new URL(window.location.href);
    link.searchParams.delete("job");
    if (grid) { link.searchParams.set("grid", grid); } else { link.searchParams.delete("grid"); }
    window.history.replaceState(null, "", link);
    return [];
}
"""
"""The address shows the grid, so that a reload finds it again."""


NOT_HERE = phrase("This grid is not here. It may belong to another browser.")

TITLES = {
    "prompt": phrase("Prompt"),
    "seed": phrase("Seed"),
    "steps": phrase("Steps"),
    "guidance": phrase("Guidance"),
    "seconds": phrase("Seconds"),
    "model": phrase("Model"),
    "lora": phrase("LoRA"),
    "lora_strength": phrase("LoRA strength"),
}
"""Heads of the table's columns."""

PictureOf = Callable[[Grouped], str | None]
"""Address of a clip's picture, if it has one."""


@dataclass(frozen=True)
class GridForm:
    """Components that ask for a grid; names and order are those of `Asked`."""

    prompts: gr.Textbox
    seeds: gr.Textbox
    steps: gr.Textbox
    guidance: gr.Textbox
    seconds: gr.Textbox
    models: gr.CheckboxGroup
    loras: gr.Dropdown
    strengths: gr.Textbox
    file: gr.File

    @property
    def inputs(self) -> list[Any]:
        """What `Asked` is made of, in its order."""
        return [getattr(self, field.name) for field in fields(self)]


@dataclass(frozen=True)
class Asked:
    """Values of the form."""

    prompts: str
    seeds: str
    steps: str
    guidance: str
    seconds: str
    models: list[str]
    loras: list[str]
    strengths: str
    file: str | None

    def lines(self) -> tuple[grid.Line, ...]:
        """What the file asks for, or the fields where there is none.

        Raises:
            RequestError: something in it cannot be used.
        """
        if self.file:
            return grid.read_lines(Path(self.file))
        prompts = [line.strip() for line in self.prompts.splitlines() if line.strip()]
        if not prompts:
            raise RequestError(
                "There is no prompt.", next_step="Write one, or several on lines of their own."
            )
        values = {
            "prompt": prompts,
            "seed": grid.numbers(self.seeds, int, "Seeds") or [1],
            "steps": grid.numbers(self.steps, int, "Steps"),
            "guidance": grid.numbers(self.guidance, float, "Guidance"),
            "seconds": grid.numbers(self.seconds, float, "Seconds"),
            "model": self.models or [],
            "lora": self.loras or [],
            "lora_strength": grid.numbers(self.strengths, float, "LoRA strengths"),
        }
        return (grid.Line.of(1, values),)


@dataclass(frozen=True)
class GridView:
    """Components of the view."""

    tab: gr.Tab
    form: GridForm
    preview: gr.Button
    run: gr.Button
    plan: gr.HTML
    chosen: gr.Dropdown
    status: gr.HTML
    matrix: gr.HTML
    actions: gr.Row
    stop: gr.Button
    downloads: tuple[gr.Button, gr.Button, gr.Button]
    download: gr.File
    group: gr.Textbox
    seen: gr.State
    timer: gr.Timer

    @property
    def showing(self) -> list[Any]:
        """What changes with the grid that is shown."""
        return [self.status, self.matrix, self.actions, self.stop, self.timer, self.seen]


def build_grid(tab: gr.Tab, models: Models) -> GridView:
    """Layout: what is varied, what that comes to, the clips."""
    with gr.Row():
        with gr.Column(scale=3, min_width=320):
            prompts = gr.Textbox(
                label=label("Prompts"),
                info=label("One a line"),
                lines=3,
                max_lines=12,
                elem_id="grid-prompts",
            )
            with gr.Row():
                seeds = _field(label("Seeds"), "1-4", label("Like 1, 4, 7 or 1-4"))
                steps = _field(label("Steps"), "", label("Usual if empty"))
                guidance = _field(label("Guidance"), "", label("Usual if empty"))
                seconds = _field(label("Seconds"), "", label("Usual if empty"))
            names = [offer.name for offer in models.offers]
            chosen_models = gr.CheckboxGroup(
                names, value=names[:1], label=label("Models"), visible=len(names) > 1
            )
            loras = list(dict.fromkeys(n for offer in models.offers for n in offer.loras))
            with gr.Row(visible=bool(loras)):
                chosen_loras = gr.Dropdown(
                    [(label(NO_LORA), "none"), *((name, name) for name in loras)],
                    value=[],
                    multiselect=True,
                    label=label("LoRAs"),
                    scale=2,
                )
                strengths = _field(label("LoRA strengths"), "", label("1 if empty"))
        with gr.Column(scale=2, min_width=280):
            file = gr.File(
                label=label("Or a file: JSON lines or CSV"),
                file_types=[".jsonl", ".csv"],
                height=120,
                elem_id="grid-file",
            )
            with gr.Row():
                preview = gr.Button(label("Preview"), min_width=100, elem_id="grid-preview")
                run = gr.Button(label("Run"), variant="primary", min_width=100, elem_id="grid-run")
            plan = gr.HTML("", elem_id="grid-plan")
    chosen = gr.Dropdown([], value=None, label=label("Your grids"), elem_id="grids", visible=False)
    status = gr.HTML("", elem_id="grid-status")
    matrix = gr.HTML("", elem_id="grid-matrix")
    with gr.Row(visible=False) as actions:
        stop = gr.Button(label("Stop all"), size="sm", min_width=90, elem_id="grid-stop")
        downloads = (
            gr.Button(label("Table as CSV"), size="sm", min_width=90),
            gr.Button(label("Table as JSONL"), size="sm", min_width=90),
            gr.Button(label("Clips as ZIP"), size="sm", min_width=90),
        )
    return GridView(
        tab=tab,
        form=GridForm(
            prompts,
            seeds,
            steps,
            guidance,
            seconds,
            chosen_models,
            chosen_loras,
            strengths,
            file,
        ),
        preview=preview,
        run=run,
        plan=plan,
        chosen=chosen,
        status=status,
        matrix=matrix,
        actions=actions,
        stop=stop,
        downloads=downloads,
        download=gr.File(visible=False),
        group=gr.Textbox(visible=False),
        seen=gr.State(""),
        timer=gr.Timer(POLL_S, active=False),
    )


def _field(name: Label, value: str, info: Label) -> gr.Textbox:
    return gr.Textbox(label=name, value=value, info=info, min_width=110, max_lines=1)


def bind_grid(
    view: GridView,
    queue: JobQueue,
    owner: gr.BrowserState,
    page: gr.Blocks,
    tabs: gr.Tabs,
    door: Door,
) -> None:
    """Events of the view."""
    handlers = GridHandlers(queue, Path(view.download.GRADIO_CACHE))
    view.preview.click(handlers.on_preview, view.form.inputs, view.plan, **ANSWERED)
    run = view.run.click(
        limited(handlers.on_run, door),
        [owner, *view.form.inputs],
        [owner, view.group, view.plan],
        **ANSWERED,
    )
    picked = view.chosen.input(lambda group: group, view.chosen, view.group, **QUIET)
    loaded = page.load(handlers.on_load, None, [view.group, tabs], **QUIET)
    for event in (run, picked, loaded):
        shown = event.success(handlers.on_show, [owner, view.group], view.showing, **QUIET)
        listed = shown.success(handlers.on_list, [owner, view.group], view.chosen, **QUIET)
        if event is not loaded:
            listed.success(None, view.group, None, js=LINK_JS, api_visibility="private")
    view.tab.select(handlers.on_list, [owner, view.group], view.chosen, **QUIET)
    view.timer.tick(handlers.on_poll, [owner, view.group, view.seen], view.showing, **QUIET)
    view.stop.click(handlers.on_stop, [owner, view.group], view.showing, **ANSWERED)
    makers = (handlers.on_csv, handlers.on_jsonl, handlers.on_archive)
    for button, maker in zip(view.downloads, makers, strict=True):
        made = button.click(maker, [owner, view.group], view.download, **ANSWERED)
        made.success(None, view.download, None, js=DOWNLOAD_JS, api_visibility="private")


@dataclass(frozen=True)
class GridHandlers:
    """What happens when a visitor does something.

    Attributes:
        queue: makes the clips.
        folder: Gradio's cache, where files may be served from.
    """

    queue: JobQueue
    folder: Path

    def on_preview(self, *values: Any) -> str:
        """The table of what would be made, how many clips it has and how long they take."""
        with errors_on_page():
            members = self._members(values)
            return render_plan(members, grid.expected_s(members, self.queue))

    def on_run(self, owner: str, *values: Any) -> tuple[str, str, str]:
        """The visitor, the new grid's id, and no plan any more."""
        with errors_on_page():
            owner = recognise(owner)  # who is quicker than the page has no number yet
            return owner, self.queue.submit_group(owner, self._members(values)), ""

    def on_load(self, request: gr.Request) -> tuple[Any, Any]:
        """The grid that the address names, and its tab."""
        group = request.query_params.get(GRID, "") if request else ""
        return (group, gr.Tabs(selected=GRID)) if group else (gr.skip(), gr.skip())

    def on_list(self, owner: str, group: str) -> Any:
        """The visitor's grids, the shown one chosen."""
        groups = self.queue.store.groups(owner) if is_known(owner) else ()
        choices = [(render_group(each), each.id) for each in groups]
        value = group if group in {each.id for each in groups} else None
        return gr.update(choices=choices, value=value, visible=bool(choices))

    def on_show(self, owner: str, group: str) -> tuple[Any, ...]:
        """A grid takes the place of what was shown."""
        return self._show(owner, group, "")

    def on_poll(self, owner: str, group: str, seen: str) -> tuple[Any, ...]:
        """What has changed since."""
        return self._show(owner, group, seen)

    def on_stop(self, owner: str, group: str) -> tuple[Any, ...]:
        """What waits ends now, what is made ends at its next step."""
        with errors_on_page():
            self.queue.cancel_group(checked(owner), group)
            return self._show(owner, group, "")

    def on_csv(self, owner: str, group: str) -> str:
        """The table for a spreadsheet."""
        return self._table(owner, group, "grid.csv")

    def on_jsonl(self, owner: str, group: str) -> str:
        """The table for programs."""
        return self._table(owner, group, "grid.jsonl")

    def on_archive(self, owner: str, group: str) -> str:
        """A ZIP of the table and all clips that are made."""
        with errors_on_page():
            cells = self.queue.group(checked(owner), group)
            clips = [
                (grid.file_name(number, cell), path)
                for number, cell in enumerate(cells, start=1)
                if (path := self.queue.path(cell.job)) is not None and path.is_file()
            ]
            if not clips:
                raise RequestError("No clip here is finished.", next_step="Wait for the first.")
            target = self._target(group, "grid.zip")
            # Stored as they are: video does not get smaller.
            with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
                archive.writestr("grid.csv", grid.render_csv(grid.table_of(cells)))
                for name, path in clips:
                    archive.write(path, name)
            return str(target)

    def _table(self, owner: str, group: str, name: str) -> str:
        with errors_on_page():
            rows = grid.table_of(self.queue.group(checked(owner), group))
            render = grid.render_csv if name.endswith("csv") else grid.render_jsonl
            target = self._target(group, name)
            target.write_text(render(rows), "utf-8", newline="")
            return str(target)

    def _target(self, group: str, name: str) -> Path:
        target = self.folder / f"grid-{group}" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def _members(self, values: Sequence[Any]) -> tuple[Member, ...]:
        return grid.expand(Asked(*values).lines(), self.queue.models[0])

    def _show(self, owner: str, group: str, seen: str) -> tuple[Any, ...]:
        """Updates of everything that shows a grid: see `GridView.showing`."""
        hidden, asleep = gr.update(visible=False), gr.Timer(active=False)
        if not group:
            return "", "", hidden, hidden, asleep, ""
        try:
            cells = self.queue.group(checked(owner), group)
        except LTX2Error:
            gone = render_failure(say(NOT_HERE))
            return gone, "", hidden, hidden, asleep, ""
        is_over = grid.num_ended(cells) == len(cells)
        now = f"{group} {' '.join(_mark(cell) for cell in cells)}"
        return (
            render_progress(cells, grid.seconds_left(cells, self.queue)),
            gr.skip() if now == seen else render_matrix(cells, self._picture),
            gr.update(visible=True),
            gr.update(visible=not is_over),
            gr.Timer(active=not is_over),
            gr.skip() if now == seen else now,
        )

    def _picture(self, cell: Grouped) -> str | None:
        """The first picture of a clip as the address of an image."""
        path = self.queue.path(cell.job)
        try:
            return None if path is None else _thumbnail(path)
        except (LTX2Error, OSError) as error:
            logger.warning("a clip has no picture: %s", type(error).__name__)
            return None


def _mark(cell: Grouped) -> str:
    """Changes when what is shown of a cell changes."""
    state = cell.job.state
    return f"{100 * state.step // state.total}" if isinstance(state, Running) else _word(cell)


def _word(cell: Grouped) -> str:
    return phrase("made") if isinstance(cell.job.state, Done) else state_in_a_word(cell.job)


@lru_cache(MAX_THUMBNAILS)
def _thumbnail(path: Path) -> str:
    picture = Image.fromarray(read_first_picture(path))
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    jpeg = io.BytesIO()
    picture.save(jpeg, "JPEG", quality=75)
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg.getvalue()).decode()}"


def render_group(group: Group) -> str:
    """One line that tells a grid from others."""
    return say("{prompt} ({count} clips)", prompt=_short(group.prompt, 60), count=group.num_jobs)


def render_plan(members: Sequence[Member], seconds: float | None) -> str:
    """The table of what would be made."""
    text = say("1 clip") if len(members) == 1 else say("{count} clips", count=len(members))
    if seconds is not None:
        text = say("{clips}, about {time}", clips=text, time=in_words(seconds))
    columns = [name for name in grid.COLUMNS if any(name in m.labels for m in members)]
    head = "".join(f'<th scope="col">{escape(_title(name))}</th>' for name in columns)
    table = [[m.labels.get(name, "") for name in columns] for m in members[:MAX_PREVIEW_ROWS]]
    rows = "".join(
        f"<tr>{''.join(f'<td>{_text(value)}</td>' for value in row)}</tr>" for row in table
    )
    left = len(members) - MAX_PREVIEW_ROWS
    more = f"<p>{escape(say('and {count} more', count=left))}</p>" if left > 0 else ""
    return (
        f'<div class="status" role="status"><p>{escape(text)}.</p></div>'
        f'<div class="grid-table" tabindex="0"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>{more}"
    )


def render_progress(cells: Sequence[Grouped], seconds: float | None) -> str:
    """How many clips are there, and how long the others take."""
    ended, made = grid.num_ended(cells), sum(isinstance(c.job.state, Done) for c in cells)
    text = say("{made} of {total} clips made", made=made, total=len(cells))
    if made < ended:
        text = say("{progress}, {count} failed or stopped", progress=text, count=ended - made)
    if ended < len(cells) and seconds is not None:
        text = say(LEFT, progress=text, time=in_words(seconds))
    bar = ""
    if ended < len(cells):
        name = escape(say("Progress"))
        bar = f'<progress max="{len(cells)}" value="{ended}" aria-label="{name}"></progress>'
    return f'<div class="status" role="status"><p>{escape(text)}.</p>{bar}</div>'


def render_matrix(cells: Sequence[Grouped], picture: PictureOf) -> str:
    """Seeds from left to right, the other settings from top to bottom; a clip is a link."""
    columns = [name for name in grid.COLUMNS if len({c.labels.get(name) for c in cells}) > 1]
    columns = [name for name in columns if name != "seed"]
    seeds = list(dict.fromkeys(cell.labels.get("seed", "") for cell in cells))
    rows: dict[tuple[str, ...], dict[str, Grouped]] = {}
    for cell in cells:
        key = tuple(cell.labels.get(name, "") for name in columns)
        rows.setdefault(key, {})[cell.labels.get("seed", "")] = cell
    head = "".join(f'<th scope="col">{escape(_title(name))}</th>' for name in columns)
    head += "".join(
        f'<th scope="col">{escape(say("Seed {seed}", seed=seed))}</th>' for seed in seeds
    )
    body = "".join(
        "<tr>"
        + "".join(f'<th scope="row">{_text(value)}</th>' for value in key)
        + "".join(f"<td>{_cell(row[seed], picture) if seed in row else ''}</td>" for seed in seeds)
        + "</tr>"
        for key, row in rows.items()
    )
    return (
        '<div class="grid-table" tabindex="0"><table class="matrix">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cell(cell: Grouped, picture: PictureOf) -> str:
    state, word = cell.job.state, say(_word(cell))
    said = ", ".join(f"{_title(n).lower()} {_short(v, 40)}" for n, v in cell.labels.items())
    inside = escape(word)
    if isinstance(state, Running):
        inside = (
            f'<progress max="{state.total}" value="{state.step}" aria-label="{inside}"></progress>'
        )
    address = picture(cell) if isinstance(state, Done) else None
    if address is not None:
        inside = f'<img src="{address}" alt="">'
    if isinstance(state, End):
        reason = escape(retold(grid.reason_of(cell)) or say("Open the clip"))
        return (
            f'<a class="cell {type(state).__name__.lower()}" href="?job={escape(cell.job.id)}" '
            f'title="{reason}" aria-label="{escape(f"{word}: {said}")}">{inside}</a>'
        )
    return f'<span class="cell">{inside}</span>'


def _title(name: str) -> str:
    return say(TITLES[name])


def _text(value: str) -> str:
    return escape(_short(value, MAX_WORDS) or say("usual"))


def _short(text: str, most: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 1]}…"
