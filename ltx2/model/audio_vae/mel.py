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


class MelSpectrogram(nn.Module):
    """Natural-log mel magnitudes [B, 2, L, M] of a stereo waveform [B, 2, S] in -1..1.

    Slaney mel scale and area normalisation, Hann window, centred frames with reflected ends;
    magnitudes below 1e-5 are raised to it.
    """

    filters: Tensor
    window: Tensor

    def __init__(self, config: AudioVAEConfig) -> None:
        super().__init__()
        from transformers.audio_utils import mel_filter_bank

        self.config = config
        filters = mel_filter_bank(
            num_frequency_bins=config.fft_length // 2 + 1,
            num_mel_filters=config.mel_bins,
            min_frequency=config.min_frequency,
            max_frequency=config.max_frequency,
            sampling_rate=config.sample_rate,
            norm="slaney",
            mel_scale="slaney",
        ).T
        self.register_buffer("filters", torch.from_numpy(filters).float(), persistent=False)
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
