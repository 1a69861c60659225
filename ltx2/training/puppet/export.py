"""The trained parts as one checkpoint folder in the official layout.

model.safetensors   every network but the text encoder; metadata `config` and `profile`
text_encoder/       the small Gemma 3 with its tokenizer
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ltx2.checkpoint.reader import save_checkpoint
from ltx2.model.audio_vae import AudioVAE
from ltx2.model.video_vae import VideoVAE
from ltx2.model.vocoder import Vocoder
from ltx2.request import ModelProfile
from ltx2.training.puppet import architecture
from ltx2.training.puppet.networks import PuppetNetworks


def official_tensors(
    networks: PuppetNetworks, video_vae: VideoVAE, audio_vae: AudioVAE, vocoder: Vocoder
) -> dict[str, Tensor]:
    """All tensors but the text encoder's, under the names of the official single file."""
    parts = {
        "model.diffusion_model.": networks.transformer,
        "model.diffusion_model.video_embeddings_connector.": networks.video_connector,
        "model.diffusion_model.audio_embeddings_connector.": networks.audio_connector,
        "text_embedding_projection.": networks.projection,
        "vae.": video_vae,
        "audio_vae.": audio_vae,
        "vocoder.": vocoder,
    }
    return {
        prefix + name: tensor.to(torch.bfloat16)
        for prefix, module in parts.items()
        for name, tensor in module.state_dict().items()
    }


def export(
    target: Path,
    text_folder: Path,
    networks: PuppetNetworks,
    video_vae: VideoVAE,
    audio_vae: AudioVAE,
    vocoder: Vocoder,
    profile: ModelProfile,
    *,
    recipe: Mapping[str, object],
) -> None:
    """Writes the checkpoint folder; an existing one is replaced.

    Args:
        target: folder to write.
        text_folder: configuration and tokenizer of the text encoder.
        profile: usual settings, read by `ltx2.load` and by the page.
        recipe: how it was trained, kept in the metadata.
    """
    text_target = target / "text_encoder"
    text_target.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(text_folder / name, text_target / name)
    save_checkpoint(
        text_target / "model.safetensors",
        {
            f"model.{name}": tensor.to(torch.bfloat16)
            for name, tensor in networks.text_encoder.model.state_dict().items()
        },
        {"format": "pt"},
    )
    save_checkpoint(
        target / "model.safetensors",
        official_tensors(networks, video_vae, audio_vae, vocoder),
        {
            "config": json.dumps(architecture.CONFIG),
            "profile": profile.model_dump_json(),
            "recipe": json.dumps(recipe),
            "licence": "Apache-2.0",
        },
    )
