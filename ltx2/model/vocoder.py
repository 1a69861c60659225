"""Log-mel spectrograms to waveforms: the HiFi-GAN generator (Kong et al. 2020), in stereo."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ltx2.errors import CheckpointError

LEAKY_SLOPE = 0.1
MEL_FRAMES_PER_SECOND = 100
"""16 kHz mel spectrograms with a hop of 160 samples."""


@dataclass(frozen=True)
class VocoderConfig:
    """Sizes of the generator; the stride product is the number of samples per mel frame."""

    mel_bins: int
    num_channels: int
    initial_channels: int
    rates: tuple[int, ...]
    kernels: tuple[int, ...]
    residual_kernels: tuple[int, ...]
    residual_dilations: tuple[tuple[int, ...], ...]
    sample_rate: int

    @classmethod
    def from_metadata(cls, config: Mapping[str, Any]) -> "VocoderConfig":
        """Configuration from the `vocoder` section of a checkpoint's `config`.

        Raises:
            CheckpointError: the section is missing or asks for another generation's vocoder.
        """
        section = config.get("vocoder")
        if section is None or "upsample_rates" not in section:
            raise CheckpointError(
                "The checkpoint's configuration has no vocoder of the 19B generation.",
                next_step="Use a complete LTX-2 checkpoint.",
            )
        if str(section.get("resblock", "1")) != "1":
            raise CheckpointError(
                f"The vocoder has resblock = {section['resblock']!r}; only '1' is known.",
                next_step="Use a checkpoint of LTX-2 (19B) or LTX-2.3 (22B).",
            )
        mel = config.get("audio_vae", {}).get("preprocessing", {}).get("mel", {})
        written_rate = section.get("output_sample_rate", section.get("output_sampling_rate"))
        made_rate = prod(section["upsample_rates"]) * MEL_FRAMES_PER_SECOND
        return cls.from_section(
            section,
            mel_bins=int(mel.get("n_mel_channels", 64)),
            sample_rate=int(written_rate or made_rate),
        )

    @classmethod
    def from_section(
        cls, section: Mapping[str, Any], *, mel_bins: int, sample_rate: int
    ) -> "VocoderConfig":
        """Configuration of one generator from the section that describes it alone."""
        return cls(
            mel_bins=mel_bins,
            num_channels=2 if section.get("stereo", True) else 1,
            initial_channels=int(section["upsample_initial_channel"]),
            rates=tuple(section["upsample_rates"]),
            kernels=tuple(section["upsample_kernel_sizes"]),
            residual_kernels=tuple(section["resblock_kernel_sizes"]),
            residual_dilations=tuple(tuple(d) for d in section["resblock_dilation_sizes"]),
            sample_rate=sample_rate,
        )


class ResidualStack(nn.Module):
    """Pairs of a dilated and a plain convolution, each pair with an identity path."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()

        def conv(dilation: int) -> nn.Conv1d:
            return nn.Conv1d(channels, channels, kernel, dilation=dilation, padding="same")

        self.convs1 = nn.ModuleList(conv(d) for d in dilations)
        self.convs2 = nn.ModuleList(conv(1) for _ in dilations)

    def forward(self, x: Tensor) -> Tensor:
        """Features [B, C, S] of the same shape."""
        for dilated, plain in zip(self.convs1, self.convs2, strict=True):
            h = dilated(F.leaky_relu(x, LEAKY_SLOPE))
            x = x + plain(F.leaky_relu(h, LEAKY_SLOPE))
        return x


class Vocoder(nn.Module):
    """Waveform [B, 2, S] in -1..1 of log-mel spectrograms [B, 2, L, M]; S = L times ∏rates."""

    def __init__(self, config: VocoderConfig) -> None:
        super().__init__()
        self.config = config
        self.sample_rate = config.sample_rate
        self.stacks_per_stage = len(config.residual_kernels)
        channels = config.initial_channels
        self.conv_pre = nn.Conv1d(config.num_channels * config.mel_bins, channels, 7, padding=3)
        self.ups = nn.ModuleList()
        self.resblocks = nn.ModuleList()
        for rate, kernel in zip(config.rates, config.kernels, strict=True):
            self.ups.append(
                nn.ConvTranspose1d(
                    channels, channels // 2, kernel, stride=rate, padding=(kernel - rate) // 2
                )
            )
            channels //= 2
            shapes = zip(config.residual_kernels, config.residual_dilations, strict=True)
            self.resblocks.extend(ResidualStack(channels, k, d) for k, d in shapes)
        self.conv_post = nn.Conv1d(channels, config.num_channels, 7, padding=3)

    def forward(self, mel: Tensor) -> Tensor:
        """Waveform of log-mel spectrograms [B, 2, L, M]."""
        x = self.conv_pre(rearrange(mel, "b c l m -> b (c m) l"))
        for stage, upsample in enumerate(self.ups):
            x = upsample(F.leaky_relu(x, LEAKY_SLOPE))
            first = stage * self.stacks_per_stage
            stacks = self.resblocks[first : first + self.stacks_per_stage]
            x = torch.stack([stack(x) for stack in stacks]).mean(dim=0)
        # The released generator leaves the last slope at the framework's default of 0.01.
        return torch.tanh(self.conv_post(F.leaky_relu(x)))
