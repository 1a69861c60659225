"""LoRAs and their kin: small changes of a transformer's weights, each with its strength.

Read are the layouts that LoRAs for LTX-2 are published in:

- official and ComfyUI: `diffusion_model.<module>.lora_A.weight` [r, in] and `.lora_B.weight`
  [out, r], or `.lora_down` and `.lora_up`, with or without `.alpha`;
- diffusers and PEFT: `transformer.<module>` or `base_model.model.<module>` with the names of
  diffusers, alpha in the metadata;
- kohya, musubi and LyCORIS: `lora_unet_<module>` or `lycoris_<module>` with underscores in the
  place of dots.

In each of them a module may have LoHa's four matrices (`hada_w1_a`, ...) or LoKr's factors
(`lokr_w1`, `lokr_w2` or products of `_a` and `_b`) instead, and DoRA's norms beside any of these
(`dora_scale`, `lora_magnitude_vector`): see `changes`.

The scale is alpha / r, or 1 where no alpha is stored, or no rank.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ltx2.checkpoint.changes import Added, Change, Decomposed, Kronecker, LowRank
from ltx2.checkpoint.keymaps import TRANSFORMER_TO_DIFFUSERS, rename
from ltx2.checkpoint.lora_layouts import (
    LOHA,
    LOKR,
    LORA,
    Ending,
    dotted_name,
    is_ignored,
    is_lora,
    is_of_audio,
    other_adapter,
    split_name,
)
from ltx2.checkpoint.reader import CheckpointFile
from ltx2.errors import CheckpointError

PREFIX = "diffusion_model."
"""Of the official layout, which training writes."""

PEFT_METADATA = "lora_adapter_metadata"
"""Metadata key under which diffusers stores how a LoRA was made."""

_NEXT_STEP = "Use a LoRA that was made for this model, in the layout of the published ones."
_FROM_DIFFUSERS = {new: old for old, new in TRANSFORMER_TO_DIFFUSERS.items()}


class Strengths(NamedTuple):
    """Factors of a LoRA's changes, by what they change; 1 is as it was trained.

    Attributes:
        video: of the picture's layers, and of those that bring sound to it.
        audio: of the sound's layers, and of those that bring the picture to it.
    """

    video: float
    audio: float

    @classmethod
    def of(cls, strength: "float | Strengths") -> "Strengths":
        """Both, of one factor for both or of themselves."""
        return strength if isinstance(strength, Strengths) else cls(strength, strength)

    def for_module(self, module: str) -> float:
        """The factor of a module's change."""
        return self.audio if is_of_audio(module) else self.video


@dataclass(frozen=True)
class Lora:
    """Changes by the name of the module whose weight they belong to.

    Attributes:
        name: of the file.
        digest: of its weights.
    """

    name: str
    digest: str
    changes: Mapping[str, Change]


def read_lora(path: str | Path) -> Lora:
    """The changes that a LoRA file holds.

    Changes of the text projection, which the distilled LoRA has too, are left out as the released
    pipelines do.

    Raises:
        CheckpointError: the file is damaged, or has another layout.
    """
    file = CheckpointFile.open(path)
    name = file.path.name
    parts: dict[str, dict[Ending, str]] = {}
    if not is_lora(file.tensors):
        kind = other_adapter(file.tensors)
        why = f"it holds {kind}" if kind else "no tensor in it ends in .lora_A.weight"
        raise CheckpointError(f"{name} is not a LoRA: {why}.", next_step=_NEXT_STEP)
    for tensor in file.tensors:
        if is_ignored(tensor):
            continue
        split = split_name(tensor)
        if split is None:
            kind = other_adapter([tensor])
            raise misfit(name, f"has a tensor {tensor[:120]!r}" + (f", of {kind}" if kind else ""))
        module, ending = split
        if parts.setdefault(module, {}).setdefault(ending, tensor) != tensor:
            raise misfit(name, f"has {ending.value} of {module[:120]!r} twice")
    if not parts:
        raise misfit(name, "holds no change of the transformer")
    scales = _PeftScales.of(file)
    tensors = file.read(tensor for endings in parts.values() for tensor in endings.values())
    changes: dict[str, Change] = {}
    for module, endings in parts.items():
        own = {ending: tensors[tensor] for ending, tensor in endings.items()}
        change = _change(name, module, own, scales)
        if changes.setdefault(rename(dotted_name(module), _FROM_DIFFUSERS), change) is not change:
            raise misfit(name, f"changes {module[:120]!r} twice, under two names")
    return Lora(name, file.digest, changes)


