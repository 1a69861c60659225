"""What is asked: the fields of a clip, from a model's usual settings to a request and back."""

import math
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, cast

import gradio as gr

from ltx2.errors import RequestError
from ltx2.geometry import Enlarging, growth
from ltx2.request import Guidance, ModelProfile, Recipe, Request
from ltx2.serving.jobs import Choice, ChosenLora
from ltx2.serving.models import Models, Offer
from ltx2.ui.composer import build_composer
from ltx2.ui.enhance import Improvement, build_improvement
from ltx2.ui.given import GivenFields, build_given
from ltx2.ui.language import Label, label, phrase, say
from ltx2.ui.modes import TEXT, describe_modes, mode_of
from ltx2.ui.video import describe_tasks

MAX_EXAMPLES = 4
"""Example prompts on the first screen."""

MAX_COPIES = 8
"""Clips of one prompt that one press can ask for."""

NO_LORA = phrase("None")
"""First entry of the list of LoRAs."""

MAX_LORA_STRENGTH = 2.0
"""Right end of the slider; 1 is as the LoRA was trained."""

MAX_CFG_SCALE = 12.0
"""Right end of the guidance sliders; the released model's usual values are 3 to 7."""

RANDOM_SEEDS = 1_000_000
"""New seeds are drawn below this: six digits can be read out, and fit on a phone."""

FRAME_RATES = 8.0, 60.0
"""Ends of the slider, in frames per second."""

SAMPLERS = {
    "euler": phrase("Euler, the usual one"),
    "gradient_estimation": phrase("Gradient estimation"),
    "res_2s": phrase("res_2s, two predictions per step"),
}
"""What a request calls samplers, and what the page does."""

QUANTIZED = {
    "none": phrase("As in the file"),
    "int8": phrase("8 bits, whole numbers"),
    "fp8": phrase("8 bits, floating point"),
}
"""How settings call the ways to keep weights, and what the page does."""

SHAPES = {phrase("Square"): 1.0, phrase("Wide"): 16 / 9, phrase("Tall"): 9 / 16}
"""Width by height."""

SAME_SHAPE = 0.2
"""Largest difference of two shapes, as a logarithm, that go by one name."""

LORA_FIELDS = (
    ("lora", "lora_strength", "lora_audio_strength"),
    ("lora_2", "lora_strength_2", "lora_audio_strength_2"),
    ("lora_3", "lora_strength_3", "lora_audio_strength_3"),
    ("lora_4", "lora_strength_4", "lora_audio_strength_4"),
)
"""Fields of each LoRA that one clip can be made with, and of its strengths."""

USUAL_SAMPLER = "euler"

FILES = ("keyframes", "sources", "reference")
"""Of a request: what names files."""

CLOSED = cast(bool, 0)
"""A closed accordion whose fields exist from the start. With `False` Gradio's page makes them when
it is opened, and puts their first values in again a frame later, over what was typed meanwhile."""

Described = dict[str, dict[str, Any]]
"""Gradio arguments of components, by their names in the form."""


@dataclass(frozen=True)
class Form:
    """Components of the form."""

    mode: gr.Radio
    composer: gr.HTML
    given: GivenFields
    prompt: gr.Textbox
    hints: gr.HTML
    improvement: Improvement
    examples: list[gr.Button]
    duration: gr.Slider
    shape: gr.Radio
    model: gr.Radio
    seed: gr.Number
    randomize_seed: gr.Checkbox
    copies: gr.Slider
    keep_best: gr.Checkbox
    height: gr.Slider
    width: gr.Slider
    negative_prompt: gr.Textbox
    num_steps: gr.Slider
    video_cfg_scale: gr.Slider
    audio_cfg_scale: gr.Slider
    lora: gr.Dropdown
    lora_strength: gr.Slider
    frame_rate: gr.Slider
    sampler: gr.Dropdown
    upscale: gr.Checkbox
    upscale_time: gr.Checkbox
    lora_2: gr.Dropdown
    lora_strength_2: gr.Slider
    lora_3: gr.Dropdown
    lora_strength_3: gr.Slider
    lora_4: gr.Dropdown
    lora_strength_4: gr.Slider
    upscale_by_half: gr.Checkbox
    lora_audio_strength: gr.Slider
    lora_audio_strength_2: gr.Slider
    lora_audio_strength_3: gr.Slider
    lora_audio_strength_4: gr.Slider
    quantization: gr.Dropdown
    reset: gr.Button

    @property
    def task(self) -> gr.Radio:
        """What to do with a video, of which models can do more or less."""
        return self.given.video.task

    @property
    def inputs(self) -> list[Any]:
        """What `Asked` is made of, in its order."""
        return [getattr(self, field.name) for field in fields(Asked)]

    @property
    def loras(self) -> list[gr.Dropdown]:
        """The lists of LoRAs, from the first one."""
        return [getattr(self, name) for name, _, _ in LORA_FIELDS]

    @property
    def further_loras(self) -> list[Any]:
        """Lists and strengths after the first, which are seen once the one before is chosen."""
        return [getattr(self, name) for names in LORA_FIELDS[1:] for name in names]


