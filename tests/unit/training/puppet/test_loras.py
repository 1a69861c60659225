"""The LoRAs beside the embedded checkpoint."""

import shutil

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from ltx2.checkpoint.catalog import embedded_models, find_model
from ltx2.checkpoint.lora import read_lora
from ltx2.training.puppet import loras
from ltx2.training.puppet.stages import LOGS

needs_voices = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="needs espeak-ng")


@pytest.mark.slow
@needs_voices
def test_a_lora_is_trained_like_anybodys_and_lies_beside_the_model(tmp_path, monkeypatch):
    monkeypatch.setattr(loras, "CLIPS", 2)
    monkeypatch.setattr(loras, "BATCH", 1)
    source = find_model(embedded_models()[0]).file.path.parent
    target = tmp_path / "puppet"
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("loras", "training"))
    file = loras.train_lora(tmp_path / "work", target, "blueprint", steps=10)
    assert file == target / "loras" / "blueprint.safetensors"
    assert read_lora(file).name == "blueprint.safetensors"
    assert f"{loras.log_name('blueprint')}" in LOGS
    assert (target / "training" / f"{loras.log_name('blueprint')}.jsonl").exists()
    assert file.stat().st_size < 2**21


def test_a_stronger_copy_does_at_once_what_took_a_higher_strength(tmp_path):
    source, target = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    down, up = torch.randn(2, 4), torch.randn(3, 2)
    names = ("x.lora_A.weight", "x.lora_B.weight")
    save_file(dict(zip(names, (down, up), strict=True)), source, {"steps": "5"})
    loras.write_stronger(source, target, 1.5)
    with safe_open(target, "pt") as file:
        assert file.metadata() == {"steps": "5"}
        assert torch.allclose(
            file.get_tensor(names[1]) @ file.get_tensor(names[0]), 1.5 * up @ down
        )
