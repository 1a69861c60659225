"""A model folder with random weights, small enough to make a clip in well under a second."""

import copy
import json
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from transformers import Gemma3TextConfig, Gemma3TextModel

from ltx2.checkpoint.components import (
    AUDIO_CONNECTOR,
    AUDIO_VAE,
    FEATURE_PROJECTION,
    TRANSFORMER,
    VIDEO_CONNECTOR,
    VIDEO_VAE,
    VOCODER,
)
from ltx2.checkpoint.loader import (
    build_audio_connector,
    build_audio_vae,
    build_transformer,
    build_video_connector,
    build_vocoder,
)
from ltx2.checkpoint.reader import save_checkpoint
from ltx2.model.config import FeatureProjectionConfig, UpsamplerConfig
from ltx2.model.text import FeatureProjection, ModalityProjections
from ltx2.model.transformer import ModalityInput
from ltx2.model.upsampler import LatentUpsampler
from ltx2.model.video_vae import VideoVAE, VideoVAEConfig
from ltx2.request import Guidance, ModelProfile
from ltx2.training.puppet.architecture import CONFIG as PUPPET_CONFIG
from ltx2.training.puppet.text import write_text_encoder_folder

FIXTURES = Path(__file__).parent / "fixtures"

PROFILE = ModelProfile(
    width=64,
    height=48,
    duration_s=1.0,
    frame_rate=8.0,
    num_steps=2,
    video_guidance=Guidance(cfg_scale=2.0),
    spatial_multiple=16,
    temporal_multiple=8,
    min_size=32,
    max_size=128,
    max_duration_s=4.0,
    shift=0.7,
)


def tiny_config():
    """The puppet's configuration with fewer and narrower layers."""
    config = copy.deepcopy(PUPPET_CONFIG)
    config["transformer"] |= {
        "num_layers": 2,
        "num_attention_heads": 2,
        "attention_head_dim": 24,
        "cross_attention_dim": 48,
        "audio_num_attention_heads": 2,
        "audio_attention_head_dim": 16,
        "audio_cross_attention_dim": 32,
    }
    config["vae"] |= {"encoder_base_channels": 8, "decoder_base_channels": 8}
    config["audio_vae"]["model"]["params"]["ddconfig"] |= {"ch": 8}
    config["vocoder"] |= {"upsample_initial_channel": 32}
    return config


def tiny_config_2_3():
    """The published configuration of LTX-2.3 with fewer and narrower layers."""
    config = json.loads((FIXTURES / "ltx_2_3_22b_config.json").read_text())
    config["transformer"] |= {
        "num_layers": 2,
        "num_attention_heads": 2,
        "attention_head_dim": 24,
        "cross_attention_dim": 48,
        "caption_channels": tiny_config()["transformer"]["caption_channels"],
        "audio_num_attention_heads": 2,
        "audio_attention_head_dim": 16,
        "audio_cross_attention_dim": 32,
        "connector_num_layers": 2,
        "connector_num_attention_heads": 2,
        "connector_attention_head_dim": 24,
        "audio_connector_num_attention_heads": 2,
        "audio_connector_attention_head_dim": 16,
    }
    config["vae"] |= {"encoder_base_channels": 8, "decoder_base_channels": 8}
    for blocks in ("encoder_blocks", "decoder_blocks"):
        for name, options in config["vae"][blocks]:
            if name == "res_x":
                options["num_layers"] = 1
    config["audio_vae"]["model"]["params"]["ddconfig"] |= {"ch": 8}
    config["vocoder"]["vocoder"] |= {"upsample_initial_channel": 128}
    config["vocoder"]["bwe"] |= {"upsample_initial_channel": 64}
    return config


@dataclass(frozen=True)
class TinyCheckpoint:
    """What goes into a checkpoint file; tests change it before writing."""

    tensors: dict
    config: dict
    profile: ModelProfile | None = PROFILE

    def write(self, path):
        metadata = {"config": json.dumps(self.config), "licence": "Apache-2.0"}
        if self.profile is not None:
            metadata["profile"] = self.profile.model_dump_json()
        save_checkpoint(path, self.tensors, metadata)
        return path


def tiny_checkpoint(num_states=3, config=None):
    """Random networks of every component, transformer tables in float32 and the rest bfloat16."""
    torch.manual_seed(0)
    config = tiny_config() if config is None else config
    sizes = FeatureProjectionConfig.from_metadata(config, num_states=num_states)
    is_later = sizes.audio_dim is not None
    vae = replace(VideoVAEConfig.from_metadata(config), unused_statistics=not is_later)
    modules = {
        TRANSFORMER: build_transformer(config),
        VIDEO_CONNECTOR: build_video_connector(config),
        AUDIO_CONNECTOR: build_audio_connector(config),
        FEATURE_PROJECTION: (ModalityProjections if is_later else FeatureProjection)(sizes),
        VIDEO_VAE: VideoVAE(vae),
        AUDIO_VAE: build_audio_vae(config),
        VOCODER: build_vocoder(config),
    }
    tensors = {}
    for component, module in modules.items():
        for name, tensor in module.state_dict().items():
            stored = tensor if "scale_shift_table" in name else tensor.bfloat16()
            tensors[component.prefix + name] = stored
    return TinyCheckpoint(tensors, config)


def write_tiny_model(folder, checkpoint=None, **changes):
    """A model folder that `ltx2.load` accepts."""
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = tiny_checkpoint() if checkpoint is None else checkpoint
    TinyCheckpoint(**{**vars(checkpoint), **changes}).write(folder / "model.safetensors")
    text = folder / "text_encoder"
    write_text_encoder_folder(text, ["a red puppet says hello", "a yellow ball bounces"] * 20)
    torch.manual_seed(0)
    settings = json.loads((text / "config.json").read_text())
    model = Gemma3TextModel(Gemma3TextConfig(**settings))
    (text / "config.json").unlink()
    model.save_pretrained(text)
    return folder


def write_tiny_upsampler(path, enlarging):
    """A random latent upsampler that fits the tiny model; for "space", "space-1.5" or "time"."""
    config = {
        "_class_name": "LatentUpsampler",
        "in_channels": tiny_config()["vae"]["latent_channels"],
        "mid_channels": 32,
        "num_blocks_per_stage": 1,
        "dims": 3,
        "spatial_upsample": enlarging != "time",
        "temporal_upsample": enlarging == "time",
        "spatial_scale": 1.5 if enlarging == "space-1.5" else 2.0,
    }
    torch.manual_seed(0)
    upsampler = LatentUpsampler(UpsamplerConfig.from_metadata(config))
    save_checkpoint(path, upsampler.state_dict(), {"config": json.dumps(config)})
    return path


def tiny_inputs(transformer):
    """Random tokens and texts of both modalities, one clip."""
    config, generator = transformer.config, torch.Generator().manual_seed(3)

    def modality(stream, num_tokens, axes):
        return ModalityInput(
            tokens=torch.randn(1, num_tokens, stream.in_channels, generator=generator),
            timesteps=torch.full((1, num_tokens), 0.7),
            sigma=torch.tensor([0.7]),
            positions=torch.rand(1, axes, num_tokens, 2, generator=generator).cumsum(dim=2),
            context=torch.randn(1, 5, config.context_channels(stream), generator=generator),
        )

    return modality(config.video, 6, 3), modality(config.audio, 4, 1)
