import json

import pytest
import torch

from ltx2.checkpoint import catalog
from ltx2.checkpoint.catalog import (
    embedded_models,
    find_lora,
    find_model,
    licence_of,
    loras_of,
    name_of,
    profile_of,
    require_trainable,
    version_of,
)
from ltx2.checkpoint.reader import CheckpointFile, TensorInfo, save_checkpoint
from ltx2.errors import CheckpointError
from ltx2.request import ModelProfile, Request
from tests.tiny_checkpoint import (
    PROFILE,
    tiny_checkpoint,
    tiny_config_2_3,
    write_tiny_model,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


def published(monkeypatch, path, constant="FINGERPRINT_19B"):
    """A file that passes for the published model."""
    file = CheckpointFile(path, 0, {"a": TensorInfo("BF16", (2,))}, {})
    monkeypatch.setattr(catalog, constant, file.fingerprint)
    return file


def test_a_folder_is_a_model_with_its_own_text_encoder(folder):
    found = find_model(folder)
    assert (found.name, found.licence) == ("tiny", "Apache-2.0")
    assert found.profile == PROFILE
    assert found.text_encoder == folder / "text_encoder"
    assert found.file.path == folder / "model.safetensors"


def test_a_file_is_named_after_itself_and_may_borrow_a_text_encoder(tmp_path, folder):
    path = tiny_checkpoint().write(tmp_path / "mine.safetensors")
    alone = find_model(path)
    assert (alone.name, alone.text_encoder) == ("mine", None)
    assert find_model(path, text_encoder=folder / "text_encoder").text_encoder is not None
    with pytest.raises(CheckpointError, match="no text encoder"):
        find_model(path, text_encoder=tmp_path / "nowhere")


def test_embedded_models_go_by_their_name_wherever_the_program_runs(monkeypatch, folder, tmp_path):
    monkeypatch.setattr(catalog, "WEIGHTS", folder.parent)
    write_tiny_model(tmp_path / "tiny")
    monkeypatch.chdir(tmp_path)
    assert find_model("tiny").file.path == folder / "model.safetensors"
    assert find_model("./tiny").file.path.resolve() == tmp_path / "tiny" / "model.safetensors"


def add(folder, name, metadata=None):
    save_checkpoint(folder / name, {"a": torch.zeros(1)}, metadata or {})


def test_variants_in_an_embedded_folder_share_its_text_encoder(monkeypatch, folder, tmp_path):
    weights = tmp_path / "weights"
    model = write_tiny_model(weights / "tiny")
    tiny_checkpoint().write(model / "quick.safetensors")
    add(model, "upsampler.safetensors", {"config": "{}"})
    (model / "damaged.safetensors").write_bytes(b"123")
    (weights / "empty").mkdir()
    (weights / "note.txt").write_text("no model")
    monkeypatch.setattr(catalog, "WEIGHTS", weights)
    assert embedded_models() == ("tiny", "tiny-quick")
    found = find_model("tiny-quick")
    assert found.file.path == model / "quick.safetensors"
    assert (found.name, found.text_encoder) == ("tiny-quick", model / "text_encoder")
    assert find_model(model / "quick.safetensors").name == "tiny-quick"
    assert find_model("tiny").name == "tiny"
    with pytest.raises(CheckpointError, match="no model 'tiny-slow'"):
        find_model("tiny-slow")
    with pytest.raises(CheckpointError, match="no model 'tiny-"):
        find_model("tiny-../tiny/quick")


def test_every_model_that_this_project_carries_is_found_by_its_name():
    assert "puppet" in embedded_models()
    for name in embedded_models():
        assert find_model(name).name == name


def test_loras_beside_a_model_go_by_their_name(tmp_path, monkeypatch):
    model = write_tiny_model(tmp_path / "tiny")
    (model / "loras").mkdir()
    add(model / "loras", "blue.safetensors")
    add(tmp_path, "mine.safetensors")
    found = find_model(model)
    blue = model / "loras" / "blue.safetensors"
    assert loras_of(found) == {"blue": blue}
    monkeypatch.chdir(tmp_path)
    assert find_lora(found, "blue") == find_lora(found, "blue.safetensors") == blue
    assert find_lora(found, blue) == blue
    assert find_lora(found, "mine.safetensors").resolve() == tmp_path / "mine.safetensors"
    for name in ("red", "x" * 300, "a\0b", "loras", ""):
        with pytest.raises(CheckpointError, match=r"no LoRA .* for the model tiny") as caught:
            find_lora(found, name)
        assert "blue" in caught.value.next_step


@pytest.mark.parametrize("name", ["a" * 300, "a\0b", "\ud800", "x/" * 3000, ""])
def test_names_that_no_file_can_have_are_no_models(name):
    with pytest.raises(CheckpointError) as caught:
        find_model(name)
    assert len(caught.value.message) < 300
    with pytest.raises(CheckpointError, match="no text encoder"):
        find_model("puppet", text_encoder=name or "nowhere")


def test_a_folder_that_is_called_like_a_published_model_is_used(monkeypatch, tmp_path):
    write_tiny_model(tmp_path / "ltx-2-19b-dev")
    monkeypatch.chdir(tmp_path)
    assert find_model("ltx-2-19b-dev").profile == PROFILE


def test_an_unknown_name_says_what_to_use():
    with pytest.raises(CheckpointError, match="puppet"):
        find_model("no-such-model")
    with pytest.raises(CheckpointError, match="nowhere"):
        find_model("some/folder/nowhere")


@pytest.mark.parametrize("name", ["ltx-2-19b-dev", "ltx-2-19b-distilled"])
def test_published_names_say_where_to_get_them_and_under_which_licence(name):
    with pytest.raises(CheckpointError) as caught:
        find_model(name)
    assert f"{name}.safetensors" in caught.value.next_step
    assert "LTX-2 Community License" in caught.value.next_step


def test_the_published_files_are_known_by_their_tensors(monkeypatch, tmp_path):
    dev = published(monkeypatch, tmp_path / "whatever.safetensors")
    assert name_of(dev) == "ltx-2-19b-dev"
    assert licence_of(dev) == "LTX-2 Community License"
    profile = profile_of(dev)
    assert (profile.width, profile.height, profile.num_steps) == (768, 512, 40)
    assert profile.video_guidance.cfg_scale == 3.0
    assert profile.audio_guidance.cfg_scale == 7.0
    for guidance in (profile.video_guidance, profile.audio_guidance):
        assert (guidance.stg_scale, guidance.stg_blocks) == (1.0, (29,))
        assert (guidance.modality_scale, guidance.rescale) == (3.0, 0.7)
    resolved = Request(prompt="x").resolve(profile)
    assert (resolved.num_frames, resolved.frame_rate) == (121, 24.0)


def test_the_distilled_file_has_the_same_tensors_and_another_name(monkeypatch, tmp_path):
    distilled = published(monkeypatch, tmp_path / "ltx-2-19b-distilled.safetensors")
    assert name_of(distilled) == "ltx-2-19b-distilled"
    profile = profile_of(distilled)
    assert profile.sigmas is not None
    assert profile.video_guidance.cfg_scale == profile.audio_guidance.cfg_scale == 1.0
    assert profile.num_steps == len(profile.sigmas) - 1


def test_the_first_upload_of_the_distilled_file_is_known_whatever_it_is_called(
    monkeypatch, tmp_path
):
    early = published(monkeypatch, tmp_path / "x.safetensors", "FINGERPRINT_EARLY_DISTILLED")
    assert name_of(early) == "ltx-2-19b-distilled"
    assert licence_of(early) == "LTX-2 Community License"
    assert profile_of(early).sigmas == catalog.DISTILLED_SIGMAS


def test_an_unknown_checkpoint_is_guided_by_its_prompt_alone(tmp_path):
    save_checkpoint(tmp_path / "x.safetensors", {"a": torch.zeros(1)}, {})
    profile = find_model(tmp_path / "x.safetensors").profile
    assert profile.video_guidance.stg_scale == 0.0
    assert profile.video_guidance.cfg_scale == 3.0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"colour": 1}, "colour"),
        ({"width": None}, "width"),
        ({"width": 0}, "width"),
        ({"height": 10**400}, "height"),
        ({"height": 10_000}, "height is not from min_size to max_size"),
        ({"min_size": 0}, "min_size"),
        ({"frame_rate": 0.0}, "frame_rate"),
        ({"frame_rate": float("inf")}, "frame_rate"),
        ({"frame_rate": float("nan")}, "frame_rate"),
        ({"num_steps": 0}, "num_steps"),
        ({"num_steps": -8}, "num_steps"),
        ({"duration_s": 0.0}, "duration_s"),
        ({"duration_s": 5.0}, "duration_s is more than max_duration_s"),
        ({"max_duration_s": -1.0}, "max_duration_s"),
        ({"trained_duration_s": 0}, "trained_duration_s"),
        ({"spatial_multiple": 0}, "spatial_multiple"),
        ({"temporal_multiple": 0}, "temporal_multiple"),
        ({"shift": 1e6}, "shift"),
        ({"sigmas": [0.0]}, "sigmas"),
        ({"sigmas": [1.0, 0.5, 0.5, 0.0]}, "sigmas: the noise levels do not fall"),
        ({"sigmas": [1.5, 0.5, 0.0]}, "sigmas: the noise levels do not fall"),
        ({"sigmas": [1.0, 0.7, 0.5]}, "sigmas: the noise levels do not fall"),
        ({"sigmas": [1.0, 0.7, 0.5, 0.0]}, "num_steps is not the number"),
        ({"video_guidance": {"stg_scale": 1.0}}, "video_guidance: stg_scale needs stg_blocks"),
        ({"audio_guidance": {"cfg_scale": -1.0}}, "audio_guidance.cfg_scale"),
    ],
)
def test_a_profile_that_cannot_be_used_names_the_file_and_the_field(tmp_path, change, said):
    profile = {**PROFILE.model_dump(), **change}
    path = tmp_path / "odd.safetensors"
    save_checkpoint(path, {"a": torch.zeros(1)}, {"profile": json.dumps(profile)})
    with pytest.raises(CheckpointError, match=rf"odd\.safetensors.*: {said}"):
        find_model(path)


