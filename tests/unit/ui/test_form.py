import math
from dataclasses import fields, replace
from pathlib import Path

import gradio as gr
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ltx2.conditions import InputFile, Keyframe, Reference, Source
from ltx2.errors import RequestError
from ltx2.request import AppliedLora, Computation, Guidance, ModelProfile, Recipe, Request
from ltx2.serving.jobs import Choice, ChosenLora
from ltx2.serving.models import Models
from ltx2.ui.form import (
    RANDOM_SEEDS,
    SAMPLERS,
    Asked,
    build_form,
    describe_fields,
    describe_hint,
    describe_quality,
    describe_recipe,
    not_restored,
    possible_shapes,
    seen_loras,
    shape_of,
)
from ltx2.ui.modes import AUDIO, IMAGE, VIDEO
from tests.fakes.model import PROFILE
from tests.unit.ui.stand_ins import ASKED, a_recipe, an_offer

RELEASED = ModelProfile(
    width=768,
    height=512,
    duration_s=5.04,
    frame_rate=24.0,
    num_steps=40,
    video_guidance=Guidance(cfg_scale=3.0, stg_scale=1.0, stg_blocks=(29,)),
    audio_guidance=Guidance(cfg_scale=7.0),
    negative_prompt="blurry",
)

ONE_SIZE = ModelProfile(
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
)

PROFILES = {"puppet-like": PROFILE, "released": RELEASED, "one size, few steps": ONE_SIZE}
every_profile = pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)


def form_of(profile):
    with gr.Blocks():
        return build_form(Models([an_offer(profile=profile)]))


def asked_again(recipe, offer):
    """What the form asks for once a recipe is in it."""
    described = describe_recipe(recipe, offer)
    return Asked(**{field.name: described[field.name]["value"] for field in fields(Asked)})


def made_again(recipe, offer):
    asked = asked_again(recipe, offer)
    return asked.to_request(offer.profile, seed=asked.first_seed()).resolve(offer.profile)


def test_the_form_becomes_the_request_and_the_choice():
    request = ASKED.to_request(PROFILE, seed=7).resolve(PROFILE)
    assert (request.prompt, request.seed, request.num_steps) == (ASKED.prompt, 7, 2)
    assert (request.height, request.width, request.num_frames) == (96, 64, 9)
    assert request.negative_prompt == ""
    assert request.video_guidance.cfg_scale == 3.0
    assert request.audio_guidance.cfg_scale == 4.0
    assert ASKED.to_choice() == Choice("stand-in")
    papery = replace(ASKED, lora="paper", lora_strength=0.5)
    assert papery.to_choice() == Choice("stand-in", (ChosenLora("paper", 0.5),))


def test_several_loras_are_a_stack_in_their_order():
    stacked = replace(ASKED, lora="paper", lora_3="ink", lora_strength_3=0.25, lora_4="None")
    assert stacked.to_choice().loras == (ChosenLora("paper", 1.0), ChosenLora("ink", 0.25))


def test_the_sound_has_a_strength_of_its_own_unless_it_is_the_pictures():
    louder = replace(ASKED, lora="paper", lora_strength=0.5, lora_audio_strength=1.5)
    assert louder.to_choice().loras == (ChosenLora("paper", 0.5, 1.5),)
    same = replace(louder, lora_audio_strength=0.5)
    assert same.to_choice().loras == (ChosenLora("paper", 0.5),)


def test_the_bits_of_weights_are_chosen_and_come_back():
    offer = an_offer(quantized=lambda bits: an_offer(quantization=bits))
    assert not describe_fields(an_offer())["quantization"]["visible"]
    field = describe_fields(offer)["quantization"]
    assert (field["visible"], field["value"]) == (True, "none")
    assert replace(ASKED, quantization="int8").to_choice() == Choice(
        "stand-in", quantization="int8"
    )
    computation = Computation(dtype="bfloat16", quantization="int8")
    recipe = a_recipe().model_copy(update={"computation": computation})
    assert asked_again(recipe, offer).to_choice().quantization == "int8"
    assert asked_again(a_recipe(), offer).to_choice().quantization == "none"
    assert asked_again(recipe, an_offer()).to_choice().quantization == "none"  # it cannot here


def test_a_further_lora_is_seen_once_the_one_before_it_is_used():
    offer = an_offer(loras={name: Path(name) for name in ("paper", "ink", "clay")})
    assert seen_loras(["None", "None", None, None], offer) == [False, False, False]
    assert seen_loras(["paper", "None", None, None], offer) == [True, False, False]
    assert seen_loras(["paper", "ink", None, None], offer) == [True, True, False]
    assert seen_loras(["None", None, "clay", None], offer) == [False, True, False]
    assert seen_loras(["paper", "ink", "clay", None], offer)[2] is False  # there is no fourth


def test_the_frame_rate_and_the_sampler_are_asked_for():
    asked = replace(ASKED, frame_rate=50.0, sampler="res_2s")
    request = asked.to_request(PROFILE, seed=7).resolve(PROFILE)
    assert (request.frame_rate, request.sampler) == (50.0, "res_2s")
    assert request.num_frames / 50.0 == pytest.approx(ASKED.duration, abs=0.1)
    usual = replace(ASKED, frame_rate=PROFILE.frame_rate).to_request(PROFILE, seed=7)
    assert usual.frame_rate is None  # a given video may have its own


