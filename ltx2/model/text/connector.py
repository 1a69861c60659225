"""The connector: text features in, the context that one modality attends to out."""

import torch
from torch import Tensor, nn

from ltx2.model.attention import Attention, FeedForward, rms_norm
from ltx2.model.config import ConnectorConfig
from ltx2.model.rope import RotaryTable, rotary_table


class Connector(nn.Module):
    """A small bidirectional transformer in which learned registers take the place of padding."""

    def __init__(self, config: ConnectorConfig) -> None:
        super().__init__()
        self.config = config
        self.learnable_registers = nn.Parameter(torch.randn(config.num_registers, config.dim))
        self.transformer_1d_blocks = nn.ModuleList(_Block(config) for _ in range(config.num_layers))

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """Context [B, T_c, D] of which every row may be attended to.

        Args:
            features: [B, T_c, D], padding anywhere.
            mask: [B, T_c], 1 for real tokens.
        """
        hidden = self._replace_padding(features, mask.bool())
        positions = torch.arange(hidden.shape[1], device=hidden.device).view(1, -1, 1)
        rope = rotary_table(positions, self.config.rope)
        for block in self.transformer_1d_blocks:
            hidden = block(hidden, rope)
        return rms_norm(hidden, self.config.norm_eps)

    def _replace_padding(self, features: Tensor, mask: Tensor) -> Tensor:
        """Real tokens moved to the front; after them the registers of their positions."""
        order = (~mask).long().argsort(dim=1, stable=True)
        features = features.gather(1, order.unsqueeze(-1).expand_as(features))
        positions = torch.arange(features.shape[1], device=features.device)
        registers = self.learnable_registers[positions % self.config.num_registers]
        is_real = positions < mask.sum(dim=1, keepdim=True)
        return torch.where(is_real.unsqueeze(-1), features, registers.to(features.dtype))


class _Block(nn.Module):
    def __init__(self, config: ConnectorConfig) -> None:
        super().__init__()
        self.eps = config.norm_eps
        self.attn1 = Attention(
            config.dim,
            config.dim,
            num_heads=config.num_heads,
            head_dim=config.head_dim,
            eps=config.norm_eps,
            gated=config.gated_attention,
        )
        self.ff = FeedForward(config.dim)

    def forward(self, hidden: Tensor, rope: RotaryTable) -> Tensor:
        x = rms_norm(hidden, self.eps)
        hidden = hidden + self.attn1(x, rope=rope, context_rope=rope)
        return hidden + self.ff(rms_norm(hidden, self.eps))
