import torch
from hypothesis import given
from hypothesis import strategies as st

from ltx2.diffusion.steps import euler_step, to_denoised

levels = st.floats(0.05, 1.0)


@given(levels)
def test_the_true_velocity_leads_back_to_the_clean_tokens(sigma):
    clean, noise = torch.randn(2, 5, 3), torch.randn(2, 5, 3)
    noisy = (1 - sigma) * clean + sigma * noise
    denoised = to_denoised(noisy, noise - clean, torch.full((2, 5), sigma))
    assert torch.allclose(denoised, clean, atol=1e-5)


@given(levels, st.floats(0.0, 1.0))
def test_a_step_moves_along_the_line_between_noise_and_clean(sigma, part):
    next_sigma = sigma * part
    clean, noise = torch.randn(1, 5, 3), torch.randn(1, 5, 3)
    noisy = (1 - sigma) * clean + sigma * noise
    expected = (1 - next_sigma) * clean + next_sigma * noise
    assert torch.allclose(euler_step(noisy, clean, sigma, next_sigma), expected, atol=1e-4)


def test_tokens_without_noise_are_their_own_estimate():
    tokens, velocity = torch.randn(1, 2, 3), torch.randn(1, 2, 3)
    timesteps = torch.tensor([[0.0, 0.5]])
    denoised = to_denoised(tokens, velocity, timesteps)
    assert torch.equal(denoised[0, 0], tokens[0, 0])
    assert torch.equal(denoised[0, 1], tokens[0, 1] - 0.5 * velocity[0, 1])


def test_estimates_are_float32_whatever_the_network_computes_in():
    tokens, velocity = torch.randn(1, 2, 3), torch.randn(1, 2, 3).bfloat16()
    denoised = to_denoised(tokens, velocity, torch.ones(1, 2))
    assert torch.equal(denoised, tokens - velocity.float())
