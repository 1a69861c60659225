"""Every way to make a clip, through the one pipeline, on random networks."""

import numpy as np
import pytest

from ltx2.conditions import Keyframe, Reference, Source, Span
from ltx2.errors import RequestError
from ltx2.inputs import Inputs
from ltx2.request import Guidance, Recipe, Request

STEPS = {"num_steps": 1, "video_guidance": Guidance(), "audio_guidance": Guidance()}
BLEND = 4


def make(pipeline, inputs, **changes):
    return pipeline(Request(**{"prompt": "a red puppet", **STEPS, **changes}), inputs=inputs)


def is_same(one, other):
    return np.array_equal(one.frames, other.frames) and np.array_equal(one.waveform, other.waveform)


def test_a_clip_is_made_again_from_its_recipe_once_the_files_are_given(pipeline, inputs, files):
    keyframes = (Keyframe(image=files["picture"]), Keyframe(image=files["picture"], at_s=0.5))
    clip = make(pipeline, inputs, keyframes=keyframes, num_frames=9)
    recipe = Recipe.model_validate_json(clip.recipe.model_dump_json())
    assert [f.sha256 for f in recipe.request.input_files] == [files["picture"].sha256] * 2
    assert is_same(pipeline(recipe.request, inputs=inputs), clip)
    with pytest.raises(RequestError, match=r"picture\.png .* is not here.* Give it again"):
        pipeline(recipe.request, inputs=Inputs())
    weaker = tuple(k.model_copy(update={"strength": 0.3}) for k in keyframes)
    assert not is_same(make(pipeline, inputs, keyframes=weaker, num_frames=9), clip)
    without = make(pipeline, inputs, num_frames=9, width=64, height=48)
    assert not is_same(without, clip)


def test_a_sound_stays_as_it_is_and_the_picture_is_made_to_it(pipeline, inputs, files):
    source = Source(file=files["sound"])
    clip = make(pipeline, inputs, sources=(source,))
    own = inputs.read(files["sound"]).waveform
    assert clip.sample_rate == 44_100
    assert len(clip.frames) == 17  # as long as the sound
    assert np.array_equal(clip.waveform, own[:, : clip.waveform.shape[1]])
    other = make(pipeline, inputs, sources=(source,), seed=2)
    assert not np.array_equal(other.frames, clip.frames)


def test_a_picture_stays_as_it_is_and_the_sound_is_made_to_it(pipeline, inputs, files):
    clip = make(pipeline, inputs, sources=(Source(file=files["video"], use_audio=False),))
    given = inputs.read(files["video"])
    assert np.array_equal(clip.frames, given.frames)
    assert clip.sample_rate == pipeline.networks.vocoder.sample_rate
    assert clip.waveform.std() > 0.0


def test_sound_alone_and_picture_alone_leave_the_other_out(pipeline, inputs):
    sound = make(pipeline, inputs, makes="audio", num_frames=9)
    assert sound.frames.max() == 0
    assert sound.waveform.std() > 0.0
    picture = make(pipeline, inputs, makes="video", num_frames=9)
    assert picture.waveform.shape == (2, 0)
    assert picture.frames.std() > 0.0


@pytest.mark.parametrize("at_s", [0.0, 1.0])
def test_an_extension_keeps_the_clip_and_makes_what_lies_around_it(pipeline, inputs, files, at_s):
    clip = make(pipeline, inputs, sources=(Source(file=files["video"], at_s=at_s),), num_frames=25)
    given = inputs.read(files["video"])
    first = round(at_s * 8)
    kept = slice(first + BLEND, 17) if at_s else slice(0, 17 - BLEND)
    source = slice(BLEND, 17 - first) if at_s else slice(0, 17 - BLEND)
    assert np.array_equal(clip.frames[kept], given.frames[source])
    assert clip.sample_rate == 44_100
    late = round(at_s * 44_100)
    inside = slice(late + 2_000, late + 80_000)
    np.testing.assert_array_equal(clip.waveform[:, inside], given.waveform[:, 2_000:80_000])
    made = clip.frames[:first] if at_s else clip.frames[17:]
    assert made.std() > 0.0
    assert not np.array_equal(made[0], given.frames[0])


def test_a_retake_changes_its_part_alone_in_the_modality_that_was_said(pipeline, inputs, files):
    spans = (Span(start_s=1.2, end_s=1.4),)
    source = Source(file=files["video"], remake_video=spans)
    given = inputs.read(files["video"])
    clip = make(pipeline, inputs, sources=(source,))
    # Frames 9 to 11 are asked for; their latent is 9..16, and it fades in before.
    changed = [not np.array_equal(*pair) for pair in zip(clip.frames, given.frames, strict=True)]
    first = 9 - BLEND + 1
    assert changed == [False] * first + [True] * (17 - first)
    assert np.array_equal(clip.waveform, given.waveform)
    sound = make(pipeline, inputs, sources=(Source(file=files["video"], remake_audio=spans),))
    assert np.array_equal(sound.frames, given.frames)
    is_other = np.abs(sound.waveform - given.waveform).max(axis=0) > 0.0
    assert is_other[round(1.25 * 44_100) : round(1.35 * 44_100)].mean() > 0.9
    assert not is_other[: round(1.17 * 44_100)].any()
    assert not is_other[round(1.43 * 44_100) :].any()


