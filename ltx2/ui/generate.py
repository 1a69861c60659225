"""The Generate view: a prompt becomes a job, and the job becomes a clip in front of you."""

import secrets
import time
from dataclasses import dataclass, field, fields, replace
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from ltx2.conditions import Source
from ltx2.errors import LTX2Error, RequestError
from ltx2.inputs import Inputs
from ltx2.media.decode import read_recipe
from ltx2.media.guarded import read_recipe_guarded
from ltx2.media.recipe_tag import parse_recipe
from ltx2.request import AppliedLora, ModelProfile, Recipe
from ltx2.serving.access import Door
from ltx2.serving.jobs import Cancelled, Done, End, Failed, Job, Queued, Running
from ltx2.serving.worker import JobQueue
from ltx2.ui.api import GENERATE_VIDEO
from ltx2.ui.compare import Comparison, bind_comparison, build_comparison
from ltx2.ui.composer import Draft, written
from ltx2.ui.enhance import improved
from ltx2.ui.errors import error_in_words, errors_on_page
from ltx2.ui.events import ANSWERED, QUIET, Update
from ltx2.ui.examination import Examination, Examine
from ltx2.ui.form import (
    LORA_FIELDS,
    MAX_COPIES,
    RANDOM_SEEDS,
    Asked,
    Form,
    build_form,
    describe_fields,
    describe_recipe,
    not_restored,
    possible_shapes,
    seen_loras,
    values_of,
)
from ltx2.ui.given import Given
from ltx2.ui.going_on import extended, retaken
from ltx2.ui.language import label, phrase, say
from ltx2.ui.limits import limited
from ltx2.ui.memory import RESTORED, bind_memory, build_memory, recall, unchanged
from ltx2.ui.modes import DIALOGUE
from ltx2.ui.pictures import GivenPicture, bind_pictures, with_pictures
from ltx2.ui.result import (
    NOTHING,
    Result,
    Shown,
    build_result,
    lend,
    render_failure,
    render_preflight,
    render_recipe,
    render_sketch,
    render_status,
    render_summary,
)
from ltx2.ui.visitors import checked, recognise
from ltx2.ui.writing import bind_writing

POLL_S = 1.2
"""Seconds between looks at a job: often enough to see most steps of a small model,
and seldom enough that 50 pages take less than a quarter of a processor core."""

ATTACH_S = 0.3
"""How often a program's caller is told how far its clip is."""

LINK_JS = """
(job) => {
    const link = new URL(window.location.href);
    if (job) { link.searchParams.set("job", job); } else { link.searchParams.delete("job"); }
    window.history.replaceState(null, "", link);
    document.getElementById("status")?.scrollIntoView({block: "nearest"});
    return [];
}
"""
"""The address shows the job, so that a reload or another browser finds it again. On a phone
it stands above the form; where it is in sight already, nothing moves."""

OPENED_JS = """
() => {
    if (new URL(window.location.href).searchParams.has("job")) {
        document.getElementById("status")?.scrollIntoView({block: "nearest"});
    }
    return [];
}
"""
"""Who follows a link sees its clip."""

DROP_JS = """
() => {
    const input = () => document.querySelector("#restore input[type=file]");
    const form = () => document.getElementById("generate");
    // Other fields for files take what is dropped on them, and say so.
    const isOurs = (event) => !event.defaultPrevented && form()?.offsetParent
        && [...(event.dataTransfer?.types ?? [])].includes("Files");
    const mark = (is) => document.body.classList.toggle("dropping", is);
    document.addEventListener("dragover", (event) => {
        if (!isOurs(event)) return mark(false);
        event.preventDefault();
        mark(true);
    });
    document.addEventListener("dragleave", (event) => event.relatedTarget ?? mark(false));
    document.addEventListener("drop", (event) => {
        mark(false);
        if (!isOurs(event) || !input()) return;
        event.preventDefault();
        const carried = new DataTransfer();
        carried.items.add(event.dataTransfer.files[0]);
        input().files = carried.files;
        input().dispatchEvent(new Event("change", {bubbles: true}));
    });
    return [];
}
"""
"""A file that is dropped anywhere on the form is handed to the button for files."""

RECALL_JS = "(recalled, typed) => typed || recalled"
"""Who is quicker than the server keeps what is typed already."""

STOP, STOPPING = phrase("Stop"), phrase("Stopping…")

