import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ltx2.model import onednn
from ltx2.model.attention import FeedForward
from ltx2.model.linear import Linear


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("dtype", "error"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)], ids=str
)
def test_its_product_is_that_of_pytorch(dtype, error, bias):
    torch.manual_seed(0)
    linear = Linear(48, 32, bias=bias).to(dtype)
    x = torch.randn(2, 48, 5, dtype=dtype).transpose(1, 2)  # rows that do not follow each other
    expected = F.linear(
        x.double(), linear.weight.double(), linear.bias if bias is False else linear.bias.double()
    )
    with torch.inference_mode():
        assert onednn.serves(x, linear.weight)
        torch.testing.assert_close(linear(x).double(), expected, rtol=error, atol=error)
    torch.testing.assert_close(linear(x).double(), expected, rtol=error, atol=error)


def test_gradients_pass_through_it():
    linear = Linear(4, 2)
    linear(torch.ones(1, 4)).sum().backward()
    torch.testing.assert_close(linear.weight.grad, torch.ones(2, 4))


def test_other_types_and_devices_are_left_to_pytorch():
    x, weight = torch.randn(1, 4), torch.randn(2, 4)
    with torch.inference_mode():
        assert onednn.serves(x, weight)
        assert not onednn.serves(x.double(), weight.double())
        assert not onednn.serves(x, weight.bfloat16())
        assert not onednn.serves(x.to("meta"), weight.to("meta"))


def test_a_feed_forward_network_asks_a_changed_layer_as_it_is():
    class Doubled(nn.Module):
        weight = torch.zeros(32, 8)

        def forward(self, x):
            return torch.cat([x, x, x, x], dim=-1)

    network = FeedForward(8)
    network.net[0].proj = Doubled()
    x = torch.randn(1, 3, 8)
    with torch.inference_mode():
        expected = network.net[2](F.gelu(x.repeat(1, 1, 4), approximate="tanh"))
        torch.testing.assert_close(network(x), expected)
