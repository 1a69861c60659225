"""From files of a text encoder to the network with its tokenizer."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ltx2.checkpoint.components import TEXT_ENCODER, Component
from ltx2.checkpoint.loader import load_component, stay_nowhere
from ltx2.checkpoint.reader import CheckpointFile
from ltx2.checkpoint.text_encoders import SPIECE, open_text_encoder
from ltx2.errors import CheckpointError
from ltx2.model.quantized import EightBits
from ltx2.model.text_files import TOKENIZERS, tokenizer_folder

if TYPE_CHECKING:  # transformers takes seconds to import
    from ltx2.model.text.encoder import TextEncoder


def load_text_encoder(
    path: Path,
    *,
    dtype: torch.dtype,
    device: torch.device | str,
    quantization: EightBits | None = None,
    stays: bool = False,
) -> "TextEncoder":
    """A text encoder with its tokenizer.

    Args:
        path: of its folder, or of its only file.
        dtype: what to compute in.
        device: where it goes.
        quantization: how the weights of its layers are kept that are whole; None as they are.
        stays: leaves the weights in their files, for whoever streams them.

    Raises:
        CheckpointError: it is not there, damaged, or another model.
    """
    from ltx2.model.text.encoder import TextEncoder, build_text_model, compute_buffers

    if path.is_dir():
        return TextEncoder.load(path, dtype, device, quantization=quantization, stays=stays)
    file = open_text_encoder(path)

    def stays_there(component: Component, name: str) -> bool:
        return stays

    model = load_component(
        file,
        TEXT_ENCODER,
        build_text_model,
        dtype=dtype,
        device=device,
        quantization=quantization,
        stays=stays_there if stays else stay_nowhere,
    )
    compute_buffers(model)
    encoder = TextEncoder.of(model, _tokenizer(path))
    return encoder if stays else encoder.to(device)


def _tokenizer(path: Path) -> Any:
    """The tokenizer inside of a single file, or beside it."""
    from ltx2.model.text.encoder import read_tokenizer, sentencepiece_tokenizer

    file = CheckpointFile.open(path)
    if SPIECE in file.tensors:
        spiece = file.read([SPIECE])[SPIECE]
        return sentencepiece_tokenizer(spiece.flatten().view(torch.uint8).numpy().tobytes())
    folder = tokenizer_folder(path)
    if folder is None:
        raise CheckpointError(
            f"{path.name} holds no tokenizer.",
            next_step=f"Put {TOKENIZERS[0]} of google/gemma-3-12b-it into a folder 'tokenizer' "
            "beside it, or use ComfyUI's gemma_3_12B_it.safetensors, which holds one.",
        )
    return read_tokenizer(folder)
