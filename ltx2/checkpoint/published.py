"""Published models whose files are not here: their architecture and sizes, without a weight."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from ltx2.checkpoint.catalog import DEV_2_3, DISTILLED_2_3
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
    build_video_vae,
    build_vocoder,
)
from ltx2.checkpoint.reader import TensorInfo
from ltx2.checkpoint.sources import CONFIGS
from ltx2.model.config import FeatureProjectionConfig
from ltx2.model.text import FeatureProjection, ModalityProjections

# The text model of Gemma 3 12B.
TEXT_LAYERS, TEXT_WIDTH, TEXT_INSIDE = 48, 3840, 15_360
TEXT_QUERIES, TEXT_KEYS = 16 * 256, 8 * 256
TEXT_VOCABULARY = 262_208


def published_config(name: str) -> Mapping[str, Any]:
    """The metadata `config` of a published model by its name."""
    is_newer = name in (DEV_2_3.name, DISTILLED_2_3.name)
    path = CONFIGS / ("ltx-2.3-22b.json" if is_newer else "ltx-2-19b.json")
    config: Mapping[str, Any] = json.loads(path.read_text())
    return config


def tensors_of(config: Mapping[str, Any]) -> dict[str, TensorInfo]:
    """What the official single file of an architecture holds; as bfloat16."""
    sizes = replace(FeatureProjectionConfig.from_metadata(config), num_states=TEXT_LAYERS + 1)
    with torch.device("meta"):
        projection = (
            FeatureProjection(sizes) if sizes.audio_dim is None else ModalityProjections(sizes)
        )
        modules: dict[str, nn.Module] = {
            TRANSFORMER.prefix: build_transformer(config),
            FEATURE_PROJECTION.prefix: projection,
            VIDEO_CONNECTOR.prefix: build_video_connector(config),
            AUDIO_CONNECTOR.prefix: build_audio_connector(config),
            VIDEO_VAE.prefix: build_video_vae(config),
            AUDIO_VAE.prefix: build_audio_vae(config),
            VOCODER.prefix: build_vocoder(config),
        }
    return {
        prefix + name: TensorInfo("BF16", tuple(tensor.shape))
        for prefix, module in modules.items()
        for name, tensor in module.state_dict().items()
    }


def text_encoder_tensors() -> Iterator[tuple[str, TensorInfo]]:
    """Names and sizes of the text encoder's tensors, its small norms left out."""
    yield "embed_tokens.weight", TensorInfo("BF16", (TEXT_VOCABULARY, TEXT_WIDTH))
    matrices = {
        "q_proj": (TEXT_QUERIES, TEXT_WIDTH),
        "k_proj": (TEXT_KEYS, TEXT_WIDTH),
        "v_proj": (TEXT_KEYS, TEXT_WIDTH),
        "o_proj": (TEXT_WIDTH, TEXT_QUERIES),
        "gate_proj": (TEXT_INSIDE, TEXT_WIDTH),
        "up_proj": (TEXT_INSIDE, TEXT_WIDTH),
        "down_proj": (TEXT_WIDTH, TEXT_INSIDE),
    }
    for layer in range(TEXT_LAYERS):
        for name, shape in matrices.items():
            yield f"layers.{layer}.{name}.weight", TensorInfo("BF16", shape)
