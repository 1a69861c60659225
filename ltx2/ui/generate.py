"""The Generate view: a prompt becomes a clip."""

import json
import math
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import gradio as gr

from ltx2.errors import GenerationCancelled
from ltx2.media.decode import read_recipe
from ltx2.progress import Progress
from ltx2.request import ModelProfile, Recipe, Request
from ltx2.ui.api import GENERATE_VIDEO
from ltx2.ui.errors import errors_on_page
from ltx2.ui.studio import Choice, Offer, Studio

STAGES = {
    "load": ("Loading the model", 0.0, 0.05),
    "encode prompt": ("Reading the prompt", 0.05, 0.1),
    "denoise": ("Making picture and sound", 0.1, 0.85),
    "decode video": ("Rendering the frames", 0.85, 0.95),
    "decode audio": ("Rendering the sound", 0.95, 1.0),
}
"""What each stage is called on the page, and which part of the progress bar it fills."""

MAX_EXAMPLES = 4
"""Example prompts on the first screen."""

NO_LORA = "None"
"""First entry of the list of LoRAs."""

MAX_LORA_STRENGTH = 2.0
"""Right end of the slider; 1 is as the LoRA was trained."""

MAX_CFG_SCALE = 12.0
"""Right end of the guidance sliders; the released model's usual values are 3 to 7."""

RANDOM_SEEDS = 1_000_000
"""New seeds are drawn below this: six digits can be read out, and fit on a phone."""

CLOSED = cast(bool, 0)
"""A closed accordion whose fields exist from the start. With `False` Gradio's page makes them when
it is opened, and puts their first values in again a frame later, over what was typed meanwhile."""

SHOW_CLIP_JS = (
    "() => { document.getElementById('clip').scrollIntoView({block: 'nearest'}); return [] }"
)
"""On a phone the clip lies below the form; where it is in sight already, nothing moves."""

Update = dict[str, Any]
"""Gradio's note that a component stays as it is."""


@dataclass(frozen=True)
class GenerateView:
    """Components of the Generate view that events read and write."""

    model: gr.Radio
    prompt: gr.Textbox
    examples: list[gr.Button]
    duration: gr.Slider
    seed: gr.Number
    randomize_seed: gr.Checkbox
    height: gr.Slider
    width: gr.Slider
    negative_prompt: gr.Textbox
    num_steps: gr.Slider
    video_cfg_scale: gr.Slider
    audio_cfg_scale: gr.Slider
    lora: gr.Dropdown
    lora_strength: gr.Slider
    generate: gr.Button
    stop: gr.Button
    video: gr.Video
    details: gr.Column
    summary: gr.Markdown
    recipe: gr.Code


def build_generate(studio: Studio) -> GenerateView:
    """Layout of the view: what is asked on the left, the clip on the right, stacked on a phone."""
    offer = studio.offer(None)
    fields = describe_fields(offer)
    with gr.Row():
        with gr.Column(scale=5, min_width=320):
            prompt = gr.Textbox(
                **fields["prompt"],
                label="Prompt",
                placeholder="What is seen, and what is heard",
                lines=4,
                max_lines=12,
                elem_id="prompt",
            )
            examples = _build_examples(offer.profile)
            model = gr.Radio(
                [offer.name for offer in studio.offers],
                value=offer.name,
                label="Model",
                visible=len(studio.offers) > 1,
                elem_id="model",
            )
            duration = gr.Slider(
                **fields["duration"], step=0.1, label="Duration in seconds", buttons=[]
            )
            seed, randomize_seed = _build_seed()
            generate = gr.Button("Generate", variant="primary", elem_id="generate")
            stop = gr.Button("Stop", variant="secondary", visible=False, elem_id="stop")
            with gr.Accordion("More", open=CLOSED):
                negative_prompt = gr.Textbox(
                    **fields["negative_prompt"],
                    label="Negative prompt",
                    info="What to stay away from",
                )
                num_steps = gr.Slider(**fields["num_steps"], step=1, label="Steps", buttons=[])
                video_cfg_scale, audio_cfg_scale = _build_pair(
                    ("Guidance, picture", {**fields["video_cfg_scale"], "step": 0.1}),
                    ("Guidance, sound", {**fields["audio_cfg_scale"], "step": 0.1}),
                )
                height, width = _build_pair(
                    ("Height in pixels", fields["height"]), ("Width in pixels", fields["width"])
                )
                with gr.Row():
                    lora = gr.Dropdown(**fields["lora"], label="LoRA", min_width=160)
                    lora_strength = gr.Slider(
                        **fields["lora_strength"],
                        minimum=0.0,
                        maximum=MAX_LORA_STRENGTH,
                        step=0.05,
                        label="LoRA strength",
                        min_width=160,
                        buttons=[],
                    )
        with gr.Column(scale=6, min_width=320):
            video, details, summary, recipe = _build_result()
    return GenerateView(
        model=model,
        prompt=prompt,
        examples=examples,
        duration=duration,
        seed=seed,
        randomize_seed=randomize_seed,
        height=height,
        width=width,
        negative_prompt=negative_prompt,
        num_steps=num_steps,
        video_cfg_scale=video_cfg_scale,
        audio_cfg_scale=audio_cfg_scale,
        lora=lora,
        lora_strength=lora_strength,
        generate=generate,
        stop=stop,
        video=video,
        details=details,
        summary=summary,
        recipe=recipe,
    )


