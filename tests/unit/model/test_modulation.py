import torch

from ltx2.model.modulation import AdaLayerNormSingle, Timesteps, modulate, timestep_embedding


def an_embedder(num_values=3):
    torch.manual_seed(0)
    return AdaLayerNormSingle(4, num_values).requires_grad_(False)


def modulation_of(timesteps):
    return an_embedder()(Timesteps.of(timesteps), scale=1000.0, dtype=torch.float32)


def test_the_embedding_has_the_published_values_with_cosines_first():
    embedding = timestep_embedding(torch.tensor([1000.0, 725.0]), 256)
    cosines = torch.tensor([0.5623791, 0.7896267, 0.4399279])
    torch.testing.assert_close(embedding[0, :3], cosines, atol=1e-4, rtol=0)
    sines = torch.tensor([0.8268796, 0.6135876, -0.8980331])
    torch.testing.assert_close(embedding[0, 128:131], sines, atol=1e-4, rtol=0)
    torch.testing.assert_close(embedding[1, 0], torch.tensor(-0.7597271), atol=1e-4, rtol=0)


def test_samples_with_one_noise_level_share_one_row():
    timesteps = Timesteps.of(torch.tensor([[0.5, 0.5, 0.5], [0.2, 0.2, 0.2]]))
    assert timesteps.levels.tolist() == torch.tensor([0.5, 0.2]).tolist()
    assert timesteps.per_token(torch.ones(2, 4)).shape == (2, 1, 4)


def test_each_distinct_level_is_computed_once():
    timesteps = Timesteps.of(torch.tensor([[0.0, 0.5, 0.5], [0.0, 0.2, 0.2]]))
    assert len(timesteps.levels) == 3
    assert timesteps.per_token(timesteps.levels[:, None])[..., 0].tolist() == (
        torch.tensor([[0.0, 0.5, 0.5], [0.0, 0.2, 0.2]]).tolist()
    )


def test_every_token_gets_the_values_of_its_own_noise_level():
    table = torch.randn(3, 4)
    mixed = modulation_of(torch.tensor([[0.0, 0.7, 0.7]])).with_table(table)
    clean = modulation_of(torch.tensor([[0.0]])).with_table(table)
    noisy = modulation_of(torch.tensor([[0.7]])).with_table(table)
    for ours, first, rest in zip(mixed, clean, noisy, strict=True):
        torch.testing.assert_close(ours, torch.cat([first, rest, rest], dim=1))


def test_a_table_may_cover_the_last_values_only():
    modulation = modulation_of(torch.tensor([[0.3]]))
    table = torch.randn(3, 4)
    whole = modulation.with_table(table)
    (last,) = modulation.with_table(table[2:], start=2)
    torch.testing.assert_close(last, whole[2])


def test_the_output_head_adds_the_embedded_timestep_to_both_of_its_rows():
    modulation = modulation_of(torch.tensor([[0.3]]))
    table = torch.randn(2, 4)
    shift, scale = modulation.output_shift_scale(table)
    torch.testing.assert_close(shift[0, 0], table[0] + modulation.embedded[0])
    torch.testing.assert_close(scale[0, 0], table[1] + modulation.embedded[0])


def test_modulation_scales_around_one_and_shifts():
    x, scale, shift = torch.tensor([2.0]), torch.tensor([0.5]), torch.tensor([1.0])
    assert modulate(x, scale, shift).item() == 4.0
