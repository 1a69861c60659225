"""Starting points and losses of the autoencoders' and the vocoder's training."""

from dataclasses import replace

import pytest
import torch

from ltx2.model.audio_vae import AudioVAE, AudioVAEConfig, MelSpectrogram
from ltx2.model.video_vae import VideoVAE, VideoVAEConfig
from ltx2.model.vocoder import Vocoder, VocoderConfig
from ltx2.training.autoencoders import (
    freeze,
    psnr,
    spectral_loss,
    start_from_mean,
    start_from_skips,
    two_sided,
    video_loss,
    video_vae_step,
    vocoder_step,
)
from ltx2.training.puppet.architecture import CONFIG


def video_vae() -> VideoVAE:
    torch.manual_seed(0)
    return VideoVAE(VideoVAEConfig.from_metadata(CONFIG))


def test_starting_from_skips_shrinks_what_the_blocks_add() -> None:
    plain, quiet = video_vae(), video_vae()
    start_from_skips(quiet)
    x = torch.randn(1, CONFIG["vae"]["encoder_base_channels"], 2, 4, 4)
    with torch.no_grad():
        added = [(vae.encoder.down_blocks[0](x.clone()) - x).std() for vae in (plain, quiet)]
    assert added[1] < 0.3 * added[0]


def test_an_audio_decoder_starts_at_the_mean_of_the_sound() -> None:
    config = AudioVAEConfig.from_metadata(CONFIG)
    vae, mel = AudioVAE(config), MelSpectrogram(config)
    waveform = torch.randn(4, 2, 4000, generator=torch.Generator().manual_seed(0)) * 0.1
    start_from_mean(vae, mel, waveform)
    assert vae.decoder.conv_out.conv.bias is not None
    torch.testing.assert_close(
        vae.decoder.conv_out.conv.bias, mel(waveform, 16_000).mean(dim=(0, 2, 3))
    )


def vocoder(**changes: int) -> Vocoder:
    torch.manual_seed(0)
    return Vocoder(replace(VocoderConfig.from_metadata(CONFIG), **changes))


def log_mel(*, sides: int) -> torch.Tensor:
    """Log-mels [1, sides, 30, 64] of about the usual level."""
    return torch.randn(1, sides, 30, 64, generator=torch.Generator().manual_seed(1)) * 2 - 6


@torch.no_grad()
def test_each_side_of_a_two_sided_vocoder_is_the_one_side_alone() -> None:
    one_side = vocoder(num_channels=1)
    mel = log_mel(sides=2)
    made = two_sided(one_side)(mel)
    for side in (0, 1):
        alone = one_side(mel[:, side : side + 1])
        assert alone.std() > 1e-4
        torch.testing.assert_close(made[:, side : side + 1], alone, atol=1e-6, rtol=1e-4)


@torch.no_grad()
def test_a_two_sided_vocoder_fits_the_checkpoint_of_both_sides() -> None:
    one_side = vocoder(
        num_channels=1, initial_channels=CONFIG["vocoder"]["upsample_initial_channel"] // 2
    )
    shapes = {name: x.shape for name, x in vocoder().state_dict().items()}
    assert {name: x.shape for name, x in two_sided(one_side).state_dict().items()} == shapes


def test_an_error_where_something_moves_costs_more_than_one_where_all_is_still() -> None:
    video = torch.zeros(1, 3, 4, 8, 8)
    video[:, :, 2:, :4] = 1.0  # the upper half changes between the second and the third frame
    losses = []
    for row in (0, 7):
        wrong = video.clone()
        wrong[:, :, 2, row] += 0.1
        losses.append(float(video_loss(wrong, video)))
    assert losses[0] > 3 * losses[1] > 0
    assert float(video_loss(video, video)) == 0.0


def test_equal_sounds_have_no_spectral_loss_and_silence_is_finite() -> None:
    sound = torch.randn(2, 2, 3000, generator=torch.Generator().manual_seed(0)) * 0.1
    assert float(spectral_loss(sound, sound)) == pytest.approx(0.0, abs=1e-6)
    assert torch.isfinite(spectral_loss(torch.zeros(2, 2, 3000), torch.zeros(2, 2, 3000)))
    assert float(spectral_loss(0.5 * sound, sound)) > 0.1


def test_the_ratio_of_a_known_error_is_its_decibels() -> None:
    picture = torch.zeros(1, 3, 1, 4, 4)
    assert psnr(picture + 0.2, picture) == pytest.approx(20.0, abs=1e-3)


def test_a_frozen_encoder_gets_no_gradient_and_the_decoder_does() -> None:
    vae = video_vae()
    freeze(vae.encoder)
    generator = torch.Generator().manual_seed(0)
    step = video_vae_step(
        vae,
        lambda g: torch.rand(1, 3, 9, 32, 32, generator=g),
        latent_noise=0.1,
        train_encoder=False,
    )
    loss, figures = step(0, generator)
    loss.backward()
    assert all(p.grad is None for p in vae.encoder.parameters())
    assert all(p.grad is not None for p in vae.decoder.parameters())
    assert figures["psnr"] > 0


def test_a_vocoder_step_compares_mel_spectrograms() -> None:
    torch.manual_seed(0)
    vocoder = Vocoder(VocoderConfig.from_metadata(CONFIG))
    mel = MelSpectrogram(AudioVAEConfig.from_metadata(CONFIG))
    noise = torch.randn(1, 2, 3200, generator=torch.Generator().manual_seed(0)) * 0.1
    loss, figures = vocoder_step(vocoder, mel, lambda _: noise)(0, torch.Generator())
    loss.backward()
    assert all(p.grad is not None for p in vocoder.parameters())
    assert figures["mel_l1"] > 1.0
