"""Frozen layers in fewer bits: how exact, how small, and that gradients still pass."""

import pytest
import torch
from torch import nn

from ltx2.model.config import TransformerConfig
from ltx2.model.quantized import (
    E2M1_VALUES,
    NVFP4Linear,
    QuantizedLinear,
    e4m3_to_bfloat16,
    untile_scales,
)
from ltx2.model.transformer import Transformer
from ltx2.training.plan import LiveBytes
from ltx2.training.quantize import quantize_frozen_linears
from tests.tiny_checkpoint import tiny_config


@pytest.fixture
def linear():
    torch.manual_seed(0)
    layer = nn.Linear(64, 48).requires_grad_(False)
    layer.weight[3] *= 100  # one loud channel must not cost the others their precision
    return layer


def test_every_weight_is_within_half_a_step_of_its_channel(linear):
    steps = linear.weight.abs().amax(dim=1, keepdim=True) / 127
    error = (QuantizedLinear.of(linear).dequantized() - linear.weight).abs()
    assert (error <= 0.5001 * steps).all()


def test_the_layer_computes_with_the_weights_it_states(linear):
    quantized, x = QuantizedLinear.of(linear), torch.randn(5, 64)
    expected = x @ quantized.dequantized().T + linear.bias
    assert torch.allclose(quantized(x), expected, atol=1e-5)


def test_weights_take_a_quarter_of_float32(linear):
    stored = sum(b.numel() * b.element_size() for b in QuantizedLinear.of(linear).buffers())
    assert stored == 48 * 64 + 48 * 4


def test_half_precision_makes_no_copy_of_the_weight_beside_the_weight(linear):
    quantized, x = QuantizedLinear.of(linear), torch.randn(5, 64, dtype=torch.bfloat16)
    with LiveBytes() as live:
        out = quantized(x)
    weight, scale = 48 * 64 * 2, 48 * 2
    # The weight, its scale, and the layer's output, once before and once with the bias.
    assert live.peak <= weight + scale + 48 * 2 + 2 * out.numel() * 2
    exact = quantized(x.float())
    assert (out - exact).norm() < 0.01 * exact.norm()


def test_gradients_reach_what_lies_before_and_no_weight_is_kept_for_them(linear):
    quantized = QuantizedLinear.of(linear)
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
    assert torch.allclose(x.grad, gradient @ quantized.dequantized(), atol=1e-4)


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


def test_fp8_is_within_half_a_step_of_its_exponent(linear):
    quantized = QuantizedLinear.of(linear, "fp8")
    assert quantized.weight.dtype == torch.float8_e4m3fn
    largest = linear.weight.abs().amax(dim=1, keepdim=True)
    error = (quantized.dequantized() - linear.weight).abs()
    # Three bits of mantissa, and steps of 2^-9 times the scale near zero.
    assert (error <= linear.weight.abs() / 16 * 1.001 + largest / 448 * 2**-10 * 1.001).all()


@pytest.mark.parametrize("kind", ["int8", "fp8"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_every_type_computes_with_the_same_bits(linear, kind, dtype):
    torch.manual_seed(1)
    quantized, x = QuantizedLinear.of(linear, kind), torch.randn(5, 64)
    exact = x.to(dtype).float() @ quantized.dequantized().T + linear.bias
    out = quantized(x.to(dtype))
    assert out.dtype == dtype
    assert (out.float() - exact).norm() < 4 * torch.finfo(dtype).eps * exact.norm()


def test_one_scale_may_serve_all_channels(linear):
    values = torch.randint(-127, 128, (48, 64), dtype=torch.int8)
    bits = {"weight": values, "weight_scale": torch.tensor(0.25)}
    one = QuantizedLinear(bits, linear.bias, dtype=torch.float32)
    assert torch.equal(one.dequantized(), values.float() * 0.25)
    x = torch.randn(3, 64)
    assert torch.allclose(one(x), x @ one.dequantized().T + linear.bias, atol=1e-3)


def an_nvfp4_layer(rows=8, columns=64):
    torch.manual_seed(2)
    codes = torch.randint(0, 16, (rows, columns))
    scales = (torch.rand(rows, columns // 16) * 4).to(torch.float8_e4m3fn)
    packed = (codes[:, 0::2] * 16 + codes[:, 1::2]).to(torch.uint8)
    tiles = torch.zeros(1, 32, 4, 4)  # r mod 32, r div 32, block
    tiles[0, :rows, 0] = scales.float()
    bits = {
        "weight": packed,
        "weight_scale": tiles.to(torch.float8_e4m3fn).view(128, 4),
        "weight_scale_2": torch.tensor(0.01),
    }
    layer = NVFP4Linear(bits, None, dtype=torch.float32)
    return layer, codes, scales


def test_four_bits_are_sign_exponent_and_mantissa_times_both_scales():
    layer, codes, scales = an_nvfp4_layer()
    for row, column in ((0, 0), (3, 17), (7, 63)):
        code = int(codes[row, column])
        value = E2M1_VALUES[code % 8] * (-1 if code >= 8 else 1)
        expected = value * float(scales[row, column // 16]) * 0.01
        assert layer.dequantized()[row, column] == pytest.approx(expected, rel=1e-6)


def test_four_bits_compute_with_the_weights_they_state_and_pass_gradients():
    layer, _, _ = an_nvfp4_layer()
    x = torch.randn(5, 64, requires_grad=True)
    out = layer(x)
    assert torch.allclose(out, x @ layer.dequantized().T, atol=1e-4)
    out.sum().backward()
    assert torch.allclose(x.grad, layer.dequantized().sum(dim=0).expand(5, -1), atol=1e-4)
    half = layer(x.detach().bfloat16()).float()
    assert (half - out).norm() < 0.01 * out.norm()


@pytest.mark.parametrize(("rows", "blocks"), [(1, 1), (128, 4), (129, 5), (300, 9)])
def test_scales_are_taken_out_of_their_tiles(rows, blocks):
    """Written down tile by tile from the published description of the layout."""
    high, across = -(-rows // 128), -(-blocks // 4)
    tiled = torch.full((high * across * 512,), -1.0)
    for row in range(rows):
        for block in range(blocks):
            tile = row // 128 * across + block // 4
            place = tile * 512 + row % 32 * 16 + row % 128 // 32 * 4 + block % 4
            tiled[place] = row * 1000 + block
    plain = untile_scales(tiled.view(high * 128, across * 4), rows, blocks)
    expected = torch.arange(rows)[:, None] * 1000 + torch.arange(blocks)
    assert torch.equal(plain, expected.float())


def test_bits_keep_their_type_when_the_network_gets_another(linear):
    layer = QuantizedLinear.of(linear, "fp8")
    before = layer.dequantized()
    holder = nn.ModuleList([layer]).to(torch.bfloat16)
    assert layer.weight.dtype == torch.float8_e4m3fn
    assert layer.weight_scale.dtype == torch.float32
    assert layer.bias.dtype == torch.bfloat16
    assert torch.equal(holder[0].dequantized(), before)


def test_every_number_of_e4m3_is_the_same_in_bfloat16():
    numbers = torch.arange(256).to(torch.uint8).view(torch.float8_e4m3fn)
    expected = numbers.to(torch.bfloat16)
    is_number = ~expected.isnan()
    assert int(is_number.sum()) == 254
    assert torch.equal(e4m3_to_bfloat16(numbers)[is_number], expected[is_number])
