"""From all hidden states of the text encoder to one feature vector per token."""

import torch
from torch import Tensor, nn

from ltx2.model.config import FeatureProjectionConfig

FEATURE_RANGE = 8.0
"""Spread of a layer's values after normalisation."""

EPS = 1e-6


class FeatureProjection(nn.Module):
    """Normalises every layer of the text encoder and mixes them into one vector per token."""

    def __init__(self, config: FeatureProjectionConfig) -> None:
        super().__init__()
        self.config = config
        width = config.hidden_size * config.num_states
        self.aggregate_embed = nn.Linear(width, config.dim, bias=False)

    def forward(self, hidden_states: Tensor, mask: Tensor) -> Tensor:
        """Features [B, T_c, D], zero where padded.

        Args:
            hidden_states: [B, T_c, H, layers], layers in the encoder's order, embedding first.
            mask: [B, T_c], 1 for real tokens.
        """
        normalised = normalise_hidden_states(hidden_states, mask)
        return self.aggregate_embed(normalised.to(self.aggregate_embed.weight.dtype))


def normalise_hidden_states(hidden_states: Tensor, mask: Tensor) -> Tensor:
    """Hidden states [B, T_c, H, layers] of comparable size in all layers: [B, T_c, H * layers].

    Per prompt and layer, over real tokens and channels: the mean goes to 0 and the distance from
    the smallest to the largest value to 8. Padding is zero. In the result the layer is the
    faster index.
    """
    # Means over a whole prompt lose too much in bfloat16.
    states = hidden_states.float()
    padding = ~mask.bool()[:, :, None, None]
    num_values = mask.sum(dim=1).view(-1, 1, 1, 1) * states.shape[2]
    over = (1, 2)
    mean = states.masked_fill(padding, 0.0).sum(over, keepdim=True) / (num_values + EPS)
    smallest = states.masked_fill(padding, torch.inf).amin(over, keepdim=True)
    largest = states.masked_fill(padding, -torch.inf).amax(over, keepdim=True)
    normalised = (states - mean) * (FEATURE_RANGE / (largest - smallest + EPS))
    return normalised.masked_fill(padding, 0.0).flatten(2)  # [B, T_c, H * layers]
