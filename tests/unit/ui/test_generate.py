import json
from pathlib import Path

import gradio as gr
import pytest

from ltx2.errors import GenerationCancelled, GenerationError
from ltx2.progress import Progress
from ltx2.request import ModelProfile, Recipe, Request
from ltx2.ui.generate import (
    STAGES,
    GenerateHandlers,
    build_generate,
    render_hint,
    render_progress,
    render_recipe,
    render_summary,
)
from ltx2.ui.studio import Offer, Studio
from tests.fakes.model import PROFILE, FakeModel

FORM = {
    "prompt": 'A red puppet says "hello".',
    "duration": 0.4,
    "seed": 7,
    "randomize_seed": False,
    "height": 96,
    "width": 64,
    "negative_prompt": "",
    "num_inference_steps": 2,
    "cfg_guidance_scale": 3.0,
    "audio_cfg_guidance_scale": 4.0,
    "model": "stand-in",
    "lora": "None",
    "lora_strength": 1.0,
}


def a_studio(profile=PROFILE, load=lambda loras: FakeModel(), **offered):
    return Studio([Offer("stand-in", profile, load, **offered)])


def handlers(tmp_path, model=None):
    model = model or FakeModel()
    return GenerateHandlers(a_studio(load=lambda loras: model), Path(tmp_path))


def generate(page, seen=None, **changes):
    def progress(share, text):
        if seen is not None:
            seen.append((share, text))

    return page.on_generate(**{**FORM, **changes}, request=None, progress=progress)


def a_recipe(**changes):
    request = Request(prompt="a ball", seed=3, **changes).resolve(PROFILE)
    return Recipe(software="test", model="puppet", fingerprint="f", request=request)


def test_the_form_becomes_the_request(tmp_path):
    model = FakeModel()
    generate(handlers(tmp_path, model))
    asked = model.requests[0]
    assert (asked.prompt, asked.seed, asked.num_steps) == (FORM["prompt"], 7, 2)
    assert (asked.height, asked.width, asked.num_frames) == (96, 64, 9)
    assert asked.video_guidance.cfg_scale == 3.0
    assert asked.audio_guidance.cfg_scale == 4.0


def test_the_answer_is_a_file_in_the_given_folder_and_the_seed(tmp_path):
    video, seed = generate(handlers(tmp_path))
    assert tmp_path in Path(video).parents
    assert Path(video).is_file()
    assert seed == 7


def test_the_chosen_lora_is_loaded_with_its_strength(tmp_path):
    loads = []
    paper = Path("paper.safetensors")
    studio = a_studio(load=lambda loras: loads.append(loras) or FakeModel(), loras={"paper": paper})
    page = GenerateHandlers(studio, tmp_path)
    generate(page, lora="paper", lora_strength=0.5)
    generate(page, lora="None", lora_strength=0.5)
    assert loads == [((paper, 0.5),), ()]


def test_two_clips_of_one_seed_do_not_share_a_file(tmp_path):
    page = handlers(tmp_path)
    assert generate(page)[0] != generate(page)[0]


def test_a_new_seed_is_drawn_shown_and_used(tmp_path):
    model = FakeModel()
    page = handlers(tmp_path, model)
    seeds = [generate(page, randomize_seed=True)[1] for _ in range(3)]
    assert len(set(seeds)) == 3
    assert [asked.seed for asked in model.requests] == seeds


def test_progress_is_shown_by_step(tmp_path):
    seen = []
    generate(handlers(tmp_path), seen)
    assert [text for _, text in seen] == [
        "Loading the model",
        "Loading the model",
        "Making picture and sound: step 1 of 2",
        "Making picture and sound: step 2 of 2",
    ]
    shares = [share for share, _ in seen]
    assert shares == sorted(shares)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"prompt": "   "}, "prompt is empty"),
        ({"prompt": "word " * 10_000}, "Shorten"),
        ({"duration": 60.0}, "at most 4 s"),
        ({"height": 4_000}, "Choose 64 to 128 px"),
        ({"seed": -1}, "seed"),
        ({"seed": None}, "seed"),
    ],
)
def test_bad_input_is_answered_with_a_next_step(tmp_path, changes, words):
    with pytest.raises(gr.Error) as shown:
        generate(handlers(tmp_path), **changes)
    assert words in shown.value.message
    assert "Something broke" not in shown.value.message


