import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltx2.diffusion.guidance import needed_passes
from ltx2.diffusion.state import Joint
from ltx2.progress import Progress
from ltx2.request import Guidance, Request
from ltx2.serving.timing import (
    Forecast,
    Run,
    Work,
    forecast,
    num_passes,
    seconds_left,
    stage_of,
    work_of,
)
from tests.fakes.model import PROFILE

works = st.builds(
    Work,
    steps=st.integers(1, 60),
    passes=st.integers(1, 4),
    tokens=st.integers(20, 200_000),
)
seconds = st.floats(1e-3, 1e4)
runs = st.builds(
    Run,
    model=st.just("m"),
    device=st.just("d"),
    work=works,
    load_s=st.none() | seconds,
    encode_s=seconds,
    denoise_s=seconds,
    decode_s=seconds,
)
LOADED = {"is_loaded": True}


def machine(work, *, load_s=None, noise=1.0):
    """A machine that follows the laws of layers and attention."""
    return Run(
        "m",
        "d",
        work,
        load_s=load_s,
        encode_s=0.5 * noise,
        denoise_s=work.steps * work.passes * (2e-4 * work.tokens + 3e-8 * work.tokens**2) * noise,
        decode_s=(0.2 + 1e-4 * work.tokens) * noise,
    )


def test_nothing_is_said_before_anything_is_known():
    work = Work(10, 2, 1000)
    assert forecast([], work, is_loaded=True) is None
    assert forecast([machine(work)], work, is_loaded=False) is None
    assert forecast([machine(work)], work, is_loaded=True) is not None


def test_after_one_clip_the_same_clip_is_expected_to_take_as_long():
    run = machine(Work(10, 2, 1000), load_s=7.0)
    expected = forecast([run], run.work, is_loaded=False)
    assert expected.seconds == pytest.approx(run.seconds)
    assert expected.low_s < run.seconds < expected.high_s
    without = forecast([run], run.work, is_loaded=True)
    assert without.seconds == pytest.approx(run.seconds - 7.0)


def test_what_only_the_first_prompt_waits_for_is_not_expected_again():
    work = Work(10, 2, 1000)
    first = replace(machine(work, load_s=7.0), encode_s=60.0)
    later = replace(machine(work), encode_s=0.001)
    unsure = forecast([first], work, is_loaded=True)
    assert unsure.low_s < later.seconds < unsure.high_s
    assert forecast([first, later], work, is_loaded=True).encode_s == 0.001
    again = forecast([first, later], work, is_loaded=False)
    assert (again.load_s, again.encode_s) == (7.0, 60.0)


@given(st.lists(runs, min_size=1, max_size=8), works, st.integers(1, 3))
def test_more_steps_or_passes_take_longer(runs, work, more):
    less = forecast(runs, work, **LOADED)
    for field in ("steps", "passes"):
        greater = replace(work, **{field: getattr(work, field) + more})
        assert forecast(runs, greater, **LOADED).seconds > less.seconds


@given(st.lists(runs, min_size=1, max_size=8), works, st.integers(1, 100_000))
def test_more_tokens_take_longer(runs, work, more):
    greater = replace(work, tokens=work.tokens + more)
    assert forecast(runs, greater, **LOADED).seconds > forecast(runs, work, **LOADED).seconds


@given(st.lists(runs, min_size=1, max_size=8), works)
def test_the_interval_holds_the_most_likely_time(runs, work):
    expected = forecast(runs, work, **LOADED)
    assert 0.0 < expected.low_s < expected.seconds * 1.000001
    assert expected.high_s > expected.seconds * 0.999999
    assert math.isfinite(expected.high_s)


def test_longer_and_larger_clips_take_longer():
    run = machine(work_of(Request(prompt="x"), PROFILE))

    def takes(**values):
        return forecast([run], work_of(Request(prompt="x", **values), PROFILE), **LOADED).seconds

    assert takes(duration_s=1.0) < takes(duration_s=2.0) < takes(duration_s=4.0)
    assert takes(width=64) < takes(width=96) < takes(width=128)
    assert takes(num_steps=5) < takes() < takes(num_steps=20)


def test_runs_of_several_sizes_reveal_how_time_grows():
    known = [machine(Work(8, 2, tokens), load_s=3.0) for tokens in (500, 2_000, 8_000, 20_000)]
    for tokens in (1_000, 12_000, 80_000):
        truth = machine(Work(40, 1, tokens))
        expected = forecast(known, truth.work, **LOADED)
        assert expected.seconds == pytest.approx(truth.seconds, rel=0.02)


