"""Latents to pictures; every frame sees its past and its future."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltx2.model.modulation import MLP, timestep_embedding
from ltx2.model.video_vae.config import ResidualStage, VideoVAEConfig
from ltx2.model.video_vae.layers import (
    Conv3d,
    ResidualBlock,
    Upsample,
    pixel_norm,
    unfold_patches,
)

SINUSOIDS = 256


class NoiseLevelEmbedding(nn.Module):
    """A noise level [B] as a vector [B, channels]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.timestep_embedder = MLP(SINUSOIDS, channels, nn.SiLU())

    def forward(self, timestep: Tensor) -> Tensor:
        """Vectors [B, channels] of scaled noise levels [B]."""
        waves = timestep_embedding(timestep, SINUSOIDS)
        return self.timestep_embedder(waves.to(self.timestep_embedder.linear_1.weight.dtype))


class ResidualGroup(nn.Module):
    """Residual blocks in a row, sharing one embedding of the noise level if there is one."""

    def __init__(self, channels: int, config: VideoVAEConfig, num_layers: int) -> None:
        super().__init__()
        conditioned = config.timestep_conditioning
        if conditioned:
            self.time_embedder = NoiseLevelEmbedding(4 * channels)
        self.res_blocks = nn.ModuleList(
            ResidualBlock(
                channels, causal=False, padding=config.decoder_padding, conditioned=conditioned
            )
            for _ in range(num_layers)
        )

    def forward(self, x: Tensor, timestep: Tensor | None) -> Tensor:
        """Features of the same shape; `timestep` [B] is scaled, None without conditioning."""
        embedding = None if timestep is None else self.time_embedder(timestep)
        for block in self.res_blocks:
            x = block(x, embedding)
        return x


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
                self.up_blocks.append(ResidualGroup(channels, config, stage.num_layers))
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
        x = pixel_norm(x)
        if scaled is not None:
            rows = self.last_scale_shift_table + self.last_time_embedder(scaled).unflatten(
                1, (2, -1)
            )
            shift, scale = rows[..., None, None, None].unbind(dim=1)
            x = x * (1 + scale) + shift
        return unfold_patches(self.conv_out(F.silu(x)), self.patch_size)