def test_a_clip_that_was_made_from_files_chooses_their_mode():
    values = {"sha256": "0" * 64, "width": 8, "height": 8}
    image = InputFile(name="a.png", kind="image", **values)
    video = InputFile(name="a.mp4", kind="video", duration_s=1.0, frame_rate=25.0, **values)
    sound = InputFile(name="a.wav", kind="sound", duration_s=1.0, has_sound=True, sha256="0" * 64)
    for mode, asked in (
        (IMAGE, {"keyframes": (Keyframe(image=image),)}),
        (VIDEO, {"reference": Reference(file=video)}),
        (VIDEO, {"sources": (Source(file=video),), "duration_s": 1.9}),
        (AUDIO, {"sources": (Source(file=sound),)}),
        (None, {}),
    ):
        recipe = a_recipe(**asked)
        assert describe_recipe(recipe, an_offer())["mode"].get("value") == mode
        assert not_restored(recipe, an_offer()) == ()


def test_the_second_stage_doubles_the_size_and_comes_back():
    offer = an_offer(stages=frozenset({"space"}))
    request = replace(ASKED, upscale=True).to_request(PROFILE, seed=7).resolve(PROFILE)
    assert (request.height, request.width, request.upscale) == (192, 128, ("space",))
    recipe = Recipe(software="test", model="stand-in", fingerprint="f", request=request)
    described = describe_recipe(recipe, offer)
    assert (described["height"]["value"], described["width"]["value"]) == (96, 64)
    assert made_again(recipe, offer) == request
    assert not_restored(recipe, offer) == ()


def test_a_stage_by_half_comes_back_alone_and_behind_another():
    offer = an_offer(stages=frozenset({"space", "space-1.5"}))
    for is_doubled, stages, height in (
        (False, ("space-1.5",), 96),
        (True, ("space", "space-1.5"), 288),
    ):
        asked = replace(ASKED, height=96 if is_doubled else 64, upscale_by_half=True)
        asked = replace(asked, width=asked.height, upscale=is_doubled)
        request = asked.to_request(PROFILE, seed=7).resolve(PROFILE)
        assert (request.height, request.width, request.upscale) == (height, height, stages)
        recipe = Recipe(software="test", model="stand-in", fingerprint="f", request=request)
        assert describe_recipe(recipe, offer)["height"]["value"] == asked.height
        assert made_again(recipe, offer) == request


def test_the_second_stage_is_offered_where_the_model_has_one():
    assert describe_fields(an_offer(stages=frozenset({"space"})))["upscale"]["visible"]
    assert not describe_fields(an_offer())["upscale"]["visible"]
    by_half = an_offer(stages=frozenset({"space-1.5"}))
    assert describe_fields(by_half)["upscale_by_half"]["visible"]
    assert not describe_fields(by_half)["upscale"]["visible"]


def test_a_guidance_scale_leaves_the_models_other_guidance_as_it_is():
    request = ASKED.to_request(RELEASED, seed=7)
    assert request.video_guidance == RELEASED.video_guidance.model_copy(update={"cfg_scale": 3.0})


def test_the_seed_is_as_typed_or_drawn_anew():
    assert ASKED.first_seed() == 7
    drawn = {replace(ASKED, randomize_seed=True, seed=None).first_seed() for _ in range(5)}
    assert len(drawn) == 5
    assert all(0 <= seed < RANDOM_SEEDS for seed in drawn)


def test_an_empty_seed_is_refused_with_a_next_step():
    with pytest.raises(RequestError, match=r"The seed is empty\. Write a number"):
        replace(ASKED, seed=None).first_seed()


@every_profile
def test_what_the_form_starts_with_is_what_the_model_makes_by_itself(profile):
    form = form_of(profile)
    started = Asked(**{field.name: getattr(form, field.name).value for field in fields(Asked)})
    request = replace(started, prompt="a ball").to_request(profile, seed=1)
    assert request.resolve(profile) == Request(prompt="a ball").resolve(profile)
    for field in form.inputs:
        if isinstance(field, gr.Slider):
            assert field.minimum <= field.value <= field.maximum


