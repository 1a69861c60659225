"""Half precision is used only where its gradients are right."""

import pytest
import torch
from torch import nn

from ltx2.training.mixed_precision import autocast_volumes


@pytest.mark.parametrize("size", [(2, 4, 4), (2, 6, 6), (2, 8, 8), (4, 16, 16)])
def test_gradients_of_volumes_agree_with_those_in_full_precision(size):
    torch.manual_seed(0)
    convolution = nn.Conv3d(16, 16, 3, padding=1)
    volume = torch.randn(2, 16, *size)

    def gradient():
        convolution.zero_grad()
        convolution(volume).float().square().sum().backward()
        return convolution.weight.grad.clone()

    exact = gradient()
    with autocast_volumes():
        half = gradient()
    assert float((half - exact).abs().max() / exact.abs().max()) < 0.1
