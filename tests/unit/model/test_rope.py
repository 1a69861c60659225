import pytest
import torch

from ltx2.model.config import RopeConfig, TransformerConfig
from ltx2.model.rope import RotaryTable, interval_centres, rope_frequencies, rotary_table

FIRST_VIDEO_TOKEN = torch.tensor([[0.0, 1 / 24], [0.0, 32.0], [0.0, 32.0]]).view(1, 3, 1, 2)
SECOND_AUDIO_TOKEN = torch.tensor([0.01, 0.05]).view(1, 1, 1, 2)


def test_the_first_video_token_has_the_published_angles():
    config = TransformerConfig()
    table = rotary_table(interval_centres(FIRST_VIDEO_TOKEN), config.rope(config.video))
    assert table.turns.real.shape == (1, 1, 32, 64)
    cos = torch.tensor([1.0, 1.0, 0.0032724838, 0.0245411359])
    torch.testing.assert_close(table.turns.real[0, 0, 0, :4], cos, atol=1e-6, rtol=0)
    sin = torch.tensor([0.0, 0.0, -0.9999946, -0.9996988])
    torch.testing.assert_close(table.turns.imag[0, 0, 0, :4], sin, atol=1e-6, rtol=0)


def test_the_second_audio_token_has_the_published_angles():
    config = TransformerConfig()
    table = rotary_table(interval_centres(SECOND_AUDIO_TOKEN), config.rope(config.audio))
    cos = torch.tensor([0.0047124014, -0.0094509348])
    torch.testing.assert_close(table.turns.real[0, 0, 0, :2], cos, atol=1e-6, rtol=0)


def test_frequencies_are_geometric_from_half_pi_to_theta_half_pi():
    frequencies = torch.from_numpy(rope_frequencies(682, 10000.0))
    assert frequencies.dtype == torch.float32
    assert frequencies[0] == pytest.approx(torch.pi / 2)
    assert frequencies[-1] == pytest.approx(10000 * torch.pi / 2)
    ratios = frequencies[1:] / frequencies[:-1]
    torch.testing.assert_close(ratios, torch.full_like(ratios, 10000 ** (1 / 681)))


def test_axes_take_turns_within_each_frequency_and_padding_comes_first():
    config = RopeConfig(dim=16, num_heads=2, max_positions=(1.0, 1.0, 1.0))
    low = rotary_table(torch.tensor([[[0.5, 0.5, 1.0]]]), config)
    angles = low.turns.angle().flatten()
    # 8 slots: 2 of padding, then 2 frequencies of 3 axes; only the last axis is off centre.
    assert angles[:2].tolist() == [0.0, 0.0]
    assert angles[[2, 3, 5, 6]].abs().max() == 0.0
    assert angles[4] == pytest.approx(torch.pi / 2)


def test_scores_depend_only_on_the_distance_of_two_tokens():
    generator = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, 1, 1, 2, 8, generator=generator)
    config = RopeConfig(dim=16, num_heads=2, max_positions=(1.0,), theta=10.0)

    def score(query_at: float, key_at: float) -> torch.Tensor:
        at = [rotary_table(torch.tensor([[[p]]]), config) for p in (query_at, key_at)]
        return (at[0].rotate(query) * at[1].rotate(key)).sum(-1)

    torch.testing.assert_close(score(0.25, 0.5), score(0.5, 0.75))
    assert not torch.allclose(score(0.25, 0.5), score(0.25, 0.75))


def test_rotation_turns_the_halves_of_a_head_against_each_other():
    quarter_turn = RotaryTable(torch.full((1, 1, 1, 2), 1j))
    x = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 1, 1, 4)
    assert quarter_turn.rotate(x).flatten().tolist() == [-3.0, 1.0, -4.0, 2.0]


def test_rotation_returns_the_type_it_was_given():
    table = RotaryTable(torch.ones(1, 1, 1, 2, dtype=torch.complex64))
    assert table.rotate(torch.ones(1, 1, 1, 4, dtype=torch.bfloat16)).dtype == torch.bfloat16
