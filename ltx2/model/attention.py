"""Attention and feed-forward network shared by the transformer and the text connectors."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ltx2.model import matrix_attention, onednn
from ltx2.model.linear import Linear
from ltx2.model.rope import RotaryTable

Attend = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]
"""Attention of queries, keys and values [B, N, T, K] with a mask, or None, that keys may bear."""


def attend_here(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Attention in this process, by the fastest way there is for it."""
    if matrix_attention.suits(query, key, mask):
        return matrix_attention.attend_by_products(query, key, value)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)


KeysValues = tuple[Tensor, Tensor]
"""What tokens answer in attention, [B, N, T_c, K] each."""


class Attention(nn.Module):
    """Multi-head attention with normalised, optionally rotated queries and keys.

    Queries and keys are normalised over all heads together, before the rotation.

    Args:
        query_dim: width of the input and of the output.
        context_dim: width of what keys and values are made from.
        eps: epsilon of the query and key norms.
        gated: whether the tokens that ask also say how much each head may answer, 0 to 2 times.
    """

    def __init__(
        self,
        query_dim: int,
        context_dim: int,
        *,
        num_heads: int,
        head_dim: int,
        eps: float,
        gated: bool = False,
    ) -> None:
        super().__init__()
        self.attend: Attend = attend_here
        inner = num_heads * head_dim
        self.num_heads = num_heads
        self.to_q = Linear(query_dim, inner)
        self.to_k = Linear(context_dim, inner)
        self.to_v = Linear(context_dim, inner)
        self.q_norm = RMSNorm(inner, eps)
        self.k_norm = RMSNorm(inner, eps)
        self.to_out = nn.Sequential(Linear(inner, query_dim))
        self.to_gate_logits = Linear(query_dim, num_heads) if gated else None

    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        *,
        mask: Tensor | None = None,
        rope: RotaryTable | None = None,
        context_rope: RotaryTable | None = None,
    ) -> Tensor:
        """What the tokens `x` [B, T, D] gather from `context` [B, T_c, D_c], [B, T, D].

        Args:
            x: tokens that ask.
            context: tokens that answer; None for self-attention.
            mask: [B, 1, 1, T_c], True where a token may be attended to.
            rope: rotation of the queries; with it goes `context_rope`.
            context_rope: rotation of the keys.
        """
        context = x if context is None else context
        return self.gather(x, self.keys_values(context, context_rope), mask=mask, rope=rope)

    def keys_values(self, context: Tensor, rope: RotaryTable | None = None) -> KeysValues:
        """What the tokens `context` [B, T_c, D_c] answer, [B, N, T_c, K] each."""
        key = self._heads(self.k_norm(self.to_k(context)), rope)
        return key, self._heads(self.to_v(context))

    def gather(
        self,
        x: Tensor,
        keys_values: KeysValues,
        *,
        mask: Tensor | None = None,
        rope: RotaryTable | None = None,
    ) -> Tensor:
        """What the tokens `x` [B, T, D] gather from keys and values, [B, T, D]."""
        query = self._heads(self.q_norm(self.to_q(x)), rope)
        gathered = self.attend(query, *keys_values, mask)
        return self._out(x, gathered.transpose(1, 2))  # [B, T, N, K]

    def own_values(self, x: Tensor) -> Tensor:
        """Self-attention in which every token of `x` [B, T, D] attends to itself alone."""
        return self._out(x, self.to_v(x).unflatten(-1, (self.num_heads, -1)))

    def _out(self, x: Tensor, heads: Tensor) -> Tensor:
        """What the heads gathered [B, T, N, K] for the tokens `x`, mixed: [B, T, D]."""
        if self.to_gate_logits is not None:
            # Twice, so that a gate that knows nothing lets everything through.
            heads = heads * (2 * self.to_gate_logits(x).sigmoid()).unsqueeze(-1)
        return self.to_out(heads.flatten(2))

    def _heads(self, x: Tensor, rope: RotaryTable | None = None) -> Tensor:
        x = x.unflatten(-1, (self.num_heads, -1))  # [B, T, N, K]
        if rope is not None:
            x = rope.rotate(x)
        return x.transpose(1, 2)  # [B, N, T, K]


class FeedForward(nn.Module):
    """Two linear layers with a GELU (tanh form) between them, four times wider inside."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        # The empty slot keeps the released parameter names `net.0.proj` and `net.2`.
        self.net = nn.Sequential(_GELUProjection(dim, 4 * dim), nn.Identity(), Linear(4 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as `x` [B, T, D]."""
        return self.net(x)


class RMSNorm(nn.Module):
    """Divides by the root mean square over the last axis and scales by learned weights."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape and type as `x` [..., D]."""
        return rms_norm(x, self.eps, self.weight)


class _GELUProjection(nn.Module):
    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.proj = Linear(in_dim, out_dim)

    def forward(self, x: Tensor) -> Tensor:
        # The largest tensor of a block, which is not read and written again for the function; a
        # quantised or otherwise changed layer is asked as it is.
        if type(self.proj) is Linear and onednn.serves(x, self.proj.weight):
            return onednn.product(x.contiguous(), self.proj.weight, self.proj.bias, "gelu")
        return F.gelu(self.proj(x), approximate="tanh")


def rms_norm(x: Tensor, eps: float, weight: Tensor | None = None) -> Tensor:
    """`x` [..., D] divided by its root mean square, times `weight` [D], in the type of `x`."""
    # One type throughout: weights may be float32 beside bfloat16 activations.
    weight = weight if weight is None else weight.to(x.dtype)
    if x.device.type != "cpu":
        return F.rms_norm(x, x.shape[-1:], weight, eps)
    # On CPUs PyTorch has no kernel for it and takes twice as many passes over `x` as these.
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
    scaled = x * torch.rsqrt(norm.square() / x.shape[-1] + eps).to(x.dtype)
    return scaled if weight is None else scaled * weight
