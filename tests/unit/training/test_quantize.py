"""Frozen layers in 8 bits: how exact, how small, and that gradients still pass."""

import pytest
import torch
from torch import nn

from ltx2.model.config import TransformerConfig
from ltx2.model.transformer import Transformer
from ltx2.training.plan import LiveBytes
from ltx2.training.quantize import QuantizedLinear, quantize_frozen_linears
from tests.tiny_checkpoint import tiny_config


@pytest.fixture
def linear():
    torch.manual_seed(0)
    layer = nn.Linear(64, 48).requires_grad_(False)
    layer.weight[3] *= 100  # one loud channel must not cost the others their precision
    return layer


def test_every_weight_is_within_half_a_step_of_its_channel(linear):
    steps = linear.weight.abs().amax(dim=1, keepdim=True) / 127
    error = (QuantizedLinear(linear).weight - linear.weight).abs()
    assert (error <= 0.5001 * steps).all()


def test_the_layer_computes_with_the_weights_it_states(linear):
    quantized, x = QuantizedLinear(linear), torch.randn(5, 64)
    expected = x @ quantized.weight.T + linear.bias
    assert torch.allclose(quantized(x), expected, atol=1e-5)


def test_weights_take_a_quarter_of_float32(linear):
    stored = sum(b.numel() * b.element_size() for b in QuantizedLinear(linear).buffers())
    assert stored == 48 * 64 + 48 * 4


def test_half_precision_makes_no_copy_of_the_weight_beside_the_weight(linear):
    quantized, x = QuantizedLinear(linear), torch.randn(5, 64, dtype=torch.bfloat16)
    with LiveBytes() as live:
        out = quantized(x)
    weight, scale = 48 * 64 * 2, 48 * 2
    # The weight, its scale, and the layer's output, once before and once with the bias.
    assert live.peak <= weight + scale + 48 * 2 + 2 * out.numel() * 2
    exact = quantized(x.float())
    assert (out - exact).norm() < 0.01 * exact.norm()


def test_gradients_reach_what_lies_before_and_no_weight_is_kept_for_them(linear):
    quantized = QuantizedLinear(linear)
    x = torch.randn(5, 64, requires_grad=True)
    kept = []

    def remember(tensor):
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
        out = quantized(x)
    assert not any(t.is_floating_point() and t.shape == (48, 64) for t in kept)
    gradient = torch.randn(5, 48)
    out.backward(gradient)
    assert torch.allclose(x.grad, gradient @ quantized.weight, atol=1e-4)


def test_a_transformer_keeps_its_edges_and_what_is_trained():
    torch.manual_seed(0)
    transformer = Transformer(TransformerConfig.from_metadata(tiny_config())).requires_grad_(False)
    block = transformer.transformer_blocks[0]
    block.attn1.to_q.weight.requires_grad_(True)
    quantize_frozen_linears(transformer)
    assert isinstance(block.attn1.to_k, QuantizedLinear)
    assert isinstance(block.attn1.to_q, nn.Linear)
    for name, module in transformer.named_modules():
        if any(edge in name for edge in ("patchify", "proj_out", "adaln", "caption_projection")):
            assert not isinstance(module, QuantizedLinear), name
