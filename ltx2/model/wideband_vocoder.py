"""The vocoder of LTX-2.3: mel spectrograms to 16 kHz, and from there to 48 kHz.

Both steps are generators of the kind of BigVGAN (Lee et al. 2023): periodic activations between
two resamplings, so that the harmonics they make do not fold back. The second generator hears the
first one's waveform as a spectrogram and makes what a plain resampling lacks.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ltx2.errors import CheckpointError
from ltx2.model.audio_vae.mel import mel_filters
from ltx2.model.vocoder import Generator, VocoderConfig

FILTER_TAPS = 12
"""Of the filters around an activation, which double and halve the sample rate."""

SMALLEST_AMPLITUDE = 1e-9
SMALLEST_MAGNITUDE = 1e-5

RESAMPLED_ROLLOFF, RESAMPLED_LOBES = 0.99, 6
"""Cut-off of the plain resampling over the lower rate's half, and zero crossings to each side."""

_GENERATOR_SUPPORTED = {
    "resblock": "AMP1",
    "activation": "snakebeta",
    "use_tanh_at_final": False,
    "use_bias_at_final": False,
}


@dataclass(frozen=True)
class WidebandConfig:
    """Sizes of both generators and of the spectrogram between them.

    Attributes:
        narrow: from the mel spectrogram of diffusion to the lower rate.
        wide: from the spectrogram of that to the higher rate.
        fft_length, hop_length: of the spectrogram between them, in samples of the lower rate.
    """

    narrow: VocoderConfig
    wide: VocoderConfig
    fft_length: int
    hop_length: int

    @property
    def sample_rate(self) -> int:
        """Hz of the waveform that leaves."""
        return self.wide.sample_rate

    @classmethod
    def from_metadata(cls, config: Mapping[str, Any]) -> "WidebandConfig":
        """Configuration from the `vocoder` section of a checkpoint's `config`.

        Raises:
            CheckpointError: the section asks for something unknown.
        """
        narrow, wide = (_generator_section(config, name) for name in ("vocoder", "bwe"))
        for key, expected in (("apply_final_activation", False), ("win_size", wide["n_fft"])):
            _require(wide, key, expected)
        mel_bins = int(
            config.get("audio_vae", {})
            .get("preprocessing", {})
            .get("mel", {})
            .get("n_mel_channels", 64)
        )
        result = cls(
            VocoderConfig.from_section(
                narrow, mel_bins=mel_bins, sample_rate=int(wide["input_sampling_rate"])
            ),
            VocoderConfig.from_section(
                wide, mel_bins=int(wide["num_mels"]), sample_rate=int(wide["output_sampling_rate"])
            ),
            int(wide["n_fft"]),
            int(wide["hop_length"]),
        )
        ratio = math.prod(result.wide.rates) / result.hop_length
        if ratio * result.narrow.sample_rate != result.sample_rate:
            raise CheckpointError(
                f"The vocoder makes {ratio:g} samples of each one at "
                f"{result.narrow.sample_rate:,} Hz, which is not {result.sample_rate:,} Hz.",
                next_step="Use an unchanged LTX-2.3 checkpoint.",
            )
        return result


class WidebandVocoder(nn.Module):
    """Waveform [B, 2, S] in -1..1 of log-mel spectrograms [B, 2, L, M]."""

    def __init__(self, config: WidebandConfig) -> None:
        super().__init__()
        self.config = config
        self.sample_rate = config.sample_rate
        self.vocoder = _generator(config.narrow)
        self.bwe_generator = _generator(config.wide)
        self.mel_stft = _LogMel(config)

    def forward(self, mel: Tensor) -> Tensor:
        """Waveform of log-mel spectrograms [B, 2, L, M]."""
        narrow = self.vocoder(mel).clamp(-1.0, 1.0)
        ratio = self.sample_rate // self.config.narrow.sample_rate
        length = narrow.shape[-1]
        narrow = F.pad(narrow, (0, -length % self.config.hop_length))
        added = self.bwe_generator(self.mel_stft(narrow))
        wide = (resampled(narrow, ratio) + added).clamp(-1.0, 1.0)
        return wide[..., : length * ratio]


def _generator(config: VocoderConfig) -> Generator:
    return Generator(
        config,
        activation=_Activation,
        before_upsampling=nn.Identity(),
        last_activation=_Activation,
        last_bias=False,
    )


class _Activation(nn.Module):
    """`_Snake` at twice the sample rate."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.upsample = _Doubled()
        self.act = _Snake(channels)
        self.downsample = _Halved()

    def forward(self, x: Tensor) -> Tensor:
        return self.downsample(self.act(self.upsample(x)))


class _Snake(nn.Module):
    """x + sin(a x)^2 / b with a and b of each channel, stored as logarithms (Ziyin et al. 2020)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        frequency, amplitude = (p.exp()[:, None] for p in (self.alpha, self.beta))
        return x + torch.sin(x * frequency).square() / (amplitude + SMALLEST_AMPLITUDE)


