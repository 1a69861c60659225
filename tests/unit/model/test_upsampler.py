import hashlib
from fractions import Fraction

import pytest
import torch

from ltx2.errors import CheckpointError
from ltx2.model.config import UpsamplerConfig
from ltx2.model.upsampler import LatentUpsampler

SPATIAL = UpsamplerConfig(in_channels=3, mid_channels=32, num_blocks=1)
PLAIN = UpsamplerConfig(in_channels=3, mid_channels=32, num_blocks=1, rational=False)
BY_HALF = UpsamplerConfig(in_channels=3, mid_channels=32, num_blocks=1, scale=Fraction(3, 2))
TEMPORAL = UpsamplerConfig(in_channels=3, mid_channels=32, num_blocks=1, temporal=True)

PUBLISHED_SPATIAL = {
    "in_channels": 128,
    "mid_channels": 1024,
    "num_blocks_per_stage": 4,
    "dims": 3,
    "spatial_upsample": True,
    "temporal_upsample": False,
    "spatial_scale": 2.0,
    "rational_resampler": True,
}


@torch.no_grad()
def upsample(config, latents):
    torch.manual_seed(0)
    return LatentUpsampler(config)(latents)


def test_the_published_spatial_upsampler_has_its_names_and_shapes():
    with torch.device("meta"):
        upsampler = LatentUpsampler(UpsamplerConfig.from_metadata(PUBLISHED_SPATIAL))
    names = {name: tensor.shape for name, tensor in upsampler.state_dict().items()}
    shapes = [f"{name}:{'_'.join(map(str, shape))}" for name, shape in names.items()]
    digest = hashlib.md5(",".join(sorted([*names, *shapes])).encode()).hexdigest()
    assert digest == "c79c458c6e99e0e14d47e676761732d2"
    assert sum(p.numel() for p in upsampler.parameters()) == 497_867_904


def test_the_published_upsampler_by_one_and_a_half_has_its_names_and_its_size():
    """The file on the Hub has 1,090,125,794 bytes: these numbers in bfloat16 and a header."""
    metadata = PUBLISHED_SPATIAL | {"spatial_scale": 1.5}
    with torch.device("meta"):
        double = LatentUpsampler(UpsamplerConfig.from_metadata(PUBLISHED_SPATIAL))
        upsampler = LatentUpsampler(UpsamplerConfig.from_metadata(metadata))
    state = upsampler.state_dict()
    assert state.keys() == double.state_dict().keys()
    assert state["upsampler.conv.weight"].shape == (9 * 1024, 1024, 3, 3)
    num_bytes = 2 * sum(tensor.numel() for tensor in state.values())
    assert 0 < 1_090_125_794 - num_bytes < 10_000


def test_the_published_temporal_upsampler_has_its_size():
    metadata = {"spatial_upsample": False, "temporal_upsample": True, "mid_channels": 512}
    with torch.device("meta"):
        upsampler = LatentUpsampler(UpsamplerConfig.from_metadata(metadata))
    assert sum(p.numel() for p in upsampler.parameters()) == 130_968_192


@pytest.mark.parametrize("config", [SPATIAL, PLAIN])
def test_spatial_upsampling_doubles_height_and_width(config):
    assert upsample(config, torch.randn(2, 3, 2, 4, 5)).shape == (2, 3, 2, 8, 10)


def test_spatial_upsampling_by_one_and_a_half_makes_three_of_two():
    assert upsample(BY_HALF, torch.randn(2, 3, 2, 4, 6)).shape == (2, 3, 2, 6, 9)


def test_reducing_weighs_neighbours_by_binomial_coefficients():
    """A constant stays one inside; a single bright pixel spreads over five by five."""
    blur = LatentUpsampler(BY_HALF).upsampler.blur_down
    assert torch.equal(blur(torch.ones(1, 1, 9, 9))[0, 0, 1:-1, 1:-1], torch.ones(3, 3))
    bright = torch.zeros(1, 1, 9, 9)
    bright[0, 0, 4, 4] = 256.0
    row = torch.tensor([1.0, 6.0, 1.0])
    assert torch.equal(blur(bright)[0, 0, 1:-1, 1:-1], torch.outer(row, row))


def test_temporal_upsampling_adds_a_frame_between_each_two():
    assert upsample(TEMPORAL, torch.randn(2, 3, 4, 2, 3)).shape == (2, 3, 7, 2, 3)
    assert upsample(TEMPORAL, torch.randn(1, 3, 1, 2, 3)).shape == (1, 3, 1, 2, 3)


def test_the_two_spatial_layouts_differ_in_names_only():
    rational, plain = LatentUpsampler(SPATIAL), LatentUpsampler(PLAIN)
    state = {
        name.replace("upsampler.conv.", "upsampler.0."): tensor
        for name, tensor in rational.state_dict().items()
        if "blur_down" not in name
    }
    plain.load_state_dict(state)
    latents = torch.randn(1, 3, 2, 2, 3)
    with torch.no_grad():
        torch.testing.assert_close(plain(latents), rational(latents))


def test_new_frames_come_from_two_halves_of_the_channels_in_order():
    interleave = LatentUpsampler(TEMPORAL).upsampler[1]
    x = torch.arange(4.0).view(1, 4, 1, 1, 1).expand(1, 4, 2, 1, 1) + torch.tensor(
        [0.0, 10.0]
    ).view(1, 1, 2, 1, 1)
    # Channels 0 and 1 are the two frames of channel 0; the very first frame is dropped.
    assert interleave(x)[0, :, :, 0, 0].tolist() == [[1.0, 10.0, 11.0], [3.0, 12.0, 13.0]]


@pytest.mark.parametrize(
    "change",
    [
        {"spatial_scale": 3.0},
        {"spatial_scale": 1.5, "rational_resampler": False},
        {"dims": 2},
        {"temporal_upsample": True},
        {"spatial_upsample": False},
    ],
)
def test_other_upsamplers_are_refused(change):
    with pytest.raises(CheckpointError, match=next(iter(change))):
        UpsamplerConfig.from_metadata(PUBLISHED_SPATIAL | change)
