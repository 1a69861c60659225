"""The form for a new study: which clips, how many people, and what that many can show."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import gradio as gr

from evaluation.preference.clips import Gathered, gather
from evaluation.preference.design import design
from evaluation.preference.study import Study, with_prompts
from evaluation.preference.uploads import Upload, keep_uploads
from evaluation.reports.document import render_sections
from evaluation.reports.parts import Facts, Notes, Section, Text
from evaluation.ui.clips_here import WAYS, clips_of, compare
from evaluation.ui.language import label, phrase, retold, say
from evaluation.ui.rating import Rating
from ltx2.errors import LTX2Error, RequestError
from ltx2.serving.worker import JobQueue
from ltx2.ui.visitors import checked

HERE, FOLDERS, UPLOADS, YAML = "here", "folders", "uploads", "yaml"

SOURCES = (
    (phrase("Clips made on this page"), HERE),
    (phrase("Folders on the server"), FOLDERS),
    (phrase("Upload"), UPLOADS),
    (phrase("YAML"), YAML),
)

ALL = "all"
"""Every clip of the visitor, not those of one grid."""

AXES = (
    (phrase("Picture"), "visual_realism"),
    (phrase("Sound"), "sound"),
    (phrase("Sync"), "sync"),
    (phrase("What was asked for"), "prompt_adherence"),
)
"""Questions that may be asked before the last one, which is always asked."""

SUFFIXES = [".mp4", ".mov", ".webm", ".mkv", ".json", ".csv"]

MAX_YAML_BYTES = 2**22

EMPTY = "Some of the numbers are empty."

HEARD_TWICE = 2.5
"""Each clip is heard once, and some of them again while one answers."""

FOLDERS_EXAMPLE = "ours = /clips/ours\ntheirs = /clips/theirs"

EXAMPLE = """\
name: Two models
models:
  - {name: ours, folder: /clips/ours}
  - {name: theirs, folder: /clips/theirs}
