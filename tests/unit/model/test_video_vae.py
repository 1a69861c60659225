"""The video autoencoder: shapes, causality, tiles, and configurations it refuses."""

import copy
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ltx2.errors import CheckpointError
from ltx2.geometry import VideoCompression
from ltx2.model.video_vae import TileSize, VideoVAE, VideoVAEConfig, layers
from ltx2.model.video_vae.layers import (
    Conv3d,
    ResidualBlock,
    fold_patches,
    fold_stride,
    lay_out,
    unfold_patches,
    unfold_stride,
)
from ltx2.model.video_vae.tiling import plan_tiles, spatial_mask, split, temporal_mask
from ltx2.model.video_vae.vae import DECODE_NOISE_SCALE

CONFIG = {
    "vae": {
        "latent_channels": 4,
        "patch_size": 4,
        "encoder_base_channels": 8,
        "decoder_base_channels": 8,
        "encoder_blocks": [
            ["res_x", {"num_layers": 1}],
            ["compress_all_res", {"multiplier": 2}],
            ["compress_all_res", {"multiplier": 2}],
            ["compress_time_res", {"multiplier": 1}],
        ],
        "decoder_blocks": [
            ["res_x", {"num_layers": 1}],
            ["compress_all", {"multiplier": 2, "residual": True}],
            ["compress_all", {"multiplier": 2, "residual": True}],
            ["compress_time", {"multiplier": 1, "residual": True}],
        ],
    }
}


@pytest.fixture(scope="module")
def vae() -> VideoVAE:
    torch.manual_seed(0)
    return VideoVAE(VideoVAEConfig.from_metadata(CONFIG)).eval()


def test_compression_follows_the_configured_stages(vae: VideoVAE) -> None:
    assert vae.compression == VideoCompression(temporal=8, spatial=16)


@pytest.mark.parametrize("num_frames", [1, 9, 17])
def test_encode_and_decode_give_the_sizes_that_compression_promises(
    vae: VideoVAE, num_frames: int
) -> None:
    video = torch.randn(2, 3, num_frames, 32, 48)
    with torch.no_grad():
        latents = vae.encode(video)
        decoded = vae.decode(latents)
    assert latents.shape == (2, 4, *vae.compression.latent_grid(num_frames, 32, 48))
    assert decoded.shape == video.shape


def test_trailing_frames_that_fill_no_group_are_ignored(vae: VideoVAE) -> None:
    video = torch.randn(1, 3, 12, 32, 32)
    with torch.no_grad():
        assert torch.equal(vae.encode(video), vae.encode(video[:, :, :9]))


def test_the_encoder_never_looks_ahead(vae: VideoVAE) -> None:
    video = torch.randn(1, 3, 17, 32, 32)
    changed = video.clone()
    changed[:, :, 9:] += 1.0
    with torch.no_grad():
        a, b = vae.encode(video), vae.encode(changed)
    torch.testing.assert_close(a[:, :, :2], b[:, :, :2], atol=1e-5, rtol=1e-5)
    assert (a[:, :, 2] - b[:, :, 2]).abs().max() > 1e-3


def test_normalise_and_denormalise_are_inverse(vae: VideoVAE) -> None:
    other = copy.deepcopy(vae)
    other.per_channel_statistics.mean.copy_(torch.randn(4))
    other.per_channel_statistics.std.copy_(torch.rand(4) + 0.5)
    latents = torch.randn(1, 4, 2, 3, 3)
    torch.testing.assert_close(other.denormalise(other.normalise(latents)), latents)
    assert not torch.equal(other.normalise(latents), latents)


def test_folding_into_channels_is_undone_by_unfolding() -> None:
    video = torch.randn(1, 3, 4, 16, 8)
    assert torch.equal(unfold_patches(fold_patches(video, 4), 4), video)
    assert torch.equal(unfold_stride(fold_stride(video, (2, 2, 2)), (2, 2, 2)), video)


def test_patch_columns_vary_slower_than_rows() -> None:
    video = torch.zeros(1, 1, 1, 4, 4)
    video[0, 0, 0, 1, 0] = 1.0  # second row, first column
    assert fold_patches(video, 4).flatten().argmax() == 1


def test_tiles_of_a_noise_conditioned_decode_mix_in_their_part_of_the_noise() -> None:
    config = {"vae": CONFIG["vae"] | {"timestep_conditioning": True}}
    torch.manual_seed(0)
    vae = VideoVAE(VideoVAEConfig.from_metadata(config)).eval()
    latents, noise = torch.randn(2, 1, 4, 2, 3, 8)
    tile = TileSize(vae.compression.spatial * 4, vae.compression.spatial)
    with torch.no_grad():
        tiled = vae.decode_tiled(latents, spatial=tile, temporal=None, noise=noise)
        mixed = latents * (1 - DECODE_NOISE_SCALE) + noise * DECODE_NOISE_SCALE
        by_hand = mixed / (1 - DECODE_NOISE_SCALE)
        expected = vae.decode_tiled(by_hand, spatial=tile, temporal=None)
    torch.testing.assert_close(tiled, expected, atol=1e-4, rtol=1e-4)


