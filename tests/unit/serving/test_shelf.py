"""Folders of models laid out like ComfyUI's, with headers of the published sizes and no weights."""

import json
import struct

import pytest
import torch

from ltx2.checkpoint.catalog import TEXT_ENCODER_NAME
from ltx2.checkpoint.reader import save_checkpoint
from ltx2.serving import shelf
from ltx2.serving.models import open_offers
from ltx2.serving.shelf import downloads_root, find_weights, roots_of
from ltx2.settings import Settings
from tests.unit.checkpoint.test_text_encoders import a_gemma, tensors_of


def a_file(path, *names):
    """A sound safetensors file of one number in each tensor."""
    header = {
        name: {"dtype": "F32", "shape": [1, 1], "data_offsets": [4 * i, 4 * i + 4]}
        for i, name in enumerate(names)
    }
    raw = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + bytes(4 * len(names)))
    return path


BLOCK = "diffusion_model.transformer_blocks.0."
SOUND = f"{BLOCK}audio_attn1.to_q"


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "comfy"
    a_file(root / "loras" / "dance.safetensors", f"{SOUND}.lora_A.weight", f"{SOUND}.lora_B.weight")
    a_file(root / "loras" / "deep" / "ltx-2-zoom.safetensors", f"{BLOCK}attn1.to_q.lora_A.weight")
    a_file(root / "loras" / "other-model.safetensors", "lora_unet_down.lora_A.weight")
    (root / "loras" / "broken.safetensors").write_bytes(b"no")
    a_file(root / "checkpoints" / "sdxl.safetensors", "model.diffusion_model.input")
    a_file(root / "text_encoders" / "gemma_fp8.safetensors", "a")
    encoder = root / "text_encoders" / TEXT_ENCODER_NAME
    a_file(encoder / "model.safetensors", "a")
    (encoder / "config.json").write_text("{}")
    return root


def test_only_what_is_of_ltx_2_is_found(root):
    assert [(item.kind, item.name) for item in find_weights([root])] == [
        ("LoRA", "dance"),
        ("LoRA", "ltx-2-zoom"),
        ("text encoder", TEXT_ENCODER_NAME),
    ]


def test_loras_of_other_programs_are_found_as_well(root):
    block = "transformer.transformer_blocks.0."
    a_file(
        root / "loras" / "of-diffusers.safetensors",
        f"{block}audio_attn1.to_q.lora_A.weight",
        f"{block}audio_attn1.to_q.lora_B.weight",
    )
    a_file(
        root / "loras" / "LTX2_pan.safetensors",
        "lora_unet_transformer_blocks_0_attn1_to_q.lora_down.weight",
        "lora_unet_transformer_blocks_0_attn1_to_q.lora_up.weight",
    )
    names = {item.name for item in find_weights([root]) if item.kind == "LoRA"}
    assert names == {"dance", "ltx-2-zoom", "of-diffusers", "LTX2_pan"}


def test_an_official_file_is_known_by_its_tensors(root, monkeypatch):
    path = a_file(root / "diffusion_models" / "renamed-distilled.safetensors", "x", "y")
    from ltx2.checkpoint.reader import CheckpointFile

    fingerprint = CheckpointFile.open(path).fingerprint
    monkeypatch.setattr("ltx2.checkpoint.catalog.FINGERPRINT_19B", fingerprint)
    (model,) = (item for item in find_weights([root]) if item.kind == "model")
    assert model.name == "ltx-2-19b-distilled"
    assert model.licence == "LTX-2 Community License"
    offers = open_offers(Settings(data=root / "none", comfyui_models=root))
    assert offers[-1].name == "ltx-2-19b-distilled"
    assert set(offers[-1].loras) == {"dance", "ltx-2-zoom"}
    assert "dance" not in offers[0].loras
    (chosen,) = open_offers(
        Settings("ltx-2-19b-distilled", data=root / "none", comfyui_models=root)
    )
    assert chosen.name == "ltx-2-19b-distilled"


def test_the_same_file_in_two_folders_is_listed_once(root, tmp_path):
    (tmp_path / "again").symlink_to(root)
    assert len(find_weights([root, tmp_path / "again"])) == 3


def test_downloads_lie_beside_the_clips_and_comfyui_is_looked_at_when_named(root, tmp_path):
    settings = Settings(data=tmp_path, comfyui_models=root)
    assert roots_of(settings) == (tmp_path / "models", root)
    assert roots_of(Settings(data=tmp_path)) == (downloads_root(settings),)


def test_folders_that_are_not_there_hold_nothing(tmp_path):
    assert find_weights([tmp_path / "none"]) == ()


def test_a_single_file_with_its_tokenizer_is_a_text_encoder(tmp_path, monkeypatch):
    monkeypatch.setattr(shelf, "GEMMA_3_12B", 3 * a_gemma().config.hidden_size)
    folder = tmp_path / "text_encoders"
    folder.mkdir()
    save_checkpoint(folder / "gemma_3_12B_it.safetensors", tensors_of(a_gemma()), {})
    save_checkpoint(folder / "mute.safetensors", tensors_of(a_gemma(), spiece=False), {})
    save_checkpoint(folder / "t5.safetensors", {"encoder.weight": torch.zeros(2, 2)}, {})
    (found,) = find_weights([tmp_path])
    assert (found.kind, found.name) == ("text encoder", "gemma_3_12B_it")
    assert found.path == folder / "gemma_3_12B_it.safetensors"
