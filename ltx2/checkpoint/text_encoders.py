"""Text encoders as people have them: a folder of transformers, or one file of ComfyUI's.

ComfyUI's files for LTX-2 (`text_encoders/gemma_3_12B_it*.safetensors`) hold the text model of
Gemma 3 as `model.*`, its picture encoder as `vision_model.*` and `multi_modal_projector.*`, both in
any of the types and with the scales that `quantized` tells, and the tokenizer as `spiece_model`:
the bytes of SentencePiece's file. What the architecture is their shapes tell.

Headers are read and no tensor; PyTorch is not needed.
"""

import hashlib
import json
import os.path
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ltx2.checkpoint.components import TEXT_ENCODER
from ltx2.checkpoint.reader import CheckpointFile, Part, TensorInfo
from ltx2.checkpoint.sources import MAX_FILES, SUFFIX, comfyui_root
from ltx2.errors import CheckpointError
from ltx2.model.text_files import TEXT_MODEL_PREFIX, TOKENIZERS, tokenizer_folder

SPIECE = "spiece_model"
"""Tensor with the bytes of a tokenizer."""

COMFYUI_FOLDERS = ("text_encoders", "clip")
"""Where a folder of models laid out like ComfyUI's has them."""

_OF_TOKENIZER = (*TOKENIZERS, "tokenizer_config.json", "special_tokens_map.json")

_OF_TEXT = ("embed_tokens.", "layers.", "norm.")
_MARKS = ("layers.0.self_attn.q_norm.weight", "layers.0.pre_feedforward_layernorm.weight")
"""Tensors that Gemma 3 has and no other model."""

GEMMA_3: Mapping[str, Any] = {
    "max_position_embeddings": 131_072,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1_000_000,
    "rope_local_base_freq": 10_000,
    "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
    "sliding_window": 1024,
    "sliding_window_pattern": 6,
}
"""What shapes do not tell, as the configuration of Gemma 3 12B states it."""

CONFIG = "config.json"


def weight_files(path: Path) -> list[Path]:
    """Files with a text encoder's weights: itself, or those of its folder."""
    return [path] if os.path.isfile(path) else sorted(path.glob(f"*{SUFFIX}"))  # noqa: PTH113


def is_text_encoder(names: Iterable[str]) -> bool:
    """Whether tensors of these names are a Gemma 3, with others beside it or not."""
    own = {re.sub(TEXT_MODEL_PREFIX, "", name) for name in names}
    return all(mark in own for mark in _MARKS)


def open_text_encoder(path: Path) -> CheckpointFile:
    """The text model of a file or folder, its tensors under their own names after a prefix.

    The metadata key `config` says what the architecture is, as far as shapes tell it.

    Raises:
        CheckpointError: there is none, or a file is damaged.
    """
    parts = [Part.open(file) for file in weight_files(path)]
    found = list(_of_text(parts))
    names = {name for _, own in found for name in own.values()}
    tensors = {own[name]: part.tensors[name] for part, own in found for name in own}
    if not is_text_encoder(name.removeprefix(TEXT_ENCODER.prefix) for name in names):
        raise CheckpointError(
            f"{path.name} is not a Gemma 3 text encoder.",
            next_step="Give the folder of Gemma 3 12B, or ComfyUI's gemma_3_12B_it.safetensors.",
        )
    config = json.dumps(_config(TEXT_ENCODER.own(tensors)))
    return CheckpointFile.of(found, {"config": config}, path=path)


def _of_text(parts: Iterable[Part]) -> Iterator[tuple[Part, Mapping[str, str]]]:
    """Files with the tensors of the text model alone, and how they are called."""
    for part in parts:
        names = {
            name: TEXT_ENCODER.prefix + own
            for name in part.tensors
            if (own := re.sub(TEXT_MODEL_PREFIX, "", name)).startswith(_OF_TEXT)
        }
        yield replace(part, tensors={name: part.tensors[name] for name in names}), names


def _config(tensors: Mapping[str, TensorInfo]) -> dict[str, Any]:
    """Gemma 3's configuration from the shapes of its tensors."""
    layers = {match[1] for name in tensors if (match := re.match(r"layers\.(\d+)\.", name))}

    def rows(name: str) -> int:
        info = tensors.get(name)
        return info.shape[0] if info is not None and info.shape else 1

    head_dim = max(1, rows("layers.0.self_attn.q_norm.weight"))
    return {
        **GEMMA_3,
        "vocab_size": rows("embed_tokens.weight"),
        "hidden_size": rows("norm.weight"),
        "intermediate_size": rows("layers.0.mlp.gate_proj.weight"),
        "num_hidden_layers": len(layers),
        "num_attention_heads": max(1, rows("layers.0.self_attn.q_proj.weight") // head_dim),
        "num_key_value_heads": max(1, rows("layers.0.self_attn.k_proj.weight") // head_dim),
        "head_dim": head_dim,
        "query_pre_attn_scalar": head_dim,
    }


def has_tokenizer(path: Path) -> bool:
    """Whether a single file brings its tokenizer.

    Raises:
        CheckpointError: the file is damaged.
    """
    return SPIECE in Part.open(path).tensors


def identity_of_text_encoder(path: Path) -> str:
    """Identifies all that decides what a text encoder makes of a text: weights and tokenizer.

    Raises:
        CheckpointError: a file is damaged.
    """
    hashed = hashlib.sha256()
    for file in weight_files(path):
        hashed.update(CheckpointFile.open(file).digest.encode())
    is_inside = not path.is_dir() and has_tokenizer(path)  # and what lies beside is not read
    folder = None if is_inside else tokenizer_folder(path)
    texts = [] if folder is None else [folder / name for name in _OF_TOKENIZER]
    texts += [path / CONFIG] if path.is_dir() else []
    for text in texts:
        if text.is_file():
            hashed.update(json.dumps([text.name, text.stat().st_size]).encode())
            hashed.update(text.read_bytes())
    return hashed.hexdigest()


def find_text_encoder(model: Path, in_features: int) -> Path | None:
    """The text encoder for a model that lies in a folder laid out like ComfyUI's; None if none.

    Args:
        model: its file.
        in_features: values per token that the model takes of all hidden states together.
    """
    root = comfyui_root(model)
    files = [] if root is None else [
        path
        for folder in COMFYUI_FOLDERS
        for path in sorted((root / folder).rglob(f"*{SUFFIX}"))[:MAX_FILES]
    ]  # fmt: skip
    return next((path for path in files if width_of(path) == in_features), None)


def width_of(path: Path) -> int | None:
    """Values per token of all hidden states together; None for what is no text encoder."""
    try:
        config = open_text_encoder(path).config
    except CheckpointError:
        return None
    return int(config["hidden_size"]) * (int(config["num_hidden_layers"]) + 1)
