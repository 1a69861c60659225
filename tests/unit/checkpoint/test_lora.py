import json
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from ltx2.checkpoint.keymaps import TRANSFORMER_TO_DIFFUSERS, rename
from ltx2.checkpoint.lora import Strengths, read_lora
from ltx2.checkpoint.lora_stack import LiveLora, LoraStack, fuse_loras
from ltx2.checkpoint.reader import save_checkpoint
from ltx2.errors import CheckpointError
from ltx2.model.quantized import quantize_linears


def a_model(dtype=torch.float32):
    torch.manual_seed(0)
    return nn.ModuleDict({"wide": nn.Linear(6, 4), "narrow": nn.Linear(4, 2)}).to(dtype)


def pair(module, in_width, out_width, rank, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        f"diffusion_model.{module}.lora_A.weight": torch.randn(rank, in_width, generator=generator),
        f"diffusion_model.{module}.lora_B.weight": torch.randn(
            out_width, rank, generator=generator
        ),
    }


def written(path, tensors):
    save_checkpoint(path, tensors, {})
    return path


def test_a_lora_adds_its_product_with_its_strength(tmp_path):
    tensors = pair("wide", 6, 4, rank=3) | pair("narrow", 4, 2, rank=1)
    model, before = a_model(), a_model()
    fuse_loras(model, [(read_lora(written(tmp_path / "x.safetensors", tensors)), 0.5)])
    for name in ("wide", "narrow"):
        down, up = (tensors[f"diffusion_model.{name}.lora_{part}.weight"] for part in "AB")
        assert torch.allclose(model[name].weight, before[name].weight + 0.5 * up @ down, atol=1e-6)
        assert torch.equal(model[name].bias, before[name].bias)


def test_several_loras_add_up_in_any_order(tmp_path):
    one = read_lora(written(tmp_path / "1.safetensors", pair("wide", 6, 4, rank=3, seed=1)))
    other = read_lora(written(tmp_path / "2.safetensors", pair("wide", 6, 4, rank=2, seed=2)))
    together, swapped, apart = a_model(), a_model(), a_model()
    fuse_loras(together, [(one, 0.6), (other, 0.5)])
    fuse_loras(swapped, [(other, 0.5), (one, 0.6)])
    fuse_loras(apart, [(one, 0.6)])
    fuse_loras(apart, [(other, 0.5)])
    assert torch.allclose(together["wide"].weight, swapped["wide"].weight, atol=1e-6)
    assert torch.allclose(together["wide"].weight, apart["wide"].weight, atol=1e-6)


def test_strength_zero_and_the_opposite_strength_change_nothing(tmp_path):
    lora = read_lora(written(tmp_path / "x.safetensors", pair("wide", 6, 4, rank=3)))
    model, before = a_model(), a_model()
    fuse_loras(model, [(lora, 0.0)])
    assert torch.equal(model["wide"].weight, before["wide"].weight)
    fuse_loras(model, [(lora, 1.0), (lora, -1.0)])
    assert torch.allclose(model["wide"].weight, before["wide"].weight, atol=1e-6)


def test_bfloat16_weights_are_rounded_once(tmp_path):
    tensors = {k: v.bfloat16() for k, v in pair("wide", 6, 4, rank=3).items()}
    lora = read_lora(written(tmp_path / "x.safetensors", tensors))
    model, before = a_model(torch.bfloat16), a_model(torch.bfloat16)
    fuse_loras(model, [(lora, 0.3)])
    down, up = (tensor.float() for tensor in tensors.values())
    expected = (before["wide"].weight.float() + 0.3 * up @ down).bfloat16()
    assert model["wide"].weight.dtype == torch.bfloat16
    assert torch.equal(model["wide"].weight, expected)