@dataclass(frozen=True)
class Asked:
    """Values of the form; names and order are those of the public endpoint.

    Attributes:
        height, width: in pixels, before further stages enlarge them.
        frame_rate: None for the model's usual one, or that of a given video; before a stage in
            time doubles it.
        upscale: whether a second stage makes it twice as high and wide.
        upscale_time: whether a further one makes twice as many pictures.
        upscale_by_half: whether a further one makes it 1.5 times as high and wide.
        lora_strength: of the picture; `lora_audio_strength` of the sound, None as of the picture.
    """

    prompt: str
    duration: float | None
    seed: int | None
    randomize_seed: bool
    height: int | None
    width: int | None
    negative_prompt: str | None
    num_steps: int | None
    video_cfg_scale: float | None
    audio_cfg_scale: float | None
    model: str | None
    lora: str | None
    lora_strength: float
    frame_rate: float | None = None
    sampler: str | None = None
    upscale: bool = False
    lora_2: str | None = None
    lora_strength_2: float = 1.0
    lora_3: str | None = None
    lora_strength_3: float = 1.0
    lora_4: str | None = None
    lora_strength_4: float = 1.0
    upscale_time: bool = False
    upscale_by_half: bool = False
    lora_audio_strength: float | None = None
    lora_audio_strength_2: float | None = None
    lora_audio_strength_3: float | None = None
    lora_audio_strength_4: float | None = None
    quantization: str | None = None

    def to_choice(self) -> Choice:
        """What to make it with."""
        loras = []
        for names in LORA_FIELDS:
            name, strength, audio_strength = (getattr(self, name) for name in names)
            if name not in (None, NO_LORA):
                is_same = audio_strength in (None, strength)
                loras.append(ChosenLora(name, strength, None if is_same else audio_strength))
        return Choice(self.model, tuple(loras), quantization=self.quantization)

    def to_request(self, profile: ModelProfile, *, seed: int) -> Request:
        """The clip.

        Raises:
            RequestError: a value cannot be used.
        """
        asked: dict[Enlarging, bool] = {
            "space": self.upscale,
            "space-1.5": self.upscale_by_half,
            "time": self.upscale_time,
        }
        stages = tuple(stage for stage, is_asked in asked.items() if is_asked)
        larger, faster = growth(stages)
        frame_rate = None if self.frame_rate == profile.frame_rate else self.frame_rate
        return Request(
            prompt=self.prompt,
            negative_prompt=self.negative_prompt,
            duration_s=self.duration,
            seed=seed,
            height=None if self.height is None else round(self.height * larger),
            width=None if self.width is None else round(self.width * larger),
            frame_rate=None if frame_rate is None else frame_rate * faster,
            sampler=self.sampler or USUAL_SAMPLER,
            upscale=stages,
            num_steps=self.num_steps,
            video_guidance=_scaled(profile.video_guidance, self.video_cfg_scale),
            audio_guidance=_scaled(profile.audio_guidance, self.audio_cfg_scale),
        )

    def first_seed(self) -> int:
        """The seed of the first clip: as typed, or a new one.

        Raises:
            RequestError: the field is empty.
        """
        if self.randomize_seed:
            return secrets.randbelow(RANDOM_SEEDS)
        if self.seed is None:
            raise RequestError(
                "The seed is empty.", next_step="Write a number, or let it draw one each time."
            )
        return self.seed