def test_a_mask_parts_what_is_kept_from_what_is_made(pipeline, inputs, files):
    clip = make(pipeline, inputs, sources=(Source(file=files["video"], mask=files["mask"]),))
    given = inputs.read(files["video"])
    assert np.array_equal(clip.frames[:, :, :16], given.frames[:, :, :16])
    assert (clip.frames[:, :, 48:] != given.frames[:, :, 48:]).mean() > 0.8


def test_a_reference_is_followed_without_being_part_of_the_clip(pipeline, inputs, files):
    plain = make(pipeline, inputs, num_frames=9)
    clips = [
        make(pipeline, inputs, num_frames=9, width=64, height=64, reference=Reference(file=f, **r))
        for f, r in ((files["video"], {}), (files["video"], {"downscale": 2}))
    ]
    assert clips[0].frames.shape == (9, 64, 64, 3)
    assert not is_same(clips[0], clips[1])
    assert not np.array_equal(plain.frames[0, :16, :16], clips[0].frames[0, :16, :16])


def test_a_clip_longer_than_a_part_is_made_in_parts_that_meet(pipeline, inputs, files):
    stages = []
    request = Request(
        prompt="a red puppet",
        **STEPS,
        sources=(Source(file=files["video"]),),
        num_frames=65,
        window_s=4.0,
        overlap_s=1.0,
    )
    clip = pipeline(
        request,
        inputs=inputs,
        on_progress=lambda p: stages.append(p.stage) if p.step == 0 else None,
    )
    assert clip.frames.shape == (65, 48, 64, 3)
    assert stages.count("denoise") == 2
    given = inputs.read(files["video"])
    assert np.array_equal(clip.frames[: 17 - BLEND], given.frames[: 17 - BLEND])
    assert (clip.frames[17:].std(axis=(1, 2, 3)) > 0.0).all()
    assert clip.waveform.shape[1] == round(65 / 8 * 44_100)


def test_the_plan_of_4k_at_50_per_second_runs_at_small_scale(pipeline, inputs, files, monkeypatch):
    """Two spatial and one temporal doubling, refined and decoded in tiles, with a first frame."""
    from ltx2.generation import codec
    from ltx2.model.video_vae import TileSize

    monkeypatch.setattr(codec, "SPATIAL_TILE", TileSize(96, 32))
    monkeypatch.setattr(codec, "TEMPORAL_TILE", TileSize(16, 8))
    monkeypatch.setattr(
        pipeline, "profile", pipeline.profile.model_copy(update={"refine_side": 96})
    )
    stages = {}
    request = Request(
        prompt="a red puppet",
        **STEPS,
        keyframes=(Keyframe(image=files["picture"]),),
        upscale=("space", "space", "time"),
        width=128,
        height=128,
        num_frames=17,
    )
    clip = pipeline(
        request, inputs=inputs, on_progress=lambda p: stages.setdefault(p.stage, p.total)
    )
    assert clip.frames.shape == (17, 128, 128, 3)
    assert clip.frame_rate == 16.0
    assert clip.frames.std() > 0.0
    assert [name for name in stages if name.startswith(("denoise", "enlarge", "refine"))] == [
        "denoise",
        "enlarge space",
        "refine",
        "enlarge time",
    ]


def test_a_second_stage_makes_one_and_a_half_of_the_size_and_keeps_what_is_given(
    pipeline, inputs, files
):
    clip = make(
        pipeline,
        inputs,
        sources=(Source(file=files["video"]),),
        keyframes=(Keyframe(image=files["picture"], at_s=3.0),),
        upscale=("space-1.5",),
        width=192,
        height=96,
        num_frames=33,
    )
    assert clip.frames.shape == (33, 96, 192, 3)
    assert (clip.frames[17:].std(axis=(1, 2, 3)) > 0.0).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_frames": 17}, "nothing is left to make"),
        ({"num_frames": 17, "at_s": 9.0}, "lies outside of it"),
        ({"remake_video": (Span(start_s=8.0, end_s=9.0),)}, "after its end"),
    ],
)
def test_what_cannot_be_made_is_said_before_any_work(pipeline, inputs, files, changes, message):
    length = {k: v for k, v in changes.items() if k == "num_frames"}
    source = {k: v for k, v in changes.items() if k != "num_frames"}
    with pytest.raises(RequestError, match=message):
        make(pipeline, inputs, sources=(Source(file=files["video"], **source),), **length)


@pytest.mark.parametrize(
    "make_condition",
    [
        lambda files: Keyframe(image=files["sound"]),
        lambda files: Source(file=files["sound"], use_audio=False),
        lambda files: Source(file=files["picture"]),
        lambda files: Source(file=files["video"], mask=files["sound"]),
        lambda files: Reference(file=files["picture"]),
        lambda files: Span(start_s=2.0, end_s=1.0),
    ],
)
def test_a_file_of_the_wrong_kind_is_refused(files, make_condition):
    with pytest.raises(ValueError, match=r"not|no "):
        make_condition(files)


def test_an_upscaling_without_its_upsampler_is_an_error_that_names_it(pipeline, monkeypatch):
    monkeypatch.setattr(pipeline._refining, "_files", ())
    with pytest.raises(RequestError, match="no upsampler for the stage 'space'"):
        make(pipeline, None, upscale=("space",))
