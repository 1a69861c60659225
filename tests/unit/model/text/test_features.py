import torch

from ltx2.model.config import FeatureProjectionConfig
from ltx2.model.text.features import FeatureProjection, normalise_hidden_states

MASK = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])


def hidden_states():
    """Two prompts, five tokens, six channels, three layers of very different size."""
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(2, 5, 6, 3, generator=generator)
    return states * torch.tensor([1.0, 100.0, 0.01]) + torch.tensor([0.0, 50.0, 3.0])


def test_every_layer_of_every_prompt_is_centred_and_spans_eight():
    normalised = normalise_hidden_states(hidden_states(), MASK).unflatten(-1, (6, 3))
    for prompt, first in ((0, 2), (1, 0)):
        real = normalised[prompt, first:]
        torch.testing.assert_close(real.mean((0, 1)), torch.zeros(3), atol=1e-3, rtol=0)
        spread = real.amax((0, 1)) - real.amin((0, 1))
        torch.testing.assert_close(spread, torch.full((3,), 8.0), atol=1e-2, rtol=0)


def test_layers_follow_each_other_within_a_channel():
    states = hidden_states()
    normalised = normalise_hidden_states(states, MASK)
    only_second_layer = states.clone()
    only_second_layer[..., 1] *= -1
    changed = (normalise_hidden_states(only_second_layer, MASK) - normalised).abs().amax((0, 1))
    assert (changed > 1e-3).nonzero().flatten().tolist() == [1, 4, 7, 10, 13, 16]


def test_padding_is_zero_and_has_no_influence():
    states = hidden_states()
    loud = states.clone()
    loud[0, :2] = 1e4
    normalised = normalise_hidden_states(loud, MASK)
    assert normalised[0, :2].abs().max() == 0
    torch.testing.assert_close(normalised, normalise_hidden_states(states, MASK))


def test_features_of_padding_are_zero():
    torch.manual_seed(0)
    projection = FeatureProjection(FeatureProjectionConfig(hidden_size=6, num_states=3, dim=4))
    features = projection(hidden_states(), MASK)
    assert features.shape == (2, 5, 4)
    assert features[0, :2].abs().max() == 0
    assert features[0, 2:].abs().min() > 0


def test_bfloat16_states_are_normalised_in_full_precision():
    states = hidden_states().bfloat16()
    exact = normalise_hidden_states(states.float(), MASK)
    torch.testing.assert_close(normalise_hidden_states(states, MASK), exact)


def test_the_number_of_states_comes_from_the_text_encoder():
    metadata = {"transformer": {"caption_channels": 48}}
    config = FeatureProjectionConfig.from_metadata(metadata, num_states=8)
    assert FeatureProjection(config).aggregate_embed.weight.shape == (48, 384)