def describe_fields(offer: Offer) -> dict[str, dict[str, Any]]:
    """Values and limits of the fields that follow the model, by their names in the view."""
    profile = offer.profile
    fixed = profile.sigmas is not None
    return {
        "prompt": {"info": render_hint(profile)},
        "duration": _describe_duration(profile),
        "negative_prompt": {"value": profile.negative_prompt},
        "num_steps": {
            "minimum": 1,
            "maximum": max(60, profile.num_steps),
            "value": profile.num_steps,
            "info": "Fixed by this model" if fixed else "More take longer and add detail",
            "interactive": not fixed,
        },
        "video_cfg_scale": _describe_guidance(profile.video_guidance.cfg_scale),
        "audio_cfg_scale": _describe_guidance(profile.audio_guidance.cfg_scale),
        "height": _describe_size(profile, profile.height),
        "width": _describe_size(profile, profile.width),
        "lora": {
            "choices": [NO_LORA, *offer.loras],
            "value": NO_LORA,
            "visible": bool(offer.loras),
        },
        "lora_strength": {"value": 1.0, "visible": bool(offer.loras)},
    }


def _describe_duration(profile: ModelProfile) -> dict[str, Any]:
    # Tenths of a second: finer than the steps of whole latent frames that a length snaps to.
    shortest_s = math.ceil(10 * (profile.temporal_multiple + 1) / profile.frame_rate) / 10
    longest_s = max(shortest_s, math.floor(10 * profile.max_duration_s) / 10)
    return {
        "minimum": shortest_s,
        "maximum": longest_s,
        "value": min(max(shortest_s, round(profile.duration_s, 1)), longest_s),
        "info": f"Practised up to {profile.trained_duration_s:.3g} s",
    }


def _describe_guidance(usual: float) -> dict[str, Any]:
    return {"minimum": 1.0, "maximum": max(MAX_CFG_SCALE, usual), "value": usual}


def _describe_size(profile: ModelProfile, usual: int) -> dict[str, Any]:
    multiple = profile.spatial_multiple
    smallest = math.ceil(profile.min_size / multiple) * multiple
    largest = profile.max_size // multiple * multiple
    return {
        "minimum": smallest,
        # Gradio wants a range even where there is one size; the slider is fixed then.
        "maximum": max(largest, smallest + multiple),
        "value": usual,
        "step": multiple,
        "interactive": smallest < largest,
    }


def _build_examples(profile: ModelProfile) -> list[gr.Button]:
    # Buttons, because `gr.Examples` cuts each text after 60 characters.
    with gr.Column(elem_id="examples", visible=bool(profile.example_prompts)):
        gr.Markdown("Try one of these:")
        return [gr.Button(text, size="sm") for text in profile.example_prompts[:MAX_EXAMPLES]]


