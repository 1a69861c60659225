"""Configurations go to diffusers and back, compared with those its own converter writes."""

import json

import pytest

from ltx2.checkpoint.diffusers_config import to_diffusers_configs, to_official
from ltx2.checkpoint.keymaps import FOLDERS
from ltx2.errors import CheckpointError
from ltx2.model.audio_vae import AudioVAEConfig
from ltx2.model.config import ConnectorConfig, FeatureProjectionConfig, TransformerConfig
from ltx2.model.video_vae import VideoVAEConfig
from ltx2.model.vocoder import VocoderConfig
from ltx2.model.wideband_vocoder import WidebandConfig
from tests.conftest import ROOT
from tests.unit.checkpoint.test_loader import CONFIG_2_3, CONFIG_19B

BOTH = {"2.0": CONFIG_19B, "2.3": CONFIG_2_3}


def theirs(version):
    return json.loads((ROOT / f"tests/fixtures/diffusers/{version}.json").read_text())


def architecture(config):
    """All that the networks are built from."""
    is_wide = "bwe" in config["vocoder"]
    return (
        TransformerConfig.from_metadata(config),
        ConnectorConfig.from_metadata(config, modality="video"),
        ConnectorConfig.from_metadata(config, modality="audio"),
        FeatureProjectionConfig.from_metadata(config),
        VideoVAEConfig.from_metadata(config),
        AudioVAEConfig.from_metadata(config),
        (WidebandConfig if is_wide else VocoderConfig).from_metadata(config),
    )


@pytest.mark.parametrize("version", BOTH)
def test_folders_state_the_same_networks_as_the_published_metadata(version):
    assert architecture(to_official(theirs(version))) == architecture(BOTH[version])


@pytest.mark.parametrize("version", BOTH)
def test_what_is_written_is_what_the_converter_of_diffusers_writes(version):
    written = to_diffusers_configs(BOTH[version], num_states=49, is_distilled=False)
    expected = theirs(version)
    for folder in FOLDERS:
        own = {k: v for k, v in written[folder].items() if k != "_class_name"}
        # Values that are defaults may be left out there.
        assert {k: own.get(k, "absent") for k in expected[folder]} == expected[folder], folder
        assert own.keys() - expected[folder].keys() <= {"ff_bias", "use_prompt_adaln_single"}
    assert written["scheduler"]["use_dynamic_shifting"]
    assert architecture(to_official(written)) == architecture(BOTH[version])
    distilled = to_diffusers_configs(BOTH[version], num_states=49, is_distilled=True)["scheduler"]
    assert (distilled["use_dynamic_shifting"], distilled["shift_terminal"]) == (False, None)


@pytest.mark.parametrize(
    ("folder", "key", "value"),
    [
        ("transformer", "audio_gated_attn", True),
        ("connectors", "audio_connector_num_layers", 5),
        ("vae", "block_out_channels", [200, 512, 1024, 2048]),
        ("vae", "decoder_inject_noise", [True, False, False, False]),
        ("vae", "upsample_type", ["sideways"] * 3),
        ("vae", "upsample_factor", [0, 0, 0]),
        ("vocoder", "output_sampling_rate", None),
    ],
)
def test_what_official_files_cannot_say_is_refused_or_kept_apart(folder, key, value):
    configs = theirs("2.0")
    configs[folder][key] = value
    if key == "output_sampling_rate":
        del configs[folder][key]
    with pytest.raises(CheckpointError, match="diffusers"):
        to_official(configs)
    del configs[folder]
    with pytest.raises(CheckpointError, match="diffusers"):
        to_official(configs)


def test_an_encoder_of_another_width_cannot_be_written():
    config = json.loads(json.dumps(CONFIG_19B))
    config["vae"]["encoder_base_channels"] = 64
    with pytest.raises(CheckpointError, match="encoder_base_channels"):
        to_diffusers_configs(config, num_states=49, is_distilled=False)


@pytest.mark.parametrize("section", ["transformer", "vae", "audio_vae", "vocoder"])
@pytest.mark.parametrize("nonsense", [7, [], "much", None])
def test_a_configuration_that_says_nonsense_is_refused(section, nonsense):
    with pytest.raises(CheckpointError, match="diffusers' words"):
        to_diffusers_configs({**CONFIG_19B, section: nonsense}, num_states=49, is_distilled=False)
