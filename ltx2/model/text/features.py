"""From all hidden states of the text encoder to one feature vector per token."""

import math

import torch
from torch import Tensor, nn

from ltx2.model.config import FeatureProjectionConfig
from ltx2.model.linear import Linear

FEATURE_RANGE = 8.0
"""Spread of a layer's values after normalisation."""

EPS = 1e-6


class FeatureProjection(nn.Module):
    """Normalises every layer of the text encoder and mixes them into one vector per token."""

    def __init__(self, config: FeatureProjectionConfig) -> None:
        super().__init__()
        self.config = config
        width = config.hidden_size * config.num_states
        self.aggregate_embed = Linear(width, config.dim, bias=False)

    def forward(self, hidden_states: Tensor, mask: Tensor) -> Tensor:
        """Features [B, T_c, D], zero where padded.

        Args:
            hidden_states: [B, T_c, H, layers], layers in the encoder's order, embedding first.
            mask: [B, T_c], 1 for real tokens.
        """
        normalised = normalise_hidden_states(hidden_states, mask)
        return self.aggregate_embed(normalised.to(self.aggregate_embed.weight.dtype))

    @property
    def in_features(self) -> int:
        """Values per token that it takes."""
        return self.aggregate_embed.in_features

    def per_modality(self, hidden_states: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """What `forward` gives, for the video and for the audio, which share it."""
        features = self(hidden_states, mask)
        return features, features


class ModalityProjections(nn.Module):
    """The same for LTX-2.3: every token is normalised alone, and each modality has its own mix.

    A projection's input is scaled by the root of its width over the text encoder's, so that its
    output is about as large as the input.
    """

    def __init__(self, config: FeatureProjectionConfig) -> None:
        super().__init__()
        assert config.audio_dim is not None
        self.config = config
        width = config.hidden_size * config.num_states
        self.video_aggregate_embed = Linear(width, config.dim)
        self.audio_aggregate_embed = Linear(width, config.audio_dim)

    @property
    def in_features(self) -> int:
        """Values per token that it takes."""
        return self.video_aggregate_embed.in_features

    def forward(self, hidden_states: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Features of video and audio, [B, T_c, D] each; arguments as of `FeatureProjection`."""
        normalised = normalise_tokens(hidden_states, mask)
        return (
            self._project(normalised, self.video_aggregate_embed),
            self._project(normalised, self.audio_aggregate_embed),
        )

    def _project(self, normalised: Tensor, linear: nn.Linear) -> Tensor:
        scaled = normalised * math.sqrt(linear.out_features / self.config.hidden_size)
        projected: Tensor = linear(scaled.to(linear.weight.dtype))
        return projected

    def per_modality(self, hidden_states: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """What `forward` gives."""
        video, audio = self(hidden_states, mask)
        return video, audio


def normalise_tokens(hidden_states: Tensor, mask: Tensor) -> Tensor:
    """Hidden states [B, T_c, H, layers] of unit mean square, padding zero: [B, T_c, H * layers].

    Per token and layer, over channels; in the result the layer is the faster index.
    """
    states = hidden_states.float()
    normalised = states * torch.rsqrt(states.square().mean(dim=2, keepdim=True) + EPS)
    return normalised.masked_fill(~mask.bool()[:, :, None, None], 0.0).flatten(2)


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