def test_changes_of_the_text_projection_are_left_out(tmp_path):
    extra = {
        "text_embedding_projection.aggregate_embed.lora_A.weight": torch.zeros(1, 3),
        "text_embedding_projection.aggregate_embed.lora_B.weight": torch.zeros(3, 1),
    }
    path = written(tmp_path / "x.safetensors", pair("wide", 6, 4, rank=3) | extra)
    assert set(read_lora(path).changes) == {"wide"}


WIDE = pair("wide", 6, 4, rank=3)
PROJECTION = "text_embedding_projection.aggregate_embed.lora_A.weight"


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"other.weight": torch.zeros(2, 2)}, "is not a LoRA"),
        ({"diffusion_model.wide.alpha": torch.zeros(1)}, "is not a LoRA"),
        (WIDE | {"diffusion_model.wide.alpha": torch.zeros(2)}, "more than one alpha"),
        (WIDE | {"diffusion_model.wide.alpha": torch.tensor(torch.inf)}, "by inf"),
        (WIDE | {"diffusion_model.wide.dora_scale": torch.ones(5, 1)}, r"norms \[5, 1\]"),
        ({"lora_unet_wide.hada_w1_a": torch.ones(4, 1)}, "no pair of matrices"),
        ({"lora_unet_wide.lokr_w1": torch.ones(4, 1)}, "no pair of matrices"),
        ({"lora_unet_wide.lokr_w1": torch.ones(4)}, "no matrix lokr_w1"),
        ({"lora_unet_wide.lokr_w1": torch.ones(1, 1), "x.lokr_t2": torch.ones(1)}, "of Tucker"),
        (WIDE | {"diffusion_model.wide.hada_w1_a": torch.ones(4, 1)}, "mixes kinds"),
        ({"lora_unet_wide.oft_blocks": torch.ones(4, 1)}, "it holds OFT"),
        ({"diffusion_model.wide.diff": torch.ones(4, 6)}, "it holds whole differences"),
        (WIDE | {"lora_te_wide.lora_up.weight": torch.ones(4, 1)}, "lora_te_wide"),
        ({"transformer.wide.lora_A.weight": torch.zeros(2, 2)}, "no pair of matrices"),
        ({"diffusion_model.wide.lora_A.weight": torch.zeros(3, 6)}, "no pair of matrices"),
        (WIDE | {"diffusion_model.wide.lora_B.weight": torch.zeros(4, 2)}, "the ranks 3 and 2"),
        (WIDE | {"diffusion_model.wide.lora_B.weight": torch.zeros(12)}, "no pair of matrices"),
        (WIDE | {"diffusion_model.wide.lora_down.weight": torch.zeros(3, 6)}, "'wide' twice"),
        (
            pair("proj_in", 6, 4, rank=3) | pair("patchify_proj", 6, 4, rank=3),
            "twice, under two names",
        ),
        ({PROJECTION: torch.zeros(1, 3)}, "no change of the transformer"),
    ],
)
def test_files_of_another_layout_are_refused(tmp_path, tensors, said):
    with pytest.raises(CheckpointError, match=rf"x\.safetensors.*{said}"):
        read_lora(written(tmp_path / "x.safetensors", tensors))


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        (pair("tall", 6, 4, rank=3), "none of the weights"),
        (WIDE | pair("tall", 6, 4, rank=3), "'tall', which this model lacks"),
        (WIDE | pair("narrow", 5, 2, rank=3), r"'narrow' as \[2, 5\], which is \[2, 4\]"),
    ],
)
def test_a_lora_for_another_model_changes_nothing(tmp_path, tensors, said):
    model, before = a_model(), a_model()
    with pytest.raises(CheckpointError, match=f"does not fit this model.*{said}"):
        fuse_loras(model, [(read_lora(written(tmp_path / "x.safetensors", tensors)), 1.0)])
    assert torch.equal(model["wide"].weight, before["wide"].weight)


