"""The Results tab: what studies found, and a ranking of any file of votes."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from evaluation.preference import export
from evaluation.reports.document import render_sections
from evaluation.ui import demo_study
from evaluation.ui.desk import Desk
from evaluation.ui.language import ENGLISH, label, phrase, say
from evaluation.ui.rating import Rating
from evaluation.ui.votes_file import SUFFIXES, read_columns
from ltx2.errors import RequestError
from ltx2.files import replaced
from ltx2.ui.errors import errors_on_page
from ltx2.ui.events import ANSWERED, QUIET
from ltx2.ui.library import DOWNLOAD_JS
from ltx2.ui.limits import limited
from ltx2.ui.tabs import Surroundings

if TYPE_CHECKING:
    from evaluation.preference.findings import Findings

RESULTS = "results"

ROLES = (
    ("rater", phrase("Rater")),
    ("prompt", phrase("Prompt")),
    ("left", phrase("Left model")),
    ("right", phrase("Right model")),
    ("answer", phrase("Answer")),
)

FORMS = (
    ("report.html", phrase("Report")),
    ("votes.csv", phrase("Votes as CSV")),
    ("votes.jsonl", phrase("Votes as JSONL")),
    ("votes.parquet", phrase("Votes as Parquet")),
    ("log.jsonl", phrase("Log")),
)
"""What can be taken away."""


def build_results(desk: Desk, around: Surroundings) -> None:
    """The tab: its layout and its events."""
    view = _build()
    _bind(view, ResultsHandlers(desk, Path(view.download.GRADIO_CACHE)), desk.own_pass, around)


@dataclass(frozen=True)
class ResultsView:
    """Components of the tab."""

    chosen: gr.Dropdown
    refresh: gr.Button
    none: gr.Markdown
    shown: gr.HTML
    taking: gr.Row
    forms: tuple[gr.Button, ...]
    download: gr.File
    votes: gr.File
    columns: gr.Column
    roles: tuple[gr.Dropdown, ...]
    axis: gr.Dropdown
    slices: gr.Dropdown
    rank: gr.Button
    ranked: gr.HTML
    ranked_report: gr.Button


def _build() -> ResultsView:
    with gr.Row():
        chosen = gr.Dropdown(
            [], value=None, label=label("Study"), scale=4, visible=False, elem_id="results-study"
        )
        refresh = gr.Button(
            label("Refresh"), size="sm", scale=1, min_width=90, visible=False, elem_id="results-now"
        )
    none = gr.Markdown(
        label(
            "There is no study here that you may see. Rate the demo study in the Studies tab, or "
            "drop in a file of votes."
        )
    )
    shown = gr.HTML("", elem_id="results")
    with gr.Row(visible=False) as taking:
        forms = tuple(
            gr.Button(
                label(text), size="sm", min_width=90, elem_id=f"take-{name.replace('.', '-')}"
            )
            for name, text in FORMS
        )
    gr.Markdown(label("### Rank any file of votes"))
    votes = gr.File(
        label=label("Votes: CSV, TSV, JSON lines or Parquet, one a row"),
        file_types=SUFFIXES,
        height=160,
        elem_id="votes-file",
    )
    with gr.Column(visible=False) as columns:
        with gr.Row():
            roles = tuple(
                gr.Dropdown([], label=label(text), min_width=120, elem_id=f"votes-{role}")
                for role, text in ROLES
            )
        with gr.Row():
            axis = gr.Dropdown([], label=label("Question"), info=label("None if there is one"))
            slices = gr.Dropdown([], label=label("Also by"), multiselect=True)
        rank = gr.Button(label("Rank"), variant="primary", elem_id="votes-rank")
    ranked = gr.HTML("", elem_id="ranked")
    ranked_report = gr.Button(
        label("Report"), size="sm", min_width=90, visible=False, elem_id="ranked-report"
    )
    return ResultsView(
        chosen=chosen,
        refresh=refresh,
        none=none,
        shown=shown,
        taking=taking,
        forms=forms,
        download=gr.File(visible=False),
        votes=votes,
        columns=columns,
        roles=roles,
        axis=axis,
        slices=slices,
        rank=rank,
        ranked=ranked,
        ranked_report=ranked_report,
    )


def _bind(
    view: ResultsView, handlers: "ResultsHandlers", own_pass: gr.BrowserState, around: Surroundings
) -> None:
    who = [own_pass, view.chosen]
    listed = around.tab.select(
        handlers.on_list, who, [view.chosen, view.refresh, view.none], **QUIET
    )
    for event in (
        listed.then,
        view.chosen.input,
        view.refresh.click,
    ):
        event(handlers.on_show, who, [view.shown, view.taking], api_visibility="private")
    for (name, _), button in zip(FORMS, view.forms, strict=True):
        made = button.click(handlers.taker(name), who, view.download, **ANSWERED)
        made.success(None, view.download, None, js=DOWNLOAD_JS, api_visibility="private")
    view.votes.change(
        handlers.on_file,
        view.votes,
        [view.columns, *view.roles, view.axis, view.slices, view.ranked, view.ranked_report],
        **ANSWERED,
    )
    asked = [around.visitor, view.votes, *view.roles, view.axis, view.slices]
    view.rank.click(
        limited(handlers.on_rank, around.door),
        asked,
        [view.ranked, view.ranked_report],
        api_visibility="private",
    )
    made = view.ranked_report.click(
        limited(handlers.on_ranked_report, around.door), asked, view.download, **ANSWERED
    )
    made.success(None, view.download, None, js=DOWNLOAD_JS, api_visibility="private")


@dataclass(frozen=True)
class ResultsHandlers:
    """What happens when somebody does something.

    Attributes:
        desk: its owner sees all studies, others the demo's alone.
        folder: Gradio's cache, where files may be served from.
    """

    desk: Desk
    folder: Path

    def on_list(self, own_pass: str, chosen: str | None, request: gr.Request) -> tuple[Any, ...]:
        """Studies that the visitor may see."""
        rows = self.desk.rating.store.studies()
        demo = self._demo()
        if not self.desk.owner.is_in(own_pass, request):
            rows = tuple(row for row in rows if row.id == demo)
        rows = tuple(row for row in rows if row.status != "draft")
        known = {row.id for row in rows}
        value = chosen if chosen in known else (rows[0].id if rows else None)
        choices = [(row.plan.name, row.id) for row in rows]
        return (
            gr.update(choices=choices, value=value, visible=bool(rows)),
            gr.update(visible=bool(rows)),
            gr.update(visible=not rows),
        )

    def on_show(self, own_pass: str, study_id: str | None, request: gr.Request) -> tuple[Any, ...]:
        """All that a study has found."""
        if not study_id:
            return "", gr.update(visible=False)
        with errors_on_page():
            from evaluation.reports.preference import study_sections

            self._require(own_pass, study_id, request)
            found = self._find(study_id)
            sections = render_sections(study_sections(found), language=ENGLISH)
            return sections, gr.update(visible=True)

    def taker(self, name: str) -> Callable[..., str]:
        """A handler that makes one of `FORMS`."""

        def on_take(own_pass: str, study_id: str | None, request: gr.Request) -> str:
            with errors_on_page():
                if not study_id:
                    raise RequestError("No study is chosen.", next_step="Choose one.")
                self._require(own_pass, study_id, request)
                return str(self._write(study_id, name))

        return on_take

    def on_file(self, path: str | None) -> tuple[Any, ...]:
        """A guess which column is what."""
        nothing = "", gr.update(visible=False)
        if not path:
            return gr.update(visible=False), *[gr.skip()] * 7, *nothing
        with errors_on_page():
            found = read_columns(Path(path))
        names = list(found.names)
        roles = [gr.update(choices=names, value=getattr(found, role) or None) for role, _ in ROLES]
        axis = gr.update(choices=[("-", ""), *((n, n) for n in names)], value=found.axis)
        slices = gr.update(choices=names, value=list(found.slices))
        return gr.update(visible=True), *roles, axis, slices, *nothing

    def on_rank(self, visitor: str, path: str | None, *columns: Any) -> tuple[Any, ...]:
        """The ranking of a file."""
        with errors_on_page():
            from evaluation.reports.preference import ranking_sections

            sections = ranking_sections(*_ranked(path, columns))
            return render_sections(sections, language=ENGLISH), gr.update(visible=True)

    def on_ranked_report(self, visitor: str, path: str | None, *columns: Any) -> str:
        """The same as a file."""
        with errors_on_page():
            from evaluation.reports.preference import votes_report

            ranked = _ranked(path, columns)
            name = Path(path or "votes").name
            return str(self._keep("votes", "report.html", votes_report(name, *ranked)))

    def _demo(self) -> str | None:
        state = self.desk.demo.state
        return state.study if isinstance(state, demo_study.Ready) else None

    def _require(self, own_pass: str, study_id: str, request: gr.Request) -> None:
        if study_id != self._demo():
            self.desk.owner.require(own_pass, request)

    def _find(self, study_id: str) -> "Findings":
        return _found(self.desk.rating, study_id, self.desk.rating.store.head(study_id))

    def _write(self, study_id: str, name: str) -> Path:
        store = self.desk.rating.store
        if name == "log.jsonl":
            return self._keep(study_id, name, export.log_lines(store, study_id))
        if name == "report.html":
            from evaluation.reports.preference import study_report

            return self._keep(study_id, name, study_report(self._find(study_id)))
        table = export.rows(store, study_id, every_kind=True)
        return export.write_rows(table, self._target(study_id, name))

    def _keep(self, folder: str, name: str, text: str) -> Path:
        target = self._target(folder, name)
        with replaced(target) as part:
            part.write_text(text, encoding="utf-8")
        return target

    def _target(self, folder: str, name: str) -> Path:
        target = self.folder / f"results-{folder}" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        return target


@lru_cache(maxsize=16)
def _found(rating: Rating, study_id: str, head: str) -> "Findings":
    """What a study has found; `head` changes with every vote and every change of state."""
    from evaluation.preference.findings import find

    return find(rating.store, study_id)


def _ranked(path: str | None, columns: tuple[Any, ...]) -> tuple[Any, Any]:
    """Votes of a file and their leaderboard."""
    from evaluation.preference.ranking import rank_votes
    from evaluation.preference.votes import read_votes

    *roles, axis, slices = columns
    if not path:
        raise RequestError("There is no file.", next_step="Drop in a file of votes.")
    missing = [say(text) for (_, text), name in zip(ROLES, roles, strict=True) if not name]
    if missing:
        raise RequestError(
            f"No column is chosen for {', '.join(missing)}.",
            next_step="Choose it; without knowing who voted no honest interval can be given.",
        )
    named = dict(zip((role for role, _ in ROLES), roles, strict=True))
    votes = read_votes(Path(path), named, axis=axis or None, slices=slices or ())
    return votes, rank_votes(votes)
