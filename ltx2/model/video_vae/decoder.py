"""Latents to pictures; every frame sees its past and its future."""

from functools import partial

import torch
from torch import Tensor, nn

from ltx2.model.video_vae.config import ResidualStage, VideoVAEConfig
from ltx2.model.video_vae.layers import (
    Conv3d,
    NoiseLevelEmbedding,
    ResidualGroup,
    Upsample,
    activate,
    activated,
    unfold_patches,
)


class Decoder(nn.Module):
    """[B, latent_channels, f, h, w] to pictures [B, 3, F, H, W], about -1..1."""

    timestep_scale_multiplier: nn.Parameter

    def __init__(self, config: VideoVAEConfig) -> None:
        super().__init__()
        padding = config.decoder_padding
        self.patch_size = config.patch_size
        self.conditioned = config.timestep_conditioning
        channels = config.decoder_channels
        for stage in config.decoder_stages:
            if not isinstance(stage, ResidualStage):
                channels *= stage.multiplier
        self.conv_in = Conv3d(config.latent_channels, channels, causal=False, padding=padding)
        self.up_blocks = nn.ModuleList()
        for stage in reversed(config.decoder_stages):
            if isinstance(stage, ResidualStage):
                self.up_blocks.append(
                    ResidualGroup(
                        channels,
                        stage.num_layers,
                        causal=False,
                        padding=padding,
                        conditioned=self.conditioned,
                    )
                )
            else:
                self.up_blocks.append(
                    Upsample(
                        channels,
                        stride=stage.stride,
                        reduction=stage.multiplier,
                        residual=stage.residual,
                        padding=padding,
                    )
                )
                channels //= stage.multiplier
        pixels = 3 * config.patch_size**2
        self.conv_out = Conv3d(channels, pixels, causal=False, padding=padding)
        if self.conditioned:
            self.timestep_scale_multiplier = nn.Parameter(torch.tensor(1000.0))
            self.last_time_embedder = NoiseLevelEmbedding(2 * channels)
            self.last_scale_shift_table = nn.Parameter(torch.zeros(2, channels))

    def forward(self, latents: Tensor, timestep: Tensor | None = None) -> Tensor:
        """Pictures of raw (denormalised) latents; `timestep` [B] in 0..1 when conditioned."""
        scaled = None
        if timestep is not None:
            scaled = timestep.float() * self.timestep_scale_multiplier.float()
        x = self.conv_in(latents)
        for block in self.up_blocks:
            x = block(x, scaled) if isinstance(block, ResidualGroup) else block(x)
        rows = None
        if scaled is not None:
            embedding = self.last_time_embedder(scaled).unflatten(1, (2, -1))
            rows = (self.last_scale_shift_table + embedding)[..., None, None, None]
        if torch.is_grad_enabled():
            return unfold_patches(self.conv_out(activated(x, rows)), self.patch_size)
        stretches = self.conv_out.in_stretches(x, partial(activate, rows=rows))
        return torch.cat([unfold_patches(part, self.patch_size) for _, part in stretches], dim=2)