def _scaled(usual: Guidance, cfg_scale: float | None) -> Guidance:
    return usual if cfg_scale is None else usual.model_copy(update={"cfg_scale": cfg_scale})


def build_form(models: Models, *, can_judge: bool = False) -> Form:
    """Layout of the form: what everybody asks first, the rest behind More.

    Args:
        models: to choose from.
        can_judge: whether something here tells which of several clips is the best.
    """
    offer = models.offer(None)
    # Of every model, though only the usual one is shown: a browser learns all texts at once.
    fields = {each.name: describe_fields(each) for each in models.offers}[offer.name]
    mode = gr.Radio(
        **fields["mode"],
        label=label("Made from"),
        show_label=False,
        container=False,
        elem_id="mode",
    )
    composer = build_composer(models)
    given = build_given(fields["task"])
    prompt = gr.Textbox(
        **fields["prompt"],
        label=label("Prompt"),
        placeholder=label("What is seen, and what is heard"),
        lines=3,
        max_lines=12,
        elem_id="prompt",
    )
    hints = gr.HTML("", elem_id="hints")
    improvement = build_improvement()
    examples = _build_examples(offer.profile)
    with gr.Row():
        duration = gr.Slider(
            **fields["duration"], step=0.1, label=label("Seconds"), min_width=160, buttons=[]
        )
        shape = gr.Radio(**fields["shape"], label=label("Shape"), min_width=296, elem_id="shape")
    model = gr.Radio(
        [(describe_quality(offer.name, offer.profile), offer.name) for offer in models.offers],
        value=offer.name,
        label=label("Quality"),
        visible=len(models.offers) > 1,
        elem_id="model",
    )
    with gr.Accordion(label("More"), open=CLOSED, elem_id="more"):
        seed, randomize_seed = _build_seed()
        copies = gr.Slider(
            1,
            MAX_COPIES,
            value=1,
            step=1,
            label=label("Clips"),
            info=label("Made one after the other, with seeds that follow"),
            buttons=[],
        )
        keep_best = gr.Checkbox(
            label=label("Keep only the best lip-sync of them"),
            info=label("The first one, where nobody is seen speaking"),
            visible=can_judge,
            elem_id="keep-best",
        )
        negative_prompt = gr.Textbox(
            **fields["negative_prompt"],
            label=label("Negative prompt"),
            info=label("What to stay away from"),
        )
        num_steps = gr.Slider(**fields["num_steps"], step=1, label=label("Steps"), buttons=[])
        with gr.Row():
            sampler = gr.Dropdown(**fields["sampler"], label=label("Sampler"), min_width=160)
            frame_rate = gr.Slider(
                **fields["frame_rate"],
                step=1,
                label=label("Frames per second"),
                min_width=160,
                buttons=[],
            )
        video_cfg_scale, audio_cfg_scale = _build_pair(
            (label("Guidance, picture"), {**fields["video_cfg_scale"], "step": 0.1}),
            (label("Guidance, sound"), {**fields["audio_cfg_scale"], "step": 0.1}),
        )
        height, width = _build_pair(
            (label("Height in pixels"), fields["height"]),
            (label("Width in pixels"), fields["width"]),
        )
        upscale = gr.Checkbox(
            **fields["upscale"],
            label=label("Second stage"),
            info=label("Makes it twice as high and wide"),
            elem_id="upscale",
        )
        upscale_by_half = gr.Checkbox(
            **fields["upscale_by_half"],
            label=label("Stage by half"),
            info=label("Makes it 1.5 times as high and wide"),
            elem_id="upscale-by-half",
        )
        upscale_time = gr.Checkbox(
            **fields["upscale_time"],
            label=label("Stage in time"),
            info=label("Makes twice as many pictures per second"),
            elem_id="upscale-time",
        )
        loras = _build_loras(fields)
        quantization = gr.Dropdown(
            **fields["quantization"],
            label=label("Weights in memory"),
            info=label("8 bits halve the memory of large models and change the clip a little"),
            elem_id="quantization",
        )
        reset = gr.Button(label("Reset to defaults"), size="sm", elem_id="reset")
    return Form(
        mode=mode,
        composer=composer,
        given=given,
        prompt=prompt,
        hints=hints,
        improvement=improvement,
        examples=examples,
        duration=duration,
        shape=shape,
        model=model,
        seed=seed,
        randomize_seed=randomize_seed,
        copies=copies,
        keep_best=keep_best,
        height=height,
        width=width,
        negative_prompt=negative_prompt,
        num_steps=num_steps,
        video_cfg_scale=video_cfg_scale,
        audio_cfg_scale=audio_cfg_scale,
        frame_rate=frame_rate,
        sampler=sampler,
        upscale=upscale,
        upscale_time=upscale_time,
        upscale_by_half=upscale_by_half,
        **loras,
        quantization=quantization,
        reset=reset,
    )