class _Doubled(nn.Module):
    """Twice the samples; both ends go on as they are."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("filter", _halfband_filter())

    def forward(self, x: Tensor) -> Tensor:
        taps = self.get_buffer("filter")
        edge = taps.shape[-1] // 2 - 1
        padded = F.pad(x, (edge, edge), mode="replicate")
        channels = x.shape[1]
        doubled = 2 * F.conv_transpose1d(
            padded, taps.expand(channels, -1, -1), stride=2, groups=channels
        )
        cut = 2 * edge + taps.shape[-1] // 2 - 1
        return doubled[..., cut : cut + 2 * x.shape[-1]]


class _Halved(nn.Module):
    """Every other sample of the lower half of the spectrum; both ends go on as they are."""

    def __init__(self) -> None:
        super().__init__()
        self.lowpass = nn.Module()
        self.lowpass.register_buffer("filter", _halfband_filter())

    def forward(self, x: Tensor) -> Tensor:
        taps = self.lowpass.get_buffer("filter")
        after = taps.shape[-1] // 2
        padded = F.pad(x, (after - 1, after), mode="replicate")
        channels = x.shape[1]
        return F.conv1d(padded, taps.expand(channels, -1, -1), stride=2, groups=channels)


class _LogMel(nn.Module):
    """Log-mel magnitudes [B, C, L, M] of waveforms [B, C, S]; a frame sees no later samples.

    The files store the bases of the Fourier transform, which are used as they are.
    """

    def __init__(self, config: WidebandConfig) -> None:
        super().__init__()
        length, rate = config.fft_length, config.narrow.sample_rate
        self.hop_length = config.hop_length
        self.stft_fn = nn.Module()
        self.stft_fn.register_buffer("forward_basis", _fourier_basis(length))
        self.stft_fn.register_buffer("inverse_basis", torch.zeros(length + 2, 1, length))
        filters = mel_filters(rate, length, config.wide.mel_bins, 0.0, rate / 2)
        self.register_buffer("mel_basis", filters.float())

    def forward(self, waveform: Tensor) -> Tensor:
        basis = self.stft_fn.get_buffer("forward_basis")
        samples = F.pad(waveform.flatten(0, 1), (basis.shape[-1] - self.hop_length, 0))
        real, imaginary = F.conv1d(samples[:, None], basis, stride=self.hop_length).chunk(2, dim=1)
        mel = self.get_buffer("mel_basis") @ torch.hypot(real, imaginary)
        log_mel = mel.clamp_min(SMALLEST_MAGNITUDE).log()
        return rearrange(log_mel, "(b c) m l -> b c l m", b=len(waveform))


def resampled(waveform: Tensor, ratio: int) -> Tensor:
    """Waveform [B, C, S] at `ratio` times its rate, by a sinc under a Hann window."""
    taps = _sinc_filter(ratio).to(waveform)
    width = (taps.shape[-1] - 1) // (2 * ratio)
    padded = F.pad(waveform, (width, width), mode="replicate")
    channels = waveform.shape[1]
    longer = F.conv_transpose1d(
        padded, taps.expand(channels, -1, -1), stride=ratio, groups=channels
    )
    cut = 2 * width * ratio
    return longer[..., cut : cut + ratio * waveform.shape[-1]]


@lru_cache(maxsize=4)
def _sinc_filter(ratio: int) -> Tensor:
    """Taps [1, 1, 2 * width * ratio + 1] whose centre is 0.99."""
    width = math.ceil(RESAMPLED_LOBES / RESAMPLED_ROLLOFF)
    times = (np.arange(2 * width * ratio + 1) / ratio - width) * RESAMPLED_ROLLOFF
    window = np.cos(np.clip(times, -RESAMPLED_LOBES, RESAMPLED_LOBES) * np.pi / 12) ** 2
    taps = np.sinc(times) * window * RESAMPLED_ROLLOFF
    return torch.from_numpy(taps.astype(np.float32))[None, None]


@lru_cache(maxsize=1)
def _halfband_taps() -> np.ndarray:
    """A sinc under Kaiser's window with a transition of 0.3 of the doubled rate, sum 1."""
    attenuation = 2.285 * (FILTER_TAPS // 2 - 1) * np.pi * 1.2 + 7.95  # Kaiser's formulas
    beta = 0.1102 * (attenuation - 8.7)
    times = np.arange(FILTER_TAPS) - (FILTER_TAPS - 1) / 2
    taps = np.sinc(times / 2) * np.kaiser(FILTER_TAPS, beta)
    return (taps / taps.sum()).astype(np.float32)


def _halfband_filter() -> Tensor:
    return torch.from_numpy(_halfband_taps().copy())[None, None]


def _fourier_basis(length: int) -> Tensor:
    """Real, then imaginary parts [length + 2, 1, length] under a periodic Hann window."""
    angles = 2 * np.pi / length * np.arange(length)
    turns = np.outer(np.arange(length // 2 + 1), angles)
    window = (1 - np.cos(angles)) / 2
    basis = np.concatenate([np.cos(turns), -np.sin(turns)]) * window
    return torch.from_numpy(basis.astype(np.float32))[:, None]


def _generator_section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = config["vocoder"].get(name)
    if not isinstance(section, Mapping):
        raise CheckpointError(
            f"The checkpoint's configuration has no generator {name!r} of the vocoder.",
            next_step="Use a complete LTX-2.3 checkpoint.",
        )
    for key, expected in _GENERATOR_SUPPORTED.items():
        _require(section, key, expected)
    return section


def _require(section: Mapping[str, Any], key: str, expected: object) -> None:
    if section.get(key, expected) != expected:
        raise CheckpointError(
            f"The vocoder declares {key} = {section[key]!r}; only {expected!r} is known.",
            next_step="Use a checkpoint of LTX-2 (19B) or LTX-2.3 (22B).",
        )
