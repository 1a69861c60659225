import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from ltx2.model import matrix_attention
from ltx2.model.attention import attend_here

TYPES = pytest.mark.parametrize(
    ("dtype", "error"), [(torch.float32, 3e-6), (torch.bfloat16, 1e-2)], ids=str
)


def vectors(tokens, *, batch=2, heads=3, width=20, length=1.0, seed=0):
    """As an attention makes them: normalised over all heads, heads beside each other."""
    torch.manual_seed(seed)
    x = torch.randn(batch, tokens, heads * width)
    x = length * x / x.square().mean(-1, keepdim=True).sqrt()
    return x.unflatten(-1, (heads, width)).transpose(1, 2)


def relative_error(value, truth):
    return float((value.double() - truth).norm() / truth.norm())


@TYPES
@pytest.mark.parametrize("length", [0.1, 1.0, 2.0])
def test_it_is_the_softmax_average_of_the_values(dtype, error, length):
    query, key = vectors(70, length=length), vectors(90, length=length, seed=1)
    triple = [x.to(dtype) for x in (query, key, vectors(90, seed=2))]
    truth = F.scaled_dot_product_attention(*(x.double() for x in triple))
    with torch.inference_mode():
        gathered = matrix_attention.attend_by_products(*triple)
    assert gathered.dtype == dtype
    assert relative_error(gathered, truth) < error


@settings(max_examples=15, deadline=None)  # oneDNN compiles a program for every shape
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 30))
def test_any_split_into_blocks_of_rows_gives_the_same(tokens, context, entries):
    query, key, value = vectors(tokens), vectors(context, seed=1), vectors(context, seed=2)
    with pytest.MonkeyPatch.context() as patch, torch.inference_mode():
        whole = matrix_attention.attend_by_products(query, key, value)
        patch.setattr(matrix_attention, "BLOCK_ENTRIES", entries)
        split = matrix_attention.attend_by_products(query, key, value)
    torch.testing.assert_close(split, whole, rtol=1e-4, atol=1e-5)


@TYPES
@pytest.mark.parametrize("length", [4.0, 10.0])
def test_scores_far_below_their_bound_are_made_again(dtype, error, length, monkeypatch):
    # At right angles to the one long key, every other score is next to nothing beside the bound.
    query, key = (vectors(30, width=4, seed=seed).to(dtype) for seed in (0, 1))
    query[..., 3], key[..., 3], key[..., 0, :] = 0, 0, 0
    query, key = length * query, key.contiguous()
    key[..., 0, 3] = 20
    value = vectors(30, seed=2, width=4).to(dtype)
    truth = F.scaled_dot_product_attention(query.double(), key.double(), value.double())
    asked = []
    made_again = matrix_attention._largest_scores
    monkeypatch.setattr(
        matrix_attention, "_largest_scores", lambda *of: asked.append(of) or made_again(*of)
    )
    with torch.inference_mode():
        gathered = matrix_attention.attend_by_products(query, key, value)
    assert asked
    assert relative_error(gathered, truth) < 3 * error


@TYPES
@pytest.mark.parametrize("length", [100.0, 1e4, 1e10])
def test_scores_that_their_type_holds_coarsely_are_left_to_pytorch(dtype, error, length):
    query = length * vectors(30, heads=1)  # all equally long, so that each finds itself alone
    triple = [x.to(dtype) for x in (query, query, vectors(30, heads=1, seed=2))]
    with torch.inference_mode():
        gathered = matrix_attention.attend_by_products(*triple)
    assert relative_error(gathered, triple[2].double()) < error


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_what_is_no_number_remains_none(broken):
    query, key, value = vectors(400), vectors(400), vectors(400)
    query[0, 0, 7, 3] = broken
    with torch.inference_mode():
        gathered = attend_here(query, key, value, None)
        assert gathered[0, 0, 7].isnan().all()
        assert gathered[1].isfinite().all()


def test_it_is_asked_where_it_is_faster_and_can_be(monkeypatch):
    query, few = vectors(400), vectors(20)
    mask = torch.ones(2, 1, 1, 400, dtype=torch.bool)
    assert not matrix_attention.suits(query, query, None)  # gradients could be asked for
    with torch.inference_mode():
        assert matrix_attention.suits(query, query, None)
        assert not matrix_attention.suits(query, query, mask)
        assert not matrix_attention.suits(few, few, None)
        assert not matrix_attention.suits(query.double(), query.double(), None)
        assert not matrix_attention.suits(query.to("meta"), query.to("meta"), None)
