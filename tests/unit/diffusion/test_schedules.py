import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ltx2.checkpoint.catalog import DISTILLED_SIGMAS
from ltx2.diffusion.schedules import (
    DISTILLED_STAGE_2_SIGMAS,
    OFFICIAL_SHIFT,
    shift_for_tokens,
    shifted_sigmas,
)


@given(st.integers(1, 60), st.floats(-3, 6), st.sampled_from([None, 0.05, 0.1]))
def test_levels_fall_from_one_to_zero(num_steps, shift, terminal):
    sigmas = shifted_sigmas(num_steps, shift=shift, terminal=terminal)
    assert sigmas.shape == (num_steps + 1,)
    assert sigmas.dtype == torch.float32
    assert sigmas[0] == 1.0
    assert sigmas[-1] == 0.0
    assert (sigmas.diff() < 0).all()


@given(st.integers(2, 60), st.floats(-1, 6))
def test_the_last_level_above_zero_is_the_terminal_one(num_steps, shift):
    assert float(shifted_sigmas(num_steps, shift=shift, terminal=0.1)[-2]) == pytest.approx(0.1)


def test_a_single_step_goes_from_noise_to_clean():
    assert shifted_sigmas(1).tolist() == [1.0, 0.0]


def test_no_shift_and_no_stretch_space_the_levels_evenly():
    sigmas = shifted_sigmas(4, shift=0.0, terminal=None)
    assert torch.allclose(sigmas, torch.tensor([1.0, 0.75, 0.5, 0.25, 0.0]))


def test_the_usual_schedule_has_the_published_levels():
    sigmas = shifted_sigmas(40)
    published = torch.tensor([1.0, 0.996449, 0.992737, 0.988851])
    assert torch.allclose(sigmas[:4], published, atol=1e-6)
    assert torch.allclose(sigmas[-4:], torch.tensor([0.337809, 0.233936, 0.1, 0.0]), atol=1e-6)


def test_the_shift_grows_with_the_tokens_without_limit():
    assert shift_for_tokens(1024) == pytest.approx(0.95)
    assert shift_for_tokens(4096) == pytest.approx(OFFICIAL_SHIFT) == pytest.approx(2.05)
    assert shift_for_tokens(14_080) == pytest.approx(5.625)
    assert (shifted_sigmas(8, shift=3.0)[1:-2] > shifted_sigmas(8, shift=1.0)[1:-2]).all()


def test_the_levels_of_the_second_stage_are_the_last_of_the_distilled_ones():
    assert DISTILLED_SIGMAS[-len(DISTILLED_STAGE_2_SIGMAS) :] == DISTILLED_STAGE_2_SIGMAS
