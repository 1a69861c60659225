import json
import subprocess
import sys

import pytest
import torch

from ltx2.checkpoint import sources
from ltx2.checkpoint.components import COMPONENTS
from ltx2.checkpoint.layouts import describe
from ltx2.checkpoint.reader import CheckpointFile, save_checkpoint
from ltx2.errors import CheckpointError
from tests.conftest import ROOT
from tests.tiny_checkpoint import tiny_checkpoint, tiny_config_2_3, write_tiny_model
from tests.unit.checkpoint.test_lora import LAYOUTS, matrices


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


def test_a_model_folder_is_described_completely(folder):
    shown = describe(folder)
    file = CheckpointFile.open(folder / "model.safetensors")
    assert (shown.model, shown.kind, shown.licence) == ("tiny", "LTX-2 model", "Apache-2.0")
    assert shown.fingerprint == file.fingerprint
    assert shown.size_bytes == (folder / "model.safetensors").stat().st_size
    assert shown.missing == ()
    names = [part.name for part in shown.components]
    assert names == [
        "transformer",
        "video connector",
        "audio connector",
        "feature projection",
        "video autoencoder",
        "audio autoencoder",
        "vocoder",
        "text encoder",
    ]
    of_file = shown.components[:-1]
    assert sum(part.num_tensors for part in of_file) == len(file.tensors)
    tensors = tiny_checkpoint().tensors
    assert sum(part.num_parameters for part in of_file) == sum(t.numel() for t in tensors.values())
    assert set(shown.components[0].dtypes) == {"BF16", "F32"}
    assert set(shown.components[1].dtypes) == {"BF16"}


def test_a_file_alone_is_described_like_its_folder(folder):
    assert describe(folder / "model.safetensors") == describe(folder)


def test_a_split_model_is_described_as_one(folder, tmp_path):
    tensors = tiny_checkpoint().tensors
    shared = {n: t for n, t in tensors.items() if n.startswith(("vae.", "audio_vae.", "vocoder."))}
    own = {n: t for n, t in tensors.items() if n not in shared}
    save_checkpoint(tmp_path / "shared.safetensors", shared, {})
    metadata = {"config": "{}", "companions": json.dumps(["shared.safetensors"])}
    save_checkpoint(tmp_path / "model.safetensors", own, metadata)
    shown, whole = describe(tmp_path, digest=True), describe(folder, digest=True)
    assert shown.components == whole.components[:-1]
    assert (shown.fingerprint, shown.digest) == (whole.fingerprint, whole.digest)
    assert (shown.missing, shown.companions) == (("text encoder",), ("shared.safetensors",))
    assert shown.size_bytes == sum(path.stat().st_size for path in tmp_path.iterdir())
    assert "with         shared.safetensors" in str(shown)
    assert whole.companions == ()


def test_missing_parts_are_listed(tmp_path):
    tensors = {
        k: v
        for k, v in tiny_checkpoint().tensors.items()
        if not k.startswith(("vocoder.", "audio_vae."))
    }
    save_checkpoint(tmp_path / "part.safetensors", tensors, {"config": "{}"})
    shown = describe(tmp_path / "part.safetensors")
    assert shown.missing == ("audio autoencoder", "vocoder", "text encoder")
    assert shown.licence is None
    assert "missing      audio autoencoder, vocoder, text encoder" in str(shown)


def test_the_description_reads_well_and_as_json(folder):
    shown = describe(folder, digest=True)
    text = str(shown)
    assert text.splitlines()[0] == "tiny (LTX-2 model)"
    assert shown.fingerprint in text
    assert shown.digest in text
    assert "Apache-2.0" in text
    values = json.loads(json.dumps(shown.to_json()))
    assert values["components"][0]["name"] == "transformer"
    assert values["components"][0]["dtypes"]["F32"] > 0


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("diffusion_model.transformer_blocks.0.ff.net.2.lora_A.weight", "LoRA"),
        ("post_upsample_res_blocks.0.conv1.weight", "latent upsampler"),
        ("something.else", "unknown"),
        ("model.diffusion_model.input_blocks.0.0.weight", "unknown"),
        ("transformer_blocks.0.attn1.to_q.weight", "unknown"),
        ("encoder.down_blocks.0.resnets.0.conv1.weight", "unknown"),
        ("vae.per_channel_statistics.mean-of-means", "LTX-2 model"),
    ],
)
def test_other_files_are_told_apart(tmp_path, name, kind):
    save_checkpoint(tmp_path / "x.safetensors", {name: torch.zeros(2, 3)}, {})
    shown = describe(tmp_path / "x.safetensors")
    assert (shown.model, shown.kind) == ("x", kind)
    assert bool(shown.missing) == (kind == "LTX-2 model")
    assert shown.components[0].num_parameters == 6


