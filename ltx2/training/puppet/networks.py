"""What is trained together on latents: text encoder, projection, connectors, transformer."""

from collections.abc import Iterable
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from ltx2.diffusion.state import Joint
from ltx2.model.block import TransformerBlock
from ltx2.model.config import ConnectorConfig, FeatureProjectionConfig, TransformerConfig
from ltx2.model.text import Connector, FeatureProjection
from ltx2.model.text.encoder import build_text_encoder
from ltx2.model.transformer import Transformer
from ltx2.training.puppet import architecture


class PuppetNetworks(nn.Module):
    """The prompt's way to the transformer, and the transformer."""

    def __init__(self, text_folder: Path) -> None:
        super().__init__()
        config = architecture.CONFIG
        self.text_encoder = build_text_encoder(text_folder)
        self.projection = FeatureProjection(
            FeatureProjectionConfig.from_metadata(config, num_states=self.text_encoder.num_states)
        )
        self.video_connector = Connector(ConnectorConfig.from_metadata(config))
        self.audio_connector = Connector(ConnectorConfig.from_metadata(config))
        self.transformer = Transformer(TransformerConfig.from_metadata(config))
        start_quietly(self.transformer)

    def contexts(self, prompts: list[str]) -> Joint[Tensor]:
        """Video and audio contexts [B, T_c, D], with gradients."""
        encoded = self.text_encoder(*self.text_encoder.tokenize(prompts))
        features = self.projection(encoded.hidden_states, encoded.mask)
        return Joint(
            self.video_connector(features, encoded.mask),
            self.audio_connector(features, encoded.mask),
        )


@torch.no_grad()
def start_quietly(transformer: Transformer) -> None:
    """Initial values for training from nothing.

    Gates start open and noise levels change nothing at first, so that every block begins as a
    plain residual block; the output starts at zero, the best guess before anything is known.
    """
    zero = (
        "adaln_single.linear.weight",
        "adaln_single.linear.bias",
        "proj_out.weight",
        "proj_out.bias",
    )
    for name, parameter in transformer.named_parameters():
        if name.endswith(zero):
            parameter.zero_()
    for block in cast(Iterable[TransformerBlock], transformer.transformer_blocks):
        for table in (block.scale_shift_table, block.audio_scale_shift_table):
            table[2] = table[5] = 1.0
        for table in (block.scale_shift_table_a2v_ca_video, block.scale_shift_table_a2v_ca_audio):
            table[4] = 1.0
