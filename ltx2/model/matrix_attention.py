"""Attention on CPUs, made of large matrix products.

PyTorch's kernel for CPUs reaches about a fifth of the speed of a matrix product in bfloat16, and
two fifths in float32 (`benchmarks/cpu_kernels.py`). This one lets oneDNN make both products and
take the exponentials while it still holds the scores, in float32, in registers. The only function
of oneDNN's that grows like an exponential is the logistic one, and far below zero it is an
exponential:

    logistic(s - c) = exp(s - c) / (1 + exp(s - c)), equal to exp(s - c) within exp(-20), 2e-9,

if every query's c is at least 20 above its scores s. The c cancel when rows are divided by their
sums; the sums come from a column of ones beside the values, and the c enter the first product as
one more channel of the queries, where keys have a one.

By the inequality of Cauchy and Schwarz no score is above |q| |k| / sqrt(K), which costs nothing to
know. Where all scores of a query lie so far below it that their exponentials vanish, the head is
made again with the largest scores themselves. Where c is so large that its own type rounds the
distance away, PyTorch's kernel is asked.
"""

import itertools

import torch
from torch import Tensor
from torch.nn import functional as F

from ltx2.model import onednn

DISTANCE = 20.0
"""How far scores stay below the middle of the logistic function."""

MOST_ROUNDED = 4.0
"""By how much rounding may change a c: weights are then within exp(4 - 20), 1.2e-7."""

SMALLEST_SUM = 1e-30
"""Sums from here on consist of numbers that both types hold in full, which end at 1.2e-38."""

BLOCK_ENTRIES = 2**20
"""Scores made at a time: few enough to stay in a processor's cache."""

FEWEST_SCORES = 2**17
"""Scores of a head below which the many small operations cost what the products gain."""


def suits(query: Tensor, key: Tensor, mask: Tensor | None) -> bool:
    """Whether this way is open, and the faster one."""
    enough = query.shape[2] * key.shape[2] >= FEWEST_SCORES
    return enough and mask is None and onednn.serves(query, key)


def attend_by_products(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention of `query`, `key` and `value` [B, N, T, K], as `scaled_dot_product_attention`."""
    batch, heads, tokens, width = query.shape
    gathered = query.new_empty(batch, tokens, heads, width).transpose(1, 2)
    for head in itertools.product(range(batch), range(heads)):
        _attend_in_head(query[head], key[head], value[head], out=gathered[head])
    return gathered


def _attend_in_head(query: Tensor, key: Tensor, value: Tensor, *, out: Tensor) -> None:
    """Fills `out` [T, K] with the attention of one head's `query`, `key` and `value`."""
    tokens, width = query.shape
    shortening = width**-0.5
    bounds = shortening * _lengths(query) * _lengths(key).amax()
    if not bounds.amax() * torch.finfo(query.dtype).eps <= MOST_ROUNDED:
        out.copy_(F.scaled_dot_product_attention(query[None], key[None], value[None])[0])
        return
    queries = query.new_empty(tokens, width + 1)
    torch.mul(query, shortening, out=queries[:, :width])
    queries[:, width] = -DISTANCE - bounds
    keys = key.new_ones(len(key), width + 1)
    keys[:, :width] = key
    values = value.new_ones(width + 1, len(key))
    values[:width] = value.T
    sums = _sum_values(queries, keys, values)
    if not sums[:, width].min() > SMALLEST_SUM:
        queries[:, width] = -DISTANCE - _largest_scores(queries, keys)
        sums = _sum_values(queries, keys, values)
    torch.div(sums[:, :width], sums[:, width:], out=out)


def _sum_values(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """What the keys answer [T, K + 1], not yet divided by the last channel, its weights' sum."""
    sums = query.new_empty(len(query), len(value))
    for block in _blocks(query, key):
        weights = onednn.product(query[block], key, None, "sigmoid")  # [rows, T_c]
        sums[block] = onednn.product(weights, value, None)
    return sums


def _largest_scores(query: Tensor, key: Tensor) -> Tensor:
    """The largest score of every query of a head [T]; forgets the last channel of `query`."""
    query[:, -1] = 0
    scores = (onednn.product(query[block], key, None) for block in _blocks(query, key))
    return torch.cat([block.amax(dim=-1) for block in scores])


def _blocks(query: Tensor, key: Tensor) -> list[slice]:
    """Rows of `query` of which one after the other asks all keys."""
    rows = max(1, BLOCK_ENTRIES // len(key))
    return [slice(start, start + rows) for start in range(0, len(query), rows)]


def _lengths(vectors: Tensor) -> Tensor:
    """Lengths of vectors [T, K], float32 [T]."""
    return torch.linalg.vector_norm(vectors, dim=-1, dtype=torch.float32)
