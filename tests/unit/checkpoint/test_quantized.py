"""Files with weights in fewer bits, encoded here from the descriptions of their layouts."""

import json
from dataclasses import replace
from functools import cache

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ltx2.checkpoint.catalog import LTX_2, version_of
from ltx2.checkpoint.components import TRANSFORMER
from ltx2.checkpoint.loader import build_transformer, load_component, load_networks
from ltx2.checkpoint.quantized import padded_scales
from ltx2.checkpoint.reader import CheckpointFile
from ltx2.errors import CheckpointError
from ltx2.model.quantized import NVFP4Linear, QuantizedLinear
from tests.tiny_checkpoint import tiny_checkpoint, tiny_inputs

CHECKPOINT = tiny_checkpoint()
PREFIX = "model.diffusion_model."
QUANTISED = sorted(
    name
    for name, tensor in CHECKPOINT.tensors.items()
    if name.startswith(f"{PREFIX}transformer_blocks.1.")
    and name.endswith(".weight")
    and tensor.dim() == 2
)
E2M1 = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])


def as_fp8(name, weight, *, ending="weight_scale", per_channel=False):
    """What the published fp8 files hold of a weight, and what it stands for."""
    largest = weight.abs().amax(dim=1) if per_channel else weight.abs().amax()
    scale = largest / 448
    numbers = (weight / (scale[:, None] if per_channel else scale)).to(torch.float8_e4m3fn)
    stands_for = numbers.float() * (scale[:, None] if per_channel else scale)
    module = name.removesuffix("weight")
    return {name: numbers, f"{module}{ending}": scale}, stands_for


def published_fp8(name, weight):
    tensors, stands_for = as_fp8(name, weight)
    return tensors | {f"{name.removesuffix('weight')}input_scale": torch.tensor(0.5)}, stands_for


def fp8_of_older_programs(name, weight):
    tensors, stands_for = as_fp8(name, weight, ending="scale_weight")
    extra = {f"{name.removesuffix('weight')}scale_input": torch.tensor([0.5])}
    marker = {f"{PREFIX}scaled_fp8": torch.zeros(2).to(torch.float8_e4m3fn)}
    return tensors | extra | marker, stands_for


def noted(name, tensors, kind):
    note = torch.tensor(list(json.dumps({"format": kind}).encode()), dtype=torch.uint8)
    return tensors | {f"{name.removesuffix('weight')}comfy_quant": note}


def fp8_in_bytes_with_a_note(name, weight):
    tensors, stands_for = as_fp8(name, weight)
    tensors[name] = tensors[name].view(torch.uint8)
    return noted(name, tensors, "float8_e4m3fn"), stands_for


def fp8_for_each_channel(name, weight):
    return as_fp8(name, weight, per_channel=True)


def int8_for_each_channel(name, weight):
    scale = weight.abs().amax(dim=1, keepdim=True) / 127
    numbers = (weight / scale).round().to(torch.int8)
    tensors = {name: numbers, f"{name.removesuffix('weight')}weight_scale": scale}
    return noted(name, tensors, "int8"), numbers.float() * scale


