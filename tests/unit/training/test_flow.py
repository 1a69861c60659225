"""The transformer's objective: noise levels, weights, and a loss that a right answer zeroes."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from ltx2.diffusion.state import Joint, patchify_video
from ltx2.geometry import VideoCompression
from ltx2.model.transformer import ModalityInput
from ltx2.training.flow import (
    FullPrecisionAttention,
    NoiseLevels,
    flow_loss,
    motion_weights,
    sample_sigmas,
    stretched_levels,
)


class Oracle(nn.Module):
    """Knows the clean tokens, so it can say the velocity exactly, plus an error of its own."""

    def __init__(self, latents: Joint[Tensor], error: float) -> None:
        super().__init__()
        video, audio = latents
        self.clean = (patchify_video(video), audio.permute(0, 2, 1, 3).flatten(2))
        self.error = error

    def forward(self, video: ModalityInput, audio: ModalityInput) -> tuple[Tensor, Tensor]:
        video_velocity, audio_velocity = (
            (part.tokens - clean) / part.sigma[:, None, None] + self.error
            for part, clean in zip((video, audio), self.clean, strict=True)
        )
        return video_velocity, audio_velocity


@pytest.mark.parametrize(("error", "expected"), [(0.0, 0.0), (0.5, 0.25)])
def test_the_loss_is_the_squared_error_of_the_velocity(error: float, expected: float) -> None:
    generator = torch.Generator().manual_seed(0)
    latents = Joint(
        torch.randn(3, 4, 3, 2, 2, generator=generator),
        torch.randn(3, 2, 5, 4, generator=generator),
    )
    context = torch.zeros(3, 1, 1)
    loss = flow_loss(
        Oracle(latents, error),  # type: ignore[arg-type]
        latents,
        Joint(context, context),
        compression=VideoCompression(8, 16),
        frame_rate=24.0,
        shift=0.7,
        generator=generator,
    )
    assert float(loss.video) == pytest.approx(expected, abs=1e-4)
    assert float(loss.audio) == pytest.approx(expected, abs=1e-4)
    assert float(loss.total) == pytest.approx(2 * expected, abs=2e-4)


def test_noise_levels_lie_in_range_and_rise_with_the_shift() -> None:
    low, high = (
        sample_sigmas(4000, shift=shift, generator=torch.Generator().manual_seed(1))
        for shift in (0.0, 2.0)
    )
    assert float(low.min()) > 0.0
    assert float(high.max()) <= 1.0
    assert float(low.median()) == pytest.approx(0.5, abs=0.03)
    assert float(high.median()) > 0.8


def test_levels_are_stretched_to_the_quantiles_and_reflected_at_the_bottom() -> None:
    shift = 0.95
    low, high = (1 / (1 + math.exp(-(shift + q))) for q in (-2.5758, 3.0902))
    normal = torch.tensor([0.0, 1.0, -2.5758, 3.0902, -3.5, 5.0])
    levels = stretched_levels(normal, shift)
    for value, level in zip((0.0, 1.0), levels[:2].tolist(), strict=True):
        raw = 1 / (1 + math.exp(-(value + shift)))
        assert level == pytest.approx((raw - low) / (high - low), abs=1e-5)
    assert float(levels[2]) == pytest.approx(2e-3, abs=1e-5)
    assert float(levels[3]) == pytest.approx(1.0, abs=1e-5)
    below = (1 / (1 + math.exp(3.5 - shift)) - low) / (high - low)
    assert float(levels[4]) == pytest.approx(2e-3 - below, abs=1e-5)
    assert float(levels[5]) == 1.0


def test_more_tokens_mean_more_noise_unless_the_shift_is_constant() -> None:
    def median(shift: float | None, num_tokens: int) -> float:
        levels = NoiseLevels(shift, uniform_share=0.0)
        generator = torch.Generator().manual_seed(2)
        return float(levels.sample(4000, num_tokens=num_tokens, generator=generator).median())

    assert median(None, 1024) == pytest.approx(median(0.95, 7), abs=1e-6)
    assert median(None, 4096) == pytest.approx(median(2.05, 7), abs=1e-6)
    assert median(None, 4096) > median(None, 1024) + 0.1


def test_the_uniform_share_reaches_both_ends() -> None:
    def levels(share: float) -> Tensor:
        generator = torch.Generator().manual_seed(3)
        return NoiseLevels(0.95, share).sample(8000, num_tokens=1, generator=generator)

    quarters = torch.tensor([0.25, 0.5, 0.75])
    torch.testing.assert_close(levels(1.0).quantile(quarters), quarters, atol=0.02, rtol=0)
    assert float(levels(1.0).min()) >= 1e-3
    low = [float((levels(share) < 0.05).float().mean()) for share in (0.0, 0.5, 1.0)]
    assert low[1] == pytest.approx((low[0] + low[2]) / 2, abs=0.01)
    assert low[0] < low[2]


def test_tokens_that_move_weigh_more_and_the_mean_stays_one() -> None:
    latents = torch.randn(1, 4, 1, 2, 2).repeat(1, 1, 5, 1, 1)
    latents[:, :, :, 0, 0] += torch.arange(5.0)
    weights = motion_weights(latents)[0, :, 0].view(5, 2, 2)
    assert float(weights.mean()) == pytest.approx(1.0, abs=1e-5)
    assert weights[:, 0, 0].min() > 2 * weights[:, 1, 1].max()


@pytest.mark.parametrize("frames", [1, 3])
def test_still_latents_weigh_all_alike(frames: int) -> None:
    weights = motion_weights(torch.ones(1, 4, frames, 2, 2))
    assert torch.allclose(weights, torch.ones_like(weights))


def test_attention_inside_the_mode_is_float32_and_keeps_the_type() -> None:
    query, key, value = torch.randn(3, 1, 2, 6, 8).bfloat16().unbind(0)
    expected = scaled_dot_product_attention(query.float(), key.float(), value.float())
    with torch.autocast("cpu", torch.bfloat16), FullPrecisionAttention():
        actual = scaled_dot_product_attention(query, key, value)
    assert actual.dtype is torch.bfloat16
    assert torch.equal(actual, expected.bfloat16())
