import json

import pytest
import torch

from ltx2.checkpoint import catalog
from ltx2.checkpoint.catalog import find_model, licence_of, name_of, profile_of
from ltx2.checkpoint.reader import CheckpointFile, TensorInfo, save_checkpoint
from ltx2.errors import CheckpointError
from ltx2.request import ModelProfile, Request
from tests.tiny_checkpoint import PROFILE, tiny_checkpoint, write_tiny_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


def published(monkeypatch, path):
    """A file that passes for the published model."""
    file = CheckpointFile(path, 0, {"a": TensorInfo("BF16", (2,))}, {})
    monkeypatch.setattr(catalog, "FINGERPRINT_19B", file.fingerprint)
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


def test_an_unknown_checkpoint_is_guided_by_its_prompt_alone(tmp_path):
    save_checkpoint(tmp_path / "x.safetensors", {"a": torch.zeros(1)}, {})
    profile = find_model(tmp_path / "x.safetensors").profile
    assert profile.video_guidance.stg_scale == 0.0
    assert profile.video_guidance.cfg_scale == 3.0


@pytest.mark.parametrize("profile", [{"width": 1}, {**PROFILE.model_dump(), "colour": 1}])
def test_a_profile_that_cannot_be_used_is_refused(tmp_path, profile):
    path = tmp_path / "x.safetensors"
    save_checkpoint(path, {"a": torch.zeros(1)}, {"profile": json.dumps(profile)})
    with pytest.raises(CheckpointError, match="profile"):
        find_model(path)


def test_the_profile_survives_its_way_through_the_file(tmp_path):
    path = tmp_path / "x.safetensors"
    profile = ModelProfile(**{**catalog.DEV_PROFILE.model_dump(), "shift": 1.5})
    save_checkpoint(path, {"a": torch.zeros(1)}, {"profile": profile.model_dump_json()})
    assert find_model(path).profile == profile
