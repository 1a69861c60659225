"""The Library view: every clip that a visitor asked for, to find, keep, take away or throw out."""

import logging
import zipfile
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image, ImageDraw

from ltx2.errors import LTX2Error, RequestError
from ltx2.media.decode import read_first_picture
from ltx2.media.recipe_tag import AI_GENERATED
from ltx2.serving.jobs import Cancelled, Done, Failed, Job, Queued, Running
from ltx2.serving.worker import JobQueue
from ltx2.ui.errors import errors_on_page
from ltx2.ui.events import ANSWERED
from ltx2.ui.language import label, phrase, say
from ltx2.ui.result import lend, render_failure, render_status
from ltx2.ui.visitors import checked, is_known

logger = logging.getLogger(__name__)

PAGE = 24
"""Clips shown at first, and added by More."""

CARD = (240, 180)
"""Pixels of a card that has no picture yet."""

CARD_COLOR, CARD_TEXT_COLOR = "#57534e", "#f5f5f4"
"""Calm on a light page and on a dark one."""

MAX_CAPTION = 60
"""Characters of the prompt under a card."""

MAX_ZIP_CLIPS = 200

WHICH = ALL, FAVOURITES, DELETED = phrase("All"), phrase("Favourites"), phrase("Deleted")

FAVOURITE, NO_FAVOURITE = phrase("Favourite"), phrase("Not a favourite")

DOWNLOAD_JS = """
(file) => {
    const link = document.createElement("a");
    link.href = file.url;
    link.download = file.orig_name;
    link.click();
    return [];
}
"""
"""Gradio's own button for downloads would ask for a second click once its file is made."""


@dataclass(frozen=True)
class LibraryView:
    """Components of the view."""

    tab: gr.Tab
    search: gr.Textbox
    which: gr.Radio
    gallery: gr.Gallery
    more: gr.Button
    nothing: gr.Markdown
    chosen: gr.Column
    status: gr.HTML
    video: gr.Video
    prompt: gr.HTML
    open: gr.Button
    favourite: gr.Button
    delete: gr.Button
    restore: gr.Button
    archive: gr.Button
    archive_file: gr.File
    listed: gr.State
    job: gr.State


def build_library(tab: gr.Tab) -> LibraryView:
    """Layout: how to find, what is found, the chosen one."""
    with gr.Row():
        search = gr.Textbox(
            label=label("Search prompts"), scale=3, min_width=280, elem_id="library-search"
        )
        which = gr.Radio(
            [(label(name), name) for name in WHICH],
            value=ALL,
            label=label("Show"),
            scale=2,
            min_width=280,
        )
    nothing = gr.Markdown(label("No clips here yet."), visible=False)
    with gr.Row():
        with gr.Column(scale=3, min_width=320):
            gallery = gr.Gallery(
                columns=3,
                show_label=False,
                allow_preview=False,
                buttons=[],
                elem_id="library",
            )
            with gr.Row():
                more = gr.Button(label("More"), size="sm", visible=False)
                archive = gr.Button(
                    label("Download these as ZIP"), size="sm", elem_id="library-zip"
                )
        with gr.Column(scale=2, min_width=320, visible=False) as chosen:
            status = gr.HTML("", elem_id="library-status")
            video = gr.Video(
                show_label=False, interactive=False, buttons=["download"], elem_id="library-clip"
            )
            prompt = gr.HTML(elem_id="library-prompt")
            with gr.Row():
                open_button = gr.Button(label("Open"), size="sm", min_width=80)
                label(NO_FAVOURITE)  # shown later: browsers learn all texts when the page opens
                favourite = gr.Button(label(FAVOURITE), size="sm", min_width=80)
                delete = gr.Button(label("Delete"), size="sm", min_width=80)
                restore = gr.Button(label("Undo delete"), size="sm", min_width=80, visible=False)
    return LibraryView(
        tab=tab,
        search=search,
        which=which,
        gallery=gallery,
        more=more,
        nothing=nothing,
        chosen=chosen,
        status=status,
        video=video,
        prompt=prompt,
        open=open_button,
        favourite=favourite,
        delete=delete,
        restore=restore,
        archive=archive,
        archive_file=gr.File(visible=False),
        listed=gr.State(()),
        job=gr.State(""),
    )


def bind_library(view: LibraryView, queue: JobQueue, owner: gr.BrowserState) -> None:
    """Events of the view; opening a clip is bound where the Generate view is known."""
    handlers = LibraryHandlers(queue, Path(view.video.GRADIO_CACHE))
    listing = [view.gallery, view.listed, view.more, view.nothing]
    choosing = [
        view.chosen,
        view.status,
        view.video,
        view.prompt,
        view.favourite,
        view.delete,
        view.restore,
        view.job,
    ]
    gr.on(
        [view.tab.select, view.search.change, view.which.change],
        handlers.on_list,
        [owner, view.search, view.which],
        listing,
        **ANSWERED,
    )
    view.more.click(
        handlers.on_more, [owner, view.search, view.which, view.listed], listing, **ANSWERED
    )
    view.gallery.select(handlers.on_choose, [owner, view.listed], choosing, **ANSWERED)
    for button, handler in (
        (view.favourite, handlers.on_favourite),
        (view.delete, handlers.on_delete),
        (view.restore, handlers.on_restore),
    ):
        done = button.click(handler, [owner, view.job], choosing, **ANSWERED)
        done.success(handlers.on_list, [owner, view.search, view.which], listing, **ANSWERED)
    archived = view.archive.click(
        handlers.on_archive,
        [owner, view.search, view.which],
        view.archive_file,
        **ANSWERED,
    )
    archived.success(None, view.archive_file, None, js=DOWNLOAD_JS, api_visibility="private")


