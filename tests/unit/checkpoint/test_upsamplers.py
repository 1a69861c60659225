import json

import pytest
import torch

from ltx2.checkpoint.catalog import find_model
from ltx2.checkpoint.loader import load_upsampler
from ltx2.checkpoint.reader import CheckpointFile, save_checkpoint
from ltx2.checkpoint.upsamplers import enlarging_of, find_upsamplers
from tests.tiny_checkpoint import write_tiny_model, write_tiny_upsampler


def test_upsamplers_beside_a_model_are_found_and_told_apart(tmp_path):
    folder = write_tiny_model(tmp_path / "tiny")
    write_tiny_upsampler(folder / "a-time.safetensors", "time")
    write_tiny_upsampler(folder / "b-space.safetensors", "space")
    write_tiny_upsampler(folder / "c-half.safetensors", "space-1.5")
    found = find_upsamplers(find_model(folder))
    assert [(file.path.name, enlarging_of(file)) for file in found] == [
        ("a-time.safetensors", "time"),
        ("b-space.safetensors", "space"),
        ("c-half.safetensors", "space-1.5"),
    ]


def test_upsamplers_are_found_in_the_folder_of_comfyui(tmp_path):
    folder = write_tiny_model(tmp_path / "models" / "checkpoints" / "tiny")
    (tmp_path / "models" / "latent_upscale_models" / "ltx").mkdir(parents=True)
    write_tiny_upsampler(
        tmp_path / "models" / "latent_upscale_models" / "ltx" / "half.safetensors", "space-1.5"
    )
    (file,) = find_upsamplers(find_model(folder))
    assert enlarging_of(file) == "space-1.5"


def test_what_cannot_be_used_is_left_out_and_does_no_harm(tmp_path, caplog):
    folder = write_tiny_model(tmp_path / "tiny")
    good = write_tiny_upsampler(folder / "space.safetensors", "space")
    file = CheckpointFile.open(good)
    config = json.dumps({**file.config, "spatial_scale": 3.0})
    save_checkpoint(folder / "x3.safetensors", file.read(file.tensors), {"config": config})
    save_checkpoint(folder / "silent.safetensors", file.read(file.tensors), {})
    (folder / "broken.safetensors").write_bytes(b"no")
    assert [one.path.name for one in find_upsamplers(find_model(folder))] == ["space.safetensors"]
    assert sum("left out" in record.message for record in caplog.records) == 3


@pytest.mark.parametrize(("scale", "is_rational"), [(2.0, True), (1.5, True), (2.0, False)])
def test_the_upsampler_in_a_folder_of_diffusers_enlarges_as_it_does_there(
    tmp_path, scale, is_rational
):
    pytest.importorskip("diffusers")
    from diffusers.pipelines.ltx2.latent_upsampler import LTX2LatentUpsamplerModel

    torch.manual_seed(0)
    theirs = LTX2LatentUpsamplerModel(
        in_channels=8,
        mid_channels=32,
        num_blocks_per_stage=1,
        rational_spatial_scale=scale,
        use_rational_resampler=is_rational,
    ).eval()
    folder = write_tiny_model(tmp_path / "tiny")
    theirs.save_pretrained(folder / "latent_upsampler")
    (file,) = find_upsamplers(find_model(folder))
    ours = load_upsampler(file, dtype=torch.float32, device="cpu")
    latents = torch.randn(1, 8, 2, 6, 4)
    with torch.no_grad():
        torch.testing.assert_close(ours(latents), theirs(latents), atol=1e-5, rtol=1e-5)
    (folder / "latent_upsampler" / "config.json").unlink()
    assert find_upsamplers(find_model(folder)) == []
