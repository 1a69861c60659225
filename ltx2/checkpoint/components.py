"""Which tensors of the official single file belong to which network."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

Value = TypeVar("Value")


@dataclass(frozen=True)
class Component:
    """One network's tensors in the official single file.

    Attributes:
        name: for messages.
        prefix: what its names start with in the file and lack in the module.
        excluded: longer prefixes that belong to another component.
    """

    name: str
    prefix: str
    excluded: tuple[str, ...] = ()

    def own(self, tensors: Mapping[str, Value]) -> dict[str, Value]:
        """The component's tensors, under their names in the module."""
        return {
            name.removeprefix(self.prefix): info
            for name, info in tensors.items()
            if name.startswith(self.prefix) and not name.startswith(self.excluded)
        }


_VIDEO_CONNECTOR_PREFIX = "model.diffusion_model.video_embeddings_connector."
_AUDIO_CONNECTOR_PREFIX = "model.diffusion_model.audio_embeddings_connector."

TRANSFORMER = Component(
    "transformer",
    "model.diffusion_model.",
    excluded=(_VIDEO_CONNECTOR_PREFIX, _AUDIO_CONNECTOR_PREFIX),
)
VIDEO_CONNECTOR = Component("video connector", _VIDEO_CONNECTOR_PREFIX)
AUDIO_CONNECTOR = Component("audio connector", _AUDIO_CONNECTOR_PREFIX)
FEATURE_PROJECTION = Component("feature projection", "text_embedding_projection.")
VIDEO_VAE = Component("video autoencoder", "vae.")
AUDIO_VAE = Component("audio autoencoder", "audio_vae.")
VOCODER = Component("vocoder", "vocoder.")
UPSAMPLER = Component("latent upsampler", "")
TEXT_ENCODER = Component("text encoder", "text_encoder.")
"""In files of their own."""

COMPONENTS = (
    TRANSFORMER,
    VIDEO_CONNECTOR,
    AUDIO_CONNECTOR,
    FEATURE_PROJECTION,
    VIDEO_VAE,
    AUDIO_VAE,
    VOCODER,
)
"""Everything in the official single file."""
