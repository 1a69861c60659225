"""The Studies tab: a demo that everybody can rate, and the owner's studies from draft to closed."""

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from evaluation.preference.store import StudyRow
from evaluation.reports.document import render_sections
from evaluation.reports.parts import Facts, Folded, Part, Section, Share, Shares, Text
from evaluation.ui import demo_study
from evaluation.ui.demo_study import Demo
from evaluation.ui.desk import Desk
from evaluation.ui.language import label, phrase, retold, say
from evaluation.ui.new_study import (
    ALL,
    SOURCES,
    NewStudy,
    NewStudyHandlers,
    add_upload,
    build_new_study,
    render_plan,
    render_uploads,
)
from evaluation.ui.owner import Owner
from ltx2.errors import RequestError
from ltx2.ui.errors import errors_on_page
from ltx2.ui.events import ANSWERED, QUIET
from ltx2.ui.tabs import Surroundings
from ltx2.ui.visitors import is_known

STUDIES = "studies"

LOOK_S = 1.0
"""Seconds between looks at what is being prepared."""

OFFER = phrase(
    "Two settings of the same model, blind and side by side. The clips are made when you start, "
    "which takes about a minute."
)

STATES = {
    "draft": phrase("draft"),
    "open": phrase("open"),
    "paused": phrase("paused"),
    "closed": phrase("closed"),
}


def build_studies(desk: Desk, around: Surroundings) -> None:
    """The tab: its layout and its events."""
    _bind(_build(desk.owner, desk.demo), StudiesHandlers(desk), desk.own_pass, around)


@dataclass(frozen=True)
class StudiesView:
    """Components of the tab."""

    demo: gr.Column
    demo_text: gr.HTML
    demo_start: gr.Button
    stranger: gr.Column
    why_not: gr.HTML
    password: gr.Textbox
    enter: gr.Button
    owner: gr.Column
    chosen: gr.Dropdown
    card: gr.HTML
    link: gr.Textbox
    open: gr.Button
    pause: gr.Button
    resume: gr.Button
    close: gr.Button
    sure: gr.Checkbox
    new: NewStudy
    timer: gr.Timer

    @property
    def demo_parts(self) -> list[Any]:
        """What changes with the demo."""
        return [self.demo_text, self.demo_start, self.timer]

    @property
    def study_parts(self) -> list[Any]:
        """What changes with the study that is shown."""
        return [
            self.card,
            self.link,
            self.open,
            self.pause,
            self.resume,
            self.close,
            self.sure,
            self.timer,
        ]


def _build(owner: Owner, demo: Demo) -> StudiesView:
    with gr.Column(visible=demo.offer is not None) as demo_place:
        gr.Markdown(label("### Try it: rate a small study"))
        demo_text = gr.HTML(f"<p>{label(OFFER)}</p>", elem_id="demo-text")
        demo_start = gr.Button(
            label("Rate the demo study"), variant="primary", elem_id="demo-start"
        )
    with gr.Column(visible=False) as stranger:
        why_not = gr.HTML("", elem_id="studies-why-not")
        if owner.signs_in:
            gr.LoginButton()
        with gr.Row(visible=owner.asks):
            password = gr.Textbox(
                label=label("Password of the owner"),
                type="password",
                max_lines=1,
                scale=2,
                elem_id="owner-password",
            )
            enter = gr.Button(label("Enter"), scale=1, elem_id="owner-enter")
    with gr.Column(visible=False) as owner_place:
        gr.Markdown(label("### Your studies"))
        chosen = gr.Dropdown([], value=None, label=label("Study"), elem_id="studies")
        card = gr.HTML("", elem_id="study-card")
        link = gr.Textbox(
            label=label("Link for raters"),
            interactive=False,
            buttons=["copy"],
            visible=False,
            elem_id="study-link",
        )
        with gr.Row():
            open_ = _button(label("Open"), "study-open", variant="primary")
            pause = _button(label("Pause"), "study-pause")
            resume = _button(label("Resume"), "study-resume")
            close = _button(label("Close for good"), "study-close")
            sure = gr.Checkbox(label=label("Yes, close it"), visible=False, min_width=120)
        gr.Markdown(label("### A new study"))
        new = build_new_study()
    return StudiesView(
        demo=demo_place,
        demo_text=demo_text,
        demo_start=demo_start,
        stranger=stranger,
        why_not=why_not,
        password=password,
        enter=enter,
        owner=owner_place,
        chosen=chosen,
        card=card,
        link=link,
        open=open_,
        pause=pause,
        resume=resume,
        close=close,
        sure=sure,
        new=new,
        timer=gr.Timer(LOOK_S, active=False),
    )


