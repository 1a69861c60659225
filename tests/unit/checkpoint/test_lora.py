import pytest
import torch
from torch import nn

from ltx2.checkpoint.lora import fuse_loras, read_lora
from ltx2.checkpoint.reader import save_checkpoint
from ltx2.errors import CheckpointError


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
        (WIDE | {"diffusion_model.wide.alpha": torch.zeros(1)}, "wide.alpha"),
        ({"transformer.wide.lora_A.weight": torch.zeros(2, 2)}, "transformer.wide"),
        ({"diffusion_model.wide.lora_A.weight": torch.zeros(3, 6)}, "no pair of matrices"),
        (WIDE | {"diffusion_model.wide.lora_B.weight": torch.zeros(4, 2)}, "the ranks 3 and 2"),
        (WIDE | {"diffusion_model.wide.lora_B.weight": torch.zeros(12)}, "no pair of matrices"),
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
