import pytest
import torch
from torch.nn import functional as F

from ltx2.model.attention import Attention, FeedForward, rms_norm
from ltx2.model.config import RopeConfig
from ltx2.model.rope import rotary_table


def an_attention(context_dim=8):
    torch.manual_seed(0)
    attention = Attention(8, context_dim, num_heads=2, head_dim=4, eps=1e-6)
    with torch.no_grad():
        attention.q_norm.weight.uniform_(0.5, 2)
        attention.k_norm.weight.uniform_(0.5, 2)
    return attention.requires_grad_(False)


def test_attention_is_the_softmax_average_of_values_under_normalised_queries_and_keys():
    attention = an_attention(context_dim=6)
    x, context = torch.randn(2, 3, 8), torch.randn(2, 5, 6)

    def normed(x, norm):
        return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * norm.weight

    query = normed(attention.to_q(x), attention.q_norm).view(2, 3, 2, 4)
    key = normed(attention.to_k(context), attention.k_norm).view(2, 5, 2, 4)
    value = attention.to_v(context).view(2, 5, 2, 4)
    weights = torch.einsum("btnk,bsnk->bnts", query, key).div(4**0.5).softmax(-1)
    expected = torch.einsum("bnts,bsnk->btnk", weights, value).reshape(2, 3, 8)
    torch.testing.assert_close(attention(x, context), attention.to_out(expected))


def test_masked_context_is_as_if_it_were_not_there():
    attention = an_attention()
    x, context = torch.randn(1, 3, 8), torch.randn(1, 5, 8)
    mask = torch.tensor([True, False, True, True, False]).view(1, 1, 1, 5)
    masked = attention(x, context, mask=mask)
    torch.testing.assert_close(masked, attention(x, context[:, [0, 2, 3]]))


def test_a_token_on_its_own_keeps_its_value():
    attention = an_attention()
    x = torch.randn(2, 1, 8)
    torch.testing.assert_close(attention(x), attention.own_values(x))


def test_rotation_makes_self_attention_depend_on_the_order_of_tokens():
    attention = an_attention()
    x = torch.randn(1, 4, 8)
    rope = rotary_table(torch.arange(4.0).view(1, 4, 1), RopeConfig(8, 2, (4.0,), 10.0))
    swapped = [1, 0, 2, 3]
    torch.testing.assert_close(attention(x[:, swapped]), attention(x)[:, swapped])
    rotated = attention(x, rope=rope, context_rope=rope)
    moved = attention(x[:, swapped], rope=rope, context_rope=rope)
    assert (moved - rotated[:, swapped]).abs().max() > 1e-3


def test_feed_forward_uses_the_tanh_form_of_gelu():
    torch.manual_seed(0)
    network = FeedForward(4)
    x = torch.randn(2, 3, 4)
    hidden = F.gelu(network.net[0].proj(x), approximate="tanh")
    assert hidden.shape[-1] == 16
    torch.testing.assert_close(network(x), network.net[2](hidden))
    assert set(network.state_dict()) == {
        "net.0.proj.weight",
        "net.0.proj.bias",
        "net.2.weight",
        "net.2.bias",
    }


def test_rms_norm_divides_by_the_root_mean_square():
    x = torch.tensor([[3.0, -4.0, 0.0, 0.0]])
    torch.testing.assert_close(rms_norm(x, 0.0), x / 2.5)
    assert rms_norm(torch.zeros(1, 4), 1e-6).abs().max() == 0.0


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
@torch.inference_mode()
def test_a_fused_gelu_is_that_of_two_steps(dtype, tolerance):
    torch.manual_seed(0)
    network = FeedForward(64).to(dtype)
    x = torch.randn(2, 5, 64, dtype=dtype)
    inside = F.gelu(network.net[0].proj(x).float(), approximate="tanh").to(dtype)
    expected = network.net[2](inside)
    torch.testing.assert_close(network(x), expected, rtol=tolerance, atol=tolerance)