@st.composite
def recipes(draw, profile):
    """Recipes of clips that the model can make, at lengths that the slider holds."""
    longest = math.floor(profile.max_duration_s * profile.frame_rate)
    step, multiple = profile.temporal_multiple, profile.spatial_multiple
    side = st.integers(math.ceil(profile.min_size / multiple), profile.max_size // multiple)
    is_fixed = profile.sigmas is not None
    return a_recipe(
        profile,
        prompt=draw(st.text(min_size=1, max_size=40).filter(str.strip)),
        negative_prompt=draw(st.text(max_size=10)),
        num_frames=step * draw(st.integers(1, (longest - 1) // step)) + 1,
        height=multiple * draw(side),
        width=multiple * draw(side),
        num_steps=profile.num_steps if is_fixed else draw(st.integers(1, 200)),
        sampler=draw(st.sampled_from(sorted(SAMPLERS))),
        seed=draw(st.integers(0, 2**53)),
        video_guidance=_scaled(profile.video_guidance, draw(st.floats(0.0, 30.0))),
        audio_guidance=_scaled(profile.audio_guidance, draw(st.floats(0.0, 30.0))),
    )


def _scaled(guidance, cfg_scale):
    return guidance.model_copy(update={"cfg_scale": cfg_scale})


@every_profile
@settings(deadline=None)  # of one example; a busy machine is no error
@given(data=st.data())
def test_a_recipe_in_the_form_asks_for_its_clip_again(profile, data):
    recipe, offer = data.draw(recipes(profile)), an_offer(profile=profile)
    assert made_again(recipe, offer) == recipe.request
    assert not_restored(recipe, offer) == ()
    for name, field in describe_recipe(recipe, offer).items():
        if "minimum" in field:
            assert field["minimum"] <= field["value"] <= field["maximum"], name


def test_of_another_models_clip_the_prompts_and_the_seed_come_back():
    recipe = a_recipe(RELEASED, model="other", prompt="a cat", seed=9, num_steps=50)
    again = made_again(recipe, an_offer())
    assert again == Request(prompt="a cat", negative_prompt="blurry", seed=9).resolve(PROFILE)


def test_a_lora_comes_back_where_it_is_here():
    recipe = a_recipe(loras=(AppliedLora(file="paper.safetensors", strength=2.5, digest="d"),))
    here = an_offer(loras={"Paper": Path("somewhere/paper.safetensors")})
    assert asked_again(recipe, here).to_choice().loras == (ChosenLora("Paper", 2.5),)
    quiet = recipe.loras[0].model_copy(update={"audio_strength": 0.25})
    softer = recipe.model_copy(update={"loras": (quiet,)})
    assert asked_again(softer, here).to_choice().loras == (ChosenLora("Paper", 2.5, 0.25),)
    assert describe_recipe(recipe, here)["lora_strength"]["maximum"] == 2.5
    ink = AppliedLora(file="ink.safetensors", strength=1.0, digest="e")
    further = recipe.model_copy(update={"loras": (*recipe.loras, ink)})
    both = an_offer(loras={**here.loras, "Ink": Path("ink.safetensors")})
    stack = (ChosenLora("Paper", 2.5), ChosenLora("Ink", 1.0))
    assert asked_again(further, both).to_choice().loras == stack
    assert not_restored(further, both) == ()
    assert not_restored(further, here) == ("LoRAs",)
    assert not_restored(recipe, here) == ()
    assert asked_again(recipe, an_offer()).to_choice().loras == ()
    assert not_restored(recipe, an_offer()) == ("LoRAs",)


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"num_frames": 1}, ("length",)),
        ({"audio_guidance": Guidance(cfg_scale=2.0, rescale=0.5)}, ("audio guidance",)),
    ],
)
def test_what_the_form_cannot_ask_is_named(asked, named):
    assert sorted(not_restored(a_recipe(**asked), an_offer())) == sorted(named)


def test_another_frame_rate_comes_back():
    recipe = a_recipe(frame_rate=50.0, num_frames=49)
    assert made_again(recipe, an_offer()) == recipe.request


def test_a_recipe_that_was_read_from_json_is_restored_alike():
    recipe = a_recipe(num_frames=49)
    again = Recipe.model_validate_json(recipe.model_dump_json())
    assert made_again(again, an_offer()) == recipe.request


@every_profile
def test_each_shape_is_one_that_the_model_makes_of_about_its_usual_area(profile):
    for name, (width, height) in possible_shapes(profile).items():
        asked = Request(prompt="a ball", width=width, height=height)
        resolved = asked.resolve(profile)
        assert (resolved.width, resolved.height) == (width, height)
        assert 0.7 < width * height / (profile.width * profile.height) < 1.4
        assert shape_of(width, height, profile) == name


def test_shapes_differ_and_a_model_of_one_size_has_one():
    assert possible_shapes(RELEASED) == {
        "Square": (640, 640),
        "Wide": (832, 480),
        "Tall": (480, 832),
    }
    assert list(possible_shapes(ONE_SIZE)) == ["Square"]
    assert not form_of(ONE_SIZE).shape.visible


def test_a_size_between_the_shapes_has_no_name():
    assert shape_of(768, 512, RELEASED) == "Wide"
    assert shape_of(768, 640, RELEASED) == "Square"
    assert shape_of(2048, 512, RELEASED) is None


def test_the_quality_says_how_many_steps_it_takes():
    assert describe_quality("puppet", PROFILE) == "puppet · 10 steps"


def test_the_hint_lists_spoken_words_of_the_examples_once():
    assert describe_hint(PROFILE) == "Spoken words go in quotes. It has practised hello, yes."
    silent = PROFILE.model_copy(update={"example_prompts": ("a ball",)})
    assert describe_hint(silent) == "Spoken words go in quotes."