def a_network():
    """Modules with the names of the transformer's, in both modalities."""
    torch.manual_seed(0)
    block = nn.ModuleDict(
        {
            "attn1": nn.ModuleDict(
                {"to_q": nn.Linear(6, 4), "to_out": nn.ModuleList([nn.Linear(4, 6)])}
            ),
            "audio_attn1": nn.ModuleDict({"to_q": nn.Linear(5, 4)}),
            "audio_to_video_attn": nn.ModuleDict({"to_k": nn.Linear(5, 4)}),
            "video_to_audio_attn": nn.ModuleDict({"to_k": nn.Linear(6, 4)}),
            "ff": nn.ModuleDict({"net": nn.ModuleList([nn.ModuleDict({"proj": nn.Linear(6, 8)})])}),
        }
    )
    return nn.ModuleDict(
        {
            "transformer_blocks": nn.ModuleList([block]),
            "patchify_proj": nn.Linear(3, 6),
            "audio_adaln_single": nn.ModuleDict({"linear": nn.Linear(4, 8)}),
        }
    )


MODULES = {
    name: (module.in_features, module.out_features)
    for name, module in a_network().named_modules()
    if isinstance(module, nn.Linear)
}


def matrices(rank=2, seed=3):
    """Of every module: down [r, in] and up [out, r]."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: (
            torch.randn(rank, inside, generator=generator),
            torch.randn(outside, rank, generator=generator),
        )
        for name, (inside, outside) in MODULES.items()
    }


def official(pairs):
    return {
        f"diffusion_model.{name}.lora_{end}.weight": matrix
        for name, pair in pairs.items()
        for end, matrix in zip("AB", pair, strict=True)
    }


def with_alpha(prefix, pairs, alpha, *, dots="."):
    """Down, up and alpha as kohya's and ComfyUI's programs name them."""
    tensors = {}
    for name, (down, up) in pairs.items():
        module = prefix + name.replace(".", dots)
        tensors |= {f"{module}.lora_down.weight": down, f"{module}.lora_up.weight": up}
        tensors[f"{module}.alpha"] = torch.tensor(float(alpha))
    return tensors


def of_diffusers(pairs, prefix="transformer.", ending="weight"):
    return {
        f"{prefix}{rename(name, TRANSFORMER_TO_DIFFUSERS)}.lora_{end}.{ending}": matrix
        for name, pair in pairs.items()
        for end, matrix in zip("AB", pair, strict=True)
    }


PEFT = {"lora_adapter_metadata": json.dumps({"transformer.r": 2, "transformer.lora_alpha": 1})}
SQUARE_ROOT = {
    "lora_adapter_metadata": json.dumps(
        {"transformer.r": 2, "transformer.lora_alpha": 2, "transformer.use_rslora": True}
    )
}

LAYOUTS = {
    "official": (official, {}, 1.0),
    "official with alpha": (lambda p: with_alpha("diffusion_model.", p, 1), {}, 0.5),
    "underscores": (lambda p: with_alpha("lora_unet_", p, 4, dots="_"), {}, 2.0),
    "diffusers": (of_diffusers, {}, 1.0),
    "diffusers with alpha": (of_diffusers, PEFT, 0.5),
    "diffusers, root of the rank": (of_diffusers, SQUARE_ROOT, 2 / 2**0.5),
    "PEFT": (lambda p: of_diffusers(p, "base_model.model.", "default.weight"), {}, 1.0),
    "PEFT over official names": (
        lambda p: {f"base_model.model.{n}": t for n, t in official(p).items()},
        {},
        1.0,
    ),
    "no prefix": (
        lambda p: {n.removeprefix("diffusion_model."): t for n, t in official(p).items()},
        {},
        1.0,
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_says_the_same(tmp_path, layout):
    write, metadata, scale = LAYOUTS[layout]
    pairs = matrices()
    path = tmp_path / "x.safetensors"
    save_checkpoint(path, write(pairs), metadata)
    lora = read_lora(path)
    assert lora.changes.keys() == MODULES.keys()
    network, before = a_network(), a_network()
    fuse_loras(network, [(lora, 0.5)])
    for name, (down, up) in pairs.items():
        expected = before.get_submodule(name).weight + 0.5 * scale * up @ down
        assert torch.allclose(network.get_submodule(name).weight, expected, atol=1e-5), name


def test_picture_and_sound_have_strengths_of_their_own(tmp_path):
    pairs = matrices()
    lora = read_lora(written(tmp_path / "x.safetensors", official(pairs)))
    network, before = a_network(), a_network()
    fuse_loras(network, [(lora, Strengths(video=0.75, audio=0.0))])
    unchanged = {
        name
        for name in MODULES
        if torch.equal(network.get_submodule(name).weight, before.get_submodule(name).weight)
    }
    assert unchanged == {
        "transformer_blocks.0.audio_attn1.to_q",
        "transformer_blocks.0.video_to_audio_attn.to_k",
        "audio_adaln_single.linear",
    }
    down, up = pairs["patchify_proj"]
    assert torch.allclose(
        network["patchify_proj"].weight, before["patchify_proj"].weight + 0.75 * up @ down
    )


def loha(module, inside, outside, generator, alpha):
    """LoHa as LyCORIS writes it, and what it adds, element by element."""
    shapes = {"w1_a": (outside, 2), "w1_b": (2, inside), "w2_a": (outside, 3), "w2_b": (3, inside)}
    m = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    added = alpha / 2 * (m["w1_a"] @ m["w1_b"]) * (m["w2_a"] @ m["w2_b"])
    return {f"{module}.hada_{name}": matrix for name, matrix in m.items()}, added


def lokr(module, inside, outside, generator, alpha, *, whole=False):
    """LoKr of a small left factor, whose right one is a product unless `whole`."""
    left_shape = (2 - outside % 2, 2 - inside % 2)
    rows, columns = outside // left_shape[0], inside // left_shape[1]
    left = torch.randn(left_shape, generator=generator)
    if whole:
        right, scale = torch.randn(rows, columns, generator=generator), 1.0
        tensors = {"w1": left, "w2": right}
    else:
        a, b = (
            torch.randn(rows, 4, generator=generator),
            torch.randn(4, columns, generator=generator),
        )
        right, scale = a @ b, alpha / 4
        tensors = {"w1": left, "w2_a": a, "w2_b": b}
    added = torch.zeros(outside, inside)
    for i in range(left_shape[0]):
        for j in range(left_shape[1]):
            block = added[i * rows : (i + 1) * rows, j * columns : (j + 1) * columns]
            block += scale * left[i, j] * right
    return {f"{module}.lokr_{name}": matrix for name, matrix in tensors.items()}, added


def decomposed(weight, added, magnitude):
    """DoRA's formula, row by row or column by column."""
    changed = weight + added
    if magnitude.shape[1] == 1:
        rows = [m * row / row.norm() for m, row in zip(magnitude[:, 0], changed, strict=True)]
        return torch.stack(rows)
    columns = [
        m * column / column.norm() for m, column in zip(magnitude[0], changed.T, strict=True)
    ]
    return torch.stack(columns, dim=1)