def _build_seed() -> tuple[gr.Number, gr.Checkbox]:
    with gr.Row(equal_height=True, elem_id="seed-row"):
        seed = gr.Number(value=1, precision=0, minimum=0, label="Seed", min_width=140)
        randomize_seed = gr.Checkbox(value=True, label="New seed each time", min_width=140)
    return seed, randomize_seed


def _build_pair(*described: tuple[str, dict[str, Any]]) -> tuple[gr.Slider, gr.Slider]:
    """Two sliders beside each other, from their labels and what describes them."""
    with gr.Row():
        left, right = (
            gr.Slider(**field, label=label, min_width=160, buttons=[]) for label, field in described
        )
    return left, right


def _build_result() -> tuple[gr.Video, gr.Column, gr.Markdown, gr.Code]:
    video = gr.Video(
        label="Clip",
        show_label=False,
        interactive=False,
        autoplay=True,
        buttons=["download"],
        elem_id="clip",
    )
    with gr.Column(visible=False) as details:
        summary = gr.Markdown(elem_id="summary")
        with gr.Accordion("Recipe, also inside the file", open=False, elem_id="recipe"):
            recipe = gr.Code(
                language="json",
                interactive=False,
                show_label=False,
                show_line_numbers=False,
                wrap_lines=True,
                max_lines=30,
                buttons=["copy", "download"],
            )
    return video, details, summary, recipe


def bind_generate(view: GenerateView, studio: Studio, page: gr.Blocks) -> None:
    """Events of the view: start, make, show what the file says, be ready again."""
    handlers = GenerateHandlers(studio, Path(view.video.GRADIO_CACHE))
    for button in view.examples:
        # The label is the prompt; it is copied in the browser.
        button.click(None, button, view.prompt, js="(text) => text", api_visibility="private")
    view.model.input(
        handlers.on_model,
        view.model,
        [getattr(view, name) for name in describe_fields(studio.offer(None))],
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )
    started = gr.on(
        [view.generate.click, view.prompt.submit],
        handlers.on_start,
        None,
        [view.generate, view.stop],
        queue=False,
        show_progress="hidden",
        api_visibility="private",
        js=SHOW_CLIP_JS,
    )
    made = started.then(
        handlers.on_generate,
        [
            view.prompt,
            view.duration,
            view.seed,
            view.randomize_seed,
            view.height,
            view.width,
            view.negative_prompt,
            view.num_steps,
            view.video_cfg_scale,
            view.audio_cfg_scale,
            view.model,
            view.lora,
            view.lora_strength,
        ],
        [view.video, view.seed],
        show_progress_on=view.video,
        api_name=GENERATE_VIDEO,
        concurrency_id="model",
        concurrency_limit=1,
    )
    made.success(
        handlers.on_made,
        view.video,
        [view.details, view.summary, view.recipe],
        show_progress="hidden",
        api_visibility="private",
    )
    # Gradio's page runs what `then` binds after a success only, whatever its documentation says.
    for ended in (made.success, made.failure):
        ended(
            handlers.on_finish,
            None,
            [view.generate, view.stop],
            queue=False,
            show_progress="hidden",
            api_visibility="private",
        )
    view.stop.click(
        handlers.on_stop,
        None,
        view.stop,
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )
    page.unload(handlers.on_leave)


