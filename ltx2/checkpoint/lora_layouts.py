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

    DOWN = "lora_A"
    UP = "lora_B"
    ALPHA = "alpha"
    MAGNITUDE = "dora_scale"
    """Of DoRA."""
    FIRST_UP = "hada_w1_a"
    FIRST_DOWN = "hada_w1_b"
    SECOND_UP = "hada_w2_a"
    SECOND_DOWN = "hada_w2_b"
    """Of LoHa, whose letters go the other way round."""
    LEFT = "lokr_w1"
    LEFT_UP = "lokr_w1_a"
    LEFT_DOWN = "lokr_w1_b"
    RIGHT = "lokr_w2"
    RIGHT_UP = "lokr_w2_a"
    RIGHT_DOWN = "lokr_w2_b"
    """Of LoKr, both factors of which may be products themselves."""


LORA = frozenset({Ending.DOWN, Ending.UP})
LOHA = frozenset({Ending.FIRST_UP, Ending.FIRST_DOWN, Ending.SECOND_UP, Ending.SECOND_DOWN})
LOKR = frozenset(ending for ending in Ending if ending.value.startswith("lokr_"))
"""Endings of each kind of change."""

_DOWNS = (
    *(Ending.DOWN, Ending.FIRST_DOWN, Ending.SECOND_DOWN),
    *(Ending.LEFT_DOWN, Ending.RIGHT_DOWN),
)
"""Whose first axis is the rank."""

_ALSO = {
    Ending.DOWN: "lora_A|lora_down",
    Ending.UP: "lora_B|lora_up",
    Ending.MAGNITUDE: "dora_scale|lora_magnitude_vector",
}
_ENDINGS = {
    ending: rf"\.({_ALSO.get(ending, ending.value)})(\.default)?(\.weight)?" for ending in Ending
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
    "lycoris_",
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
    """Whether a file with tensors of these names is a LoRA or of its kin, whatever it is for."""
    endings = "|".join(_ENDINGS[ending] for ending in Ending if ending in LORA | LOHA | LOKR)
    pattern = re.compile(f".+({endings})")
    return any(pattern.fullmatch(name) for name in names)


_OTHERS = {
    "OFT": r"\.oft_",
    "BOFT": r"\.boft_",
    "VeRA": r"\.vera_lambda",
    "IA3": r"\.ia3_l",
    "Tucker decompositions": r"\.(lokr|hada)_t[12]$",
    "whole differences": r"\.diff(_b)?$",
}
"""Signs of other kinds of changes in names of tensors."""


def other_adapter(names: Iterable[str]) -> str | None:
    """The kind of small change of weights that a file holds and nothing here reads, else None."""
    names = list(names)
    found = (kind for kind, mark in _OTHERS.items() if any(re.search(mark, n) for n in names))
    return next(found, None)


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
        kinds: of changes, of LoRA, LoHa, LoKr, and DoRA for what decomposes weights.
        ranks: that occur, from small to large.
        num_video, num_audio: changed layers of the picture and of the sound.
        ignored: whether it also changes the text's projection, which is left out.
        refused: a tensor that nothing here can use; None if there is none.
    """

    kinds: tuple[str, ...]
    ranks: tuple[int, ...]
    num_video: int
    num_audio: int
    ignored: bool
    refused: str | None


def lora_shape(shapes: Mapping[str, tuple[int, ...]]) -> LoraShape:
    """What a file with tensors of these shapes changes."""
    back = {new: old for old, new in TRANSFORMER_TO_DIFFUSERS.items()}
    ranks: set[int] = set()
    endings: set[Ending] = set()
    modules: set[str] = set()
    refused = None
    for name, shape in shapes.items():
        if is_ignored(name):
            continue
        split = split_name(name)
        if split is None:
            refused = refused or name
            continue
        module, ending = split
        modules.add(rename(dotted_name(module), back))
        endings.add(ending)
        if ending in _DOWNS and len(shape) == 2:
            ranks.add(shape[0])
    known = {"LoRA": LORA, "LoHa": LOHA, "LoKr": LOKR, "DoRA": {Ending.MAGNITUDE}}
    num_audio = sum(is_of_audio(module) for module in modules)
    return LoraShape(
        kinds=tuple(kind for kind, own in known.items() if own & endings),
        ranks=tuple(sorted(ranks)),
        num_video=len(modules) - num_audio,
        num_audio=num_audio,
        ignored=any(is_ignored(name) for name in shapes),
        refused=refused,
    )