def kin(kind, seed, alpha=3.0):
    """Tensors of a file in the layout of LyCORIS, and every changed weight by its module."""
    generator = torch.Generator().manual_seed(seed)
    network = a_network()
    tensors, changed = {}, {}
    for name, (inside, outside) in MODULES.items():
        module = f"lycoris_{name.replace('.', '_')}"
        weight = network.get_submodule(name).weight.detach()
        if "LoHa" in kind:
            own, added = loha(module, inside, outside, generator, alpha)
        elif "LoKr" in kind:
            own, added = lokr(module, inside, outside, generator, alpha, whole="whole" in kind)
        else:
            down = torch.randn(2, inside, generator=generator)
            up = torch.randn(outside, 2, generator=generator)
            own = {f"{module}.lora_down.weight": down, f"{module}.lora_up.weight": up}
            added = alpha / 2 * up @ down
        own[f"{module}.alpha"] = torch.tensor(alpha)
        changed[name] = weight + added
        if "DoRA" in kind:
            shape = (1, inside) if "columns" in kind else (outside, 1)
            magnitude = torch.rand(shape, generator=generator) + 0.5
            of_peft = "PEFT" in kind
            ending = "lora_magnitude_vector.weight" if of_peft else "dora_scale"
            own[f"{module}.{ending}"] = magnitude[:, 0] if of_peft else magnitude
            changed[name] = decomposed(weight, added, magnitude)
        tensors |= own
    return tensors, changed


