import json

import pytest
import torch

from ltx2.checkpoint.keymaps import (
    FOLDERS,
    TRANSFORMER_TO_DIFFUSERS,
    from_diffusers,
    rename,
    to_diffusers,
)
from ltx2.model.config import TransformerConfig
from ltx2.model.transformer import Transformer
from tests.conftest import ROOT
from tests.unit.checkpoint.test_loader import CONFIG_2_3, CONFIG_19B, full_size

DIFFUSERS_CONFIGS = ROOT / "tests" / "fixtures" / "diffusers"
"""Of the networks of both versions, by folder, as diffusers' converter writes them."""


def official_names():
    with torch.device("meta"):
        return list(Transformer(TransformerConfig(num_layers=2)).state_dict())


@pytest.mark.parametrize(
    ("official", "diffusers"),
    [
        ("patchify_proj.weight", "proj_in.weight"),
        ("audio_adaln_single.linear.bias", "audio_time_embed.linear.bias"),
        ("transformer_blocks.3.attn1.q_norm.weight", "transformer_blocks.3.attn1.norm_q.weight"),
        ("scale_shift_table", "scale_shift_table"),
        (
            "transformer_blocks.0.scale_shift_table_a2v_ca_video",
            "transformer_blocks.0.video_a2v_cross_attn_scale_shift_table",
        ),
    ],
)
def test_names_are_those_of_diffusers(official, diffusers):
    assert rename(official, TRANSFORMER_TO_DIFFUSERS) == diffusers


def test_no_two_tensors_get_the_same_name_and_the_way_back_exists():
    names = official_names()
    renamed = [rename(name, TRANSFORMER_TO_DIFFUSERS) for name in names]
    assert len(set(renamed)) == len(names)
    back = {new: old for old, new in TRANSFORMER_TO_DIFFUSERS.items()}
    assert [rename(name, back) for name in renamed] == names


def test_every_tensor_of_diffusers_transformer_is_reached():
    diffusers = pytest.importorskip("diffusers")
    with torch.device("meta"):
        theirs = diffusers.LTX2VideoTransformer3DModel(num_layers=2).state_dict()
    assert {rename(name, TRANSFORMER_TO_DIFFUSERS) for name in official_names()} == set(theirs)


@pytest.mark.parametrize("config", [CONFIG_19B, CONFIG_2_3], ids=["2.0", "2.3"])
def test_all_names_go_to_diffusers_and_back(config):
    """All but the statistics that nobody reads."""
    names = full_size(config)
    places = to_diffusers(names)
    unused = names.keys() - places.keys()
    assert unused == {
        f"vae.per_channel_statistics.{name}"
        for name in ("channel", "mean-of-stds", "mean-of-stds_over_std-of-means")
        if config is CONFIG_19B
    }
    assert len(set(places.values())) == len(places)
    for folder in FOLDERS:
        theirs = [name for place, name in places.values() if place == folder]
        back = from_diffusers(folder, theirs)
        assert all(places[official] == (folder, name) for name, official in back.items())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("official", "folder", "diffusers"),
    [
        ("vae.encoder.down_blocks.3.conv.conv.bias", "vae", "down_blocks.1.downsamplers.0.conv"),
        ("vae.encoder.down_blocks.4.res_blocks.1.conv1.conv.bias", "vae", "down_blocks.2.resnets"),
        ("vae.encoder.down_blocks.8.res_blocks.0.conv1.conv.bias", "vae", "encoder.mid_block."),
        ("vae.decoder.up_blocks.0.res_blocks.0.conv1.conv.bias", "vae", "decoder.mid_block."),
        ("vae.decoder.up_blocks.5.conv.conv.bias", "vae", "up_blocks.2.upsamplers.0.conv"),
        ("vae.decoder.up_blocks.6.res_blocks.0.conv1.conv.bias", "vae", "up_blocks.2.resnets.0"),
        ("vae.per_channel_statistics.mean-of-means", "vae", "latents_mean"),
        ("text_embedding_projection.aggregate_embed.weight", "connectors", "text_proj_in"),
        ("vocoder.conv_post.bias", "vocoder", "conv_out.bias"),
    ],
)
def test_the_other_networks_are_renamed_as_diffusers_converts_them(official, folder, diffusers):
    place, name = to_diffusers(full_size())[official]
    assert place == folder
    assert diffusers in name


@pytest.mark.slow
@pytest.mark.parametrize("config", [CONFIG_19B, CONFIG_2_3], ids=["2.0", "2.3"])
def test_every_network_of_diffusers_is_reached_whole(config):
    pytest.importorskip("diffusers")
    from diffusers import (
        AutoencoderKLLTX2Audio,
        AutoencoderKLLTX2Video,
        LTX2VideoTransformer3DModel,
    )
    from diffusers.pipelines.ltx2.connectors import LTX2TextConnectors
    from diffusers.pipelines.ltx2.vocoder import LTX2Vocoder, LTX2VocoderWithBWE

    is_later = config is CONFIG_2_3
    kinds = (
        LTX2VideoTransformer3DModel,
        LTX2TextConnectors,
        AutoencoderKLLTX2Video,
        AutoencoderKLLTX2Audio,
        LTX2VocoderWithBWE if is_later else LTX2Vocoder,
    )
    shapes = full_size(config)
    settings = json.loads(
        (DIFFUSERS_CONFIGS / ("2.3.json" if is_later else "2.0.json")).read_text()
    )
    for folder, kind in zip(FOLDERS, kinds, strict=True):
        with torch.device("meta"):
            theirs = kind(**settings[folder]).state_dict()
        ours = {
            name: shapes[official]
            for official, (place, name) in to_diffusers(shapes).items()
            if place == folder
        }
        assert ours == {name: tuple(tensor.shape) for name, tensor in theirs.items()}, folder