def _change(name: str, module: str, own: Mapping[Ending, Tensor], scales: "_PeftScales") -> Change:
    """The change that a module's tensors are."""
    added = _added(name, module, own)
    alpha = own.get(Ending.ALPHA)
    if alpha is not None and alpha.numel() != 1:
        raise misfit(name, f"has more than one alpha for {module[:120]!r}")
    rank = _rank(own)
    scale = 1.0 if rank is None else scales.scale(module, rank=rank)
    if alpha is not None and rank is not None:
        scale = float(alpha) / rank
    if not math.isfinite(scale):
        raise misfit(name, f"scales the change of {module[:120]!r} by {scale}")
    added = replace(added, scale=scale)
    if Ending.MAGNITUDE not in own:
        return added
    magnitude = own[Ending.MAGNITUDE]
    rows, columns = added.shape
    if magnitude.ndim == 1:
        magnitude = magnitude[:, None]
    if tuple(magnitude.shape) not in ((rows, 1), (1, columns)):
        raise misfit(
            name, f"has norms {list(magnitude.shape)} for {[rows, columns]} of {module[:120]!r}"
        )
    return Decomposed(added, magnitude)


def _added(name: str, module: str, own: Mapping[Ending, Tensor]) -> Added:
    """What a module's tensors add to its weight, before the scale."""
    kinds = [kind for kind in (LORA, LOHA, LOKR) if kind & own.keys()]
    if len(kinds) > 1:
        raise misfit(name, f"mixes kinds of changes for {module[:120]!r}")
    if kinds == [LOHA]:
        first = _product(name, module, own, Ending.FIRST_DOWN, Ending.FIRST_UP)
        second = _product(name, module, own, Ending.SECOND_DOWN, Ending.SECOND_UP)
        if first.shape != second.shape:
            raise misfit(name, f"multiplies {first.shape} with {second.shape} for {module[:120]!r}")
        return LowRank.of_product(first, second)
    if kinds == [LOKR]:
        left = _factor(name, module, own, Ending.LEFT, Ending.LEFT_DOWN, Ending.LEFT_UP)
        right = _factor(name, module, own, Ending.RIGHT, Ending.RIGHT_DOWN, Ending.RIGHT_UP)
        return Kronecker(left, right)
    return _product(name, module, own, Ending.DOWN, Ending.UP)


def _factor(
    name: str, module: str, own: Mapping[Ending, Tensor], whole: Ending, down: Ending, up: Ending
) -> Tensor:
    """One factor of LoKr's, stored whole or as a product."""
    if whole not in own:
        return _product(name, module, own, down, up).dense(torch.device("cpu"))
    if own[whole].ndim != 2 or not own[whole].numel():
        raise misfit(name, f"has no matrix {whole.value} for {module[:120]!r}")
    return own[whole]


def _product(
    name: str, module: str, own: Mapping[Ending, Tensor], down: Ending, up: Ending
) -> LowRank:
    """A pair of matrices that fit each other."""
    matrices = [own[ending] for ending in (down, up) if ending in own]
    if len(matrices) != 2 or any(matrix.ndim != 2 for matrix in matrices):
        raise misfit(name, f"has no pair of matrices for {module[:120]!r}")
    (rank, _), (_, other) = (matrix.shape for matrix in matrices)
    if rank != other or rank == 0:
        raise misfit(name, f"has the ranks {rank} and {other} for {module[:120]!r}")
    return LowRank(matrices[0], matrices[1])


def _rank(own: Mapping[Ending, Tensor]) -> int | None:
    """What alpha is divided by; None for a change without a rank, which nothing scales."""
    downs = (Ending.DOWN, Ending.FIRST_DOWN, Ending.LEFT_DOWN, Ending.RIGHT_DOWN)
    return next((own[ending].shape[0] for ending in downs if ending in own), None)


@dataclass(frozen=True)
class _PeftScales:
    """Scales that PEFT's configuration states in a file's metadata.

    Attributes:
        config: that of the transformer's adapter; empty if there is none.
    """

    config: Mapping[str, Any]

    @classmethod
    def of(cls, file: CheckpointFile) -> "_PeftScales":
        if PEFT_METADATA not in file.metadata:
            return cls({})
        stated = file.metadata_object(PEFT_METADATA)
        own = {k.removeprefix("transformer."): v for k, v in stated.items()}
        alphas = [own.get("lora_alpha", 1), *_numbers(own.get("alpha_pattern")).values()]
        if not all(isinstance(alpha, int | float) for alpha in alphas):
            raise misfit(file.path.name, f"has a {PEFT_METADATA!r} that is not PEFT's")
        return cls(own)

    def scale(self, module: str, *, rank: int) -> float:
        """Alpha / r, or alpha / sqrt(r) where it was trained so."""
        if "lora_alpha" not in self.config:
            return 1.0
        alpha = self.config["lora_alpha"]
        for pattern, own in _numbers(self.config.get("alpha_pattern")).items():
            if module == pattern or module.endswith(f".{pattern}"):
                alpha = own
        return float(alpha / (math.sqrt(rank) if self.config.get("use_rslora", False) else rank))


def _numbers(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def misfit(name: str, what: str) -> CheckpointError:
    """What is wrong with a file."""
    return CheckpointError(
        f"The LoRA {name} does not fit this model: it {what}.", next_step=_NEXT_STEP
    )