KINDS = (
    *("LoHa", "LoKr", "LoKr whole", "DoRA of PEFT", "DoRA", "DoRA of columns"),
    *("DoRA over LoHa", "DoRA over LoKr", "DoRA of columns over LoKr"),
)


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_kin_of_loras_change_weights_by_their_formulas_and_come_off_to_the_bit(
    tmp_path, kind, live
):
    tensors, changed = kin(kind, seed=5)
    lora = read_lora(written(tmp_path / "x.safetensors", tensors))
    assert lora.changes.keys() == MODULES.keys()
    network, before = a_network(), a_network()
    stack = LoraStack(network)
    strengths = Strengths(video=0.75, audio=-0.5)
    stack.put_on([(lora, strengths)], live=live)
    for name, (inside, _) in MODULES.items():
        layer, own = network.get_submodule(name), before.get_submodule(name)
        weight = own.weight + strengths.for_module(name) * (changed[name] - own.weight)
        x = torch.randn(2, 3, inside)
        torch.testing.assert_close(layer(x), nn.functional.linear(x, weight, own.bias))
        assert isinstance(layer, LiveLora) == live
    stack.take_off()
    state = before.state_dict()
    assert network.state_dict().keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


def test_kin_over_fewer_bits_are_live_over_what_the_bits_stand_for(tmp_path):
    loras = []
    for seed, kind in enumerate(KINDS):
        path = written(tmp_path / f"{seed}.safetensors", kin(kind, seed)[0])
        loras.append((read_lora(path), 0.2))
    network, whole = a_network(), a_network()
    quantize_linears(network, "int8", lambda name, _: True)
    network.requires_grad_(False)
    with torch.no_grad():
        for name in MODULES:
            whole.get_submodule(name).weight.copy_(network.get_submodule(name).dequantized())
    LoraStack(network).put_on(loras)
    fuse_loras(whole, loras)
    expected = outputs(whole)
    for name, output in outputs(network).items():
        torch.testing.assert_close(output, expected[name], atol=2e-4, rtol=1e-4)


def test_a_dora_over_weights_that_stay_in_files_needs_them_and_says_so(tmp_path):
    lora = read_lora(written(tmp_path / "x.safetensors", kin("DoRA", seed=1)[0]))
    network = a_network().to("meta")
    plain = read_lora(written(tmp_path / "plain.safetensors", kin("LoRA", seed=1)[0]))
    first = next(iter(plain.changes))
    before = replace(plain, changes={first: plain.changes[first]})
    dora = replace(lora, changes={k: v for k, v in lora.changes.items() if k != first})
    with pytest.raises(CheckpointError, match="--offload cpu"):
        LoraStack(network).put_on([(before, 1.0), (dora, 1.0)])
    assert not any(isinstance(layer, LiveLora) for layer in network.modules())
    weights = a_network().state_dict()
    LoraStack(network, lambda module: weights[f"{module}.weight"]).put_on([(lora, 1.0)])


def outputs(network):
    generator = torch.Generator().manual_seed(4)
    return {
        name: network.get_submodule(name)(torch.randn(3, inside, generator=generator))
        for name, (inside, _) in MODULES.items()
    }


