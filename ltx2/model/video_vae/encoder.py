"""Pictures to latents; causal in time."""

from math import prod

import torch.nn.functional as F
from torch import Tensor, nn

from ltx2.model.video_vae.config import ResidualStage, VideoVAEConfig
from ltx2.model.video_vae.layers import (
    Conv3d,
    Downsample,
    ResidualGroup,
    fold_patches,
    pixel_norm,
)


class Encoder(nn.Module):
    """[B, 3, F, H, W] to mean and one shared log-variance [B, latent_channels + 1, f, h, w]."""

    def __init__(self, config: VideoVAEConfig) -> None:
        super().__init__()
        padding = config.encoder_padding
        self.patch_size = config.patch_size
        channels = config.encoder_channels
        self.conv_in = Conv3d(3 * config.patch_size**2, channels, causal=True, padding=padding)
        self.down_blocks = nn.ModuleList()
        for stage in config.encoder_stages:
            if isinstance(stage, ResidualStage):
                self.down_blocks.append(
                    ResidualGroup(channels, stage.num_layers, causal=True, padding=padding)
                )
            else:
                wider = channels * stage.multiplier
                if channels * prod(stage.stride) % wider or wider % prod(stage.stride):
                    raise ValueError(f"{channels} channels cannot be folded by {stage}")
                self.down_blocks.append(
                    Downsample(channels, wider, stride=stage.stride, padding=padding)
                )
                channels = wider
        out_channels = config.latent_channels + 1
        self.conv_out = Conv3d(channels, out_channels, causal=True, padding=padding)

    def forward(self, video: Tensor) -> Tensor:
        """Pictures in -1..1 to mean and log-variance."""
        x = self.conv_in(fold_patches(video, self.patch_size))
        for block in self.down_blocks:
            x = block(x)
        return self.conv_out(F.silu(pixel_norm(x)))