@dataclass(frozen=True)
class GenerateHandlers:
    """What happens when a visitor does something; values in, values out.

    Attributes:
        studio: makes the clips.
        folder: Gradio's cache, where files may be served from and are deleted on a schedule.
    """

    studio: Studio
    folder: Path

    def on_model(self, model: str) -> list[Update]:
        """The fields that follow the model start anew from its usual settings."""
        with errors_on_page():
            return [
                gr.update(**field) for field in describe_fields(self.studio.offer(model)).values()
            ]

    def on_start(self, request: gr.Request) -> tuple[gr.Button, gr.Button]:
        """Generate gives way to Stop."""
        self.studio.expect(_session(request) or "")
        return gr.Button(visible=False), gr.Button("Stop", visible=True, interactive=True)

    def on_generate(  # noqa: PLR0913 - the parameters are the public endpoint's
        self,
        prompt: str,
        duration: float,
        seed: int,
        randomize_seed: bool,
        height: int,
        width: int,
        negative_prompt: str,
        num_inference_steps: int,
        cfg_guidance_scale: float,
        audio_cfg_guidance_scale: float,
        model: str | None,
        lora: str | None,
        lora_strength: float,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - how Gradio is told to pass one
    ) -> tuple[str | Update, int | Update]:
        """The clip's file and the seed that made it; nothing changes when it was stopped."""
        with errors_on_page():
            choice = Choice(model, None if lora in (None, NO_LORA) else lora, lora_strength)
            profile = self.studio.offer(model).profile
            wanted = Request(
                prompt=prompt,
                negative_prompt=negative_prompt,
                duration_s=duration,
                seed=secrets.randbelow(RANDOM_SEEDS) if randomize_seed else seed,
                height=height,
                width=width,
                num_steps=num_inference_steps,
                video_guidance=profile.video_guidance.model_copy(
                    update={"cfg_scale": cfg_guidance_scale}
                ),
                audio_guidance=profile.audio_guidance.model_copy(
                    update={"cfg_scale": audio_cfg_guidance_scale}
                ),
            )
            path = self.folder / secrets.token_hex(16) / f"ltx2-{wanted.seed}.mp4"
            try:
                saved = self.studio.make(
                    wanted,
                    path,
                    choice=choice,
                    session=_session(request),
                    on_progress=lambda now: progress(*render_progress(now)),
                )
            except GenerationCancelled:
                gr.Info("Stopped.", duration=3)
                return gr.skip(), gr.skip()
            return str(saved), wanted.seed

    def on_made(self, video: str | None) -> tuple[gr.Column, str, str]:
        """What the file says about how it was made."""
        with errors_on_page():
            recipe = None if video is None else read_recipe(video)
            if recipe is None:
                return gr.Column(visible=False), "", ""
            return gr.Column(visible=True), render_summary(recipe), render_recipe(recipe)

    def on_finish(self, request: gr.Request) -> tuple[gr.Button, gr.Button]:
        """Stop gives way to Generate, however it ended."""
        self.studio.finish(_session(request) or "")
        return gr.Button(visible=True), gr.Button(visible=False)

    def on_stop(self, request: gr.Request) -> gr.Button:
        """The wish is noted; the model sees it after its current step."""
        self.studio.stop(_session(request) or "")
        return gr.Button("Stopping…", interactive=False)

    def on_leave(self, request: gr.Request) -> None:
        """The page was closed."""
        self.studio.leave(_session(request) or "")


def _session(request: gr.Request | None) -> str | None:
    return None if request is None else request.session_hash


def render_hint(profile: ModelProfile) -> str:
    """How to write a prompt, with the spoken words that the model's own examples use."""
    words = dict.fromkeys(
        word for text in profile.example_prompts for word in re.findall(r'"([^"]+)"', text)
    )
    hint = "Spoken words go in quotes."
    if not words:
        return hint
    return f"{hint} It has practised {', '.join(words)}."


def render_progress(now: Progress) -> tuple[float, str]:
    """Share of the whole that is done, 0..1, and what is being done."""
    title, start, end = STAGES.get(now.stage, (now.stage.capitalize(), 0.0, 1.0))
    done = start + (end - start) * now.step / now.total
    if now.total == 1:
        return done, title
    return done, f"{title}: step {now.step} of {now.total}"


def render_summary(recipe: Recipe) -> str:
    """One line of the settings that people compare."""
    request = recipe.request
    facts = [f"{request.width} × {request.height} px"]
    if request.num_frames and request.frame_rate:
        facts.append(f"{request.num_frames / request.frame_rate:.2f} s")
        facts.append(f"{request.frame_rate:g} frames/s")
    facts += [f"{request.num_steps} steps", f"seed {request.seed}", recipe.model]
    return " · ".join(facts)


def render_recipe(recipe: Recipe) -> str:
    """The recipe as JSON to copy."""
    return json.dumps(recipe.model_dump(mode="json"), indent=2, ensure_ascii=False)
