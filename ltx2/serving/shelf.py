"""Weights that lie in folders of models laid out like ComfyUI's, told by their headers."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ltx2.checkpoint.catalog import (
    SUFFIX,
    TEXT_ENCODER_NAME,
    known_model,
    licence_of,
    name_of,
)
from ltx2.checkpoint.lora_layouts import lora_shape
from ltx2.checkpoint.reader import CheckpointFile
from ltx2.checkpoint.text_encoders import has_tokenizer, width_of
from ltx2.errors import CheckpointError
from ltx2.model.text_files import tokenizer_folder
from ltx2.settings import Settings

logger = logging.getLogger(__name__)

Kind = Literal["model", "LoRA", "text encoder"]

MODEL_FOLDERS = ("checkpoints", "diffusion_models")
LORA_FOLDER = "loras"
TEXT_ENCODER_FOLDERS = ("text_encoders", "clip")

MAX_FILES = 2_000
"""Looked at in one folder: headers are read, and nobody has more."""

GEMMA_3_12B = 3840 * 49
"""Values per token of all hidden states, which the published models take."""

GEMMA_LICENCE = "Gemma Terms of Use"

LORA_NAMES = ("ltx-2", "ltx2")
"""In names of files that change the picture alone, as other models could be changed too."""


@dataclass(frozen=True)
class Found:
    """Weights in a folder.

    Attributes:
        kind: what they are.
        name: of the known model, or of the file.
        path: of the file, or of a text encoder's folder.
        size_bytes: of all their files.
        licence: None if unknown.
    """

    kind: Kind
    name: str
    path: Path
    size_bytes: int
    licence: str | None = None


def roots_of(settings: Settings) -> tuple[Path, ...]:
    """Folders of models: that of downloads, and ComfyUI's if it is named."""
    roots = (downloads_root(settings), settings.comfyui_models)
    return tuple(root for root in roots if root is not None)


def downloads_root(settings: Settings) -> Path:
    """Where downloads go."""
    return settings.data / "models"


def find_weights(roots: Iterable[Path]) -> tuple[Found, ...]:
    """Models, LoRAs and text encoders of LTX-2; what belongs to other models is passed over."""
    found: dict[Path, Found] = {}
    for root in roots:
        for item in _in_root(root):
            found.setdefault(item.path.resolve(), item)
    return tuple(found.values())


def _in_root(root: Path) -> Iterator[Found]:
    for folder in MODEL_FOLDERS:
        yield from (item for path in _files(root / folder) if (item := _model(path)))
    yield from (item for path in _files(root / LORA_FOLDER) if (item := _lora(path)))
    for folder in TEXT_ENCODER_FOLDERS:
        yield from _text_encoders(root / folder)


def _files(folder: Path) -> list[Path]:
    """Weights in a folder and in those inside it, as ComfyUI takes them."""
    return sorted(folder.rglob(f"*{SUFFIX}"))[:MAX_FILES] if folder.is_dir() else []


def _model(path: Path) -> Found | None:
    file = _opened(path)
    if file is None or known_model(file) is None:
        return None
    return Found("model", name_of(file), path, file.size_bytes, licence_of(file))


def _lora(path: Path) -> Found | None:
    file = _opened(path)
    if file is None:
        return None
    shape = lora_shape({name: info.shape for name, info in file.tensors.items()})
    # Models without sound have layers of the same names.
    is_named = any(mark in path.stem.lower() for mark in LORA_NAMES)
    is_ours = bool(shape.kinds) and (shape.num_audio > 0 or (shape.num_video > 0 and is_named))
    return Found("LoRA", path.stem, path, file.size_bytes) if is_ours else None


def _text_encoders(folder: Path) -> Iterator[Found]:
    """Folders with a configuration and weights, then single files with tokenizers."""
    if not folder.is_dir():
        return
    for config in sorted(folder.glob("*/config.json")):
        weights = list(config.parent.glob(f"*{SUFFIX}"))
        name = config.parent.name
        if weights and name == TEXT_ENCODER_NAME:
            size = sum(path.stat().st_size for path in weights)
            yield Found("text encoder", name, config.parent, size, GEMMA_LICENCE)
    for path in _files(folder):
        if width_of(path) == GEMMA_3_12B and (has_tokenizer(path) or tokenizer_folder(path)):
            yield Found("text encoder", path.stem, path, path.stat().st_size, GEMMA_LICENCE)


def _opened(path: Path) -> CheckpointFile | None:
    try:
        return CheckpointFile.open(path)
    except CheckpointError as error:
        logger.info("a file among the models is passed over: %s", error.message)
        return None
