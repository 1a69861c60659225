import json

import pytest
import torch

from ltx2.checkpoint.catalog import find_model
from ltx2.checkpoint.components import AUDIO_VAE, TRANSFORMER, VOCODER
from ltx2.checkpoint.loader import load_networks
from ltx2.model import matrix_attention
from ltx2.model.video_vae import VideoVAEConfig
from ltx2.runtime import anatomy
from ltx2.runtime.anatomy import anatomy_of
from tests.conftest import ROOT

PUBLISHED = json.loads((ROOT / "tests/fixtures/ltx_2_19b_config.json").read_text())


@pytest.fixture(scope="module")
def found(puppet_folder):
    return find_model(puppet_folder)


def test_the_limits_are_those_of_loading_and_decoding():
    from ltx2 import pipeline
    from ltx2.generation import codec

    assert anatomy.SMALL_MODEL_PARAMETERS == pipeline.SMALL_MODEL_PARAMETERS
    assert codec.SPATIAL_TILE.size == anatomy.TILE_PIXELS
    assert codec.TEMPORAL_TILE.size == anatomy.TILE_FRAMES
    for dtype, size in anatomy.ITEM_SIZE.items():
        assert getattr(torch, dtype).itemsize == size


def test_weights_are_counted_as_they_are_loaded(found):
    """In the order of loading: sound is float32 whatever the type is."""
    values = {name: info.num_elements for name, info in found.file.tensors.items()}
    sound = sum(n for name, n in values.items() if name.startswith(("audio_vae.", "vocoder.")))
    for dtype, item in (("float32", 4), ("bfloat16", 2)):
        sizes = anatomy_of(found, dtype=dtype)
        assert sizes.weights == item * (sum(values.values()) - sound) + 4 * sound
        assert sizes.text_encoder > 0
        assert sizes.keeps_text_encoder
        assert sizes.resident == sizes.weights + sizes.text_encoder
    assert anatomy_of(found, dtype="auto") == anatomy_of(found, dtype="float32")
    assert {AUDIO_VAE.prefix, VOCODER.prefix} == {"audio_vae.", "vocoder."}
    assert TRANSFORMER.own(found.file.tensors)


@pytest.mark.parametrize("which", ["puppet", "published"])
def test_stages_and_compression_are_those_that_the_decoder_is_built_with(which, found):
    config = found.file.config if which == "puppet" else PUBLISHED
    decoder = anatomy._decoder(config["vae"])
    built = VideoVAEConfig.from_metadata(config)
    assert decoder["compression"] == built.compression
    last, first = decoder["stages"][0], decoder["stages"][-1]
    assert last.channels == built.decoder_channels
    assert (last.temporal, last.spatial * built.patch_size) == (
        built.compression.temporal,
        built.compression.spatial,
    )
    assert (first.temporal, first.spatial) == (1, 1)


def test_larger_and_longer_clips_need_more(found):
    sizes = anatomy_of(found, dtype="auto")
    small, long, large = (49, 96, 96), (97, 96, 96), (49, 128, 96)
    for more in (long, large):
        assert sizes.decoding(*more) > sizes.decoding(*small)
        assert sizes.denoising(*more, 24.0) > sizes.denoising(*small, 24.0)
    half = anatomy_of(found, dtype="bfloat16")
    assert half.decoding(*small) < sizes.decoding(*small)
    assert half.denoising(*small, 24.0) < sizes.denoising(*small, 24.0)


def test_beyond_a_tile_decoding_needs_more_for_the_pictures_alone(found):
    sizes = anatomy_of(found, dtype="auto")
    tile = sizes.decoding(73, 512, 512)
    longer = sizes.decoding(8 * 72 + 1, 512, 512)
    pictures = 3 * (8 * 72 + 1 - 73) * 512 * 512
    assert longer - tile <= pictures * (4 + anatomy.PICTURE_BYTES)


def test_headers_that_do_not_tell_the_sizes_are_no_failure(found, monkeypatch):
    for section in ({}, {"decoder_blocks": 3}, {"patch_size": 4, "latent_channels": 8}):
        monkeypatch.setitem(found.file.config, "vae", section)
        assert anatomy_of(found, dtype="auto") is None


def test_weights_in_8_bits_are_counted_as_they_are_loaded(found):
    """Exactly the bytes that the networks take, and no change for the other numbers."""
    wide = anatomy_of(found, dtype="float32")
    narrow = anatomy_of(found, dtype="float32", quantization="int8")
    networks = load_networks(found.file, dtype=torch.float32, device="cpu", quantization="int8")
    taken = sum(
        tensor.numel() * tensor.element_size()
        for network in vars(networks).values()
        for tensor in network.state_dict().values()
    )
    assert taken <= narrow.weights < 1.001 * taken
    assert narrow.weights < wide.weights
    assert narrow.text_encoder < 0.6 * wide.text_encoder
    assert narrow.visits.block < 0.5 * wide.visits.block
    assert wide.in_8_bits == narrow
    assert narrow.in_8_bits is None
    assert narrow.num_transformer_values == wide.num_transformer_values


def test_the_scores_of_attention_are_counted_as_they_are_made():
    assert anatomy.SCORES == matrix_attention.BLOCK_ENTRIES
