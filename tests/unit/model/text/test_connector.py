import hashlib

import pytest
import torch

from ltx2.errors import CheckpointError
from ltx2.model.config import ConnectorConfig, FeatureProjectionConfig
from ltx2.model.text import Connector, FeatureProjection

TINY = ConnectorConfig(num_layers=2, num_heads=2, head_dim=4, num_registers=4, max_positions=64.0)


@pytest.fixture(scope="module")
def connector():
    torch.manual_seed(0)
    return Connector(TINY).requires_grad_(False)


def features(*, batch=1, tokens=8):
    return torch.randn(batch, tokens, 8, generator=torch.Generator().manual_seed(1))


def test_connectors_and_projection_have_the_published_names_and_shapes():
    with torch.device("meta"):
        connector = Connector(ConnectorConfig.from_metadata({"transformer": {}}))
        projection = FeatureProjection(FeatureProjectionConfig.from_metadata({"transformer": {}}))
    tensors = {
        f"model.diffusion_model.{modality}_embeddings_connector.{name}": tensor
        for modality in ("video", "audio")
        for name, tensor in connector.state_dict().items()
    }
    for name, tensor in projection.state_dict().items():
        tensors[f"text_embedding_projection.{name}"] = tensor
    shapes = [f"{name}:{'_'.join(map(str, t.shape))}" for name, t in tensors.items()]
    digest = hashlib.md5(",".join(sorted([*tensors, *shapes])).encode()).hexdigest()
    assert digest == "981629689c8be92a712ab3c5eb4fc3f6"
    assert sum(p.numel() for p in connector.parameters()) == 354_470_400


def test_padding_is_replaced_whatever_it_held_and_wherever_it_was(connector):
    real = features(tokens=3)
    filler = torch.full((1, 5, 8), 7.0)
    left = torch.cat([filler, real], dim=1)
    right = torch.cat([real, -filler], dim=1)
    from_left = connector(left, torch.tensor([[0, 0, 0, 0, 0, 1, 1, 1]]))
    from_right = connector(right, torch.tensor([[1, 1, 1, 0, 0, 0, 0, 0]]))
    torch.testing.assert_close(from_left, from_right)


def test_registers_are_chosen_by_position_and_repeat(connector):
    hidden = connector._replace_padding(features(), torch.tensor([[False] * 6 + [True] * 2]))
    registers = connector.learnable_registers
    torch.testing.assert_close(hidden[0, :2], features()[0, 6:])
    torch.testing.assert_close(hidden[0, 2:4], registers[2:4])
    torch.testing.assert_close(hidden[0, 4:], registers)


def test_a_full_prompt_uses_no_register(connector):
    ones = torch.ones(1, 8, dtype=torch.long)
    other = Connector(TINY).requires_grad_(False)
    other.load_state_dict(connector.state_dict() | {"learnable_registers": torch.zeros(4, 8)})
    torch.testing.assert_close(connector(features(), ones), other(features(), ones))


def test_prompts_of_a_batch_do_not_mix(connector):
    batch = features(batch=2)
    mask = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0, 1, 1]])
    together = connector(batch, mask)
    for index in range(2):
        alone = connector(batch[index : index + 1], mask[index : index + 1])
        torch.testing.assert_close(together[index : index + 1], alone)


def test_the_context_has_unit_size_and_depends_on_word_order(connector):
    ones = torch.ones(1, 8, dtype=torch.long)
    context = connector(features(), ones)
    torch.testing.assert_close(context.square().mean(-1), torch.ones(1, 8), atol=1e-3, rtol=0)
    swapped = [1, 0, *range(2, 8)]
    moved = connector(features()[:, swapped], ones)
    assert (moved - context[:, swapped]).abs().max() > 1e-3


def test_registers_learn_from_the_prompts_they_pad():
    connector = Connector(TINY)
    mask = torch.tensor([[0, 0, 0, 0, 0, 1, 1, 1]])
    (connector(features(), mask) * features()).sum().backward()
    assert connector.learnable_registers.grad.abs().amax(1).min() > 0


@pytest.mark.parametrize(
    ("key", "value"),
    [("connector_apply_gated_attention", "yes"), ("connector_norm_output", False)],
)
def test_other_connectors_are_refused(key, value):
    with pytest.raises(CheckpointError, match=key):
        ConnectorConfig.from_metadata({"transformer": {key: value}})
