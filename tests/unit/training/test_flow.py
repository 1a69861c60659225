"""The transformer's objective: noise levels, weights, and a loss that a right answer zeroes."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from ltx2.diffusion.state import Joint, patchify_video
from ltx2.geometry import VideoCompression
from ltx2.model.transformer import ModalityInput
from ltx2.training.flow import (
    FullPrecisionAttention,
    flow_loss,
    motion_weights,
    sample_sigmas,
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
