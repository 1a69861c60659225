"""The Models view: what is here, what it needs, how fast it is, and what can be fetched.

Downloads belong to the server. Everybody sees them; only its owner starts and stops them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from ltx2.checkpoint.catalog import VERSIONS
from ltx2.checkpoint.hub import Transfer
from ltx2.errors import LTX2Error, RequestError
from ltx2.request import Request
from ltx2.serving.access import Door
from ltx2.serving.downloads import (
    Absent,
    Arrived,
    Coming,
    Downloads,
    Halted,
    State,
    Waiting,
)
from ltx2.serving.jobs import Choice
from ltx2.serving.models import Offer
from ltx2.serving.preflight import Fits, TooLarge, in_words
from ltx2.serving.shelf import Found, find_weights, roots_of
from ltx2.serving.worker import JobQueue
from ltx2.settings import Settings
from ltx2.ui.errors import errors_on_page
from ltx2.ui.events import ANSWERED, QUIET
from ltx2.ui.language import label, phrase, retold, say

DOWNLOAD, GO_ON = phrase("Download"), phrase("Go on")

UNKNOWN = phrase("unknown")

NO_CLIP = phrase("no clip made yet")

LOOK_S = 1.5
"""Seconds between looks at downloads, while the view is open and one is under way."""

NOT_OWNER = phrase(
    "Downloads are started by whoever runs this server: from the machine it runs on, or behind a "
    "login (LTX2_LOGIN)."
)


@dataclass(frozen=True)
class ModelsView:
    """Components of the view."""

    tab: gr.Tab
    here: gr.HTML
    source: gr.Radio
    terms: gr.HTML
    start: gr.Button
    stop: gr.Button
    progress: gr.HTML
    versions: gr.HTML
    timer: gr.Timer


def build_models(tab: gr.Tab, downloads: Downloads) -> ModelsView:
    """Layout: what is here, what can be fetched, what the versions can do."""
    here = gr.HTML(elem_id="models-here")
    gr.Markdown(f"## {label(DOWNLOAD)}", elem_id="models-download")
    names = list(downloads.sources)
    source = gr.Radio(names, value=names[0] if names else None, label=label("Published weights"))
    terms = gr.HTML(elem_id="models-terms")
    with gr.Row():
        start = gr.Button(label(DOWNLOAD), size="sm", min_width=120, elem_id="models-start")
        stop = gr.Button(
            label("Stop download"), size="sm", min_width=120, visible=False, elem_id="models-stop"
        )
    progress = gr.HTML(elem_id="models-progress")
    versions = gr.HTML(elem_id="models-versions")
    return ModelsView(
        tab, here, source, terms, start, stop, progress, versions, gr.Timer(LOOK_S, active=False)
    )


def bind_models(
    view: ModelsView, queue: JobQueue, downloads: Downloads, door: Door, settings: Settings
) -> None:
    """Events of the view."""
    handlers = ModelsHandlers(queue, downloads, door, settings)
    changing = [view.terms, view.progress, view.start, view.stop, view.timer]
    view.tab.select(handlers.on_open, view.source, [view.here, view.versions, *changing], **QUIET)
    view.source.change(handlers.on_look, view.source, changing, **QUIET)
    view.timer.tick(handlers.on_look, view.source, changing, **QUIET)
    view.start.click(handlers.on_start, view.source, changing, **ANSWERED)
    view.stop.click(handlers.on_stop, view.source, changing, **ANSWERED)


@dataclass(frozen=True)
class ModelsHandlers:
    """What happens when a visitor does something."""

    queue: JobQueue
    downloads: Downloads
    door: Door
    settings: Settings

    def on_open(self, name: str, request: gr.Request) -> tuple[Any, ...]:
        """Everything, as it is now."""
        found = find_weights(roots_of(self.settings))
        return (self._here(found), render_versions(), *self.on_look(name, request))

    def on_look(self, name: str, request: gr.Request) -> tuple[Any, ...]:
        """How far downloads are."""
        is_owner = self.door.is_owner(request)
        state = self.downloads.state(name)
        is_busy = isinstance(state, Waiting | Coming)
        return (
            render_terms(self.downloads, name)
            + ("" if is_owner else f"<p>{escape(say(NOT_OWNER))}</p>"),
            render_states(self.downloads),
            gr.update(
                visible=not is_busy,
                interactive=is_owner,
                value=label(GO_ON if isinstance(state, Halted) else DOWNLOAD),
            ),
            gr.update(visible=is_busy, interactive=is_owner),
            gr.Timer(active=self.downloads.is_busy),
        )

    def on_start(self, name: str, request: gr.Request) -> tuple[Any, ...]:
        """A download begins, or goes on."""
        with errors_on_page():
            self._check_owner(request)
            self.downloads.start(name)
            return self.on_look(name, request)

    def on_stop(self, name: str, request: gr.Request) -> tuple[Any, ...]:
        """A download stops; what came is kept."""
        with errors_on_page():
            self._check_owner(request)
            self.downloads.cancel(name)
            self.downloads.wait(name, 1.0)
            return self.on_look(name, request)

    def _check_owner(self, request: gr.Request) -> None:
        if not self.door.is_owner(request):
            raise RequestError("You cannot change what this server holds.", next_step=NOT_OWNER)

    def _here(self, found: Iterable[Found]) -> str:
        rows = [self._offer_row(offer) for offer in self.queue.models[0].offers]
        offered = {offer.name for offer in self.queue.models[0].offers}
        rows += [
            (
                f"<strong>{escape(item.name)}</strong><br>{escape(retold(item.kind))}",
                _size(item.size_bytes),
                escape(item.licence or say(UNKNOWN)),
                "",
                escape(say("in {folder}/", folder=item.path.parent.name)),
                escape(say("Start the server again to offer it.")) if item.kind == "model" else "",
            )
            for item in found
            if item.name not in offered
        ]
        heads = (
            say("Model"),
            say("On disk"),
            say("Licence"),
            say("Memory"),
            say("Speed here"),
            say("What it can"),
        )
        return _table(say("On this server"), heads, rows)

    def _offer_row(self, offer: Offer) -> tuple[str, ...]:
        anatomy = offer.anatomy
        return (
            f"<strong>{escape(offer.name)}</strong><br>{escape(say('offered'))}",
            _size(offer.size_bytes) if offer.size_bytes else escape(say(UNKNOWN)),
            escape(offer.licence or say(UNKNOWN)),
            self._memory(offer),
            self._speed(offer),
            escape("; ".join(abilities(offer)) + ("" if anatomy else say(" (sizes unknown)"))),
        )

    def _memory(self, offer: Offer) -> str:
        """What a usual clip needs, and whether that fits."""
        try:
            verdict = self.queue.preflight(_usual(), Choice(offer.name)).verdict
        except LTX2Error:
            return say(UNKNOWN)
        match verdict:
            case Fits(needed, _):
                loaded = self.queue.models[0].loaded
                is_loaded = loaded is not None and loaded.model == offer.name
                if is_loaded:
                    return say("loaded, {size} more", size=_size(needed))
                return say("{size}, fits", size=_size(needed))
            case TooLarge(needed, free):
                return say("{size}, but {free} are free", size=_size(needed), free=_size(free))
            case _:
                return say(UNKNOWN)

    def _speed(self, offer: Offer) -> str:
        """Seconds of the last clips on this machine."""
        models = self.queue.models[0]
        runs = self.queue.store.runs(offer.timed_as, models.device)
        if not runs:
            return say(NO_CLIP)
        forecast = self.queue.preflight(_usual(), Choice(offer.name)).forecast
        if forecast is None:
            return say(NO_CLIP)
        usual_s = offer.profile.duration_s
        making_s = forecast.seconds - forecast.load_s
        return say(
            "{time} for {seconds} s of clip ({count} made)",
            time=in_words(making_s),
            seconds=f"{usual_s:.0f}",
            count=len(runs),
        )


def abilities(offer: Offer) -> tuple[str, ...]:
    """What visitors can do with a model."""
    profile = offer.profile
    scales = (profile.video_guidance, profile.audio_guidance)
    is_guided = any(scale.uses_negative for scale in scales)
    return (
        say("{count} steps", count=profile.num_steps),
        say("guidance and negative prompt")
        if is_guided
        else say("no guidance, no negative prompt"),
        say("LoRAs: {names}", names=", ".join(offer.loras))
        if offer.loras
        else say("LoRAs in the folder loras"),
    )


def render_terms(downloads: Downloads, name: str) -> str:
    """Where weights come from, how large they are, and under which licence."""
    source = downloads.sources.get(name)
    if source is None:
        return ""
    terms = say(
        "{repository} on Hugging Face, about {size}. Licence: {licence}; accept it there first.",
        repository=source.repo,
        size=_size(source.approx_bytes),
        licence=source.licence,
    )
    return f"<p>{escape(terms)}</p>"


def render_states(downloads: Downloads) -> str:
    """Where every download stands."""
    lines = [
        f"<p><strong>{escape(name)}</strong>: {_state(state)}</p>"
        for name in downloads.sources
        if not isinstance(state := downloads.state(name), Absent)
    ]
    return f'<div role="status">{"".join(lines)}</div>' if lines else ""


def render_versions() -> str:
    """What each published version can do here."""
    rows = [
        (
            f"<strong>{escape(version.name)}</strong>",
            escape("; ".join(map(retold, version.can)) or say("nothing yet")),
            escape("; ".join(map(retold, version.cannot))),
        )
        for version in VERSIONS
    ]
    return _table(
        say("Versions of LTX-2"), (say("Version"), say("Works here"), say("Does not")), rows
    )


def _state(state: State) -> str:
    """Where a download stands, as HTML."""
    match state:
        case Coming(transfer):
            return _coming(transfer)
        case Arrived():
            return escape(say("here, its checksum is right. Start the server again to offer it."))
        case Halted("", _):
            return escape(say("stopped; what came is kept."))
        case Halted(message, next_step):
            return escape(retold(f"{message} {next_step}"))
        case _:
            return escape(say("asking the Hub, or waiting for another download."))


def _coming(transfer: Transfer) -> str:
    done = say("{done} of {total}", done=_size(transfer.done), total=_size(transfer.total))
    percent = 100.0 * transfer.done / max(1, transfer.total)
    bar = (
        f'<progress max="100" value="{percent:.1f}" aria-label="{escape(say("Downloaded"))}">'
        f"{percent:.0f} %</progress>"
    )
    if transfer.is_checking:
        return f"{bar} {escape(say('{done}, checking what is here.', done=done))}"
    rate = f", {_size(int(transfer.rate))}/s" if transfer.rate else ""
    left = transfer.seconds_left
    time = f", {escape(say('{time} left', time=in_words(left)))}" if left is not None else ""
    return f"{bar} {done}{rate}{time}."


def _usual() -> Request:
    """A clip of the model's usual size."""
    return Request(prompt="?")


def _table(caption: str, heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table; cells are HTML. On narrow screens each cell names its column."""
    heads = tuple(heads)
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
    body = "".join(
        "<tr>"
        + "".join(
            f'<td data-head="{escape(text)}">{cell}</td>'
            for text, cell in zip(heads, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return (
        f'<table class="facts"><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table>"
    )


def _size(count: int) -> str:
    """Bytes as people say them."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"