def test_tiles_larger_than_the_clip_equal_the_plain_decode(vae: VideoVAE) -> None:
    latents = torch.randn(1, 4, 2, 3, 3)
    with torch.no_grad():
        tiled = vae.decode_tiled(latents, spatial=TileSize(512, 64), temporal=TileSize(64, 24))
        torch.testing.assert_close(tiled, vae.decode(latents), atol=1e-5, rtol=1e-5)


@given(
    length=st.integers(1, 60), size=st.integers(2, 20), overlap=st.integers(0, 9), scale=st.just(8)
)
@settings(max_examples=60, deadline=None)
def test_tiles_cover_every_latent_and_their_weights_never_vanish(
    length: int, size: int, overlap: int, scale: int
) -> None:
    overlap = min(overlap, size // 2)
    intervals = split(length, size, overlap)
    assert intervals[0].start == 0
    assert intervals[-1].stop == length
    weight = torch.zeros(length * scale)
    for interval in intervals:
        assert interval.stop - interval.start <= size
        weight[interval.start * scale : interval.stop * scale] += spatial_mask(interval, scale)
    assert weight.min() > 0


def test_time_tiles_start_one_latent_early_and_cover_all_frames() -> None:
    plan = plan_tiles(
        (16, 16, 24), VideoCompression(8, 32), spatial=TileSize(512, 64), temporal=TileSize(64, 24)
    )
    assert [(i.start, i.stop) for i in plan.time] == [(0, 8), (4, 13), (9, 16)]
    assert [(i.start, i.stop) for i in plan.height] == [(0, 11), (9, 16)]
    assert [(i.start, i.stop) for i in plan.width] == [(0, 16), (14, 24)]
    weight = torch.zeros(121)
    for i in plan.time:
        weight[i.start * 8 : (i.stop - 1) * 8 + 1] += temporal_mask(i, 8)
    assert weight.min() > 0


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("norm_layer", "group_norm"),
        ("latent_log_var", "per_channel"),
        ("causal_decoder", True),
        ("spatial_padding_mode", "circular"),
        ("encoder_blocks", [["attention", {"num_layers": 1}]]),
    ],
)
def test_an_unknown_architecture_is_refused_by_name(key: str, value: object) -> None:
    section = {**CONFIG["vae"], key: value}
    with pytest.raises(CheckpointError, match=r"known|unknown"):
        VideoVAEConfig.from_metadata({"vae": section})


def test_a_missing_section_is_named() -> None:
    with pytest.raises(CheckpointError, match="'vae'"):
        VideoVAEConfig.from_metadata({})


def test_shared_padding_of_later_files_applies_to_both_sides() -> None:
    config = VideoVAEConfig.from_metadata(
        {"vae": {**CONFIG["vae"], "spatial_padding_mode": "zeros"}}
    )
    assert (config.encoder_padding, config.decoder_padding) == ("zeros", "zeros")


@pytest.mark.parametrize("numbers", [1, 400, 10**6])
@pytest.mark.parametrize("padding", ["zeros", "reflect"])
@pytest.mark.parametrize("causal", [True, False])
def test_a_convolution_is_that_of_training_in_stretches_of_any_size(
    causal: bool,
    padding: Literal["zeros", "reflect"],
    numbers: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(layers, "STRETCH_NUMBERS", numbers)
    torch.manual_seed(0)
    conv = Conv3d(3, 4, causal=causal, padding=padding)
    x = torch.randn(2, 3, 4, 5, 6)
    expected = conv(x).detach()
    with torch.no_grad():
        torch.testing.assert_close(conv(x), expected)
        stretches = list(conv.in_stretches(x, torch.Tensor.copy_))
    assert len(stretches) == {1: 4, 400: 2, 10**6: 1}[numbers]
    torch.testing.assert_close(torch.cat([part for _, part in stretches], dim=2), expected)


@pytest.mark.parametrize("conditioned", [True, False])
def test_a_residual_block_answers_in_place_of_its_input_without_gradients(
    conditioned: bool,
) -> None:
    torch.manual_seed(0)
    block = ResidualBlock(8, causal=False, padding="reflect", conditioned=conditioned)
    x = torch.randn(2, 8, 3, 4, 5)
    embedding = torch.randn(2, 32) if conditioned else None
    expected = block(x, embedding).detach()
    with torch.no_grad():
        assert block(x, embedding) is x
    torch.testing.assert_close(x, expected)


@pytest.mark.parametrize("numbers", [1, 300])
def test_a_clip_in_small_stretches_is_that_of_training(
    vae: VideoVAE, numbers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    video, latents = torch.randn(2, 3, 9, 32, 48), torch.randn(2, 4, 3, 2, 3)
    expected = vae.encode(video).detach(), vae.decode(latents).detach()
    monkeypatch.setattr(layers, "STRETCH_NUMBERS", numbers)
    with torch.no_grad():
        encoded, decoded = vae.encode(video), vae.decode(latents)
    torch.testing.assert_close(encoded, expected[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(decoded, expected[1], rtol=1e-4, atol=1e-5)


def test_weights_that_are_laid_out_are_the_same() -> None:
    vae = VideoVAE(VideoVAEConfig.from_metadata(CONFIG)).eval()
    latents = torch.randn(1, 4, 2, 2, 3)
    with torch.no_grad():
        before = vae.decode(latents)
        lay_out(vae, torch.device("cpu"))
        torch.testing.assert_close(vae.decode(latents), before)