def test_tensors_of_no_known_part_are_counted(tmp_path):
    tensors = tiny_checkpoint().tensors | {"else.weight": torch.zeros(5)}
    save_checkpoint(tmp_path / "x.safetensors", tensors, {})
    other = describe(tmp_path / "x.safetensors").components[-1]
    assert (other.name, other.num_tensors, other.num_parameters) == ("other", 1, 5)


def test_what_is_not_there_is_an_error(tmp_path):
    with pytest.raises(CheckpointError, match="nowhere"):
        describe(tmp_path / "nowhere.safetensors")
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        describe(tmp_path)


def test_describing_needs_no_pytorch(folder):
    code = (
        "import sys; from ltx2.checkpoint.layouts import describe; "
        f"describe({str(folder)!r}); print('torch' in sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "False"


def test_the_header_alone_is_read_unless_a_digest_is_asked_for(folder, tmp_path, monkeypatch):
    """Nothing behind the header: the file may lie on the other side of a slow network."""
    path = tmp_path / "model.safetensors"
    raw = (folder / "model.safetensors").read_bytes()
    header = 8 + int.from_bytes(raw[:8], "little")
    with path.open("wb") as file:
        file.write(raw[:header])
        file.truncate(len(raw))  # zeros that no disk holds
    shown = describe(path)
    assert shown.digest is None
    assert shown.fingerprint == describe(folder).fingerprint
    assert "digest" not in str(shown)


def test_the_version_and_fewer_bits_are_told(tmp_path):
    from tests.unit.checkpoint.test_quantized import encoded, nvfp4

    checkpoint, meant = encoded(nvfp4)
    shown = describe(checkpoint.write(tmp_path / "x.safetensors"))
    assert shown.version == "LTX-2 (19B, January 2026)"
    assert "refused" not in str(shown)
    assert shown.quantized == {"nvfp4": len(meant)}
    assert f"{len(meant)} weights as nvfp4" in str(shown)
    assert shown.components[0].dtypes["NVFP4"] == len(meant)
    later = tiny_checkpoint(config=tiny_config_2_3()).write(tmp_path / "y.safetensors")
    assert describe(later).version == "LTX-2.3 (22B, March 2026)"


def test_a_version_that_cannot_be_used_is_described_all_the_same(tmp_path):
    tiny = tiny_checkpoint()
    metadata = {"config": json.dumps(tiny.config), "model_version": "2.5.0"}
    save_checkpoint(tmp_path / "x.safetensors", tiny.tensors, metadata)
    shown = describe(tmp_path / "x.safetensors")
    assert shown.version == "LTX-2.5 (22B, August 2026)"
    assert "refused" in str(shown)


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_loras_of_every_layout_are_described(tmp_path, layout):
    write, metadata, _ = LAYOUTS[layout]
    tensors = write(matrices(rank=3))
    save_checkpoint(tmp_path / "x.safetensors", tensors, metadata)
    shown = describe(tmp_path / "x.safetensors")
    assert (shown.kind, shown.version, shown.missing) == ("LoRA", None, ())
    assert "rank         3" in str(shown)
    assert "5 layers of the picture, 3 of the sound" in str(shown)
    assert "refused" not in str(shown)
    module = next(iter(tensors)).rsplit(".", 1)[0].split(".lora")[0]
    save_checkpoint(
        tmp_path / "dora.safetensors", tensors | {f"{module}.dora_scale": torch.ones(4, 1)}, {}
    )
    assert "kind         LoRA, DoRA" in str(describe(tmp_path / "dora.safetensors"))
    odd = tensors | {f"{module}.diff_b": torch.ones(4)}
    save_checkpoint(tmp_path / "odd.safetensors", odd, {})
    assert f"refused      for '{module}.diff_b'" in str(describe(tmp_path / "odd.safetensors"))


def test_a_published_model_with_a_network_cut_short_says_which(tmp_path, monkeypatch):
    whole = CheckpointFile.open(tiny_checkpoint().write(tmp_path / "whole.safetensors"))
    parts = {
        sources._fingerprint({c.prefix + n: i for n, i in c.own(whole.tensors).items()})
        for c in COMPONENTS
    }
    known = {sources.known_transformer(whole): "ltx-2-19b.json"}
    monkeypatch.setattr(sources, "_KNOWN_TRANSFORMERS", known)
    monkeypatch.setattr(sources, "_PARTS", {"ltx-2-19b.json": parts})
    assert describe(tmp_path / "whole.safetensors").changed == ()
    tensors = {k: v for k, v in tiny_checkpoint().tensors.items() if "vae.encoder" not in k}
    save_checkpoint(tmp_path / "cut.safetensors", tensors, {"config": "{}"})
    shown = describe(tmp_path / "cut.safetensors")
    assert shown.changed == ("video autoencoder", "audio autoencoder")
    assert "changed      video autoencoder, audio autoencoder" in str(shown)
