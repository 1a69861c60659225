"""Low-rank adapters: they start as nothing, and a file of them says the same as they do."""

import pytest
import torch
from torch import nn

from ltx2.checkpoint.loader import build_transformer
from ltx2.checkpoint.lora import read_lora
from ltx2.checkpoint.lora_stack import fuse_loras
from ltx2.checkpoint.reader import save_checkpoint
from ltx2.errors import RequestError
from ltx2.model.transformer import ModalityInput
from ltx2.training.adapters import ATTENTION, AdaptedLinear, add_adapters, official_tensors
from tests.tiny_checkpoint import tiny_config


def transformer():
    torch.manual_seed(0)
    network = build_transformer(tiny_config())
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.1)
    return network


def velocities(network):
    sizes = tiny_config()["transformer"]
    generator = torch.Generator().manual_seed(1)
    inputs = [
        ModalityInput(
            tokens=torch.randn(1, 6, channels, generator=generator),
            timesteps=torch.full((1, 6), 0.5),
            sigma=torch.full((1,), 0.5),
            positions=torch.rand(1, axes, 6, 2, generator=generator),
            context=torch.randn(1, 4, sizes["caption_channels"], generator=generator),
        )
        for channels, axes in ((sizes["in_channels"], 3), (sizes["audio_in_channels"], 1))
    ]
    with torch.no_grad():
        return torch.cat([v.flatten() for v in network(*inputs)])


def trained(network, *, rank=4, alpha=12.0):
    """Adapters with values that bfloat16 holds exactly, also after alpha is folded in."""
    adapters = add_adapters(network, ATTENTION, rank=rank, alpha=alpha, seed=3)
    generator = torch.Generator().manual_seed(2)
    for layer in adapters.layers:
        for parameter in (layer.down, layer.up):
            values = torch.randint(-4, 5, parameter.shape, generator=generator) / 32
            parameter.data.copy_(values)
    return adapters


def test_fresh_adapters_change_nothing_and_freeze_the_rest():
    network = transformer()
    before = velocities(network)
    adapters = add_adapters(network, ATTENTION, rank=4, alpha=4.0, seed=3)
    assert torch.equal(velocities(network), before)
    assert {id(p) for p in network.parameters() if p.requires_grad} == {
        id(p) for p in adapters.parameters()
    }
    # Six attentions with four layers each in both blocks.
    assert len(adapters.layers) == 2 * 6 * 4
    assert all(layer.down.abs().sum() > 0 for layer in adapters.layers)


@pytest.mark.parametrize("alpha", [4.0, 12.0])
def test_a_fused_file_equals_the_live_adapters(tmp_path, alpha):
    live, fused = transformer(), transformer()
    adapters = trained(live, alpha=alpha)
    path = tmp_path / "lora.safetensors"
    save_checkpoint(path, official_tensors(adapters, dict(adapters.named_parameters())), {})
    before = velocities(fused)
    fuse_loras(fused, [(read_lora(path), 1.0)])
    torch.testing.assert_close(velocities(fused), velocities(live), atol=2e-5, rtol=1e-4)
    assert not torch.allclose(velocities(fused), before, atol=1e-3)


def test_names_are_those_of_the_published_loras(tmp_path):
    network = transformer()
    adapters = trained(network)
    names = set(official_tensors(adapters, dict(adapters.named_parameters())))
    block = "diffusion_model.transformer_blocks.0"
    assert f"{block}.attn1.to_q.lora_A.weight" in names
    assert f"{block}.audio_to_video_attn.to_out.0.lora_B.weight" in names
    assert len(names) == 2 * len(adapters.layers)


def test_the_same_seed_starts_the_same_adapters():
    first, second, other = (
        add_adapters(transformer(), ("*.ff.net.2",), rank=2, alpha=2, seed=seed)
        for seed in (1, 1, 2)
    )
    assert torch.equal(first.layers[0].down, second.layers[0].down)
    assert not torch.equal(first.layers[0].down, other.layers[0].down)


def test_a_pattern_that_fits_nothing_is_named():
    with pytest.raises(RequestError, match=r"'\*\.to_x'"):
        add_adapters(transformer(), ("*.to_q", "*.to_x"), rank=2, alpha=2, seed=0)


def test_an_adapted_layer_still_shows_its_weight():
    linear = nn.Linear(3, 2)
    assert AdaptedLinear(linear, rank=1, alpha=1.0).weight is linear.weight
