import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltx2.errors import RequestError
from ltx2.request import MAX_PROMPT_CHARACTERS, Guidance, ModelProfile, Recipe, Request
from tests.builders import a_recipe

PROFILE = ModelProfile(
    width=768,
    height=512,
    duration_s=5.0,
    frame_rate=24.0,
    num_steps=40,
    video_guidance=Guidance(cfg_scale=3.0, stg_scale=1.0, rescale=0.7, stg_blocks=(29,)),
    audio_guidance=Guidance(cfg_scale=7.0, stg_blocks=(29,)),
    negative_prompt="blurry",
    max_size=1024,
    max_duration_s=20.0,
)

guidances = st.builds(
    Guidance,
    cfg_scale=st.floats(0, 30),
    stg_scale=st.floats(0, 30),
    modality_scale=st.floats(0, 30),
    rescale=st.floats(0, 1),
    stg_blocks=st.lists(st.integers(0, 47), max_size=3).map(tuple),
)
prompts = st.text(min_size=1, max_size=200).filter(str.strip)


@st.composite
def requests(draw):
    """Requests that the profile can fulfil."""
    optional = {
        "negative_prompt": st.text(max_size=50),
        "width": st.integers(64, 1024),
        "height": st.integers(64, 1024),
        "frame_rate": st.floats(1, 120),
        "num_steps": st.integers(1, 200),
        "video_guidance": guidances,
        "audio_guidance": guidances,
    }
    length = draw(st.sampled_from(["duration_s", "num_frames", "neither"]))
    if length == "duration_s":
        optional["duration_s"] = st.floats(0.01, 20)
    elif length == "num_frames":
        optional["num_frames"] = st.integers(1, 20)
    given_values = draw(st.fixed_dictionaries({}, optional=optional))
    return Request(prompt=draw(prompts), seed=draw(st.integers(0, 2**63 - 1)), **given_values)


@given(requests())
def test_a_request_survives_json(request):
    assert Request(**json.loads(request.model_dump_json())) == request
    assert Request(**json.loads(json.dumps(request.model_dump()))) == request


@given(requests())
def test_resolving_fills_every_field_with_what_the_model_can_make(request):
    resolved = request.resolve(PROFILE)
    missing = {name for name, value in resolved if value is None}
    # The length is said as num_frames; what is not given, and what follows the checkpoint, stays.
    stays = {"reference", "window_s", "overlap_s", "image_crf", "cross_timestep"}
    assert missing == {"duration_s", *stays}
    assert (resolved.num_frames - 1) % 8 == 0
    assert resolved.width % 32 == 0
    assert resolved.height % 32 == 0
    assert resolved.num_frames / resolved.frame_rate <= PROFILE.max_duration_s + 1e-9


@given(requests())
def test_resolving_twice_changes_nothing(request):
    resolved = request.resolve(PROFILE)
    assert resolved.resolve(PROFILE) == resolved


@given(requests())
def test_a_resolved_request_survives_json_unchanged(request):
    resolved = request.resolve(PROFILE)
    assert Request(**json.loads(resolved.model_dump_json())) == resolved


def test_what_is_said_wins_over_the_profile():
    asked = Request(prompt="x", negative_prompt="", width=256, num_frames=9, num_steps=3)
    resolved = asked.resolve(PROFILE)
    assert (resolved.negative_prompt, resolved.width, resolved.num_frames) == ("", 256, 9)
    assert (resolved.height, resolved.frame_rate, resolved.num_steps) == (512, 24.0, 3)
    assert resolved.video_guidance == PROFILE.video_guidance
    assert Request(prompt="x").resolve(PROFILE).negative_prompt == "blurry"