def describe_fields(offer: Offer) -> Described:
    """Values and limits of the fields that follow the model."""
    profile = offer.profile
    fixed = profile.sigmas is not None
    shapes = possible_shapes(profile)
    return {
        "mode": {**describe_modes(offer), "value": TEXT},
        "task": describe_tasks(offer),
        "prompt": {"info": describe_hint(profile)},
        "duration": _describe_duration(profile),
        "shape": {
            "choices": [(label(name), name) for name in shapes],
            "value": shape_of(profile.width, profile.height, profile),
            "visible": len(shapes) > 1,
        },
        "negative_prompt": {"value": profile.negative_prompt},
        "num_steps": {
            "minimum": 1,
            "maximum": max(60, profile.num_steps),
            "value": profile.num_steps,
            "info": label("Fixed by this model")
            if fixed
            else label("More take longer and add detail"),
            "interactive": not fixed,
        },
        "video_cfg_scale": _describe_guidance(profile.video_guidance.cfg_scale),
        "audio_cfg_scale": _describe_guidance(profile.audio_guidance.cfg_scale),
        "height": _describe_size(profile, profile.height),
        "width": _describe_size(profile, profile.width),
        "frame_rate": {
            "minimum": min(FRAME_RATES[0], profile.frame_rate),
            "maximum": max(FRAME_RATES[1], profile.frame_rate),
            "value": profile.frame_rate,
        },
        "sampler": {
            "choices": [(label(text), name) for name, text in SAMPLERS.items()],
            "value": USUAL_SAMPLER,
        },
        "upscale": {"value": False, "visible": "space" in offer.stages},
        "upscale_time": {"value": False, "visible": "time" in offer.stages},
        "upscale_by_half": {"value": False, "visible": "space-1.5" in offer.stages},
        **_describe_loras(offer),
        "quantization": {
            "choices": [(label(text), name) for name, text in QUANTIZED.items()],
            "value": offer.quantization,
            "visible": offer.quantized is not None,
        },
    }


def describe_recipe(recipe: Recipe, offer: Offer) -> Described:
    """Values of all fields that make the clip of a recipe again.

    Of a clip of another model only the prompts and the seed: its other settings mean nothing here.
    """
    is_same = recipe.model == offer.name
    request = _kept(recipe, offer).resolve(offer.profile)
    assert request.num_frames is not None  # resolved
    assert request.frame_rate is not None
    assert request.height is not None
    assert request.width is not None
    assert request.video_guidance is not None
    assert request.audio_guidance is not None
    larger, faster = growth(request.upscale)
    values: dict[str, Any] = {
        "prompt": request.prompt,
        "duration": round(request.num_frames / request.frame_rate, 1),
        "shape": shape_of(request.width, request.height, offer.profile),
        "model": offer.name,
        "seed": request.seed,
        "randomize_seed": False,
        "negative_prompt": request.negative_prompt,
        "num_steps": request.num_steps,
        "video_cfg_scale": request.video_guidance.cfg_scale,
        "audio_cfg_scale": request.audio_guidance.cfg_scale,
        "height": int(request.height / larger),
        "width": int(request.width / larger),
        "frame_rate": request.frame_rate / faster,
        "sampler": request.sampler,
        "upscale": "space" in request.upscale,
        "upscale_time": "time" in request.upscale,
        "upscale_by_half": "space-1.5" in request.upscale,
        "quantization": offer.quantization,
    }
    known = {path.name: name for name, path in offer.loras.items()}
    here = [lora for lora in recipe.loras if is_same and lora.file in known]
    for (name, strength, of_sound), lora in zip(LORA_FIELDS, here, strict=False):
        values |= {
            name: known[lora.file],
            strength: lora.strength,
            of_sound: lora.strength_of_sound,
        }
    for name, *strengths in LORA_FIELDS[len(here) :]:
        values |= {name: NO_LORA, **dict.fromkeys(strengths, 1.0)}
    computation = recipe.computation
    if is_same and computation is not None and offer.quantized is not None:
        values["quantization"] = computation.quantization
    described = describe_fields(offer)
    # A length is at home on the slider, whose ends are rounded; other values widen theirs.
    shortest_s, longest_s = (described["duration"][end] for end in ("minimum", "maximum"))
    values["duration"] = min(max(shortest_s, values["duration"]), longest_s)
    mode = mode_of(request)
    stays: Described = {"mode": {} if mode is None else {"value": mode}}
    return stays | {name: _with_value(described.get(name, {}), v) for name, v in values.items()}


