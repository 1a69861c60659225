import numpy as np
import pytest
import torch

import ltx2
from ltx2 import pipeline as pipeline_module
from ltx2.checkpoint.catalog import find_model
from ltx2.checkpoint.loader import load_networks
from ltx2.errors import RequestError
from ltx2.runtime.visitors import VISITORS, visits
from tests.tiny_checkpoint import write_tiny_model
from tests.unit.checkpoint.test_quantized import LAYOUTS, encoded

REQUEST = ltx2.Request(
    prompt="a ball", negative_prompt="a puppet", width=64, height=64, num_frames=9, num_steps=2
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def usual(request, folder):
    """Type of numbers, and the clip that they give when all weights are on the device."""
    return request.param, ltx2.load(folder, dtype=request.param, offload="none")(REQUEST)


@pytest.mark.parametrize("offload", ["cpu", "disk"])
def test_a_clip_made_with_weights_that_visit_is_the_same_to_the_bit(folder, usual, offload):
    dtype, expected = usual
    made = ltx2.load(folder, dtype=dtype, offload=offload)(REQUEST)
    assert np.array_equal(made.frames, expected.frames)
    assert np.array_equal(made.waveform, expected.waveform)


def test_files_are_read_where_the_system_cannot_read_into_memory_at_a_place(
    folder, usual, monkeypatch
):
    """As on Windows; in pieces, of which the last is short."""
    dtype, expected = usual
    monkeypatch.delattr("os.preadv")
    monkeypatch.setattr("ltx2.checkpoint.stored._PIECE", 5000)
    made = ltx2.load(folder, dtype=dtype, offload="disk")(REQUEST)
    assert np.array_equal(made.frames, expected.frames)


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_bits_of_quantised_files_visit_too(tmp_path, layout):
    folder = write_tiny_model(tmp_path / "tiny", encoded(layout)[0])
    expected = ltx2.load(folder, offload="none")(REQUEST)
    for offload in ("cpu", "disk"):
        made = ltx2.load(folder, offload=offload)(REQUEST)
        assert np.array_equal(made.frames, expected.frames)
        assert np.array_equal(made.waveform, expected.waveform)


@pytest.mark.parametrize("quantization", ["int8", "fp8"])
def test_weights_in_8_bits_visit_from_main_memory(folder, quantization):
    options = {"dtype": "float32", "quantization": quantization}
    expected = ltx2.load(folder, offload="none", **options)(REQUEST)
    made = ltx2.load(folder, offload="cpu", **options)(REQUEST)
    assert np.array_equal(made.frames, expected.frames)
    assert np.array_equal(made.waveform, expected.waveform)


def test_left_on_disk_only_what_does_not_visit_takes_memory(folder):
    loaded = ltx2.load(folder, offload="disk")
    text = loaded._load_text()
    for name, tensor in loaded.networks.transformer.state_dict().items():
        assert tensor.is_meta == name.startswith("transformer_blocks.")
    networks = loaded.networks
    away = [networks.projection, networks.video_connector, networks.audio_connector]
    away += [networks.video_vae.encoder, networks.video_vae.decoder, text.encoder]
    for network in away:
        assert all(tensor.is_meta for tensor in network.parameters())
    for network in (networks.audio_vae, networks.vocoder):
        assert not any(tensor.is_meta for tensor in network.parameters())


def test_nothing_else_has_weights_worth_sending_away(folder):
    found = find_model(folder)
    networks = load_networks(found.file, dtype=torch.float32, device="meta", stays=visits)
    assert sum(tensor.numel() for tensor in networks.transformer.parameters())
    assert {component.name for component in VISITORS} == {
        "transformer",
        "feature projection",
        "video connector",
        "audio connector",
        "video autoencoder",
    }


def test_a_lora_changes_weights_that_visit_wherever_they_wait(folder, tmp_path):
    from ltx2.checkpoint.reader import save_checkpoint

    weight = ltx2.load(folder).networks.transformer.transformer_blocks[0].attn1.to_q.weight
    rows, columns = weight.shape
    name = "diffusion_model.transformer_blocks.0.attn1.to_q"
    lora = {
        f"{name}.lora_A.weight": torch.ones(1, columns),
        f"{name}.lora_B.weight": torch.ones(rows, 1),
    }
    save_checkpoint(tmp_path / "l.safetensors", lora, {})
    chosen = [(tmp_path / "l.safetensors", 0.1)]
    plain = ltx2.load(folder, offload="none")(REQUEST)
    live = ltx2.load(folder, offload="none", loras=chosen, live_loras=True)(REQUEST)
    fused = ltx2.load(folder, offload="none", loras=chosen)(REQUEST)
    for offload, expected in (("cpu", fused), ("disk", live)):
        loaded = ltx2.load(folder, offload=offload, loras=chosen)
        assert np.array_equal(loaded(REQUEST).frames, expected.frames)
        assert not np.array_equal(expected.frames, plain.frames)
        # The next block had been fetched already when the LoRA came off, and again on.
        loaded.use_loras(())
        assert np.array_equal(loaded(REQUEST).frames, plain.frames)
        loaded.use_loras(chosen)
        assert np.array_equal(loaded(REQUEST).frames, expected.frames)


def test_an_unknown_offload_is_refused(folder):
    with pytest.raises(RequestError, match="auto, none, cpu, disk"):
        ltx2.load(folder, offload="tape")


def test_prompts_of_a_large_model_are_remembered_and_need_no_text_encoder(
    folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(pipeline_module, "SMALL_MODEL_PARAMETERS", 1)
    first = ltx2.load(folder, prompt_cache=tmp_path)
    expected = first(REQUEST)
    assert len(list(tmp_path.iterdir())) == 2
    second = ltx2.load(folder, prompt_cache=tmp_path)
    second._load_text = lambda: pytest.fail("the text encoder was loaded")
    assert np.array_equal(second(REQUEST).frames, expected.frames)
    other = ltx2.load(folder, dtype="bfloat16", prompt_cache=tmp_path)
    other(REQUEST)
    assert len(list(tmp_path.iterdir())) == 4


def test_small_models_remember_nothing_on_disk(folder, tmp_path):
    ltx2.load(folder, prompt_cache=tmp_path)(REQUEST)
    assert list(tmp_path.iterdir()) == []