def nvfp4(name, weight):
    """Four bits after the layout's description: high half first, scales in tiles."""
    rows, columns = weight.shape
    second = weight.abs().max() / 2688
    blocks = weight.view(rows, columns // 16, 16)
    scales = (blocks.abs().amax(dim=2) / 6 / second).to(torch.float8_e4m3fn)
    whole = scales.float() * second
    wanted = blocks / whole[..., None].clamp_min(1e-12)
    magnitude = (wanted.abs()[..., None] - E2M1).abs().argmin(dim=-1)
    codes = (magnitude + 8 * (wanted < 0)).view(rows, columns)
    numbers = torch.where(codes >= 8, -E2M1[codes % 8], E2M1[codes % 8])
    stands_for = (numbers.view_as(blocks) * whole[..., None]).view(rows, columns)
    packed = (codes[:, 0::2] * 16 + codes[:, 1::2]).to(torch.uint8)
    high, across = -(-rows // 128), -(-(columns // 16) // 4)
    tiled = torch.zeros(high * across * 512, dtype=torch.uint8)
    for row in range(rows):
        for block in range(columns // 16):
            tile = row // 128 * across + block // 4
            place = tile * 512 + row % 32 * 16 + row % 128 // 32 * 4 + block % 4
            tiled[place] = scales.view(torch.uint8)[row, block]
    module = name.removesuffix("weight")
    return {
        name: packed,
        f"{module}weight_scale": tiled.view(torch.float8_e4m3fn).view(high * 128, across * 4),
        f"{module}weight_scale_2": second,
        f"{module}input_scale": torch.tensor(1.0),
    }, stands_for


LAYOUTS = (
    published_fp8,
    fp8_of_older_programs,
    fp8_in_bytes_with_a_note,
    fp8_for_each_channel,
    int8_for_each_channel,
    nvfp4,
)


@cache
def encoded(layout):
    """The tiny checkpoint with one block in a layout, and what its weights stand for."""
    tensors, meant = dict(CHECKPOINT.tensors), {}
    for name in QUANTISED:
        if layout is nvfp4 and tensors[name].shape[1] % 16:
            continue
        more, meant[name] = layout(name, CHECKPOINT.tensors[name].float())
        tensors |= more
    return replace(CHECKPOINT, tensors=tensors), meant


def load(path, dtype=torch.float32, **options):
    return load_component(
        CheckpointFile.open(path),
        TRANSFORMER,
        build_transformer,
        dtype=dtype,
        device="cpu",
        **options,
    )


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return CHECKPOINT.write(tmp_path_factory.mktemp("plain") / "model.safetensors")


def velocities(transformer):
    with torch.no_grad():
        video, audio = transformer(*tiny_inputs(transformer))
    return torch.cat([video.flatten(), audio.flatten()]).float()


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_weights_are_what_their_bits_stand_for(tmp_path, plain, layout):
    checkpoint, meant = encoded(layout)
    path = checkpoint.write(tmp_path / "model.safetensors")
    transformer = load(path)
    assert len(meant) > 20
    for name, weight in meant.items():
        layer = transformer.get_submodule(name.removeprefix(PREFIX).removesuffix(".weight"))
        assert isinstance(layer, NVFP4Linear if layout is nvfp4 else QuantizedLinear)
        assert torch.allclose(layer.dequantized(), weight, rtol=1e-5, atol=1e-9), name
    exact = velocities(load(plain))
    error = (velocities(transformer) - exact).norm() / exact.norm()
    assert 1e-5 < error < (0.2 if layout is nvfp4 else 0.05)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_a_file_in_fewer_bits_has_the_model_s_names_shapes_and_fingerprint(tmp_path, plain, layout):
    checkpoint, meant = encoded(layout)
    file = CheckpointFile.open(checkpoint.write(tmp_path / "model.safetensors"))
    whole = CheckpointFile.open(plain)
    assert file.fingerprint == whole.fingerprint
    assert file.digest != whole.digest
    assert {n: i.shape for n, i in file.tensors.items()} == {
        n: i.shape for n, i in whole.tensors.items()
    }
    assert file.quantized.keys() == meant.keys()
    assert version_of(file) is LTX_2
    load_networks(file, dtype=torch.float32, device="cpu")


def test_bits_stay_bits_in_memory(tmp_path):
    checkpoint, meant = encoded(nvfp4)
    transformer = load(checkpoint.write(tmp_path / "model.safetensors"), torch.bfloat16)
    for name, weight in meant.items():
        layer = transformer.get_submodule(name.removeprefix(PREFIX).removesuffix(".weight"))
        held = sum(b.numel() * b.element_size() for b in layer.buffers())
        assert held == weight.numel() / 2 + padded_scales(*weight.shape) + 4


def test_fp8_without_scales_is_cast(tmp_path):
    name = QUANTISED[0]
    numbers = CHECKPOINT.tensors[name].to(torch.float8_e4m3fn)
    cast = replace(CHECKPOINT, tensors=CHECKPOINT.tensors | {name: numbers})
    transformer = load(cast.write(tmp_path / "model.safetensors"))
    assert torch.equal(transformer.state_dict()[name.removeprefix(PREFIX)], numbers.float())


MODULE = QUANTISED[0].removesuffix("weight")


@pytest.mark.parametrize(
    "changes",
    [
        {f"{MODULE}weight_scale": torch.ones(3)},
        {f"{MODULE}weight_scale": torch.ones(1, dtype=torch.int32)},
        {f"{MODULE}pre_quant_scale": torch.ones(1)},
        {f"{MODULE}weight_scale_2": torch.ones(1)},
        {QUANTISED[0]: CHECKPOINT.tensors[QUANTISED[0]].to(torch.int8)[:, :5].contiguous()},
        {f"{PREFIX}scale_shift_table": torch.zeros(2, 48, dtype=torch.uint8)},
        {
            f"{PREFIX}transformer_blocks.0.attn1.q_norm.weight": torch.zeros(48, dtype=torch.int8),
            f"{PREFIX}transformer_blocks.0.attn1.q_norm.weight_scale": torch.ones(1),
        },
    ],
)
def test_bits_and_scales_that_do_not_fit_are_refused_by_name(tmp_path, changes):
    tensors, _ = as_fp8(QUANTISED[0], CHECKPOINT.tensors[QUANTISED[0]].float())
    broken = replace(CHECKPOINT, tensors=CHECKPOINT.tensors | tensors | changes)
    path = broken.write(tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="transformer"):
        load(path)


def test_eight_bits_outside_linear_layers_are_refused(tmp_path):
    name = f"{PREFIX}scale_shift_table"
    extra = {
        f"{PREFIX}odd.weight": torch.zeros(4, 4, dtype=torch.int8),
        f"{PREFIX}odd.weight_scale": torch.ones(1),
    }
    broken = replace(CHECKPOINT, tensors=CHECKPOINT.tensors | extra)
    assert name in CHECKPOINT.tensors
    with pytest.raises(CheckpointError, match="outside linear layers"):
        load(broken.write(tmp_path / "model.safetensors"))


@given(data=st.data())
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_damage_to_the_scales_is_an_error_of_ours_or_harmless(tmp_path, data):
    """Another type, another shape, or away."""
    checkpoint, _ = encoded(nvfp4)
    tensors = dict(checkpoint.tensors)
    mine = [n for n in tensors if n.startswith(MODULE)]
    name = data.draw(st.sampled_from(mine))
    change = data.draw(st.sampled_from(["away", "type", "shape"]))
    if change == "away":
        del tensors[name]
    elif change == "type":
        kind = data.draw(st.sampled_from([torch.float32, torch.uint8, torch.int8, torch.bfloat16]))
        tensors[name] = torch.zeros(tensors[name].shape, dtype=kind)
    else:
        shape = data.draw(st.lists(st.integers(0, 5), max_size=3))
        tensors[name] = torch.zeros(shape).to(tensors[name].dtype)
    path = replace(checkpoint, tensors=tensors).write(tmp_path / "model.safetensors")
    try:
        transformer = load(path)
    except CheckpointError:
        return
    assert velocities(transformer).dtype == torch.float32


@pytest.mark.parametrize(("kind", "most"), [("int8", 0.02), ("fp8", 0.05)])
def test_a_whole_file_is_quantised_as_it_is_loaded(plain, kind, most):
    exact, quantised = load(plain), load(plain, quantization=kind)
    layers = [n for n, m in quantised.named_modules() if isinstance(m, QuantizedLinear)]
    assert len(layers) == 2 * 28
    assert all(name.startswith("transformer_blocks.") for name in layers)
    for name in layers:
        own = exact.get_submodule(name).weight
        error = (quantised.get_submodule(name).dequantized() - own).norm() / own.norm()
        assert error < most
    whole = velocities(exact)
    assert (velocities(quantised) - whole).norm() < most * whole.norm()


def test_what_is_in_fewer_bits_already_stays_as_it_is(tmp_path):
    checkpoint, meant = encoded(nvfp4)
    transformer = load(checkpoint.write(tmp_path / "model.safetensors"), quantization="int8")
    kinds = [type(m) for m in transformer.modules()]
    assert kinds.count(NVFP4Linear) == len(meant)
    assert kinds.count(QuantizedLinear) == 2 * 28 - len(meant)
