import json

import pytest
import torch

from ltx2.checkpoint.catalog import find_model
from ltx2.checkpoint.loader import load_upsampler
from ltx2.checkpoint.reader import CheckpointFile, save_checkpoint
from ltx2.checkpoint.upsamplers import find_upsamplers, is_temporal
from tests.tiny_checkpoint import write_tiny_model, write_tiny_upsampler


def test_upsamplers_beside_a_model_are_found_and_told_apart(tmp_path):
    folder = write_tiny_model(tmp_path / "tiny")
    write_tiny_upsampler(folder / "a-time.safetensors", "time")
    write_tiny_upsampler(folder / "b-space.safetensors", "space")
    found = find_upsamplers(find_model(folder))
    assert [(file.path.name, is_temporal(file)) for file in found] == [
        ("a-time.safetensors", True),
        ("b-space.safetensors", False),
    ]


def test_what_cannot_be_used_is_left_out_and_does_no_harm(tmp_path, caplog):
    """LTX-2.3 also has an upsampler by one and a half."""
    folder = write_tiny_model(tmp_path / "tiny")
    good = write_tiny_upsampler(folder / "space.safetensors", "space")
    file = CheckpointFile.open(good)
    config = json.dumps({**file.config, "spatial_scale": 1.5})
    save_checkpoint(folder / "x1.5.safetensors", file.read(file.tensors), {"config": config})
    save_checkpoint(folder / "silent.safetensors", file.read(file.tensors), {})
    (folder / "broken.safetensors").write_bytes(b"no")
    assert [one.path.name for one in find_upsamplers(find_model(folder))] == ["space.safetensors"]
    assert sum("left out" in record.message for record in caplog.records) == 3


@pytest.mark.parametrize("is_rational", [True, False])
def test_the_upsampler_in_a_folder_of_diffusers_enlarges_as_it_does_there(tmp_path, is_rational):
    pytest.importorskip("diffusers")
    from diffusers.pipelines.ltx2.latent_upsampler import LTX2LatentUpsamplerModel

    torch.manual_seed(0)
    theirs = LTX2LatentUpsamplerModel(
        in_channels=8,
        mid_channels=32,
        num_blocks_per_stage=1,
        rational_spatial_scale=2.0,
        use_rational_resampler=is_rational,
    ).eval()
    folder = write_tiny_model(tmp_path / "tiny")
    theirs.save_pretrained(folder / "latent_upsampler")
    (file,) = find_upsamplers(find_model(folder))
    ours = load_upsampler(file, dtype=torch.float32, device="cpu")
    latents = torch.randn(1, 8, 2, 3, 4)
    with torch.no_grad():
        torch.testing.assert_close(ours(latents), theirs(latents), atol=1e-5, rtol=1e-5)
    (folder / "latent_upsampler" / "config.json").unlink()
    assert find_upsamplers(find_model(folder)) == []
