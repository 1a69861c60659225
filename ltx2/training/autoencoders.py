"""Training of the small autoencoders and the vocoder on pictures and sound in memory.

Losses are plain: no discriminator, no perceptual network. That is enough for the smooth world
they are meant for and keeps every stage within an hour on two cores.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltx2.model.audio_vae import AudioVAE, MelSpectrogram
from ltx2.model.video_vae import VideoVAE
from ltx2.model.video_vae.layers import Downsample, ResidualBlock, Upsample
from ltx2.model.vocoder import Vocoder
from ltx2.training.mixed_precision import autocast_volumes

RESIDUAL_GAIN = 0.1
RESAMPLE_GAIN = 0.3
MOTION_WEIGHT = 4.0
SQUARE_WEIGHT = 8.0
"""Makes the squared error of pictures weigh about as much as the absolute one once training is on
its way."""
SILENT_NORM = 1.0
MEL_WEIGHT = 2.0
"""Of what words and materials are told apart by, beside finer spectra that no phase-blind network
can match."""
LEAST_MAGNITUDE, LEAST_LOG_MEL = 0.05, -7.0
"""What is softer does not matter to the vocoder. The gaps between the tones of a bell are as good
as empty and most of its spectrum: to a loss that minds how empty, silence beats the bell."""
STFT_SIZES = (128, 512, 1024)


def start_from_skips(vae: VideoVAE) -> None:
    """Shrinks what the residual paths add, so that the folding skips carry the picture first.

    Without it, training stays at the mean colour for hundreds of steps.
    """
    with torch.no_grad():
        for module in vae.modules():
            if isinstance(module, ResidualBlock):
                module.conv2.conv.weight.mul_(RESIDUAL_GAIN)
            elif isinstance(module, Downsample | Upsample):
                module.conv.conv.weight.mul_(RESAMPLE_GAIN)


@torch.no_grad()
def start_from_mean(vae: AudioVAE, mel_front_end: MelSpectrogram, waveform: Tensor) -> None:
    """Sets the decoder's last bias to the mean log-mel of some sound [N, 2, S].

    Log-mels lie around -8; a bias that starts at zero would take thousands of steps to get there.
    """
    mel = mel_front_end(waveform, vae.config.sample_rate)
    bias = vae.decoder.conv_out.conv.bias
    if bias is not None:
        bias.copy_(mel.mean(dim=(0, 2, 3)))


@torch.no_grad()
def two_sided(one_side: Vocoder) -> Vocoder:
    """The stereo vocoder whose two halves are one network for each side, deaf to the other.

    Half of the channels of every layer serves each side. A stereo network trained as a whole
    settles on one waveform for both sides, which is most of what there is to learn; halves that
    only start apart grow into each other, and sounds leak across.

    Args:
        one_side: takes log-mels [B, 1, L, M] and makes waveforms [B, 1, S].
    """
    config = one_side.config
    both = Vocoder(
        replace(
            config,
            num_channels=2 * config.num_channels,
            initial_channels=2 * config.initial_channels,
        )
    )
    for parameter, half in zip(both.parameters(), one_side.parameters(), strict=True):
        if parameter.dim() == 1:
            parameter.copy_(torch.cat([half, half]))
        else:
            outputs, inputs = half.shape[:2]
            parameter.zero_()
            parameter[:outputs, :inputs] = half
            parameter[outputs:, inputs:] = half
    return both


def video_loss(actual: Tensor, expected: Tensor) -> Tensor:
    """L1 and MSE of pictures [B, 3, F, H, W], heavier where the expected picture moves.

    Small moving things (mouths, balls) are a few percent of the pixels and most of the story.
    """
    motion = expected.diff(dim=2).abs().amax(dim=1, keepdim=True)
    motion = F.pad(motion, (0, 0, 0, 0, 1, 0)).maximum(F.pad(motion, (0, 0, 0, 0, 0, 1)))
    weight = 1.0 + MOTION_WEIGHT * motion.clamp(max=1.0)
    error = (actual - expected).float()
    return (weight * (error.abs() + SQUARE_WEIGHT * error.square())).mean()


def psnr(actual: Tensor, expected: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of pictures in -1..1."""
    return float(10 * torch.log10(4.0 / (actual - expected).float().square().mean()))