raters: 35
"""


@dataclass(frozen=True)
class Asked:
    """Values of the form, in the order of `StudyForm.inputs`."""

    name: str | None
    source: str
    group: str
    way: str
    folders: str | None
    uploads: tuple[Upload, ...]
    yaml: str | None
    yaml_file: str | None
    raters: float | None
    pairs: float | None
    training: float | None
    attention: float | None
    repeats: float | None
    axes: list[str]
    reveals: bool

    def plan(self, queue: JobQueue, visitor: str, folder: Path) -> Study:
        """What was asked for.

        Args:
            queue: knows the clips that were made here.
            visitor: whose clips.
            folder: where uploads are kept.

        Raises:
            RequestError: something is missing or cannot be used.
            ResourceError: uploads cannot be written.
        """
        if self.source == YAML:
            return Study.from_yaml(self._yaml_text())
        name = (self.name or "").strip()
        if not name:
            raise RequestError("The study has no name.", next_step="Write one above.")
        prompts: list[dict[str, Any]] = []
        if self.source == HERE:
            group = "" if self.group == ALL else self.group
            found = compare(queue, clips_of(queue, checked(visitor), group), self.way)
            models: list[Any] = [model.model_dump() for model in found.models]
            prompts = [prompt.model_dump() for prompt in found.prompts]
        elif self.source == FOLDERS:
            models = _models_of_lines(self.folders or "")
        else:
            models = [m.model_dump() for m in keep_uploads(self.uploads, folder / "uploads")]
        if len(models) < 2:
            raise RequestError(
                "There are clips of fewer than two models.", next_step="Add clips of another one."
            )
        counts = self.raters, self.pairs, self.training, self.attention, self.repeats
        if None in counts:
            raise RequestError(EMPTY, next_step="Fill in raters, pairs and the others.")
        raters, pairs, training, attention, repeats = (int(count or 0) for count in counts)
        return Study.from_fields(
            {
                "name": name,
                "models": models,
                "prompts": prompts,
                "raters": raters,
                "axes": [
                    *({"key": key} for _, key in AXES if key in self.axes),
                    {"key": "overall", "points": 5, "both_bad": True},
                ],
                "session": {
                    "pairs": pairs,
                    "training": training,
                    "attention": attention,
                    "repeats": repeats,
                    "blinding_guesses": min(4, pairs),
                },
                "reveal_models": self.reveals,
            }
        )

    def _yaml_text(self) -> str:
        if not self.yaml_file:
            return self.yaml or ""
        path = Path(self.yaml_file)
        try:
            if path.stat().st_size > MAX_YAML_BYTES:
                raise RequestError("The file is too long.", next_step="Use a folder per model.")
            return path.read_text("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise RequestError(
                "The file is not text in UTF-8.", next_step="Save it as YAML in UTF-8."
            ) from error


def _models_of_lines(text: str) -> list[dict[str, Any]]:
    """Models of lines like `NAME = /folder`."""
    models = []
    for line in filter(str.strip, text.splitlines()):
        name, equals, folder = line.partition("=")
        if not (equals and name.strip() and folder.strip()):
            raise RequestError(
                f"The line {line.strip()!r} names no model and folder.",
                next_step="Write NAME = /path/of/folder, one model a line.",
            )
        models.append({"name": name.strip(), "folder": folder.strip()})
    return models


@dataclass(frozen=True)
class StudyForm:
    """Components that ask for a study; names and order are those of `Asked`."""

    name: gr.Textbox
    source: gr.Radio
    group: gr.Dropdown
    way: gr.Radio
    folders: gr.Textbox
    uploads: gr.State
    yaml: gr.Textbox
    yaml_file: gr.File
    raters: gr.Number
    pairs: gr.Number
    training: gr.Number
    attention: gr.Number
    repeats: gr.Number
    axes: gr.CheckboxGroup
    reveals: gr.Checkbox

    @property
    def inputs(self) -> list[Any]:
        """What `Asked` is made of, in its order."""
        return [getattr(self, field.name) for field in fields(self)]


@dataclass(frozen=True)
class NewStudy:
    """Components of the part.

    Attributes:
        places: what is shown for each of `SOURCES`, in its order.
        planned: what the planner reads besides the form.
    """

    form: StudyForm
    places: tuple[gr.Group, ...]
    upload_model: gr.Textbox
    upload_files: gr.File
    upload_add: gr.Button
    upload_clear: gr.Button
    upload_list: gr.HTML
    planned: tuple[gr.Slider, gr.Slider, gr.Slider]
    plan: gr.HTML
    check: gr.Button
    create: gr.Button
    answer: gr.HTML


def build_new_study() -> NewStudy:
    """Layout: clips on the left, the plan on the right."""
    with gr.Row():
        with gr.Column(scale=3, min_width=320):
            name = gr.Textbox(label=label("Name of the study"), max_lines=1, elem_id="study-name")
            source = gr.Radio(
                [(label(text), value) for text, value in SOURCES],
                value=FOLDERS,
                label=label("Clips"),
                elem_id="study-source",
            )
            with gr.Group(visible=False) as here:
                group = gr.Dropdown(
                    [(label("All of my clips"), ALL)], value=ALL, label=label("From")
                )
                way = gr.Radio(
                    [(label(_WAY_WORDS[way]), way) for way in WAYS],
                    value="guidance",
                    label=label("Compare by"),
                    info=label("Only clips that are alike in all else are compared."),
                )
            with gr.Group(visible=True) as folders_place:
                folders = gr.Textbox(
                    label=label("Models and their folders"),
                    info=label("One a line: NAME = /path; files are PROMPT_ID.mp4."),
                    placeholder=FOLDERS_EXAMPLE,
                    lines=3,
                    elem_id="study-folders",
                )
            with gr.Group(visible=False) as uploads_place:
                upload_model = gr.Textbox(label=label("Model"), max_lines=1)
                upload_files = gr.File(
                    label=label("Its clips, PROMPT_ID.mp4"),
                    file_count="multiple",
                    file_types=SUFFIXES,
                    height=140,
                )
                with gr.Row():
                    upload_add = gr.Button(label("Add this model"), size="sm")
                    upload_clear = gr.Button(label("Remove all"), size="sm")
                upload_list = gr.HTML("")
            with gr.Group(visible=False) as yaml_place:
                yaml = gr.Textbox(
                    label=label("Study in YAML"), value=EXAMPLE, lines=10, elem_id="study-yaml"
                )
                yaml_file = gr.File(
                    label=label("Or a file"), file_types=[".yaml", ".yml", ".json"], height=100
                )
        with gr.Column(scale=2, min_width=300):
            with gr.Row():
                raters = _count(label("Raters"), 35, 1, "study-raters")
                pairs = _count(label("Pairs each"), 24, 1, "study-pairs")
            with gr.Row():
                training = _count(label("Training"), 3, 0, "study-training")
                attention = _count(label("Attention"), 2, 0, "study-attention")
                repeats = _count(label("Repeats"), 2, 0, "study-repeats")
            axes = gr.CheckboxGroup(
                [(label(text), key) for text, key in AXES],
                value=[key for _, key in AXES],
                label=label("Asked about each pair, before the overall choice"),
            )
            reveals = gr.Checkbox(label=label("Tell raters at the end who made what"))
            with gr.Accordion(label("What can it show?"), open=True):
                win_rate = gr.Slider(
                    0.51, 0.95, 0.6, step=0.01, label=label("Win rate to be shown")
                )
                ties = gr.Slider(0, 0.9, 0.3, step=0.05, label=label("Share of ties"))
                effect = gr.Slider(
                    1, 6, 2.5, step=0.1, label=label("Design effect"),
                    info=label("How much more votes are needed because raters vote often."),
                )  # fmt: skip
                plan = gr.HTML("", elem_id="study-plan")
    with gr.Row():
        check = gr.Button(label("Check clips and plan"), elem_id="study-check")
        create = gr.Button(label("Create"), variant="primary", elem_id="study-create")
    answer = gr.HTML("", elem_id="study-answer")
    form = StudyForm(
        name,
        source,
        group,
        way,
        folders,
        gr.State(()),
        yaml,
        yaml_file,
        raters,
        pairs,
        training,
        attention,
        repeats,
        axes,
        reveals,
    )
    return NewStudy(
        form=form,
        places=(here, folders_place, uploads_place, yaml_place),
        upload_model=upload_model,
        upload_files=upload_files,
        upload_add=upload_add,
        upload_clear=upload_clear,
        upload_list=upload_list,
        planned=(win_rate, ties, effect),
        plan=plan,
        check=check,
        create=create,
        answer=answer,
    )


_WAY_WORDS = {
    "model": phrase("Model"),
    "guidance": phrase("Guidance"),
    "steps": phrase("Steps"),
    "LoRA": phrase("LoRA"),
}


def _count(text: Any, value: int, least: int, element: str) -> gr.Number:
    return gr.Number(
        value, label=text, precision=0, minimum=least, maximum=100_000, min_width=90,
        elem_id=element,
    )  # fmt: skip


def render_plan(
    num_models: int, raters: float, pairs: float, win_rate: float, ties: float, effect: float
) -> str:
    """What the planned number of votes can show, and how many the question needs."""
    # Its statistics take a second to import, which the start of the server need not wait for.
    from evaluation.preference.planning import Circumstances, detectable_win_rate, votes_needed

    try:
        around = Circumstances(float(ties), float(effect))
        comparisons = num_models * (num_models - 1) / 2
        planned = float(raters) * float(pairs) / comparisons
        needed = votes_needed(float(win_rate), around)
    except LTX2Error as error:
        return render_sections([Section("", [Text([retold(str(error))])])])
    except (TypeError, ZeroDivisionError):
        return render_sections([Section("", [Text([retold(EMPTY)])])])
    shown = detectable_win_rate(planned, around)
    enough = planned >= needed
    verdict = (
        say("Enough: the plan shows a win rate of {rate}.", rate=f"{shown:.0%}")
        if enough
        else say(
            "Not enough for {rate}: plan {count} raters of as many pairs.",
            rate=f"{win_rate:.0%}",
            count=f"{-(-needed * comparisons // max(float(pairs), 1)):.0f}",
        )
    )
    facts = [
        (say("Votes per pair of models, planned"), f"{planned:.0f}"),
        (say("Needed for a win rate of {rate}", rate=f"{win_rate:.0%}"), f"{needed}"),
        (say("The plan shows"), "-" if shown >= 1 else f"{shown:.0%}"),
    ]
    return render_sections([Section("", [Facts(facts), Text([verdict])])])


def render_check(plan: Study, gathered: Gathered) -> str:
    """What is wrong with a study, or what it will be; problems of clips by name."""
    problems = [str(problem) for problem in gathered.problems]
    full = with_prompts(plan, gathered.prompts)
    try:
        if not gathered.prompts:
            gathered.require_complete()
        design(full)
    except RequestError as error:
        problems.append(str(error))
    if problems:
        title = say(
            "{count} problems, all of them to be solved before it opens", count=len(problems)
        )
        return render_sections([Section(title, [Notes([retold(each) for each in problems])])])
    longest = max(source.duration_s for source in gathered.sources.values())
    session = plan.session
    trials = session.training + session.pairs + session.attention + session.repeats
    facts = [
        (say("Models"), str(len(plan.models))),
        (say("Prompts"), str(len(gathered.prompts))),
        (say("Clips, all readable and audible"), str(len(gathered.sources))),
        (say("Pairs a rater sees"), str(trials)),
        (say("Minutes a rater needs, about"), f"{trials * longest * HEARD_TWICE / 60 + 2:.0f}"),
        (say("SHA-256 of the plan"), full.digest),
    ]
    return render_sections([Section(say("Ready to be opened"), [Facts(facts)])])


@dataclass(frozen=True)
class NewStudyHandlers:
    """What happens in the form; who asks was found to be the owner before.

    Attributes:
        rating: keeps studies.
        queue: knows the clips that were made here.
    """

    rating: Rating
    queue: JobQueue

    def check(self, visitor: str, values: Sequence[Any]) -> str:
        """What the study would be."""
        asked = Asked(*values)
        if asked.source == UPLOADS:
            # Uploads are read when they are kept, all or none.
            return render_sections([Section("", [Text([say("Uploads are checked by Create.")])])])
        plan = asked.plan(self.queue, visitor, self.rating.folder)
        return render_check(plan, gather(plan))

    def create(self, visitor: str, values: Sequence[Any]) -> tuple[str, str]:
        """Id of the draft just kept, and what it is."""
        asked = Asked(*values)
        plan = asked.plan(self.queue, visitor, self.rating.folder)
        found = gather(plan)
        row = self.rating.store.create(plan)
        return row.id, render_check(plan, found)


def add_upload(
    known: tuple[Upload, ...], model: str, files: list[str] | None
) -> tuple[Upload, ...]:
    """The files with those of one more model.

    Raises:
        RequestError: the model has no name, or there are no files.
    """
    if not model.strip():
        raise RequestError("The model has no name.", next_step="Name the model of these clips.")
    if not files:
        raise RequestError("There are no files.", next_step="Choose the clips of this model.")
    others = tuple(upload for upload in known if upload.model != model.strip())
    return (*others, *(Upload(model.strip(), Path(file).name, Path(file)) for file in files))


def render_uploads(uploads: Sequence[Upload]) -> str:
    """How many files of which model."""
    if not uploads:
        return ""
    names = sorted({upload.model for upload in uploads})
    rows = [(name, str(sum(upload.model == name for upload in uploads))) for name in names]
    return render_sections([Section("", [Facts(rows)])])