@dataclass(frozen=True)
class LibraryHandlers:
    """What happens when a visitor does something.

    Attributes:
        queue: knows the clips.
        folder: Gradio's cache.
    """

    queue: JobQueue
    folder: Path

    def on_list(self, owner: str, text: str, which: str) -> tuple[Any, ...]:
        """The newest clips that were asked for."""
        return self._list(owner, text, which, PAGE)

    def on_more(
        self, owner: str, text: str, which: str, listed: tuple[str, ...]
    ) -> tuple[Any, ...]:
        """Older ones as well."""
        return self._list(owner, text, which, len(listed) + PAGE)

    def on_choose(
        self, owner: str, listed: tuple[str, ...], event: gr.SelectData
    ) -> tuple[Any, ...]:
        """The clip that was clicked."""
        with errors_on_page():
            return self._choose(self.queue.find(checked(owner), listed[int(event.index)]))

    def on_favourite(self, owner: str, job_id: str) -> tuple[Any, ...]:
        """Marked, or no longer."""
        with errors_on_page():
            job = self.queue.find(checked(owner), job_id)
            return self._choose(self.queue.store.set_favourite(owner, job_id, not job.is_favourite))

    def on_delete(self, owner: str, job_id: str) -> tuple[Any, ...]:
        """Gone from the list, until it is purged it can be brought back."""
        with errors_on_page():
            return self._choose(self.queue.delete(checked(owner), job_id))

    def on_restore(self, owner: str, job_id: str) -> tuple[Any, ...]:
        """Back again."""
        with errors_on_page():
            return self._choose(self.queue.store.restore(checked(owner), job_id))

    def on_archive(self, owner: str, text: str, which: str) -> str:
        """A ZIP of all clips that the search finds."""
        with errors_on_page():
            found = self._search(owner, text, which, MAX_ZIP_CLIPS)[0]
            clips = [(job, path) for job in found if (path := self._file(job)) is not None]
            if not clips:
                raise RequestError(
                    "No clip here is finished.", next_step="Wait, or choose another search."
                )
            target = self.folder / f"zip-{clips[0][0].id}" / "ltx2-clips.zip"
            target.parent.mkdir(parents=True, exist_ok=True)
            # Stored as they are: video does not get smaller.
            with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
                for number, (job, path) in enumerate(clips, start=1):
                    archive.write(path, f"{number:03d}-seed-{job.request.seed}.mp4")
            return str(target)

    def _list(self, owner: str, text: str, which: str, limit: int) -> tuple[Any, ...]:
        with errors_on_page():
            jobs, has_more = self._search(owner, text, which, limit)
            cards = [(self._card(job), render_caption(job)) for job in jobs]
            return (
                gr.update(value=cards, selected_index=None, visible=bool(cards)),
                tuple(job.id for job in jobs),
                gr.update(visible=has_more),
                gr.update(visible=not cards),
            )

    def _search(
        self, owner: str, text: str, which: str, limit: int
    ) -> tuple[tuple[Job, ...], bool]:
        if not is_known(owner):
            return (), False  # who is quicker than the page has no number yet, and no clips
        page = self.queue.store.search(
            checked(owner),
            text,
            favourites=which == FAVOURITES,
            deleted=which == DELETED,
            limit=limit,
        )
        return page.jobs, page.older is not None

    def _file(self, job: Job) -> Path | None:
        """The clip of a job, if it has one and it is still there."""
        clip = self.queue.path(job)
        return clip if clip is not None and clip.is_file() else None

    def _choose(self, job: Job) -> tuple[Any, ...]:
        job = self.queue.now(job)
        clip = self._file(job)
        lent = None if clip is None else lend(clip, job, self.folder)
        is_gone = clip is None and isinstance(job.state, Done)
        is_deleted = job.deleted_at is not None
        return (
            gr.update(visible=True),
            render_failure(say("The clip's file is gone.")) if is_gone else render_status(job),
            gr.update(value=None if lent is None else str(lent), visible=lent is not None),
            f"<p>{escape(job.request.prompt)}</p>",
            gr.update(value=label(NO_FAVOURITE if job.is_favourite else FAVOURITE)),
            gr.update(visible=not is_deleted),
            gr.update(visible=is_deleted),
            job.id,
        )

    def _card(self, job: Job) -> str:
        """Path of the picture of a job."""
        target = self.folder / job.id / f"{type(job.state).__name__.lower()}.jpg"
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            self._picture(job).save(target, "JPEG", quality=85, comment=AI_GENERATED)
        return str(target)

    def _picture(self, job: Job) -> Image.Image:
        clip = self._file(job)
        if clip is not None:
            try:
                return Image.fromarray(read_first_picture(clip))
            except LTX2Error as error:
                logger.warning("a clip has no picture: %s", error)
        card = Image.new("RGB", CARD, CARD_COLOR)
        text = state_in_a_word(job)
        ImageDraw.Draw(card).text(
            (CARD[0] / 2, CARD[1] / 2), text, fill=CARD_TEXT_COLOR, anchor="mm", font_size=20
        )
        return card


def state_in_a_word(job: Job) -> str:
    """Where a job stands, for a card."""
    match job.state:
        case Queued():
            return phrase("waiting")
        case Running():
            return phrase("being made")
        case Done():
            return phrase("file is gone")
        case Failed():
            return phrase("failed")
        case Cancelled():
            return phrase("stopped")


def render_caption(job: Job) -> str:
    """The beginning of the prompt, with a star for favourites."""
    prompt = " ".join(job.request.prompt.split())
    short = prompt if len(prompt) <= MAX_CAPTION else f"{prompt[: MAX_CAPTION - 1]}…"
    return f"★ {short}" if job.is_favourite else short
