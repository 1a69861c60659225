"""Waveforms to the log-mel spectrograms that the audio autoencoder reads."""

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ltx2.model.audio_vae.config import AudioVAEConfig

LOG_FLOOR = 1e-5
FILTER_ZERO_CROSSINGS = 6
FILTER_ROLLOFF = 0.99
LINEAR_HZ = 200.0 / 3.0
BREAK_HZ = 1000.0
LOG_STEP = math.log(6.4) / 27.0


def resample(waveform: Tensor, source_rate: int, target_rate: int) -> Tensor:
    """Waveform [..., S] at another rate, by windowed-sinc interpolation.

    The filter (6 zero crossings, Hann window, cut-off at 99 % of the lower Nyquist frequency)
    is the one behind the released model's training data.
    """
    if source_rate == target_rate:
        return waveform
    divisor = math.gcd(source_rate, target_rate)
    source, target = source_rate // divisor, target_rate // divisor
    cutoff = min(source, target) * FILTER_ROLLOFF
    reach = math.ceil(FILTER_ZERO_CROSSINGS * source / cutoff)
    # One filter per output phase; float64, because the phases differ by tiny amounts.
    taps = torch.arange(-reach, reach + source, dtype=torch.float64) / source
    phases = torch.arange(target, dtype=torch.float64) / target
    t = ((taps - phases[:, None]) * cutoff).clamp(-FILTER_ZERO_CROSSINGS, FILTER_ZERO_CROSSINGS)
    window = torch.cos(t * math.pi / (2 * FILTER_ZERO_CROSSINGS)).square()
    filters = (torch.sinc(t) * window * cutoff / source).to(waveform)  # [phases, taps]
    length = waveform.shape[-1]
    flat = F.pad(waveform.reshape(-1, 1, length), (reach, reach + source))
    out = rearrange(F.conv1d(flat, filters[:, None], stride=source), "n p s -> n (s p)")
    out = out[:, : math.ceil(target * length / source)]
    return out.reshape(*waveform.shape[:-1], -1)


def mel_filters(
    sample_rate: int, fft_length: int, num_bins: int, lowest: float, highest: float
) -> Tensor:
    """Triangular filters [M, fft_length / 2 + 1], float64, of equal area, from Slaney's toolbox.

    Evenly spaced up to 1 kHz at 200/3 Hz per mel, logarithmic above at 27 mels per factor of 6.4.
    """
    mels = torch.linspace(_to_mel(lowest), _to_mel(highest), num_bins + 2, dtype=torch.float64)
    linear = mels * LINEAR_HZ
    logarithmic = BREAK_HZ * torch.exp((mels - BREAK_HZ / LINEAR_HZ) * LOG_STEP)
    edges = torch.where(linear < BREAK_HZ, linear, logarithmic)
    frequencies = torch.linspace(0, sample_rate / 2, fft_length // 2 + 1, dtype=torch.float64)
    left, centre, right = (edges[i : i + num_bins, None] for i in range(3))
    rise = (frequencies - left) / (centre - left)
    fall = (right - frequencies) / (right - centre)
    return torch.minimum(rise, fall).clamp_min(0.0) * (2.0 / (right - left))


def _to_mel(frequency: float) -> float:
    if frequency < BREAK_HZ:
        return frequency / LINEAR_HZ
    return BREAK_HZ / LINEAR_HZ + math.log(frequency / BREAK_HZ) / LOG_STEP


class MelSpectrogram(nn.Module):
    """Natural-log mel magnitudes [B, 2, L, M] of a stereo waveform [B, 2, S] in -1..1.

    Slaney mel scale and area normalisation, Hann window, centred frames with reflected ends;
    magnitudes below 1e-5 are raised to it.
    """

    filters: Tensor
    window: Tensor

    def __init__(self, config: AudioVAEConfig) -> None:
        super().__init__()
        self.config = config
        filters = mel_filters(
            config.sample_rate,
            config.fft_length,
            config.mel_bins,
            config.min_frequency,
            config.max_frequency,
        )
        self.register_buffer("filters", filters.float(), persistent=False)
        window = torch.hann_window(config.fft_length, periodic=True)
        self.register_buffer("window", window, persistent=False)

    def forward(self, waveform: Tensor, sample_rate: int) -> Tensor:
        """Log-mel of `waveform` [B, 2, S], resampled from `sample_rate` when that differs."""
        waveform = resample(waveform, sample_rate, self.config.sample_rate)
        batch = waveform.shape[0]
        spectrum = torch.stft(
            rearrange(waveform, "b c s -> (b c) s"),
            n_fft=self.config.fft_length,
            hop_length=self.config.hop_length,
            window=self.window,
            center=True,
            pad_mode="reflect",
            return_complex=True,
        ).abs()
        mel = self.filters @ spectrum  # [B·C, M, L]
        return rearrange(mel.clamp_min(LOG_FLOOR).log(), "(b c) m l -> b c l m", b=batch)
