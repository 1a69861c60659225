"""Log-mel spectrograms to waveforms: the HiFi-GAN generator (Kong et al. 2020), in stereo."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
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


Activation = Callable[[int], nn.Module]
"""Makes an activation for features of so many channels."""


class ResidualStack(nn.Module):
    """Pairs of a dilated and a plain convolution, each after an activation, beside an identity."""

    def __init__(
        self, channels: int, kernel: int, dilations: tuple[int, ...], activation: Activation
    ) -> None:
        super().__init__()

        def conv(dilation: int) -> nn.Conv1d:
            return nn.Conv1d(channels, channels, kernel, dilation=dilation, padding="same")

        self.convs1 = nn.ModuleList(conv(d) for d in dilations)
        self.convs2 = nn.ModuleList(conv(1) for _ in dilations)
        self.acts1 = nn.ModuleList(activation(channels) for _ in dilations)
        self.acts2 = nn.ModuleList(activation(channels) for _ in dilations)

    def forward(self, x: Tensor) -> Tensor:
        """Features [B, C, S] of the same shape."""
        for before, dilated, between, plain in zip(
            self.acts1, self.convs1, self.acts2, self.convs2, strict=True
        ):
            x = x + plain(between(dilated(before(x))))
        return x


class Generator(nn.Module):
    """Stages of an upsampling and residual stacks, in the names of the published vocoders.

    Args:
        config: sizes.
        activation: in the residual stacks.
        before_upsampling: what each upsampling sees its input through.
        last_activation: before the last convolution.
        last_bias: whether the last convolution has one.
    """

    def __init__(
        self,
        config: VocoderConfig,
        *,
        activation: Activation,
        before_upsampling: nn.Module,
        last_activation: Activation,
        last_bias: bool,
    ) -> None:
        super().__init__()
        self.stacks_per_stage = len(config.residual_kernels)
        self.before_upsampling = before_upsampling
        channels = config.initial_channels
        self.conv_pre = nn.Conv1d(config.num_channels * config.mel_bins, channels, 7, padding=3)
        self.ups = nn.ModuleList()
        self.resblocks = nn.ModuleList()
        for rate, kernel in zip(config.rates, config.kernels, strict=True):
            padding = (kernel - rate) // 2
            self.ups.append(
                nn.ConvTranspose1d(channels, channels // 2, kernel, stride=rate, padding=padding)
            )
            channels //= 2
            shapes = zip(config.residual_kernels, config.residual_dilations, strict=True)
            self.resblocks.extend(ResidualStack(channels, k, d, activation) for k, d in shapes)
        self.act_post = last_activation(channels)
        self.conv_post = nn.Conv1d(channels, config.num_channels, 7, padding=3, bias=last_bias)

    def forward(self, mel: Tensor) -> Tensor:
        """Waveform [B, C, S] of log-mel spectrograms [B, C, L, M]; S = L times ∏rates."""
        x = self.conv_pre(rearrange(mel, "b c l m -> b (c m) l"))
        for stage, upsample in enumerate(self.ups):
            x = upsample(self.before_upsampling(x))
            first = stage * self.stacks_per_stage
            stacks = self.resblocks[first : first + self.stacks_per_stage]
            x = torch.stack([stack(x) for stack in stacks]).mean(dim=0)
        return self.conv_post(self.act_post(x))


class Vocoder(Generator):
    """Waveform [B, 2, S] in -1..1 of log-mel spectrograms [B, 2, L, M]; S = L times ∏rates."""

    def __init__(self, config: VocoderConfig) -> None:
        super().__init__(
            config,
            activation=lambda _: nn.LeakyReLU(LEAKY_SLOPE),
            before_upsampling=nn.LeakyReLU(LEAKY_SLOPE),
            # The released generator leaves the last slope at the framework's default of 0.01.
            last_activation=lambda _: nn.LeakyReLU(),
            last_bias=True,
        )
        self.config = config
        self.sample_rate = config.sample_rate

    def forward(self, mel: Tensor) -> Tensor:
        """Waveform of log-mel spectrograms [B, 2, L, M]."""
        return torch.tanh(super().forward(mel))