def _button(text: Any, element: str, **values: Any) -> gr.Button:
    return gr.Button(text, size="sm", min_width=90, visible=False, elem_id=element, **values)


def _bind(
    view: StudiesView, handlers: "StudiesHandlers", own_pass: gr.BrowserState, around: Surroundings
) -> None:
    places = [view.stranger, view.why_not, view.owner]
    opened = around.tab.select(handlers.on_demo, None, view.demo_parts, **QUIET).then(
        handlers.on_enter_seen, own_pass, places, **QUIET
    )
    entered = gr.on(
        [view.enter.click, view.password.submit],
        handlers.on_password,
        view.password,
        [own_pass, view.password],
        **ANSWERED,
    ).success(handlers.on_enter_seen, own_pass, places, **QUIET)
    listing = [view.chosen, view.new.form.group]
    for event in (opened, entered):
        event.then(
            handlers.on_list, [own_pass, around.visitor, view.chosen], listing, **QUIET
        ).then(handlers.on_show, [own_pass, view.chosen], view.study_parts, **QUIET)
    view.demo_start.click(handlers.on_demo_start, None, view.demo_parts, **ANSWERED)
    view.timer.tick(handlers.on_demo, None, view.demo_parts, **QUIET)
    view.timer.tick(handlers.on_show, [own_pass, view.chosen], view.study_parts, **QUIET)
    view.chosen.input(handlers.on_show, [own_pass, view.chosen], view.study_parts, **QUIET)
    for button, act in (
        (view.open, handlers.on_open),
        (view.pause, handlers.on_pause),
        (view.resume, handlers.on_resume),
    ):
        button.click(act, [own_pass, view.chosen], view.study_parts, **ANSWERED)
    view.close.click(
        handlers.on_close, [own_pass, view.chosen, view.sure], view.study_parts, **ANSWERED
    )
    _bind_new(view, handlers, own_pass, around)


def _bind_new(
    view: StudiesView, handlers: "StudiesHandlers", own_pass: gr.BrowserState, around: Surroundings
) -> None:
    new, form = view.new, view.new.form
    form.source.change(
        lambda source: [gr.update(visible=source == value) for _, value in SOURCES],
        form.source,
        list(new.places),
        **QUIET,
    )
    new.upload_add.click(
        handlers.on_upload,
        [own_pass, form.uploads, new.upload_model, new.upload_files],
        [form.uploads, new.upload_list, new.upload_model, new.upload_files],
        **ANSWERED,
    )
    new.upload_clear.click(lambda: ((), ""), None, [form.uploads, new.upload_list], **QUIET)
    counting = [form.raters, form.pairs, *new.planned]
    inputs: list[Any] = [form.source, form.folders, form.uploads, *counting]
    gr.on([part.change for part in inputs], handlers.on_plan, inputs, new.plan, **QUIET)
    around.tab.select(handlers.on_plan, inputs, new.plan, **QUIET)
    asked = [own_pass, around.visitor, *form.inputs]
    new.check.click(handlers.on_check, asked, new.answer, **ANSWERED)
    new.create.click(handlers.on_create, asked, [view.chosen, new.answer], **ANSWERED).success(
        handlers.on_show, [own_pass, view.chosen], view.study_parts, **QUIET
    )