def test_the_longest_clip_can_be_asked_for_in_seconds_and_made_again_from_its_recipe():
    for frame_rate in (24.0, 23.976, 30.0, 7.3):
        longest = Request(prompt="x", duration_s=20.0, frame_rate=frame_rate).resolve(PROFILE)
        assert 20.0 - 8 / frame_rate <= longest.num_frames / frame_rate <= 20.0
        assert longest.resolve(PROFILE) == longest


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"width": 63}, "width is 63"),
        ({"width": 1025}, "width is 1025"),
        ({"height": 40_000}, "height is 40000"),
        ({"duration_s": 20.1}, "20.1 s"),
        ({"duration_s": 1e300}, "at most 20 s"),
        ({"num_frames": 481}, "at most 20 s"),
    ],
)
def test_what_the_model_cannot_make_is_refused_with_its_limit(values, said):
    with pytest.raises(RequestError) as caught:
        Request(prompt="x", **values).resolve(PROFILE)
    assert said in str(caught.value)
    assert caught.value.next_step


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"prompt": ""}, "prompt is empty"),
        ({"prompt": " \n\t"}, "prompt is empty"),
        ({"prompt": "word " * 10_000}, "has 50000 characters"),
        ({"prompt": "x", "negative_prompt": "y" * 8_001}, "negative prompt has 8001 characters"),
        ({"prompt": "\ud800"}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({}, "'prompt' is missing"),
        ({"prompt": "x", "fps": 24}, "no setting 'fps'"),
        ({"prompt": "x", "self": 1}, "no setting 'self'"),
        ({"prompt": "x", "video_guidance": {"cfg": 3}}, "no setting 'video_guidance.cfg'"),
        ({"prompt": "x", "video_guidance": {"cfg_scale": math.nan}}, "video_guidance.cfg_scale"),
        ({"prompt": "x", "audio_guidance": {"rescale": 1.5}}, "audio_guidance.rescale"),
        ({"prompt": "x", "width": 0}, "width"),
        ({"prompt": "x", "height": -64}, "height"),
        ({"prompt": "x", "width": "wide"}, "width"),
        ({"prompt": "x", "duration_s": 0}, "duration_s"),
        ({"prompt": "x", "duration_s": math.inf}, "duration_s"),
        ({"prompt": "x", "num_frames": 0}, "num_frames"),
        ({"prompt": "x", "num_frames": 10**400}, "num_frames"),
        ({"prompt": "x", "num_frames": 9, "duration_s": 1.0}, "Both duration_s and num_frames"),
        ({"prompt": "x", "frame_rate": 0}, "frame_rate"),
        ({"prompt": "x", "frame_rate": math.nan}, "frame_rate"),
        ({"prompt": "x", "num_steps": 0}, "num_steps"),
        ({"prompt": "x", "seed": -1}, "seed"),
        ({"prompt": "x", "seed": 2**63}, "seed"),
        ({"prompt": "x", "schema_version": 2}, "schema_version"),
    ],
)
def test_bad_values_are_refused_by_name_with_a_next_step(values, said):
    with pytest.raises(RequestError) as caught:
        Request(**values)
    assert said in caught.value.message
    assert caught.value.next_step


def test_the_longest_prompt_is_accepted():
    assert len(Request(prompt="x" * MAX_PROMPT_CHARACTERS).prompt) == MAX_PROMPT_CHARACTERS


def test_a_recipe_survives_json_and_says_that_the_clip_is_generated():
    recipe = a_recipe(seed=7, num_frames=9)
    values = json.loads(recipe.model_dump_json())
    assert values["ai_generated"] is True
    assert Recipe.model_validate(values) == recipe


def test_a_disturbed_pass_takes_the_blocks_of_the_model_unless_it_names_its_own():
    usual, own = Guidance(stg_scale=2.0), Guidance(stg_scale=2.0, stg_blocks=(3,))
    resolved = Request(prompt="x", video_guidance=usual, audio_guidance=own).resolve(PROFILE)
    assert resolved.video_guidance == Guidance(stg_scale=2.0, stg_blocks=(29,))
    assert resolved.audio_guidance == own


@pytest.mark.parametrize("modality", ["video", "audio"])
def test_a_disturbed_pass_of_a_model_without_usual_blocks_has_to_name_them(modality):
    profile = PROFILE.model_copy(update={f"{modality}_guidance": Guidance()})
    asked = {f"{modality}_guidance": Guidance(stg_scale=1.0)}
    with pytest.raises(RequestError, match=f"The {modality} guidance.*stg_blocks"):
        Request(prompt="x", **asked).resolve(profile)


def test_a_recipe_of_an_earlier_version_lacks_weights_and_loras():
    values = a_recipe().model_dump(mode="json")
    del values["digest"], values["loras"]
    assert Recipe.model_validate(values) == a_recipe()
