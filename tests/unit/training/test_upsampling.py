"""The upsampler's training step: what it minimises, and that it learns."""

import pytest
import torch
from torch.nn import functional as F

from ltx2.model.config import UpsamplerConfig
from ltx2.model.upsampler import LatentUpsampler
from ltx2.training.upsampling import upsampler_step

CONFIG = UpsamplerConfig(in_channels=4, mid_channels=32, num_blocks=1, rational=False)


def pairs(generator):
    coarse = torch.randn(2, 4, 2, 3, 3, generator=generator)
    large = F.interpolate(coarse, (2, 8, 8), mode="trilinear")
    return F.avg_pool3d(large, (1, 2, 2)), large


def test_each_channel_counts_by_its_own_spread():
    torch.manual_seed(0)
    upsampler = LatentUpsampler(CONFIG)
    losses = [
        float(upsampler_step(upsampler, pairs, std=torch.full((4,), std))(0, seeded())[0].detach())
        for std in (1.0, 2.0)
    ]
    # L1 halves and MSE quarters when the spread doubles.
    mse = float(upsampler_step(upsampler, pairs, std=torch.ones(4))(0, seeded())[1]["mse"])
    l1 = losses[0] - mse
    assert losses[1] == pytest.approx(l1 / 2 + mse / 4, rel=1e-4)


def test_training_makes_large_latents_of_small_ones():
    torch.manual_seed(0)
    upsampler = LatentUpsampler(CONFIG)
    step = upsampler_step(upsampler, pairs, std=torch.ones(4))
    optimizer = torch.optim.Adam(upsampler.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(0)
    figures = []
    for number in range(80):
        optimizer.zero_grad()
        loss, values = step(number, generator)
        loss.backward()
        optimizer.step()
        figures.append(values["mse"])
    assert sum(figures[-5:]) < sum(figures[:5]) / 2


def seeded():
    return torch.Generator().manual_seed(1)