@dataclass(frozen=True)
class StudiesHandlers:
    """What happens when somebody does something."""

    desk: Desk

    # The demo

    def on_demo(self) -> tuple[Any, ...]:
        """Where the demo is."""
        return self._demo_parts(self.desk.demo.state)

    def on_demo_start(self) -> tuple[Any, ...]:
        """It is being prepared."""
        with errors_on_page():
            return self._demo_parts(self.desk.demo.start())

    def _demo_parts(self, state: demo_study.State) -> tuple[Any, ...]:
        is_busy = isinstance(state, demo_study.Preparing)
        can_start = isinstance(state, demo_study.Offered | demo_study.Broken)
        # The same timer looks at studies that are being opened: it is only switched on here.
        timer = gr.Timer(active=True) if is_busy else gr.skip()
        return render_demo(state), gr.update(visible=can_start), timer

    # Who is the owner

    def on_password(self, password: str, request: gr.Request) -> tuple[str, str]:
        """The pass, and an empty field."""
        with errors_on_page():
            return self.desk.owner.enter(password, request), ""

    def on_enter_seen(self, own_pass: str, request: gr.Request) -> tuple[Any, ...]:
        """The owner's part, or why it is not there."""
        is_in = self.desk.owner.is_in(own_pass, request)
        why_not = "" if is_in else f"<p>{escape(self.desk.owner.why_not())}</p>"
        return gr.update(visible=not is_in), why_not, gr.update(visible=is_in)

    # Studies

    def on_list(
        self, own_pass: str, visitor: str, study_id: str | None, request: gr.Request
    ) -> tuple[Any, ...]:
        """All studies, and the grids that a new one may take its clips from."""
        if not self.desk.owner.is_in(own_pass, request):
            return gr.skip(), gr.skip()
        groups = self.desk.queue.store.groups(visitor) if is_known(visitor) else ()
        grids = [(f"{g.prompt[:60]} ({g.num_ended}/{g.num_jobs})", g.id) for g in groups]
        return self._choices(study_id), gr.update(choices=[(label("All of my clips"), ALL), *grids])

    def on_show(self, own_pass: str, study_id: str | None, request: gr.Request) -> tuple[Any, ...]:
        """The chosen study as it is now."""
        if not study_id or not self.desk.owner.is_in(own_pass, request):
            hidden = [gr.update(visible=False)] * 6
            return "", *hidden, self._resting()
        return self._shown(study_id, request)

    def on_open(self, own_pass: str, study_id: str, request: gr.Request) -> tuple[Any, ...]:
        """Its pairs are being made."""
        return self._act(
            own_pass, study_id, request, lambda: self.desk.rating.opener.start(study_id)
        )

    def on_pause(self, own_pass: str, study_id: str, request: gr.Request) -> tuple[Any, ...]:
        """Raters wait."""
        store = self.desk.rating.store
        return self._act(own_pass, study_id, request, lambda: store.set_status(study_id, "paused"))

    def on_resume(self, own_pass: str, study_id: str, request: gr.Request) -> tuple[Any, ...]:
        """Raters go on."""
        store = self.desk.rating.store
        return self._act(own_pass, study_id, request, lambda: store.set_status(study_id, "open"))

    def on_close(
        self, own_pass: str, study_id: str, sure: bool, request: gr.Request
    ) -> tuple[Any, ...]:
        """No more votes, for good; only after the box was ticked."""
        with errors_on_page():
            self.desk.owner.require(own_pass, request)
            if not sure:
                raise RequestError(
                    "A closed study takes no more votes, for good.",
                    next_step='Tick "Yes, close it" first, or pause it.',
                )
        store = self.desk.rating.store
        return self._act(own_pass, study_id, request, lambda: store.set_status(study_id, "closed"))

    def _act(
        self, own_pass: str, study_id: str, request: gr.Request, do: Callable[[], Any]
    ) -> tuple[Any, ...]:
        with errors_on_page():
            self.desk.owner.require(own_pass, request)
            do()
            return self._shown(study_id, request)

    def _shown(self, study_id: str, request: gr.Request) -> tuple[Any, ...]:
        store, opener = self.desk.rating.store, self.desk.rating.opener
        row = store.study(study_id)
        opening = opener.progress(study_id)
        is_opening = row.status == "draft" and opening is not None and not opening.error
        runs = row.status in ("open", "paused")
        error = opening.error if opening is not None and row.status == "draft" else ""
        share = opening.done / max(opening.of, 1) if is_opening and opening is not None else None
        return (
            render_study(row, store.counts(study_id), store.head(study_id), share, error),
            gr.update(value=link_for_raters(study_id, request), visible=runs),
            gr.update(visible=row.status == "draft" and not is_opening),
            gr.update(visible=row.status == "open"),
            gr.update(visible=row.status == "paused"),
            gr.update(visible=runs),
            gr.update(visible=True) if runs else gr.update(visible=False, value=False),
            gr.Timer(active=True) if is_opening else self._resting(),
        )

    def _resting(self) -> gr.Timer:
        """The timer, which goes on while the demo is being prepared."""
        return gr.Timer(active=isinstance(self.desk.demo.state, demo_study.Preparing))

    def _choices(self, study_id: str | None) -> Any:
        rows = self.desk.rating.store.studies()
        known = {row.id for row in rows}
        value = study_id if study_id in known else (rows[0].id if rows else None)
        return gr.update(choices=[(_title(row), row.id) for row in rows], value=value)

    # A new study

    def on_upload(
        self,
        own_pass: str,
        known: Any,
        model: str,
        files: list[str] | None,
        request: gr.Request,
    ) -> tuple[Any, ...]:
        """One more model's files."""
        with errors_on_page():
            self.desk.owner.require(own_pass, request)
            uploads = add_upload(tuple(known), model, files)
            return uploads, render_uploads(uploads), "", None

    def on_plan(self, source: str, folders: str | None, uploads: Any, *planned: float) -> str:
        """What the planned votes can show."""
        named = {upload.model for upload in uploads} if source == "uploads" else None
        lines = (folders or "").splitlines()
        count = len(named) if named is not None else len([line for line in lines if line.strip()])
        return render_plan(max(count, 2), *planned)

    def on_check(self, request: gr.Request, own_pass: str, visitor: str, *fields: Any) -> str:
        """Problems by name, or what the study will be."""
        with errors_on_page():
            self.desk.owner.require(own_pass, request)
            return self._new.check(visitor, fields)

    def on_create(
        self, request: gr.Request, own_pass: str, visitor: str, *fields: Any
    ) -> tuple[Any, str]:
        """A draft more."""
        with errors_on_page():
            self.desk.owner.require(own_pass, request)
            study_id, what = self._new.create(visitor, fields)
            return self._choices(study_id), what

    @property
    def _new(self) -> NewStudyHandlers:
        return NewStudyHandlers(self.desk.rating, self.desk.queue)


