import json

from ltx2.checkpoint.catalog import find_model
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
