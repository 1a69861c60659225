"""How files of LoRAs name what they change; told by names alone, without PyTorch."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from ltx2.checkpoint.keymaps import TRANSFORMER_TO_DIFFUSERS, rename

TEXT_PROJECTION = ("text_embedding_projection.", "connectors.", "text_proj_in")
"""Beginnings of changes of the text's projection, in the official layout and in diffusers'."""


class Ending(Enum):
    """What a tensor is for the module that its name begins with."""

    DOWN = "down"
    UP = "up"
    ALPHA = "alpha"
    MAGNITUDE = "magnitude"
    """Of DoRA."""


_ENDINGS = {
    Ending.DOWN: r"\.(lora_A|lora_down)(\.default)?(\.weight)?",
    Ending.UP: r"\.(lora_B|lora_up)(\.default)?(\.weight)?",
    Ending.ALPHA: r"\.alpha",
    Ending.MAGNITUDE: r"\.(dora_scale|lora_magnitude_vector)(\.default)?(\.weight)?",
}

PREFIXES = (
    "base_model.model.diffusion_model.",
    "base_model.model.transformer.",
    "base_model.model.",
    "model.diffusion_model.",
    "diffusion_model.",
    "transformer.",
    "lora_unet_",
    "lora_transformer_",
)
"""Before the names of modules; a name without one begins with what is in the transformer."""

_INSIDE = ("transformer_blocks", *TRANSFORMER_TO_DIFFUSERS, *TRANSFORMER_TO_DIFFUSERS.values())
"""What names in the transformer begin with."""

_ATTENTIONS = (
    *("attn1", "attn2", "audio_attn1", "audio_attn2"),
    *("audio_to_video_attn", "video_to_audio_attn"),
)
_LAYERS = ("to_q", "to_k", "to_v", "to_out.0", "to_gate_logits")
_BLOCK = (
    *(f"{attention}.{layer}" for attention in _ATTENTIONS for layer in _LAYERS),
    *(f"{network}.net.{layer}" for network in ("ff", "audio_ff") for layer in ("0.proj", "2")),
)
_OUTSIDE = (
    *("patchify_proj", "audio_patchify_proj", "proj_out", "audio_proj_out"),
    *("proj_in", "audio_proj_in"),
    *(
        f"{network}.{layer}"
        for network in ("caption_projection", "audio_caption_projection")
        for layer in ("linear_1", "linear_2")
    ),
    *(
        f"{network}.{layer}"
        for name, other in TRANSFORMER_TO_DIFFUSERS.items()
        if "adaln" in name
        for network in (name, other)
        for layer in (
            "linear",
            "emb.timestep_embedder.linear_1",
            "emb.timestep_embedder.linear_2",
        )
    ),
)
_DOTTED = {name.replace(".", "_"): name for name in (*_BLOCK, *_OUTSIDE)}


def split_name(name: str) -> tuple[str, Ending] | None:
    """Module and meaning of a tensor of a LoRA for a transformer; None for any other tensor.

    The module lacks the prefix and is as the file writes it: see `dotted_name`.
    """
    for ending, pattern in _ENDINGS.items():
        match = re.fullmatch(rf"(.+?){pattern}", name)
        if match is None:
            continue
        for prefix in PREFIXES:
            if match[1].startswith(prefix):
                return match[1].removeprefix(prefix), ending
        return (match[1], ending) if match[1].startswith(_INSIDE) else None
    return None


def is_ignored(name: str) -> bool:
    """Whether a tensor changes the text's projection, which the released pipelines leave out."""
    return name.startswith(TEXT_PROJECTION) or name.removeprefix("diffusion_model.").startswith(
        TEXT_PROJECTION
    )


def dotted_name(module: str) -> str:
    """A module's name with dots, which some programs write as underscores."""
    if "." in module:
        return module
    block, number, inside = "", "", module
    match = re.fullmatch(r"(transformer_blocks)_(\d+)_(.+)", module)
    if match is not None:
        block, number, inside = match.groups()
    dotted = _DOTTED.get(inside, inside)
    return f"{block}.{number}.{dotted}" if block else dotted


def is_lora(names: Iterable[str]) -> bool:
    """Whether a file with tensors of these names is a LoRA, whatever it was made for."""
    pattern = rf".+({_ENDINGS[Ending.DOWN]}|{_ENDINGS[Ending.UP]})"
    return any(re.fullmatch(pattern, name) for name in names)


def other_adapter(names: Iterable[str]) -> str | None:
    """The kind of small change of weights that a file holds and that is no LoRA; None otherwise."""
    marks = {"LoHa": ".hada_w1", "LoKr": ".lokr_w1"}
    names = list(names)
    return next((k for k, mark in marks.items() if any(mark in name for name in names)), None)


def is_of_audio(module: str) -> bool:
    """Whether a module of the transformer updates the sound, rather than the picture."""
    parts = module.split(".")
    return any(
        (part.startswith("audio_") and part != "audio_to_video_attn")
        or part == "video_to_audio_attn"
        or part.startswith(("av_ca_audio", "av_ca_v2a"))
        for part in parts
    )


@dataclass(frozen=True)
class LoraShape:
    """What a LoRA changes, told by its header.

    Attributes:
        ranks: that occur, from small to large.
        num_video, num_audio: changed layers of the picture and of the sound.
        ignored: whether it also changes the text's projection, which is left out.
        refused: a tensor that nothing here can use; None if there is none.
    """

    ranks: tuple[int, ...]
    num_video: int
    num_audio: int
    ignored: bool
    refused: str | None


def lora_shape(shapes: Mapping[str, tuple[int, ...]]) -> LoraShape:
    """What a file with tensors of these shapes changes."""
    back = {new: old for old, new in TRANSFORMER_TO_DIFFUSERS.items()}
    ranks: set[int] = set()
    modules: set[str] = set()
    refused = None
    for name, shape in shapes.items():
        if is_ignored(name):
            continue
        split = split_name(name)
        if split is None or split[1] is Ending.MAGNITUDE:
            refused = refused or name
            continue
        modules.add(rename(dotted_name(split[0]), back))
        if split[1] is Ending.DOWN and len(shape) == 2:
            ranks.add(shape[0])
    num_audio = sum(is_of_audio(module) for module in modules)
    has_ignored = any(is_ignored(name) for name in shapes)
    return LoraShape(
        tuple(sorted(ranks)), len(modules) - num_audio, num_audio, has_ignored, refused
    )
