"""Mel front end, audio autoencoder and vocoder: lengths, causality, refusals."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ltx2.errors import CheckpointError
from ltx2.model.audio_vae import AudioVAE, AudioVAEConfig, MelSpectrogram, resample
from ltx2.model.vocoder import Vocoder, VocoderConfig
from ltx2.training.puppet.architecture import CONFIG


@pytest.fixture(scope="module")
def config() -> AudioVAEConfig:
    return AudioVAEConfig.from_metadata(CONFIG)


@pytest.fixture(scope="module")
def vae(config: AudioVAEConfig) -> AudioVAE:
    torch.manual_seed(0)
    return AudioVAE(config).eval()


@pytest.mark.parametrize("mel_frames", [1, 2, 5, 29, 32])
def test_four_mel_frames_become_one_latent_and_come_back_without_the_first_three(
    vae: AudioVAE, mel_frames: int
) -> None:
    with torch.no_grad():
        latents = vae.encode(torch.randn(1, 2, mel_frames, 64))
        mel = vae.decode(latents)
    assert latents.shape == (1, 2, math.ceil(mel_frames / 4), 16)
    assert mel.shape == (1, 2, 4 * latents.shape[2] - 3, 64)


def test_the_audio_decoder_never_looks_ahead(vae: AudioVAE) -> None:
    latents = torch.randn(1, 2, 8, 16)
    changed = latents.clone()
    changed[:, :, 5:] += 1.0
    with torch.no_grad():
        a, b = vae.decode(latents), vae.decode(changed)
    torch.testing.assert_close(a[:, :, : 4 * 5 - 3], b[:, :, : 4 * 5 - 3], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(a, b)


def test_a_second_of_sound_is_twenty_five_latents(config: AudioVAEConfig) -> None:
    assert config.latents_per_second == 25.0


def test_a_tone_lights_up_the_mel_bin_at_its_pitch(config: AudioVAEConfig) -> None:
    t = torch.arange(16_000) / 16_000
    low, high = (torch.sin(2 * math.pi * hz * t).expand(1, 2, -1) for hz in (300.0, 3000.0))
    mel = MelSpectrogram(config)
    assert mel(low, 16_000)[0, 0, 50].argmax() < mel(high, 16_000)[0, 0, 50].argmax()


def test_silence_sits_on_the_floor(config: AudioVAEConfig) -> None:
    mel = MelSpectrogram(config)(torch.zeros(1, 2, 4000), 16_000)
    assert torch.allclose(mel, torch.full_like(mel, math.log(1e-5)))


@given(rate=st.sampled_from([8_000, 22_050, 24_000, 44_100, 48_000]), hz=st.integers(100, 2_800))
@settings(max_examples=20, deadline=None)
def test_resampling_keeps_a_tone_and_its_duration(rate: int, hz: int) -> None:
    tone = torch.sin(2 * math.pi * hz * torch.arange(rate // 2, dtype=torch.float32) / rate)
    expected = torch.sin(2 * math.pi * hz * torch.arange(8_000, dtype=torch.float32) / 16_000)
    actual = resample(tone, rate, 16_000)
    assert actual.shape == (8_000,)
    assert (actual - expected)[400:-400].abs().max() < 0.02


def test_the_vocoder_makes_whole_hops_within_range() -> None:
    vocoder = Vocoder(VocoderConfig.from_metadata(CONFIG)).eval()
    with torch.no_grad():
        waveform = vocoder(torch.randn(1, 2, 7, 64) * 10)
    assert waveform.shape == (1, 2, 7 * 160)
    assert waveform.abs().max() <= 1.0


def test_the_published_rates_mean_twenty_four_kilohertz() -> None:
    section = {**CONFIG["vocoder"], "upsample_rates": [6, 5, 2, 2, 2]}
    del section["output_sample_rate"]
    assert VocoderConfig.from_metadata({"vocoder": section}).sample_rate == 24_000


def test_attention_in_the_audio_autoencoder_is_refused() -> None:
    import copy

    config = copy.deepcopy(CONFIG)
    config["audio_vae"]["model"]["params"]["ddconfig"]["mid_block_add_attention"] = True
    with pytest.raises(CheckpointError, match="mid_block_add_attention"):
        AudioVAEConfig.from_metadata(config)


@pytest.mark.parametrize("section", [None, {"vocoder": {"resblock": "1"}}])
def test_a_missing_or_later_vocoder_is_refused(section: dict | None) -> None:
    with pytest.raises(CheckpointError, match="vocoder"):
        VocoderConfig.from_metadata(section or {})