def test_a_failed_generation_leaves_no_file(tmp_path):
    model = FakeModel(error=GenerationError("It overflowed.", next_step="Try another seed."))
    with pytest.raises(gr.Error, match="Try another seed"):
        generate(handlers(tmp_path, model))
    assert not list(tmp_path.rglob("*.*"))


def test_a_stopped_generation_changes_nothing_on_the_page(tmp_path):
    model = FakeModel(error=GenerationCancelled())
    assert generate(handlers(tmp_path, model)) == (gr.skip(), gr.skip())


def test_what_is_shown_of_a_clip_is_read_from_its_file(tmp_path):
    page = handlers(tmp_path)
    video, _ = generate(page)
    details, summary, recipe = page.on_made(video)
    assert details.visible
    assert "64 × 96 px · 0.36 s · 25 frames/s · 2 steps · seed 7" in summary
    assert json.loads(recipe)["request"]["prompt"] == FORM["prompt"]


def test_without_a_clip_no_details_are_shown(tmp_path):
    details, summary, recipe = handlers(tmp_path).on_made(None)
    assert (details.visible, summary, recipe) == (False, "", "")


def test_the_bar_moves_forward_through_all_stages_to_the_end():
    shares = [render_progress(Progress(stage, step, 4))[0] for stage in STAGES for step in range(5)]
    assert shares == sorted(shares)
    assert shares[0] == 0.0
    assert shares[-1] == 1.0


def test_an_unknown_stage_is_shown_by_its_own_name():
    assert render_progress(Progress("upscale", 1, 2)) == (0.5, "Upscale: step 1 of 2")


def test_the_hint_lists_spoken_words_of_the_examples_once():
    assert render_hint(PROFILE) == "Spoken words go in quotes. It has practised hello, yes."
    silent = PROFILE.model_copy(update={"example_prompts": ("a ball",)})
    assert render_hint(silent) == "Spoken words go in quotes."


def test_the_recipe_shown_can_be_read_back():
    recipe = a_recipe()
    assert Recipe.model_validate_json(render_recipe(recipe)) == recipe


def test_the_summary_names_what_people_compare():
    assert render_summary(a_recipe(num_frames=49)) == (
        "96 × 96 px · 1.96 s · 25 frames/s · 10 steps · seed 3 · puppet"
    )


@pytest.mark.parametrize(
    "profile",
    [
        PROFILE,
        ModelProfile(width=768, height=512, duration_s=5.04, frame_rate=24.0, num_steps=40),
        ModelProfile(
            width=96,
            height=96,
            duration_s=1.96,
            frame_rate=25.0,
            num_steps=4,
            min_size=96,
            max_size=96,
            trained_duration_s=1.96,
            max_duration_s=1.96,
            sigmas=(1.0, 0.7, 0.4, 0.2, 0.0),
        ),
    ],
    ids=["puppet-like", "released", "distilled-one-size"],
)
def test_what_the_form_starts_with_is_what_the_model_makes_by_itself(profile):
    with gr.Blocks():
        view = build_generate(a_studio(profile))
    asked = Request(
        prompt="a ball",
        duration_s=view.duration.value,
        height=view.height.value,
        width=view.width.value,
        num_steps=view.num_steps.value,
        negative_prompt=view.negative_prompt.value,
    )
    assert asked.resolve(profile) == Request(prompt="a ball").resolve(profile)
    for slider in (view.duration, view.height, view.width, view.num_steps):
        assert slider.minimum <= slider.value <= slider.maximum