OTHER_MODEL = phrase(
    "The clip was made with {model}, which is not here: only its prompts and its seed are back."
)

GIVE_AGAIN = phrase("It was made from {files}: please add what a clip does not carry.")

NO_FIELD = phrase("This page has no field for the clip's {fields}.")

GENERATE = "generate"
"""Id of the view's tab."""

MAKING = "making"
"""Gradio's name for the line in which clips wait that are made inside their requests."""

MAX_RECIPE_BYTES = 2**20
"""Of a recipe beside a clip; one with two prompts of full length has an eighth."""

MAX_PROGRAMS = 20
"""Programs that wait for their clips at once; each keeps one of Gradio's 40 threads busy."""


@dataclass(frozen=True)
class GenerateView:
    """Components of the view that events read and write.

    Attributes:
        job: id of the job to show next.
        shown: what is shown.
        recalled: the prompt that comes back.
        turn: when the page last had to change as a whole.
    """

    form: Form
    generate: gr.Button
    stop: gr.Button
    fit: gr.HTML
    clip_file: gr.UploadButton
    result: Result
    comparison: Comparison
    job: gr.Textbox
    memory: gr.BrowserState
    recalled: gr.Textbox
    shown: gr.State
    turn: gr.Textbox
    timer: gr.Timer

    @property
    def showing(self) -> list[Any]:
        """What changes with the job that is shown."""
        result = self.result
        return [
            result.status,
            result.preview,
            result.video,
            result.details,
            result.summary,
            result.recipe,
            self.stop,
            self.timer,
            self.shown,
            result.use_failed,
        ]


def build_generate(queue: JobQueue) -> GenerateView:
    """Layout of the view: what is asked on the left, the clip on the right, stacked on a phone."""
    with gr.Row():
        with gr.Column(scale=5, min_width=320):
            form = build_form(queue.models[0], can_judge=queue.score is not None)
            with gr.Row():
                generate = gr.Button(
                    label("Generate"), variant="primary", elem_id="generate", scale=3
                )
                stop = gr.Button(label(STOP), visible=False, elem_id="stop", scale=1, min_width=90)
            fit = gr.HTML("", elem_id="fit")
            with gr.Row(elem_id="restore"):
                clip_file = gr.UploadButton(
                    label("Settings of a clip's file"),
                    file_types=[".mp4", ".json"],
                    size="sm",
                    elem_id="clip-file",
                    min_width=160,
                )
                gr.Markdown(label("Or drop a clip of ours, or its recipe, anywhere on this page."))
        with gr.Column(scale=6, min_width=320, elem_id="result"):
            result = build_result()
            with result.details:
                comparison = build_comparison()
    return GenerateView(
        form=form,
        generate=generate,
        stop=stop,
        fit=fit,
        clip_file=clip_file,
        result=result,
        comparison=comparison,
        job=gr.Textbox(visible=False),
        memory=build_memory(),
        recalled=gr.Textbox(visible=False),
        shown=gr.State(NOTHING),
        # In the page, though not in sight: of a state that is polled Gradio tells no change.
        turn=gr.Textbox(visible="hidden"),
        timer=gr.Timer(POLL_S, active=False),
    )