@pytest.mark.parametrize("kind", ["plain", "int8", "fp8"])
@pytest.mark.parametrize("live", [False, True])
def test_loras_come_off_to_the_bit_and_live_ones_change_what_fused_ones_do(tmp_path, kind, live):
    loras = [
        (
            read_lora(written(tmp_path / f"{seed}.safetensors", official(matrices(seed=seed)))),
            factor,
        )
        for seed, factor in ((1, 0.6), (2, Strengths(-0.5, 0.3)))
    ]
    network, fused = a_network(), a_network()
    if kind != "plain":
        for one in (network, fused):
            quantize_linears(one, kind, lambda name, _: name.startswith("transformer_blocks."))
            one.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    stack = LoraStack(network)
    stack.put_on(loras, live=live)
    fuse_loras(fused, loras)
    changed, expected = outputs(network), outputs(fused)
    for name, output in changed.items():
        assert torch.allclose(output, expected[name], atol=2e-5), name
        assert not torch.allclose(output, outputs(a_network())[name], atol=0.1), name
    stack.put_on(loras[:1], live=not live)  # in the place of both
    stack.take_off()
    after = network.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_bits_are_never_fused(tmp_path):
    lora = read_lora(written(tmp_path / "x.safetensors", official(matrices())))
    network = a_network()
    quantize_linears(network, "int8", lambda name, _: name.endswith("to_q"))
    fuse_loras(network, [(lora, 1.0)])
    kinds = {name: type(network.get_submodule(name)) for name in MODULES}
    assert {name for name, kind in kinds.items() if kind is LiveLora} == {
        "transformer_blocks.0.attn1.to_q",
        "transformer_blocks.0.audio_attn1.to_q",
    }


def test_a_lora_that_does_not_fit_leaves_the_one_before_off_and_the_weights_whole(tmp_path):
    good = read_lora(written(tmp_path / "good.safetensors", official(matrices())))
    other = read_lora(written(tmp_path / "other.safetensors", pair("tall", 6, 4, rank=3)))
    network, before = a_network(), a_network()
    stack = LoraStack(network)
    stack.put_on([(good, 1.0)])
    with pytest.raises(CheckpointError, match="none of the weights"):
        stack.put_on([(good, 1.0), (other, 1.0)])
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before.state_dict()[name])


def test_a_stack_over_another_gives_it_back(tmp_path):
    lora = read_lora(written(tmp_path / "x.safetensors", official(matrices())))
    network = a_network()
    LoraStack(network).put_on([(lora, 0.7)], live=True)
    below = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    above = LoraStack(network)
    above.put_on([(lora, 1.0)])
    above.take_off()
    assert all(torch.equal(tensor, below[name]) for name, tensor in network.state_dict().items())


@given(data=st.data())
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_damage_to_a_lora_is_an_error_of_ours_or_harmless(tmp_path, data):
    write, metadata, _ = LAYOUTS[data.draw(st.sampled_from(sorted(LAYOUTS)))]
    tensors = write(matrices())
    if data.draw(st.booleans()):
        tensors = kin(data.draw(st.sampled_from(KINDS)), seed=1)[0]
    name = data.draw(st.sampled_from(sorted(tensors)))
    change = data.draw(st.sampled_from(["away", "shape", "type", "rename"]))
    old = tensors.pop(name)
    if change == "shape":
        shape = data.draw(st.lists(st.integers(0, 7), max_size=3))
        tensors[name] = torch.zeros(shape)
    elif change == "type":
        tensors[name] = old.to(data.draw(st.sampled_from([torch.int32, torch.bool, torch.float64])))
    elif change == "rename":
        tensors[data.draw(st.text("abc._0", min_size=1, max_size=9)) + name] = old
    if change == "away" and data.draw(st.booleans()):
        metadata = {
            "lora_adapter_metadata": data.draw(
                st.sampled_from(["", "[]", "{", '{"transformer.lora_alpha": []}'])
            )
        }
    path = tmp_path / "x.safetensors"
    save_checkpoint(path, tensors, metadata)
    network = a_network()
    try:
        fuse_loras(network, [(read_lora(path), 1.0)])
    except CheckpointError:
        return
    assert all(tensor.isfinite().all() for tensor in network.state_dict().values())
