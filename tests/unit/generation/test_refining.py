import numpy as np
import pytest
import torch

import ltx2
from ltx2.checkpoint.lora_stack import LiveLora
from ltx2.checkpoint.reader import save_checkpoint
from ltx2.errors import CheckpointError
from ltx2.model.linear import Linear
from ltx2.runtime import small
from tests.tiny_checkpoint import write_tiny_model, write_tiny_upsampler

REQUEST = ltx2.Request(
    prompt="a ball", width=128, height=128, num_frames=9, num_steps=4, upscale=("space",)
)
CHANGED = "transformer_blocks.0.attn1.to_q"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model with its spatial upsampler."""
    folder = write_tiny_model(tmp_path_factory.mktemp("models") / "tiny")
    write_tiny_upsampler(folder / "space.safetensors", "space")
    return folder


def write_lora(path, folder, size):
    """A random LoRA, changing weights by about `size`."""
    rows, columns = ltx2.load(folder).networks.transformer.get_submodule(CHANGED).weight.shape
    torch.manual_seed(1)
    lora = {"A": torch.randn(2, columns), "B": size * torch.randn(rows, 2)}
    names = {f"diffusion_model.{CHANGED}.lora_{half}.weight": x for half, x in lora.items()}
    save_checkpoint(path, names, {})
    return path


@pytest.fixture(scope="module")
def refiner(folder, tmp_path_factory):
    """A LoRA as large as to be seen, in a folder of its own."""
    path = tmp_path_factory.mktemp("loras") / "ltx-2-19b-distilled-lora-384.safetensors"
    return write_lora(path, folder, size=1.0)


def make(pipeline):
    """The clip, steps of refining, and the layer that the LoRA changes in each stage."""
    steps, layers = {}, {}

    def listen(progress):
        steps[progress.stage] = progress.total
        if progress.step:  # before that, the LoRA is not on
            layer = pipeline.networks.transformer.get_submodule(CHANGED)
            layers.setdefault(progress.stage, type(layer))

    return pipeline(REQUEST, on_progress=listen), steps["refine"], layers


def test_a_refining_lora_is_on_while_the_transformer_refines_and_leaves_no_trace(
    folder, refiner, tmp_path
):
    idle = write_lora(tmp_path / "idle.safetensors", folder, size=0.0)
    unchanged = make(ltx2.load(folder, refiner=idle))[0]
    pipeline = ltx2.load(folder, refiner=refiner)
    before = {n: t.clone() for n, t in pipeline.networks.transformer.state_dict().items()}
    refined, steps, layers = make(pipeline)
    assert steps == 3
    assert not np.array_equal(refined.frames, unchanged.frames)
    assert layers["denoise"] is layers["refine"] is Linear
    after = pipeline.networks.transformer.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert np.array_equal(make(pipeline)[0].frames, refined.frames)
    assert refined.recipe.refiner.file == refiner.name
    assert pipeline.differences_from(refined.recipe) == ()
    (sentence,) = ltx2.load(folder, refiner=idle).differences_from(refined.recipe)
    assert "was refined with the LoRA ltx-2-19b-distilled-lora-384.safetensors" in sentence
    older = refined.recipe.model_copy(update={"refiner": None, "computation": None})
    assert pipeline.differences_from(older) == ()  # it does not know


def test_it_is_found_by_its_name_beside_the_model(folder, refiner):
    expected = make(ltx2.load(folder, refiner=refiner))[0]
    beside = folder / refiner.name
    beside.write_bytes(refiner.read_bytes())
    try:
        assert np.array_equal(make(ltx2.load(folder))[0].frames, expected.frames)
    finally:
        beside.unlink()


@pytest.mark.parametrize("offload", ["none", "disk"])
def test_large_weights_that_wait_in_main_memory_are_not_copied(
    folder, refiner, offload, monkeypatch
):
    expected = make(ltx2.load(folder, refiner=refiner))[0]
    pipeline = ltx2.load(folder, device="cpu", refiner=refiner, offload=offload)
    monkeypatch.setattr(small, "SMALL_MODEL_PARAMETERS", 1)
    made, _, layers = make(pipeline)
    assert layers["denoise"] is Linear
    assert layers["refine"] is LiveLora
    assert isinstance(pipeline.networks.transformer.get_submodule(CHANGED), Linear)
    assert np.abs(made.frames.astype(int) - expected.frames).max() <= 1


def test_a_refiner_that_is_not_there_is_told_on_loading(folder):
    with pytest.raises(CheckpointError, match="no LoRA 'nothing'"):
        ltx2.load(folder, refiner="nothing")
