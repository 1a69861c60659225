import inspect

import pytest
import torch

from ltx2.diffusion.denoise import denoise
from ltx2.diffusion.state import Joint, LatentState
from ltx2.errors import GenerationCancelled, GenerationError

SIGMAS = [1.0, 0.8, 0.3, 0.0]


def states(mask=1.0):
    generator = torch.Generator().manual_seed(0)

    def one(num_tokens):
        tokens = torch.randn(1, num_tokens, 3, generator=generator)
        positions = torch.zeros(1, 1, num_tokens, 2)
        kept = torch.full((1, num_tokens, 1), mask)
        return LatentState(tokens, torch.ones(1, num_tokens, 3), kept, positions)

    return Joint(one(5), one(2))


def toward(value):
    def predict(states, sigma):
        return Joint(*(torch.full_like(state.tokens, value) for state in states))

    return predict


def test_the_walk_ends_at_the_estimate():
    end = denoise(states(), SIGMAS, toward(2.0))
    for state in end:
        assert torch.allclose(state.tokens, torch.tensor(2.0), atol=1e-5)


def test_kept_tokens_stay_whatever_the_network_says():
    start = Joint(*(s.noised(torch.randn_like(s.tokens)) for s in states(mask=0.0)))
    end = denoise(start, SIGMAS, toward(100.0))
    for state in end:
        assert torch.allclose(state.tokens, torch.tensor(1.0), atol=1e-5)


def test_every_step_is_reported_with_what_it_went_toward():
    seen = []
    end = denoise(states(mask=0.5), SIGMAS, toward(3.0), on_step=seen.append)
    assert [(step.index, step.total) for step in seen] == [(1, 3), (2, 3), (3, 3)]
    assert seen[-1].states is end
    assert (seen[0].denoised.video == 2.0).all()  # halfway to the clean tokens


def test_the_network_is_asked_once_per_step_at_the_falling_levels():
    asked = []

    def predict(states, sigma):
        asked.append(sigma)
        return Joint(states.video.tokens, states.audio.tokens)

    denoise(states(), SIGMAS, predict)
    assert asked == SIGMAS[:-1]


def test_cancelling_ends_the_walk_before_the_next_step():
    seen = []
    with pytest.raises(GenerationCancelled):
        denoise(
            states(),
            SIGMAS,
            toward(0.0),
            on_step=seen.append,
            should_cancel=lambda: len(seen) == 2,
        )
    assert len(seen) == 2


@pytest.mark.parametrize("modality", [0, 1])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_name_the_step(modality, value):
    def predict(states, sigma):
        estimates = [state.tokens.clone() for state in states]
        if sigma < 1.0:
            estimates[modality][0, 0, 0] = value
        return Joint(*estimates)

    with pytest.raises(GenerationError, match="step 2 of 3"):
        denoise(states(), SIGMAS, predict)


def test_the_loop_fits_on_a_page():
    assert len(inspect.getsource(denoise).splitlines()) <= 60
