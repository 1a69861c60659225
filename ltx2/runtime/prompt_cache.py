"""What prompts mean to a model, kept in files: a large text encoder is not needed for them again.

A file is named after what decides its content: the prompt, the tokenizer and the weights that read
it, the types and the kind of device that they compute with. The prompt itself is not kept.
"""

import hashlib
import json
import logging
import os
from pathlib import Path

from torch import Tensor

from ltx2.checkpoint.reader import CheckpointFile, save_checkpoint
from ltx2.errors import LTX2Error

logger = logging.getLogger(__name__)

MAX_BYTES = 2_000_000_000
"""About 120 prompts of the published model."""


class PromptCache:
    """Contexts of one model's prompts, of which those used last are kept.

    Args:
        folder: made when something is kept; several models may share it.
        identity: of everything beside the prompt that decides what is kept.
        max_bytes: of all files in the folder.
    """

    def __init__(self, folder: Path, identity: str, *, max_bytes: int = MAX_BYTES) -> None:
        self._folder = folder
        self._identity = identity
        self._max_bytes = max_bytes

    def get(self, prompt: str) -> tuple[Tensor, Tensor] | None:
        """Video and audio context [1, T_c, D] on the CPU; None if they are not known."""
        path = self._path(prompt)
        if not path.is_file():
            return None
        try:
            tensors = CheckpointFile.open(path).read(["video", "audio"])
            os.utime(path)
            return tensors["video"].clone(), tensors["audio"].clone()
        except (LTX2Error, KeyError, OSError) as error:
            logger.warning("a remembered prompt cannot be read: %s", error)
            return None

    def put(self, prompt: str, video: Tensor, audio: Tensor) -> None:
        """Keeps the contexts [1, T_c, D] of a prompt, and lets go of those used longest ago."""
        path = self._path(prompt)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            save_checkpoint(path, {"video": video, "audio": audio}, {})
            self._make_room()
        except (LTX2Error, OSError) as error:
            logger.warning("a prompt cannot be remembered: %s", error)

    def _path(self, prompt: str) -> Path:
        text = json.dumps([self._identity, prompt.strip()])
        return self._folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.safetensors"

    def _make_room(self) -> None:
        files = [(path, path.stat()) for path in self._folder.glob("*.safetensors")]
        files.sort(key=lambda item: item[1].st_mtime, reverse=True)
        total = 0
        for path, stat in files:
            total += stat.st_size
            if total > self._max_bytes:
                path.unlink(missing_ok=True)


def identity_of(
    model: CheckpointFile, text_encoder: str, *, dtype: str, quantization: str, device: str
) -> str:
    """What, beside a prompt, decides what it means.

    Args:
        model: whose projection and connectors read the text encoder's states.
        text_encoder: identifies its weights and tokenizer, as `identity_of_text_encoder` does.
        dtype: what both compute in.
        quantization: of the text encoder's weights.
        device: kind of device, as no two of them round alike.
    """
    return json.dumps([model.digest, text_encoder, dtype, quantization, device])
