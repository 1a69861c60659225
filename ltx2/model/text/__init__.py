"""From a prompt to what the transformer's two streams attend to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ltx2.model.text.connector import Connector
from ltx2.model.text.features import FeatureProjection, ModalityProjections

if TYPE_CHECKING:  # transformers takes seconds to import; only loading a text encoder needs it
    from ltx2.model.text.encoder import EncodedPrompts, TextEncoder

__all__ = ["Connector", "FeatureProjection", "ModalityProjections", "TextPath"]


@dataclass(frozen=True)
class TextPath:
    """Text encoder, feature projection and one connector per modality, in that order."""

    encoder: "TextEncoder"
    projection: FeatureProjection | ModalityProjections
    video_connector: Connector
    audio_connector: Connector

    @torch.no_grad()
    def contexts(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Video and audio context [B, T_c, D] of `prompts`.

        Raises:
            RequestError: a prompt has more tokens than the model reads.
        """
        return self.connect(self.encoder.encode(prompts))

    def connect(self, encoded: "EncodedPrompts") -> tuple[Tensor, Tensor]:
        """Video and audio context [B, T_c, D] of prompts that are already encoded."""
        video, audio = self.projection.per_modality(encoded.hidden_states, encoded.mask)
        return self.video_connector(video, encoded.mask), self.audio_connector(audio, encoded.mask)