def bind_generate(
    view: GenerateView,
    queue: JobQueue,
    owner: gr.BrowserState,
    page: gr.Blocks,
    door: Door,
    examine: Examine | None = None,
) -> None:
    """Events of the view."""
    form, result = view.form, view.result
    handlers = GenerateHandlers(queue, Path(result.video.GRADIO_CACHE), door)
    _bind_fields(view, handlers, page)
    for pressed in (view.generate.click, form.prompt.submit):
        asked = pressed(
            limited(handlers.on_submit, door),
            [
                *(owner, form.copies, form.keep_best, form.mode, form.composer),
                *form.inputs,
                *form.given.inputs,
            ],
            [owner, view.job, form.seed],
            **ANSWERED,
        )
        _show_after(asked, view, handlers, owner)
        _make_after(asked, view, handlers, owner)
    asked = result.again.click(
        limited(handlers.on_again, door), [owner, view.shown], view.job, **ANSWERED
    )
    _show_after(asked, view, handlers, owner)
    _make_after(asked, view, handlers, owner)
    going_on = result.going_on
    for asked in (
        going_on.extend.click(
            limited(handlers.on_extend, door),
            [owner, view.shown, form.prompt],
            view.job,
            **ANSWERED,
        ),
        going_on.retake.click(
            limited(handlers.on_retake, door),
            [owner, view.shown, form.prompt, going_on.start, going_on.end],
            view.job,
            **ANSWERED,
        ),
    ):
        _show_after(asked, view, handlers, owner)
        _make_after(asked, view, handlers, owner)
    view.timer.tick(
        handlers.on_poll,
        [owner, view.shown],
        [result.status, result.preview, view.shown, view.turn],
        **QUIET,
    )
    view.turn.change(handlers.on_turn, [owner, view.shown], view.showing, **QUIET)
    view.stop.click(handlers.on_stop, [owner, view.shown], view.stop, **ANSWERED)
    loaded = page.load(handlers.on_load, owner, view.showing, **QUIET)
    loaded.success(None, None, None, js=OPENED_JS, api_visibility="private")
    page.load(None, None, None, js=DROP_JS, api_visibility="private")
    bind_comparison(view.comparison, view.shown, result.video, queue, owner)
    if examine is not None:
        # The clip is in sight before it is examined, one at a time.
        result.video.change(
            Examination(queue, examine).on_shown,
            view.shown,
            result.health,
            concurrency_limit=1,
            **ANSWERED,
        )
    gr.Button(visible=False).click(
        handlers.generate_video,
        [
            gr.File(file_types=["image"], visible=False),
            *form.inputs[:2],
            gr.Checkbox(visible=False),
            *form.inputs[2:],
        ],
        [gr.Video(visible=False), gr.Number(visible=False)],
        api_name=GENERATE_VIDEO,
        concurrency_limit=1 if queue.in_request else MAX_PROGRAMS,
        concurrency_id=MAKING if queue.in_request else None,
    )


def bind_open(
    button: gr.Button,
    job: gr.State,
    view: GenerateView,
    queue: JobQueue,
    owner: gr.BrowserState,
    tabs: gr.Tabs,
) -> None:
    """A button elsewhere that shows a job here."""
    handlers = GenerateHandlers(queue, Path(view.result.video.GRADIO_CACHE))
    opened = button.click(
        lambda job_id: (job_id, gr.Tabs(selected=GENERATE)), job, [view.job, tabs], **QUIET
    )
    _show_after(opened, view, handlers, owner)


def _show_after(
    event: gr.events.Dependency,
    view: GenerateView,
    handlers: "GenerateHandlers",
    owner: gr.BrowserState,
) -> None:
    """Once an event has named a job, the page and its address show it."""
    shown = event.success(handlers.on_show, [owner, view.job], view.showing, **QUIET)
    shown.success(None, view.job, None, js=LINK_JS, api_visibility="private")


def _make_after(
    event: gr.events.Dependency,
    view: GenerateView,
    handlers: "GenerateHandlers",
    owner: gr.BrowserState,
) -> None:
    """Where clips are made inside requests, this is the request; one at a time."""
    if handlers.queue.in_request:
        event.success(
            handlers.on_make,
            owner,
            None,
            concurrency_limit=1,
            concurrency_id=MAKING,
            **ANSWERED,
        )


def _bind_fields(view: GenerateView, handlers: "GenerateHandlers", page: gr.Blocks) -> None:
    """What changes in the form when something else in it, or a clip, says so."""
    form, result = view.form, view.result
    offer = handlers.queue.models[0].offer
    improved = bind_writing(form, offer)
    described = list(describe_fields(handlers.queue.models[0].offer(None)))
    form.model.input(
        handlers.on_model,
        [form.model, form.mode],
        [getattr(form, name) for name in described],
        **QUIET,
    )
    gr.on(
        [
            field.change
            for field in (
                *(form.duration, form.model, form.height, form.width, form.num_steps),
                *(form.frame_rate, form.sampler, form.upscale),
                *(form.upscale_by_half, form.upscale_time, form.quantization),
            )
        ],
        handlers.on_change,
        form.inputs,
        view.fit,
        **QUIET,
    )
    gr.on(
        [lora.change for lora in form.loras],
        handlers.on_lora,
        [form.model, *form.loras],
        form.further_loras,
        **QUIET,
    )
    bind_pictures(form.given.pictures, form.duration)
    restored = [getattr(form, name) for name in RESTORED]
    filled = [
        improved,
        view.clip_file.upload(handlers.on_clip, view.clip_file, restored, **ANSWERED),
        result.use_settings.click(handlers.on_use, [result.recipe], restored, **ANSWERED),
        result.use_failed.click(handlers.on_use_failed, view.shown, restored, **ANSWERED),
        form.reset.click(handlers.on_reset, None, restored, **QUIET),
        form.shape.input(
            handlers.on_shape, [form.shape, form.model], [form.height, form.width], **QUIET
        ),
        # The label is the prompt; it is copied in the browser.
        *(
            button.click(None, button, form.prompt, js="(text) => text", api_visibility="private")
            for button in form.examples
        ),
    ]
    loaded = page.load(handlers.on_remembered, [view.memory], [*restored, view.recalled], **QUIET)
    loaded.success(
        None, [view.recalled, form.prompt], form.prompt, js=RECALL_JS, api_visibility="private"
    )
    bind_memory(form, view.memory, filled)


