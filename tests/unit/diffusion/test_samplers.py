import pytest
import torch

from ltx2.diffusion.denoise import denoise
from ltx2.diffusion.samplers import make_sampler
from ltx2.diffusion.state import Joint, LatentState

NAMES = ("euler", "gradient_estimation", "res_2s")
SIGMAS = (1.0, 0.9, 0.7, 0.4, 0.1, 0.0)


def states(kept=0):
    generator = torch.Generator().manual_seed(0)
    clean = torch.randn(1, 8, 4, generator=generator)
    mask = torch.ones(1, 8, 1)
    mask[:, :kept] = 0.0
    noise = torch.randn(1, 8, 4, generator=generator)
    video = LatentState(clean, clean, mask, torch.zeros(1, 3, 8, 2)).noised(noise)
    audio = LatentState.to_generate(torch.zeros(1, 0, 4), torch.zeros(1, 1, 0, 2))
    return Joint(video, audio)


def walk(name, start, predict, sigmas=SIGMAS, seed=0):
    return denoise(start, sigmas, predict, sampler=make_sampler(name, seed)).video.tokens


@pytest.mark.parametrize("name", NAMES)
def test_a_network_that_knows_the_answer_is_led_to_it(name):
    answer = torch.full((1, 8, 4), 0.3)

    def predict(now, sigma):
        return Joint(answer, now.audio.tokens)

    torch.testing.assert_close(walk(name, states(), predict), answer)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_given_stays_while_the_rest_moves(name):
    start = states(kept=3)

    def predict(now, sigma):
        return Joint(now.video.tokens * (1 - sigma), now.audio.tokens)

    arrived = walk(name, start, predict)
    assert torch.equal(arrived[:, :3], start.video.clean[:, :3])
    assert not torch.allclose(arrived[:, 3:], start.video.clean[:, 3:])


def test_res_2s_asks_in_the_middle_of_a_step_and_repeats_by_its_seed():
    asked = []

    def predict(now, sigma):
        asked.append(sigma)
        return Joint(now.video.tokens * (1 - sigma), now.audio.tokens)

    first = walk("res_2s", states(), predict, (1.0, 0.25, 0.0), seed=1)
    assert asked[:3] == pytest.approx([1.0, 0.5, 0.25])
    assert len(asked) == 5  # two a step, and one that leads to the clean tokens
    assert torch.equal(first, walk("res_2s", states(), predict, (1.0, 0.25, 0.0), seed=1))
    assert not torch.equal(first, walk("res_2s", states(), predict, (1.0, 0.25, 0.0), seed=2))


def test_res_2s_keeps_the_noise_level_of_pure_noise():
    """A network that sees no signal, on many tokens: the spread at every level is that level."""
    generator = torch.Generator().manual_seed(0)
    clean = torch.zeros(1, 4_000, 4)
    video = LatentState.to_generate(clean, torch.zeros(1, 3, 4_000, 2))
    video = video.noised(torch.randn(clean.shape, generator=generator))
    spreads = []

    def predict(now, sigma):
        spreads.append((sigma, float(now.video.tokens.std())))
        return Joint(clean, now.audio.tokens)

    walk("res_2s", Joint(video, states().audio), predict)
    assert len(spreads) > 8
    for sigma, spread in spreads:
        assert spread == pytest.approx(sigma, rel=0.03)