def values_of(choices: Sequence[Any]) -> list[Any]:
    """What choosing one of a list means, without how it is called."""
    return [value for _, value in choices]


def not_restored(recipe: Recipe, offer: Offer) -> tuple[str, ...]:
    """What the form has no field for, in words: clips of programs may have been asked more.

    Files that the clip was made from have fields, but do not come with it.
    """
    described = describe_recipe(recipe, offer)
    asked = Asked(**{field.name: described[field.name]["value"] for field in fields(Asked)})
    again = asked.to_request(offer.profile, seed=recipe.request.seed).resolve(offer.profile)
    wanted = _kept(recipe, offer).resolve(offer.profile)
    names = [name for name in type(wanted).model_fields if name not in FILES]
    lost = [name for name in names if getattr(again, name) != getattr(wanted, name)]
    if len(asked.to_choice().loras) < len(recipe.loras):
        lost.append("LoRAs")
    return tuple(say("length") if name == "num_frames" else name.replace("_", " ") for name in lost)


def _kept(recipe: Recipe, offer: Offer) -> Request:
    """What of a recipe can be asked of a model."""
    asked = recipe.request
    if recipe.model == offer.name:
        return asked
    return Request(prompt=asked.prompt, negative_prompt=asked.negative_prompt, seed=asked.seed)


def _with_value(field: dict[str, Any], value: Any) -> dict[str, Any]:
    """A field that holds a value, with limits that let it through."""
    widened = {}
    if "minimum" in field:
        widened = {
            "minimum": min(field["minimum"], value),
            "maximum": max(field["maximum"], value),
        }
    return {**field, **widened, "value": value}


def describe_quality(name: str, profile: ModelProfile) -> Label:
    """What a model is called where it is chosen."""
    return label("{name} · {count} steps", name=name, count=profile.num_steps)


def possible_shapes(profile: ModelProfile) -> dict[str, tuple[int, int]]:
    """Width and height of each shape that the model can make, of about its usual area."""
    area = profile.width * profile.height
    shapes: dict[str, tuple[int, int]] = {}
    for name, ratio in SHAPES.items():
        sides = math.sqrt(area * ratio), math.sqrt(area / ratio)
        width, height = (_snapped(side, profile) for side in sides)
        if (width, height) not in shapes.values():
            shapes[name] = width, height
    return shapes


def shape_of(width: int, height: int, profile: ModelProfile) -> str | None:
    """The shape of a size; None if it is none of those that are offered."""
    shapes = possible_shapes(profile)
    ratios = {
        name: abs(math.log(w / h) - math.log(width / height)) for name, (w, h) in shapes.items()
    }
    nearest = min(ratios, key=lambda name: ratios[name])
    return nearest if ratios[nearest] < SAME_SHAPE else None


def _snapped(side: float, profile: ModelProfile) -> int:
    multiple = profile.spatial_multiple
    smallest = math.ceil(profile.min_size / multiple) * multiple
    largest = profile.max_size // multiple * multiple
    return min(max(smallest, round(side / multiple) * multiple), largest)