def _title(row: StudyRow) -> str:
    return f"{row.plan.name} ({say(STATES[row.status])})"


def link_for_raters(study_id: str, request: gr.Request) -> str:
    """What raters are sent, on the address under which the page was asked for."""
    origin = request.headers.get("origin") or ""
    root = str(getattr(request, "root_path", "") or "").rstrip("/")
    path = root.removeprefix(origin) if origin else root
    return f"{origin}{path}/rate/{study_id}"


def render_demo(state: demo_study.State) -> str:
    """Where the demo is, and the link to it once it is ready."""
    match state:
        case demo_study.Ready(study):
            link = (
                f'<a class="to-rate" href="rate/{escape(study)}" target="_blank" '
                f'rel="noopener" id="demo-rate">{escape(say("Rate the demo study"))}</a>'
            )
            text = say(
                "A few pairs of short clips, with sound. At the end you learn who made what; the "
                "Results tab shows what all raters said."
            )
            return f"<p>{escape(text)}</p><p>{link}</p>"
        case demo_study.Preparing(done, of, pairs):
            what = (
                say("Putting pairs side by side: {done} of {of}.", done=done, of=of)
                if pairs
                else say("Making the clips: {done} of {of}.", done=done, of=of)
            )
            share = (done / of * 0.3 + 0.7) if pairs else done / of * 0.7
            bar = f'<progress max="1" value="{share:.2f}" aria-label="{escape(what)}"></progress>'
            return f'<div class="status" role="status"><p>{escape(what)}</p>{bar}</div>'
        case demo_study.Broken(message):
            return f'<div class="status failed"><p>{escape(retold(message))}</p></div>'
        case _:
            text = say(OFFER)
            return f"<p>{escape(text)}</p>"


def render_study(
    row: StudyRow, counts: dict[str, int], head: str, opening: float | None, error: str
) -> str:
    """A study: its state, how far it is, what was hashed."""
    plan = row.plan
    parts: list[Part] = [
        Facts(
            [
                (say("State"), say(STATES[row.status])),
                (say("Models"), ", ".join(model.name for model in plan.models)),
                (say("Raters who joined"), f"{counts['joined']} / {plan.raters}"),
                (say("Votes"), str(counts["votes"])),
            ]
        )
    ]
    if opening is not None:
        bar = [Share(say("done"), opening, 0), Share(say("to come"), 1 - opening, 2)]
        parts.append(
            Shares(say("Clips are checked and put side by side."), [(say("Pairs"), "", bar)])
        )
    if error:
        lines = [retold(line.strip()) for line in error.splitlines() if line.strip()]
        parts.append(Text(lines))
    if row.status in ("open", "paused"):
        share = min(counts["joined"] / plan.raters, 1.0)
        bar = [Share(say("joined"), share, 0), Share(say("to come"), 1 - share, 2)]
        of = f"{counts['joined']} / {plan.raters}"
        parts.append(Shares(say("Progress toward the plan."), [(say("Raters"), of, bar)]))
    hashes = [(say("SHA-256 of the plan"), plan.digest)]
    if row.status != "draft":
        hashes.append((say("Last hash of the log"), head))
    parts.append(Folded(say("Pre-registration"), [Facts(hashes)]))
    return render_sections([Section(plan.name, parts)])