@given(st.integers(1, 60), st.integers(100, 400_000))
def test_from_one_size_the_interval_holds_any_other_size(steps, tokens):
    known = [machine(Work(8, 2, 4_000))]
    truth = machine(Work(steps, 2, tokens))
    expected = forecast(known, truth.work, **LOADED)
    assert expected.low_s <= truth.seconds <= expected.high_s


@pytest.mark.parametrize("spread", [0.05, 0.15, 0.4])
@pytest.mark.parametrize("count", [1, 3, 20])
def test_about_nine_in_ten_clips_lie_in_the_interval(spread, count):
    """Fewer of the first clips of a machine that is less steady than usual."""
    draw = random.Random(0)
    sizes = (500, 2_000, 8_000)

    def some_run():
        noise = math.exp(draw.gauss(0.0, spread))
        return machine(Work(draw.choice([8, 20]), 2, draw.choice(sizes)), noise=noise)

    trials = 300
    held = 0
    for _ in range(trials):
        expected_of = [some_run() for _ in range(count)]
        truth = some_run()
        expected = forecast(expected_of, truth.work, **LOADED)
        held += expected.low_s <= truth.seconds <= expected.high_s
    is_hard = spread > 0.15 and count < 20
    assert held / trials > (0.65 if is_hard else 0.85)


def test_the_interval_of_a_steady_machine_narrows():
    run = machine(Work(10, 2, 1000))
    few, many = (forecast([run] * count, run.work, **LOADED) for count in (1, 40))
    assert many.high_s / many.low_s < few.high_s / few.low_s
    assert many.high_s / many.low_s < 1.2


@pytest.mark.parametrize(
    "guidance",
    [
        (Guidance(), Guidance()),
        (Guidance(cfg_scale=3.0), Guidance()),
        (Guidance(), Guidance(stg_scale=1.0, stg_blocks=(2,))),
        (Guidance(stg_scale=1.0), Guidance(modality_scale=2.0)),
        (Guidance(cfg_scale=3.0, stg_scale=1.0, modality_scale=2.0, stg_blocks=(1,)),) * 2,
    ],
)
def test_passes_are_counted_as_the_sampler_makes_them(guidance):
    request = Request(prompt="x", video_guidance=guidance[0], audio_guidance=guidance[1])
    assert num_passes(request) == len(needed_passes(Joint(*guidance)))


EXPECTED = Forecast(10.0, 1.0, 20.0, 4.0, low_s=30.0, high_s=40.0)


@pytest.mark.parametrize(
    ("progress", "elapsed_s", "left"),
    [
        (Progress("load", 0, 1), 0.0, 35.0),
        (Progress("load", 0, 1), 4.0, 31.0),
        (Progress("load", 0, 1), 99.0, 25.0),
        (Progress("encode prompt", 0, 1), 0.5, 24.5),
        (Progress("denoise", 0, 10), 2.0, 22.0),
        (Progress("denoise", 5, 10), 30.0, 34.0),  # slower than others: its own pace counts
        (Progress("decode video", 0, 1), 1.0, 3.0),
        (Progress("save", 0, 1), 3.5, 0.5),
    ],
)
def test_the_time_left_follows_the_stages(progress, elapsed_s, left):
    assert seconds_left(EXPECTED, progress, elapsed_s) == pytest.approx(left)


def test_without_past_runs_the_time_left_is_known_from_the_steps_alone():
    assert seconds_left(None, Progress("load", 0, 1), 3.0) is None
    assert seconds_left(None, Progress("denoise", 0, 10), 3.0) is None
    assert seconds_left(None, Progress("denoise", 1, 10), 3.0) == pytest.approx(27.0)


def test_every_stage_of_the_pipeline_is_of_some_kind():
    names = ["start", "load", "encode prompt", "denoise", "decode video", "decode audio", "save"]
    kinds = ["encode", "load", "encode", "denoise", "decode", "decode", "decode"]
    assert [stage_of(name) for name in names] == kinds


def test_a_stage_beyond_what_a_model_makes_is_one_step():
    size = PROFILE.spatial_multiple * (PROFILE.max_size // PROFILE.spatial_multiple)
    asked = Request(prompt="a ball", width=size, height=size, num_steps=16, upscale=("space",))
    beyond = asked.model_copy(update={"width": 2 * size, "height": 2 * size})
    # A quarter of the pixels takes a quarter of the 16 steps; then it is refined.
    assert work_of(asked, PROFILE).steps == 4 + 9
    assert work_of(beyond, PROFILE).steps == 4 + 1
    by_half = asked.model_copy(update={"upscale": ("space-1.5",)})
    assert work_of(by_half, PROFILE).steps == math.ceil(16 * 4 / 9 + 9)