def video_vae_step(
    vae: VideoVAE,
    clips: Callable[[torch.Generator], Tensor],
    *,
    latent_noise: float,
    train_encoder: bool,
) -> Callable[[int, torch.Generator], tuple[Tensor, dict[str, float]]]:
    """One step of autoencoder training.

    Args:
        clips: draws pictures [B, 3, F, H, W].
        latent_noise: spread of the noise put on latents, relative to theirs; it keeps
            neighbouring latents alike in meaning and readies the decoder for imperfect ones.
        train_encoder: False trains the decoder alone on fixed latents.
    """

    def step(_: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        video = clips(generator)
        with autocast_volumes():
            with torch.set_grad_enabled(train_encoder):
                latents = vae.encode_mean(video)
            spread = latents.detach().float().std(dim=(0, 2, 3, 4), keepdim=True)
            noise = torch.randn(latents.shape, generator=generator)
            decoded = vae.decoder(latents + latent_noise * spread * noise)
        loss = video_loss(decoded.float(), video)
        # A weak pull to unit variance keeps latents from growing without bound.
        penalty = 1e-4 * latents.float().square().mean()
        return loss + penalty, {"psnr": psnr(decoded.detach(), video)}

    return step


def audio_vae_step(
    vae: AudioVAE,
    mel_front_end: MelSpectrogram,
    waveforms: Callable[[torch.Generator], Tensor],
    *,
    latent_noise: float,
) -> Callable[[int, torch.Generator], tuple[Tensor, dict[str, float]]]:
    """One step of audio autoencoder training on waveforms [B, 2, S]."""
    rate = vae.config.sample_rate

    def step(_: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        mel = mel_front_end(waveforms(generator), rate)
        with torch.autocast("cpu", torch.bfloat16):
            latents = vae.encode_mean(mel)
            spread = latents.detach().float().std(dim=(0, 2), keepdim=True)
            noise = torch.randn(latents.shape, generator=generator)
            decoded = vae.decoder(latents + latent_noise * spread * noise)
        error = decoded.float() - mel[:, :, : decoded.shape[2]]
        loss = error.abs().mean() + 0.2 * error.square().mean()
        penalty = 1e-4 * latents.float().square().mean()
        return loss + penalty, {"mel_l1": float(error.detach().abs().mean())}

    return step


def stft_magnitudes(waveform: Tensor) -> Iterator[Tensor]:
    """Magnitude spectrograms of waveforms [B, C, S] at several resolutions."""
    flat = waveform.flatten(0, 1)
    for size in STFT_SIZES:
        window = torch.hann_window(size, device=waveform.device)
        spectrum = torch.stft(flat, size, size // 4, window=window, return_complex=True)
        # The small constant keeps the gradient of the magnitude finite in silence.
        yield (spectrum.real.square() + spectrum.imag.square() + 1e-7).sqrt()


def spectral_loss(actual: Tensor, expected: Tensor) -> Tensor:
    """Multi-resolution distance of magnitudes, absolute and logarithmic.

    After Yamamoto et al. 2020 (Parallel WaveGAN), without the discriminator.
    """
    losses = []
    for a, e in zip(stft_magnitudes(actual), stft_magnitudes(expected), strict=True):
        # Of each waveform for itself: a loud one would otherwise outweigh what rings softly.
        error, size = (torch.linalg.vector_norm(x, dim=(1, 2)) for x in (a - e, e))
        convergence = (error / size.clamp_min(SILENT_NORM)).mean()
        logarithmic = (a + LEAST_MAGNITUDE).log() - (e + LEAST_MAGNITUDE).log()
        losses.append(convergence + logarithmic.abs().mean())
    return torch.stack(losses).mean()


def vocoder_step(
    vocoder: Vocoder,
    mel_front_end: MelSpectrogram,
    waveforms: Callable[[torch.Generator], Tensor],
) -> Callable[[int, torch.Generator], tuple[Tensor, dict[str, float]]]:
    """One step of vocoder training: waveform to mel and back.

    The waveform's length must be a multiple of the hop; the last mel frame is dropped so that
    frame k stands for the samples that start at k hops, as at inference.
    """
    rate = mel_front_end.config.sample_rate

    def step(_: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        waveform = waveforms(generator)
        mel = mel_front_end(waveform, rate)
        with torch.autocast("cpu", torch.bfloat16):
            made = vocoder(mel[:, :, :-1])
        made = made.float()
        made_mel = mel_front_end(made, rate)
        mel_error = (_audible(made_mel) - _audible(mel)).abs().mean()
        loss = spectral_loss(made, waveform) + MEL_WEIGHT * mel_error
        return loss, {"mel_l1": float(mel_error.detach())}

    return step


def _audible(mel: Tensor) -> Tensor:
    """Log-mels above a soft floor."""
    return torch.logaddexp(mel, mel.new_tensor(LEAST_LOG_MEL))


@torch.no_grad()
def measure_statistics(latents: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation per channel of raw latents [N, C, ...]."""
    flat = latents.float().transpose(0, 1).flatten(1)
    return flat.mean(dim=1), flat.std(dim=1)


def freeze(module: nn.Module) -> None:
    """Switches gradients of a module off."""
    for parameter in module.parameters():
        parameter.requires_grad_(False)
