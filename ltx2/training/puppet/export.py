"""The trained parts as one checkpoint folder, under the names of the official single file.

model.safetensors          text projection, connectors and transformer; metadata `config`, `profile`
distilled.safetensors      the same, distilled to few steps
autoencoders.safetensors   both autoencoders and the vocoder, named as companion by the two above
upsampler.safetensors      latents of a picture twice as large
loras/                     what the trainer made
text_encoder/              the small Gemma 3 with its tokenizer
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ltx2.checkpoint.reader import save_checkpoint
from ltx2.model.audio_vae import AudioVAE
from ltx2.model.upsampler import LatentUpsampler
from ltx2.model.video_vae import VideoVAE
from ltx2.model.vocoder import Vocoder
from ltx2.request import ModelProfile
from ltx2.training.puppet import architecture
from ltx2.training.puppet.networks import PuppetNetworks
from ltx2.training.puppet.taught import with_vocabulary
from ltx2.training.puppet.text import TEXT_FILES

MODEL_FILE, DISTILLED_FILE = "model.safetensors", "distilled.safetensors"
AUTOENCODERS_FILE = "autoencoders.safetensors"
UPSAMPLER_FILE = "upsampler.safetensors"
LICENCE = "Apache-2.0"


def transformer_tensors(networks: PuppetNetworks) -> dict[str, Tensor]:
    """Text projection, connectors and transformer under their official names."""
    return _named(
        {
            "model.diffusion_model.": networks.transformer,
            "model.diffusion_model.video_embeddings_connector.": networks.video_connector,
            "model.diffusion_model.audio_embeddings_connector.": networks.audio_connector,
            "text_embedding_projection.": networks.projection,
        }
    )


def autoencoder_tensors(
    video_vae: VideoVAE, audio_vae: AudioVAE, vocoder: Vocoder
) -> dict[str, Tensor]:
    """Both autoencoders and the vocoder under their official names."""
    return _named({"vae.": video_vae, "audio_vae.": audio_vae, "vocoder.": vocoder})


def _named(parts: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    return {
        prefix + name: tensor.to(torch.bfloat16)
        for prefix, module in parts.items()
        for name, tensor in module.state_dict().items()
    }


def export_text_encoder(target: Path, text_folder: Path, networks: PuppetNetworks) -> None:
    """Writes `text_encoder/` with the configuration and the tokenizer of `text_folder`."""
    text_target = target / "text_encoder"
    text_target.mkdir(parents=True, exist_ok=True)
    for name in TEXT_FILES:
        shutil.copy(text_folder / name, text_target / name)
    weights = networks.text_encoder.model.state_dict()
    save_checkpoint(
        text_target / "model.safetensors",
        {f"model.{name}": tensor.to(torch.bfloat16) for name, tensor in weights.items()},
        {"format": "pt"},
    )


def export_transformer(
    path: Path, networks: PuppetNetworks, profile: ModelProfile, *, recipe: Mapping[str, object]
) -> None:
    """Writes a model file that names the autoencoders as its companion.

    Args:
        path: of the file.
        profile: usual settings, read by `ltx2.load` and by the page; what the model was taught
            to read is added.
        recipe: how it was trained, kept in the metadata.
    """
    save_checkpoint(
        path,
        transformer_tensors(networks),
        {
            "config": json.dumps(architecture.CONFIG),
            "profile": with_vocabulary(profile).model_dump_json(),
            "companions": json.dumps([AUTOENCODERS_FILE]),
            "recipe": json.dumps(recipe),
            "licence": LICENCE,
        },
    )


def export_autoencoders(
    target: Path,
    video_vae: VideoVAE,
    audio_vae: AudioVAE,
    vocoder: Vocoder,
    *,
    recipe: Mapping[str, object],
) -> None:
    """Writes the file that every model of the folder shares."""
    save_checkpoint(
        target / AUTOENCODERS_FILE,
        autoencoder_tensors(video_vae, audio_vae, vocoder),
        {
            "config": json.dumps(architecture.CONFIG),
            "recipe": json.dumps(recipe),
            "licence": LICENCE,
        },
    )


def export_upsampler(
    path: Path, upsampler: LatentUpsampler, *, recipe: Mapping[str, object]
) -> None:
    """Writes the latent upsampler, whose metadata has its own configuration."""
    save_checkpoint(
        path,
        _named({"": upsampler}),
        {
            "config": json.dumps(architecture.UPSAMPLER_CONFIG),
            "recipe": json.dumps(recipe),
            "licence": LICENCE,
        },
    )
