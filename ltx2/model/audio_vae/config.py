"""Architecture of the audio autoencoder and its mel front end, from a checkpoint's metadata."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ltx2.errors import CheckpointError


@dataclass(frozen=True)
class AudioVAEConfig:
    """Sizes of the autoencoder and parameters of its log-mel input.

    Attributes:
        sample_rate: Hz at which mel spectrograms are taken; `hop_length` samples apart.
        latent_channels: channels of a latent; its bins are `mel_bins / 2 ** (levels - 1)`.
        channel_multipliers: width of each level in units of `base_channels`.
        min_frequency, max_frequency: edges of the mel filters in Hz.
    """

    sample_rate: int
    fft_length: int
    hop_length: int
    mel_bins: int
    min_frequency: float
    max_frequency: float
    latent_channels: int
    base_channels: int
    channel_multipliers: tuple[int, ...]
    num_res_blocks: int
    num_channels: int

    @property
    def compression(self) -> int:
        """Mel frames per latent frame, and mel bins per latent bin."""
        return 2 ** (len(self.channel_multipliers) - 1)

    @property
    def latent_bins(self) -> int:
        """Frequency bins of a latent."""
        return self.mel_bins // self.compression

    @property
    def latents_per_second(self) -> float:
        """Latent frames per second of sound."""
        return self.sample_rate / self.hop_length / self.compression

    @classmethod
    def from_metadata(cls, config: Mapping[str, Any]) -> "AudioVAEConfig":
        """Configuration from the `audio_vae` section of a checkpoint's `config`.

        Raises:
            CheckpointError: the section is missing or asks for something unknown.
        """
        if "audio_vae" not in config:
            raise CheckpointError(
                "The checkpoint's configuration has no section 'audio_vae'.",
                next_step="Use a complete LTX-2 checkpoint.",
            )
        section = config["audio_vae"]
        parameters = section["model"]["params"]
        network = parameters["ddconfig"]
        required = {
            "norm_type": "pixel",
            "causality_axis": "height",
            "mid_block_add_attention": False,
            "attn_resolutions": [],
            "double_z": True,
        }
        for key, expected in required.items():
            if network.get(key, expected) != expected:
                raise CheckpointError(
                    f"The audio autoencoder has {key} = {network[key]!r}; "
                    f"only {expected!r} is known.",
                    next_step="Use a checkpoint of LTX-2 (19B) or LTX-2.3 (22B).",
                )
        preprocessing = section.get("preprocessing", {})
        stft, mel = preprocessing.get("stft", {}), preprocessing.get("mel", {})
        return cls(
            sample_rate=int(parameters.get("sampling_rate", 16_000)),
            fft_length=int(stft.get("filter_length", 1024)),
            hop_length=int(stft.get("hop_length", 160)),
            mel_bins=int(mel.get("n_mel_channels", network.get("mel_bins", 64))),
            min_frequency=float(mel.get("mel_fmin", 0.0)),
            max_frequency=float(mel.get("mel_fmax", 8000.0)),
            latent_channels=int(network["z_channels"]),
            base_channels=int(network["ch"]),
            channel_multipliers=tuple(network["ch_mult"]),
            num_res_blocks=int(network["num_res_blocks"]),
            num_channels=int(network.get("in_channels", 2)),
        )