@dataclass(frozen=True)
class GenerateHandlers:
    """What happens when a visitor does something; values in, values out.

    Attributes:
        queue: makes the clips.
        folder: Gradio's cache, where files may be served from.
        door: how often programs may ask.
    """

    queue: JobQueue
    folder: Path
    door: Door = field(default_factory=Door)

    def on_model(self, model: str, mode: str) -> list[Update]:
        """The fields that follow the model start anew from its usual settings."""
        with errors_on_page():
            described = describe_fields(self.queue.models[0].offer(model))
            if mode in values_of(described["mode"]["choices"]):
                described["mode"]["value"] = mode
            return [gr.update(**field) for field in described.values()]

    def on_lora(self, model: str | None, *chosen: str | None) -> list[Update]:
        """A further LoRA can be chosen once the one before it is."""
        with errors_on_page():
            seen = seen_loras(chosen, self.queue.models[0].offer(model))
            return [gr.update(visible=is_seen) for is_seen in seen for _ in LORA_FIELDS[0]]

    def on_shape(self, shape: str, model: str | None) -> tuple[int, int]:
        """Height and width of a shape."""
        with errors_on_page():
            width, height = possible_shapes(self.queue.models[0].offer(model).profile)[shape]
            return height, width

    def on_change(self, *values: Any) -> str:
        """Whether the clip fits, and how long it takes; nothing while there is no clip to ask."""
        try:
            asked = Asked(*values)
            profile = self.queue.models[0].offer(asked.model).profile
            request = replace(asked, prompt=asked.prompt or "?").to_request(profile, seed=0)
            found = self.queue.preflight(request, asked.to_choice())
        except (LTX2Error, TypeError):
            return ""  # said when it is asked for
        return render_preflight(found)

    def on_submit(
        self, owner: str, copies: int, keep_best: bool, mode: str, draft: Any, *values: Any
    ) -> tuple[str, str, int]:
        """The visitor, and the first job's id and seed; the others follow it in the queue."""
        with errors_on_page():
            owner = recognise(owner)  # who is quicker than the page has no number yet
            num_fields = len(fields(Asked))
            asked, given = Asked(*values[:num_fields]), Given.of(values[num_fields:])
            seed, choice = asked.first_seed(), asked.to_choice()
            offer = self.queue.models[0].offer(choice.model)
            profile = offer.profile
            composed = Draft.of(draft)
            if mode == DIALOGUE and composed.leads:
                # Who is quick presses the button before the prompt has followed the fields.
                prompt = written(composed, asked.prompt, profile.vocabulary)
                asked = replace(asked, prompt=prompt)
            first = given.added_to(
                asked.to_request(profile, seed=seed), mode, self._inputs, offer, choice
            )
            count = max(1, min(int(copies), MAX_COPIES))
            if keep_best:  # they are one job then
                choice, count = replace(choice, best_of=count), 1
            requests = [first.model_copy(update={"seed": seed + number}) for number in range(count)]
            jobs = [self.queue.submit(owner, request, choice) for request in requests]
            return owner, jobs[0].id, seed

    def on_again(self, owner: str, shown: Shown) -> str:
        """The same clip with another seed."""
        with errors_on_page():
            job = self.queue.store.open_link(shown.job)
            request = job.request.model_copy(update={"seed": secrets.randbelow(RANDOM_SEEDS)})
            return self.queue.submit(checked(owner), request, job.choice).id

    def on_extend(self, owner: str, shown: Shown, prompt: str) -> str:
        """The clip that is shown goes on."""
        with errors_on_page():
            job, source, profile = self._clip_of(shown)
            request = extended(job.request, source, profile, prompt)
            return self.queue.submit(checked(owner), request, job.choice).id

    def on_retake(
        self, owner: str, shown: Shown, prompt: str, start: float | None, end: float | None
    ) -> str:
        """A part of the clip that is shown is made again."""
        with errors_on_page():
            job, source, _ = self._clip_of(shown)
            request = retaken(job.request, source, prompt, start or 0.0, end or 0.0)
            return self.queue.submit(checked(owner), request, job.choice).id

    @property
    def _inputs(self) -> Inputs:
        """Where the server keeps the files that clips are made from."""
        return Inputs(self.queue.inputs_folder)

    def _clip_of(self, shown: Shown) -> tuple[Job, Source, ModelProfile]:
        """The job that is shown, its clip as a source, and its model's profile."""
        job = self.queue.store.open_link(shown.job)
        path = self.queue.path(job)
        if path is None:
            raise RequestError("This clip is not made yet.", next_step="Wait until it is there.")
        source = Source(file=self._inputs.add(path, name="clip.mp4"))
        return job, source, self.queue.models[0].offer(job.choice.model).profile

    def on_make(self, owner: str) -> None:
        """Every clip of the visitor that waits, in turn, in this thread."""
        with errors_on_page():
            page = self.queue.store.search(checked(owner), limit=MAX_COPIES)
            for job in reversed(page.jobs):
                if isinstance(job.state, Queued):
                    self.queue.make_now(job, self.queue.models[0])

    def on_show(self, owner: str, job_id: str) -> tuple[Any, ...]:
        """A job takes the place of what was shown."""
        return self._show(owner, job_id)

    def on_turn(self, owner: str, shown: Shown) -> tuple[Any, ...]:
        """All that changes when a job ends, or has its first preview."""
        return self._show(owner, shown.job)

    def on_poll(self, owner: str, shown: Shown) -> tuple[Any, ...]:
        """Status, preview, what is shown then, and the time if more than these has to change.

        Many pages ask often, and Gradio builds every output anew, also one that stays as it is.
        """
        try:
            job = self.queue.now(self.queue.store.open_link(shown.job))
        except LTX2Error:
            return (*_keep(3), str(time.monotonic()))
        now = self._seen(job, owner)
        has_turned = (now.stop, now.step > 0) != (shown.stop, shown.step > 0)
        if isinstance(job.state, End) or has_turned:
            return (*_keep(3), str(time.monotonic()))
        status = gr.skip() if now.status == shown.status else now.status
        preview = gr.skip() if now.step == shown.step else self._preview(job)
        return (status, preview, now, gr.skip())

    def on_load(self, owner: str, request: gr.Request) -> tuple[Any, ...]:
        """The job that the address names, as it is now."""
        job_id = request.query_params.get("job", "") if request else ""
        if not job_id:
            return _keep(10)
        return self._show(owner, job_id)

    def on_stop(self, owner: str, shown: Shown) -> Update:
        """The wish is noted; the model sees it after its current step."""
        with errors_on_page():
            self.queue.cancel(checked(owner), shown.job)
            return gr.update(value=label(STOPPING), interactive=False)

    def on_clip(self, path: str | None) -> list[Update]:
        """Every field as it was for a clip of ours."""
        with errors_on_page():
            recipe = None if path is None else _recipe_of(Path(path))
            if recipe is None:
                raise RequestError(
                    "This file has no recipe.",
                    next_step="Drop a clip that was made here, as it was downloaded.",
                )
            return self._restored(recipe)

    def on_use(self, recipe: str) -> list[Update]:
        """Every field as it was for the clip that is shown."""
        with errors_on_page():
            return self._restored(Recipe.model_validate_json(recipe))

    def on_use_failed(self, shown: Shown) -> list[Update]:
        """Every field as it was for a job that has no clip."""
        with errors_on_page():
            return self._restored(self._asked(self.queue.store.open_link(shown.job)))

    def on_remembered(self, memory: Any, request: gr.Request) -> list[Any]:
        """Fields of the job in the address, or as this browser left them; then the prompt."""
        job_id = request.query_params.get("job", "") if request else ""
        try:
            updates = (
                self._restored(self._asked(self.queue.store.open_link(job_id)))
                if job_id
                else recall(memory, self.queue.models[0])
            )
        except LTX2Error:
            updates = unchanged()  # its status says why
        prompt = updates[RESTORED.index("prompt")]
        return [*updates, prompt.pop("value", "")]

    def on_reset(self) -> list[Update]:
        """Every field but the prompt as on the first visit."""
        offer = self.queue.models[0].offer(None)
        usual = describe_fields(offer) | {
            "mode": {},
            "prompt": {},
            "model": {"value": offer.name},
            "seed": {"value": 1},
            "randomize_seed": {"value": True},
        }
        return [gr.update(**usual[name]) for name in RESTORED]

    def generate_video(  # noqa: PLR0913 - the parameters are the public endpoint's
        self,
        image: str | None = None,
        prompt: str = "",
        duration: float | None = None,
        enhance_prompt: bool = False,
        seed: int = 1,
        randomize_seed: bool = True,
        height: int | None = None,
        width: int | None = None,
        negative_prompt: str | None = None,
        num_inference_steps: int | None = None,
        cfg_guidance_scale: float | None = None,
        audio_cfg_guidance_scale: float | None = None,
        model: str | None = None,
        lora: str | None = None,
        lora_strength: float = 1.0,
        frame_rate: float | None = None,
        sampler: str | None = None,
        upscale: bool = False,
        lora_2: str | None = None,
        lora_strength_2: float = 1.0,
        lora_3: str | None = None,
        lora_strength_3: float = 1.0,
        lora_4: str | None = None,
        lora_strength_4: float = 1.0,
        upscale_time: bool = False,
        upscale_by_half: bool = False,
        lora_audio_strength: float | None = None,
        lora_audio_strength_2: float | None = None,
        lora_audio_strength_3: float | None = None,
        lora_audio_strength_4: float | None = None,
        quantization: str | None = None,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - how Gradio is told to pass one
        request: gr.Request | None = None,
    ) -> tuple[str, int]:
        """The clip's file and the seed that made it, for programs; waits for its turn."""
        with errors_on_page():
            self.door.admit(f"program {self.door.address(request)}", request)
            offer = self.queue.models[0].offer(model)
            asked = Asked(
                improved(prompt, offer) if enhance_prompt else prompt,
                duration,
                seed,
                randomize_seed,
                height,
                width,
                negative_prompt,
                num_inference_steps,
                cfg_guidance_scale,
                audio_cfg_guidance_scale,
                model,
                lora,
                lora_strength,
                frame_rate,
                sampler,
                upscale,
                lora_2,
                lora_strength_2,
                lora_3,
                lora_strength_3,
                lora_4,
                lora_strength_4,
                upscale_time,
                upscale_by_half,
                lora_audio_strength,
                lora_audio_strength_2,
                lora_audio_strength_3,
                lora_audio_strength_4,
                quantization,
            )
            wanted = asked.to_request(offer.profile, seed=asked.first_seed())
            if image is not None:
                first = (GivenPicture(image, at_s=0.0),)
                wanted = with_pictures(wanted, first, self._inputs, offer.profile)
            job = self.queue.submit(secrets.token_urlsafe(24), wanted, asked.to_choice())
            if self.queue.in_request:
                job = self.queue.make_now(job, self.queue.models[0])
            while not isinstance(job.state, End):
                job = self.queue.wait(job, ATTACH_S)
                self.queue.check_open(job)
                if isinstance(job.state, Running):
                    progress((job.state.step, job.state.total), desc=job.state.stage)
            return str(self._lent(job)), wanted.seed

    def _asked(self, job: Job) -> Recipe:
        """What a job asks for, in the words of a recipe."""
        offer = self.queue.models[0].offer(job.choice.model)
        loras = tuple(
            AppliedLora(
                file=offer.loras[lora.name].name,
                strength=lora.strength,
                audio_strength=lora.audio_strength,
                digest="",
            )
            for lora in job.choice.loras
            if lora.name in offer.loras
        )
        return Recipe(
            software="", model=offer.name, fingerprint="", loras=loras, request=job.request
        )

    def _restored(self, recipe: Recipe) -> list[Update]:
        models = self.queue.models[0]
        names = [offer.name for offer in models.offers]
        offer = models.offer(recipe.model if recipe.model in names else None)
        described = describe_recipe(recipe, offer)
        if recipe.model not in names:
            gr.Info(say(OTHER_MODEL, model=escape(recipe.model)))
        elif lost := not_restored(recipe, offer):
            gr.Info(say(NO_FIELD, fields=", ".join(lost)))
        if files := recipe.request.input_files:
            gr.Info(say(GIVE_AGAIN, files=", ".join(escape(file.name) for file in files)))
        return [gr.update(**described[name]) for name in RESTORED]

    def _show(self, owner: str, job_id: str) -> tuple[Any, ...]:
        """Updates of everything that shows a job: see `GenerateView.showing`."""
        hidden = gr.update(value="", visible=False)
        try:
            job = self.queue.now(self.queue.store.open_link(job_id))
        except LTX2Error as error:
            status = render_failure(error_in_words(error))
            no_stop = gr.update(visible=False)
            return (
                *(status, hidden, *_keep(4), no_stop),
                *(gr.Timer(active=False), NOTHING, gr.update(visible=False)),
            )
        if isinstance(job.state, End):
            use = gr.update(visible=not isinstance(job.state, Done))
            return (*self._ended(job), gr.Timer(active=False), Shown(job.id), use)
        now = self._seen(job, owner)
        preview = gr.update(value=self._preview(job), visible=True) if now.step else hidden
        video = gr.update(visible=not now.step)  # until then the last clip stays in sight
        stop = gr.update(
            value=label(now.stop or STOP), visible=bool(now.stop), interactive=now.stop != STOPPING
        )
        return (
            *(now.status, preview, video, *_keep(3), stop),
            *(gr.Timer(active=True), now, gr.update(visible=False)),
        )

    def _seen(self, job: Job, owner: str) -> Shown:
        """What a page shows of a job that has not ended."""
        sketch = self.queue.sketch(job)
        is_stopping = isinstance(job.state, Running) and job.state.stage == "stop"
        return Shown(
            job.id,
            render_status(job),
            0 if sketch is None else sketch.step,
            (STOPPING if is_stopping else STOP) if job.owner == owner else "",
        )

    def _preview(self, job: Job) -> str:
        sketch = self.queue.sketch(job)
        return "" if sketch is None else render_sketch(sketch)

    def _ended(self, job: Job) -> tuple[Any, ...]:
        """Status, preview, video, details, summary, recipe and the button to stop."""
        status = render_status(job)
        gone = gr.update(value="", visible=False)
        no_stop = gr.update(visible=False)
        no_details = gr.update(visible=False), "", ""
        if not isinstance(job.state, Done):  # the clip before it stays in sight
            return (status, gone, gr.update(visible=True), *_keep(3), no_stop)
        try:
            clip = self._lent(job)
            recipe = read_recipe(clip)
        except LTX2Error as error:
            failure = render_failure(error_in_words(error))
            return (failure, gone, gr.update(value=None, visible=True), *no_details, no_stop)
        video = gr.update(value=str(clip), visible=True)
        if recipe is None:
            return (status, gone, video, *no_details, no_stop)
        details = gr.update(visible=True), render_summary(recipe), render_recipe(recipe)
        return (status, gone, video, *details, no_stop)

    def _lent(self, job: Job) -> Path:
        """The clip of a job that has ended, where it may be served from.

        Raises:
            RequestError: it ended without one.
        """
        match job.state:
            case Done():
                clip = self.queue.path(job)
                if clip is None or not clip.is_file():
                    raise RequestError("The clip's file is gone.", next_step="Generate it again.")
                return lend(clip, job, self.folder)
            case Failed(message, next_step):
                raise RequestError(message, next_step=next_step)
            case Cancelled():
                raise RequestError("The clip was stopped.", next_step="Generate it again.")
            case _:
                raise RequestError("The clip is not made yet.", next_step="Wait for it.")


def _recipe_of(file: Path) -> Recipe | None:
    """The recipe inside a clip, or in the file that the page wrote beside it.

    Raises:
        MediaError: the file is damaged.
    """
    if file.suffix.lower() != ".json":
        return read_recipe_guarded(file)
    with file.open("rb") as opened:
        return parse_recipe(opened.read(MAX_RECIPE_BYTES).decode("utf-8", "replace"))


def _keep(count: int) -> tuple[Any, ...]:
    return tuple(gr.skip() for _ in range(count))