def test_the_profile_survives_its_way_through_the_file(tmp_path):
    path = tmp_path / "x.safetensors"
    profile = ModelProfile(**{**catalog.DEV_PROFILE.model_dump(), "shift": 1.5})
    save_checkpoint(path, {"a": torch.zeros(1)}, {"profile": profile.model_dump_json()})
    assert find_model(path).profile == profile


def test_ltx_2_3_is_known_by_its_tensors_and_has_its_own_settings(monkeypatch, tmp_path):
    dev = published(monkeypatch, tmp_path / "x.safetensors", "FINGERPRINT_2_3")
    assert name_of(dev) == "ltx-2.3-22b-dev"
    profile = profile_of(dev)
    assert (profile.num_steps, profile.video_guidance.stg_blocks) == (30, (28,))
    distilled = published(monkeypatch, tmp_path / "y-distilled.safetensors", "FINGERPRINT_2_3")
    assert name_of(distilled) == "ltx-2.3-22b-distilled"
    assert profile_of(distilled).sigmas is not None


def test_the_version_follows_from_the_tensors(tmp_path):
    first = CheckpointFile.open(tiny_checkpoint().write(tmp_path / "a.safetensors"))
    later = tiny_checkpoint(config=tiny_config_2_3()).write(tmp_path / "b.safetensors")
    assert version_of(first) is catalog.LTX_2
    assert version_of(CheckpointFile.open(later)) is catalog.LTX_2_3
    other = CheckpointFile(tmp_path / "c", 0, {"input.weight": TensorInfo("BF16", (2,))}, {})
    assert version_of(other) is None
    require_trainable(first)
    with pytest.raises(CheckpointError, match=r"LTX-2\.3, which cannot be trained"):
        require_trainable(CheckpointFile.open(later))


@pytest.mark.parametrize("says_so", [True, False])
def test_ltx_2_5_is_refused_by_name_with_a_reason(tmp_path, says_so):
    tiny = tiny_checkpoint()
    path = tmp_path / "new.safetensors"
    tensors, metadata = dict(tiny.tensors), {"config": json.dumps(tiny.config)}
    if says_so:
        metadata["model_version"] = "2.5.0"
    else:
        tensors["model.diffusion_model.keyframes_abs_pos_embedding"] = torch.zeros(1, 48)
    save_checkpoint(path, tensors, metadata)
    with pytest.raises(CheckpointError, match=r"LTX-2\.5.*Gemma 4.*Use a checkpoint of LTX-2"):
        find_model(path)


def test_a_lora_is_not_taken_for_a_model(folder):
    lora = folder / "lora.safetensors"
    name = "diffusion_model.transformer_blocks.0.attn1.to_q"
    halves = {f"{name}.lora_{half}.weight": torch.zeros(1, 1) for half in "AB"}
    save_checkpoint(lora, halves, {})
    with pytest.raises(CheckpointError, match=r"lora\.safetensors is a LoRA.*--lora"):
        find_model(lora)
    lora.unlink()
