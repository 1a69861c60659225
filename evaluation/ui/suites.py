"""The Suites tab: start a run, watch its cells fill, open one, read what was measured."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from evaluation.reports.document import STYLES, render_sections
from evaluation.reports.measured.agreement import Judgement, judgements
from evaluation.reports.measured.clips import headline, measured
from evaluation.reports.measured.report import panels, run_report
from evaluation.reports.measured.results import Row, RunResults, load_results
from evaluation.reports.parts import Section
from evaluation.suites.records import ItemRecord
from evaluation.suites.schema import Suite
from evaluation.ui.language import ENGLISH, label, phrase, retold, say
from evaluation.ui.suite_runs import Standing, SuiteRuns, delivered
from ltx2.errors import LTX2Error, RequestError
from ltx2.serving import grid
from ltx2.serving.preflight import in_words
from ltx2.settings import Settings
from ltx2.ui.errors import error_in_words, errors_on_page
from ltx2.ui.events import ANSWERED, QUIET
from ltx2.ui.library import DOWNLOAD_JS
from ltx2.ui.tabs import ExtraTab, Surroundings

SUITES_TAB = "suites"
OWN_STYLES = Path(__file__).parent / "suites.css"
POLL_S = 3.0
MAX_SEEDS = 20

CELL_JS = """
element.addEventListener("click", (event) => {
    const cell = event.target.closest("button[data-key]");
    if (cell) { trigger("select", { key: cell.dataset.key }); }
});
"""

STAGES = {
    "waiting": phrase("Waits for another run."),
    "making": phrase("Clips are being made."),
    "measuring": phrase("Clips are being measured."),
    "stopped": phrase("Stopped. Start it again to go on."),
    "done": phrase("Made and measured."),
    "failed": phrase("Failed."),
}
WORDS = {
    "ok": phrase("made"),
    "measured": phrase("measured"),
    "error": phrase("failed"),
    "skipped": phrase("left out"),
    "waits": phrase("not made yet"),
}
MARKS = {"ok": "▸", "measured": "✓", "error": "✗", "skipped": "-", "waits": "·"}
"""Beside the word, so that nothing depends on a colour."""


def suites_tab(settings: Settings) -> ExtraTab:
    """The tab, for `ltx2.ui.server.run_server`; runs lie in the folder of data."""

    def build(around: Surroundings) -> None:
        runs = SuiteRuns(
            settings.data / "suites",
            around.queue,
            settings.dtype,
            ray=settings.ray,
            model=settings.model,
        )
        build_suites(runs, around)

    return ExtraTab(SUITES_TAB, label("Suites"), build, styles=(STYLES, OWN_STYLES))


def build_suites(runs: SuiteRuns, around: Surroundings) -> None:
    """Layout and events."""
    suites = delivered()
    download = gr.File(visible=False)
    handlers = SuiteHandlers(runs, suites, around, Path(download.GRADIO_CACHE) / "suites")
    gr.Markdown(
        label(
            "A suite is a set of prompts with what has to be in each clip. A run makes and "
            "measures all of them, and goes on where it was when it is started again."
        )
    )
    with gr.Row():
        usual = "puppet-languages" if "puppet-languages" in suites else next(iter(suites))
        suite = gr.Dropdown(
            [(f"{s.title} ({len(s.items)})", name) for name, s in suites.items()],
            value=usual,
            label=label("Suite"),
            scale=3,
            elem_id="suite",
        )
        tags = gr.Dropdown(
            _tags(suites[usual]),
            value=[],
            multiselect=True,
            label=label("Only items with"),
            scale=2,
            elem_id="suite-tags",
        )
        model = gr.Dropdown(
            runs.models, value=runs.models[0], label=label("Model"), scale=2, elem_id="suite-model"
        )
        seeds = gr.Textbox(
            "1", label=label("Seeds"), max_lines=1, min_width=90, elem_id="suite-seeds"
        )
    with gr.Row():
        plan = gr.HTML("", elem_id="suite-plan")
        on_cluster = gr.Checkbox(
            False,
            label=label("On the Ray cluster"),
            visible=runs.ray is not None,
            scale=0,
            min_width=180,
            elem_id="suite-on-cluster",
        )
        start = gr.Button(
            label("Start"), variant="primary", scale=0, min_width=120, elem_id="suite-start"
        )
        stop = gr.Button(label("Stop"), scale=0, min_width=120, visible=False, elem_id="suite-stop")
    chosen = gr.Dropdown(
        [], value=[], multiselect=True, label=label("Runs"), visible=False, elem_id="suite-runs"
    )
    status = gr.HTML("", elem_id="suite-status")
    matrix = gr.HTML("", js_on_load=CELL_JS, elem_id="suite-matrix")
    with gr.Row(visible=False) as cell:
        with gr.Column(scale=2, min_width=260):
            video = gr.Video(label=label("Clip"), interactive=False, elem_id="suite-clip")
        with gr.Column(scale=3, min_width=280):
            facts = gr.HTML("", elem_id="suite-facts")
    results = gr.HTML("", elem_id="suite-results")
    report = gr.Button(
        label("Report as one file"), size="sm", scale=0, visible=False, elem_id="suite-report"
    )
    seen = gr.State("")
    timer = gr.Timer(POLL_S, active=False)

    asked = [suite, tags, model, seeds]
    showing = [status, matrix, results, stop, report, timer, seen]
    suite.change(handlers.on_suite, suite, tags, **QUIET)
    for field in (suite, tags, model, seeds):
        field.change(handlers.on_plan, asked, plan, **QUIET)
    started = start.click(handlers.on_start, [*asked, on_cluster], chosen, **ANSWERED)
    opened = around.tab.select(handlers.on_open, chosen, chosen, **QUIET)
    opened.success(handlers.on_plan, asked, plan, **QUIET)
    for event in (started, opened):
        event.success(handlers.on_show, chosen, showing, **QUIET)
    # The choice itself is no output: an answer that comes late would undo a later choice.
    chosen.input(handlers.on_show, chosen, showing, trigger_mode="always_last", **QUIET)
    timer.tick(handlers.on_poll, [chosen, seen], showing, **QUIET)
    stop.click(handlers.on_stop, chosen, showing, **ANSWERED)
    matrix.select(handlers.on_cell, chosen, [cell, video, facts], **ANSWERED)
    made = report.click(handlers.on_report, chosen, download, **ANSWERED)
    made.success(None, download, None, js=DOWNLOAD_JS, api_visibility="private")


def _tags(suite: Suite) -> list[str]:
    return sorted({tag for item in suite.items for tag in item.tags})


@dataclass(frozen=True)
class SuiteHandlers:
    """What happens when somebody does something.

    Attributes:
        runs: of this server.
        suites: that can be started, by name.
        around: the page.
        cache: where Gradio may serve files from.
    """

    runs: SuiteRuns
    suites: Mapping[str, Suite]
    around: Surroundings
    cache: Path

    def on_suite(self, name: str) -> Any:
        """The tags of another suite."""
        return gr.update(choices=_tags(self.suites[name]), value=[])

    def on_plan(self, name: str, tags: list[str], model: str, seeds: str) -> str:
        """How many clips starting would make."""
        try:
            plan = self.runs.plan(self._suite(name, tags), model, _seeds(seeds))
        except LTX2Error as error:
            return f'<p role="status">{escape(error_in_words(error))}</p>'
        words = say(
            "{num_clips} clips, {num_missing} of them to make.",
            num_clips=str(len(plan.tasks)),
            num_missing=str(len(plan.missing)),
        )
        return f'<p role="status">{escape(words)}</p>'

    def on_start(
        self,
        name: str,
        tags: list[str],
        model: str,
        seeds: str,
        on_cluster: bool,
        request: gr.Request,
    ) -> Any:
        """The run that goes on in the background, shown."""
        with errors_on_page():
            self._require_owner(request)
            asked = self._suite(name, tags)
            run = self.runs.start(asked, model, _seeds(seeds), on_cluster=on_cluster)
            return gr.update(choices=[run, *self._others(run)], value=[run], visible=True)

    def on_open(self, chosen: list[str]) -> Any:
        """The runs that are there, those chosen still chosen, else the newest."""
        names = self.runs.names()
        kept = [name for name in chosen or () if name in names] or names[:1]
        return gr.update(choices=names, value=kept, visible=bool(names))

    def on_show(self, chosen: list[str]) -> tuple[Any, ...]:
        """Other runs take the place of what was shown."""
        return self._show(chosen or [], "")

    def on_poll(self, chosen: list[str], seen: str) -> tuple[Any, ...]:
        """What has changed since."""
        return self._show(chosen or [], seen)

    def on_stop(self, chosen: list[str], request: gr.Request) -> tuple[Any, ...]:
        """The runs shown end at their next step."""
        with errors_on_page():
            self._require_owner(request)
            for name in chosen:
                self.runs.stop(name)
        return self._show(chosen, "")

    def on_cell(self, chosen: list[str], event: gr.EventData) -> tuple[Any, Any, str]:
        """A clip with its numbers and its evidence."""
        with errors_on_page():
            key = str(getattr(event, "key", ""))
            for run in self._results(chosen):
                record = run.items.get(key)
                if record is not None:
                    return gr.update(visible=True), self._playable(run, record), _facts(run, record)
            raise RequestError("This clip is not made yet.", next_step="Wait for it.")

    def on_report(self, chosen: list[str]) -> str:
        """The report on the runs shown as a file."""
        with errors_on_page():
            html = run_report(self._results(chosen), votes=self._votes())
            target = self._cache() / "report.html"
            target.write_text(html, encoding="utf-8")
            return str(target)

    def _others(self, run: str) -> list[str]:
        return [name for name in self.runs.names() if name != run]

    def _suite(self, name: str, tags: Sequence[str]) -> Suite:
        suite = self.suites[name]
        return suite.chosen(tuple(tags)) if tags else suite

    def _require_owner(self, request: gr.Request) -> None:
        if not self.around.door.is_owner(request):
            raise RequestError(
                "Runs are started by whoever runs the server.",
                next_step="Open the page on the machine itself, or set a login.",
            )

    def _results(self, chosen: Sequence[str]) -> tuple[RunResults, ...]:
        folders = [self.runs.folder / name for name in chosen if name in self.runs.names()]
        return load_results(folders) if folders else ()

    def _show(self, chosen: list[str], seen: str) -> tuple[Any, ...]:
        """Updates of status, matrix, results, stop, report, timer and what was seen."""
        hidden, asleep = gr.update(visible=False), gr.Timer(active=False)
        with errors_on_page():
            results = self._results(chosen)
            standings = {
                name: self.runs.standing(name)
                for name in chosen
                if name in self.runs.names() or self.runs.is_live(name)
            }
        is_over = all(standing.is_over for standing in standings.values())
        timer = gr.Timer(active=not is_over)
        status = "".join(_status(name, standing) for name, standing in standings.items())
        if not results:
            return status, "", "", gr.update(visible=not is_over), hidden, timer, ""
        now = f"{' '.join(chosen)} {is_over} " + " ".join(
            f"{len(run.items)}/{len(run.rows)}" for run in results
        )
        if now == seen:
            return status, *(gr.skip(),) * 3, gr.skip(), timer, gr.skip()
        has_rows = any(run.rows for run in results)
        return (
            status,
            "".join(_matrix(run) for run in results),
            render_sections(self._panels(results), language=ENGLISH) if has_rows else "",
            gr.update(visible=not is_over),
            gr.update(visible=has_rows),
            timer if not is_over else asleep,
            now,
        )

    def _panels(self, results: Sequence[RunResults]) -> list[Section]:
        return panels(results, votes=self._votes())

    def _votes(self) -> list[Judgement]:
        """Of all studies of this server; none where it has no studies."""
        from evaluation.preference.store import Store

        url = self.around.settings.database_url
        path = self.around.settings.data / "studies" / "studies.db"
        if not url and not path.is_file():
            return []
        from evaluation.preference.place import database_url

        store = Store(database_url(self.around.settings))
        try:
            return [vote for study in store.studies() for vote in judgements(store, study.id)]
        finally:
            store.close()

    def _playable(self, run: RunResults, record: ItemRecord) -> str | None:
        """The clip where Gradio may serve it from; None where there is none."""
        source = run.folder.clip(record.key)
        if record.status != "ok" or not source.is_file():
            return None
        target = self._cache() / f"{record.key}.mp4"
        if not target.is_file():
            part = target.with_suffix(".part")
            shutil.copyfile(source, part)
            part.replace(target)
        return str(target)

    def _cache(self) -> Path:
        self.cache.mkdir(parents=True, exist_ok=True)
        return self.cache


def _seeds(text: str) -> tuple[int, ...]:
    found = tuple(grid.numbers(text, int, "Seeds"))
    if not 1 <= len(found) <= MAX_SEEDS:
        raise RequestError(
            f"These are {len(found)} seeds.", next_step=f"Give 1 to {MAX_SEEDS}, like 1-3."
        )
    return found


def _status(name: str, standing: Standing) -> str:
    text = f"{name}: {say(STAGES[standing.stage])}"
    bar = ""
    if standing.progress is not None and standing.stage == "making":
        done, of = standing.progress.step, standing.progress.total
        text += f" {done}/{of}"
        bar = f'<progress max="{of}" value="{done}" aria-label="{escape(name)}"></progress>'
        if standing.seconds_left is not None:
            text += " " + say("About {time} left.", time=in_words(standing.seconds_left))
    if standing.reason:
        text += f" {retold(standing.reason)}"
    return f'<div class="status" role="status"><p>{escape(text)}</p>{bar}</div>'


def _matrix(run: RunResults) -> str:
    """A row for what belongs together, a button for every clip."""
    rows_of: dict[str, list[Row]] = {}
    for row in run.rows:
        rows_of.setdefault(row.key, []).append(row)
    lines: dict[str, list[str]] = {}
    waiting = 0
    for key in run.run.keys:
        record = run.items.get(key)
        if record is None:
            waiting += 1
            continue
        name = record.group or (record.language if record.language != "zxx" else record.tags[:1])
        line = name if isinstance(name, str) else " ".join(name) or record.item
        lines.setdefault(line, []).append(_cell(record, rows_of.get(key, [])))
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{"".join(cells)}</td></tr>'
        for name, cells in lines.items()
    )
    rest = ""
    if waiting:
        dots = f'<span class="cell waits" aria-hidden="true">{MARKS["waits"]}</span>' * waiting
        words = escape(f"{waiting} {say(WORDS['waits'])}")
        rest = f'<tr><th scope="row">{words}</th><td>{dots}</td></tr>'
    return (
        f'<section class="run" aria-label="{escape(run.name)}"><h3>{escape(run.name)}</h3>'
        f'<div class="scroll"><table><tbody>{body}{rest}</tbody></table></div></section>'
    )


def _cell(record: ItemRecord, rows: Sequence[Row]) -> str:
    state = "measured" if record.status == "ok" and rows else record.status
    words = f"{record.item}, {say('seed {seed}', seed=str(record.seed))}: {say(WORDS[state])}"
    more = "; ".join(headline(rows)) or retold(record.reason)
    said = escape(f"{words}. {more}" if more else words)
    return (
        f'<button type="button" class="cell {state}" data-key="{record.key}" '
        f'aria-label="{said}" title="{said}">{MARKS[state]}</button>'
    )


def _facts(run: RunResults, record: ItemRecord) -> str:
    """What was asked, and every number or why there is none."""
    rows = [row for row in run.rows if row.key == record.key]
    reason = f"<p>{escape(retold(record.reason))}</p>" if record.reason else ""
    asked = (
        f"<p><b>{escape(run.name)}, {escape(record.item)}, "
        f"{escape(say('seed {seed}', seed=str(record.seed)))}</b></p>"
        f"<blockquote>{escape(record.request.prompt)}</blockquote>{reason}"
    )
    parts = measured(rows)
    return asked + (render_sections([Section("", parts)], language=ENGLISH) if parts else "")
