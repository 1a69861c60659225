"""The audio autoencoder and its mel front end."""

from ltx2.model.audio_vae.config import AudioVAEConfig
from ltx2.model.audio_vae.mel import MelSpectrogram, resample
from ltx2.model.audio_vae.vae import AudioVAE

__all__ = ["AudioVAE", "AudioVAEConfig", "MelSpectrogram", "resample"]
