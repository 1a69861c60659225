from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltx2.geometry import (
    ENLARGINGS,
    VideoCompression,
    enlarged_multiple,
    num_audio_latents,
    num_samples,
    rational_frame_rate,
    snap_num_frames,
    snap_size,
    stage_sizes,
)

temporal_factors = st.integers(1, 16)
frame_counts = st.floats(-10, 10_000)


@given(frame_counts, temporal_factors)
def test_snapped_frame_counts_are_a_multiple_plus_one(num_frames, temporal):
    snapped = snap_num_frames(num_frames, temporal)
    assert snapped >= 1
    assert (snapped - 1) % temporal == 0


@given(frame_counts, temporal_factors)
def test_snapping_a_frame_count_twice_changes_nothing(num_frames, temporal):
    snapped = snap_num_frames(num_frames, temporal)
    assert snap_num_frames(snapped, temporal) == snapped


@given(st.integers(1, 10_000), temporal_factors)
def test_no_other_frame_count_is_nearer(num_frames, temporal):
    snapped = snap_num_frames(num_frames, temporal)
    distance = abs(snapped - num_frames)
    assert distance <= abs(snapped + temporal - num_frames)
    assert snapped == 1 or distance < abs(snapped - temporal - num_frames)


def test_a_frame_count_in_the_middle_goes_down():
    assert snap_num_frames(5, 8) == 1
    assert snap_num_frames(5.01, 8) == 9
    assert snap_num_frames(13, 8) == 9
    assert snap_num_frames(121, 8) == 121


@given(st.integers(1, 10_000), temporal_factors, st.integers(1, 10_000))
def test_a_snapped_frame_count_stays_under_its_limit(num_frames, temporal, at_most):
    snapped = snap_num_frames(num_frames, temporal, at_most=at_most)
    assert 1 <= snapped <= at_most
    assert (snapped - 1) % temporal == 0
    unlimited = snap_num_frames(num_frames, temporal)
    assert snapped == unlimited if unlimited <= at_most else at_most - snapped < temporal


@given(st.integers(1, 10_000), st.sampled_from([1, 2, 8, 32, 64]))
def test_snapped_sizes_are_the_nearest_positive_multiple(pixels, multiple):
    snapped = snap_size(pixels, multiple)
    assert snapped > 0
    assert snapped % multiple == 0
    assert snapped == multiple or abs(snapped - pixels) <= multiple / 2
    assert snap_size(snapped, multiple) == snapped


def test_a_size_in_the_middle_goes_up():
    assert snap_size(48, 32) == 64
    assert snap_size(47, 32) == 32
    assert snap_size(1, 32) == 32


def test_the_released_compression_gives_the_known_latent_grid():
    assert VideoCompression(8, 32).latent_grid(121, 512, 768) == (16, 16, 24)
    assert VideoCompression(8, 32).latent_grid(1, 32, 32) == (1, 1, 1)


@given(st.integers(1, 2_000), st.floats(1, 120))
def test_sound_lasts_as_long_as_the_pictures(num_frames, frame_rate):
    duration_s = num_frames / frame_rate
    assert abs(num_samples(num_frames, frame_rate, 16_000) / 16_000 - duration_s) <= 1 / 16_000
    latents = num_audio_latents(num_frames, frame_rate, 25.0)
    assert latents == 1 or abs(latents / 25.0 - duration_s) <= 0.02 + 1e-9


def test_rounded_television_rates_become_exact():
    for written in (23.976, 23.98, 24000 / 1001):
        assert rational_frame_rate(written) == Fraction(24000, 1001)
    assert rational_frame_rate(29.97) == Fraction(30000, 1001)
    assert rational_frame_rate(59.94) == Fraction(60000, 1001)


@pytest.mark.parametrize("frame_rate", [1.0, 8.0, 12.5, 15.0, 24.0, 25.0, 30.0, 60.0, 120.0])
def test_plain_rates_stay_as_they_are(frame_rate):
    assert rational_frame_rate(frame_rate) == Fraction(frame_rate)


@given(st.floats(1, 120))
def test_an_exact_rate_hardly_differs_from_the_one_asked(frame_rate):
    assert abs(float(rational_frame_rate(frame_rate)) / frame_rate - 1) < 1e-3


@given(
    st.lists(st.sampled_from(ENLARGINGS), max_size=4),
    st.sampled_from([8, 32, 64]),
    st.integers(1, 9),
    st.integers(1, 9),
)
def test_every_stage_has_whole_latents_and_the_last_one_is_the_result(stages, multiple, rows, k):
    whole = enlarged_multiple(stages, multiple)
    sizes = stage_sizes(stages, rows * whole, 2 * whole, 64 * k + 1, 25.0)
    assert all(size.height % multiple == 0 and size.width % multiple == 0 for size in sizes)
    last = sizes[-1]
    assert (last.height, last.width, last.num_frames, last.frame_rate) == (
        rows * whole,
        2 * whole,
        64 * k + 1,
        25.0,
    )
    for before, after, stage in zip(sizes, sizes[1:], stages, strict=False):
        grown = {"space": Fraction(2), "space-1.5": Fraction(3, 2), "time": Fraction(1)}[stage]
        assert after.height == before.height * grown
        assert after.frame_rate == before.frame_rate * (2 if stage == "time" else 1)


def test_sizes_of_published_stages():
    assert enlarged_multiple((), 32) == 32
    assert enlarged_multiple(("space",), 32) == 64
    assert enlarged_multiple(("space-1.5",), 32) == 96
    assert enlarged_multiple(("space", "space-1.5", "time"), 32) == 96
    assert enlarged_multiple(("space-1.5", "space"), 32) == 192