def describe_hint(profile: ModelProfile) -> Label:
    """How to write a prompt, with the spoken words that the model's own examples use."""
    words = dict.fromkeys(
        word for text in profile.example_prompts for word in re.findall(r'"([^"]+)"', text)
    )
    if not words:
        return label("Spoken words go in quotes.")
    return label("Spoken words go in quotes. It has practised {words}.", words=", ".join(words))


def _describe_duration(profile: ModelProfile) -> dict[str, Any]:
    # Tenths of a second: finer than the steps of whole latent frames that a length snaps to.
    shortest_s = math.ceil(10 * (profile.temporal_multiple + 1) / profile.frame_rate) / 10
    longest_s = max(shortest_s, math.floor(10 * profile.max_duration_s) / 10)
    return {
        "minimum": shortest_s,
        "maximum": longest_s,
        "value": min(max(shortest_s, round(profile.duration_s, 1)), longest_s),
        "info": label("Trained to {seconds} s", seconds=f"{profile.trained_duration_s:.3g}"),
    }


def _describe_guidance(usual: float) -> dict[str, Any]:
    return {"minimum": min(1.0, usual), "maximum": max(MAX_CFG_SCALE, usual), "value": usual}


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


def _describe_loras(offer: Offer) -> Described:
    """The stack: as it starts, only its first list is seen."""
    described: Described = {}
    for number, (name, *strengths) in enumerate(LORA_FIELDS):
        is_seen = bool(offer.loras) and number == 0
        described[name] = {
            "choices": [(label(NO_LORA), NO_LORA), *((lora, lora) for lora in offer.loras)],
            "value": NO_LORA,
            "visible": is_seen,
        }
        for strength in strengths:
            described[strength] = {
                "minimum": 0.0,
                "maximum": MAX_LORA_STRENGTH,
                "value": 1.0,
                "visible": is_seen,
            }
    return described


def seen_loras(chosen: Sequence[str | None], offer: Offer) -> list[bool]:
    """Whether each further list of LoRAs is seen: if the one before is used, or it is itself."""
    is_used = [name not in (None, NO_LORA) for name in chosen]
    return [
        number < len(offer.loras) and (is_used[number - 1] or is_used[number])
        for number in range(1, len(chosen))
    ]


def _build_loras(described: Described) -> dict[str, Any]:
    """Lists of LoRAs with their strengths, by their names in the form."""
    built: dict[str, Any] = {}
    for number, (name, strength, of_sound) in enumerate(LORA_FIELDS, start=1):
        first = number == 1
        with gr.Row(elem_classes="lora-row"):
            built[name] = gr.Dropdown(
                **described[name],
                label=label("LoRA") if first else label("LoRA {number}", number=number),
                min_width=160,
            )
            built[strength] = gr.Slider(
                **described[strength],
                step=0.05,
                label=label("LoRA strength, picture")
                if first
                else label("Strength of LoRA {number}, picture", number=number),
                min_width=160,
                buttons=[],
            )
            built[of_sound] = gr.Slider(
                **described[of_sound],
                step=0.05,
                label=label("LoRA strength, sound")
                if first
                else label("Strength of LoRA {number}, sound", number=number),
                min_width=160,
                buttons=[],
            )
    return built


def _build_examples(profile: ModelProfile) -> list[gr.Button]:
    # Buttons, because `gr.Examples` cuts each text after 60 characters.
    with gr.Column(elem_id="examples", visible=bool(profile.example_prompts)):
        gr.Markdown(label("Try one of these:"))
        return [gr.Button(text, size="sm") for text in profile.example_prompts[:MAX_EXAMPLES]]


def _build_seed() -> tuple[gr.Number, gr.Checkbox]:
    with gr.Row(equal_height=True, elem_id="seed-row"):
        seed = gr.Number(value=1, precision=0, minimum=0, label=label("Seed"), min_width=140)
        randomize_seed = gr.Checkbox(value=True, label=label("New seed each time"), min_width=140)
    return seed, randomize_seed


def _build_pair(*described: tuple[Label, dict[str, Any]]) -> tuple[gr.Slider, gr.Slider]:
    """Two sliders beside each other, from their labels and what describes them."""
    with gr.Row():
        left, right = (
            gr.Slider(**field, label=name, min_width=160, buttons=[]) for name, field in described
        )
    return left, right
