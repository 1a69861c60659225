"""Low-rank changes of a transformer's weights, added to them for good.

Files have the layout of the published LoRAs: `diffusion_model.<module>.lora_A.weight` [r, in] and
`.lora_B.weight` [out, r], without a scale of their own. The change is strength * B @ A.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ltx2.checkpoint.reader import CheckpointFile
from ltx2.errors import CheckpointError

PREFIX = "diffusion_model."
IGNORED_PREFIX = "text_embedding_projection."
"""The distilled LoRA also changes the text projection; the released pipelines leave that out."""

_ENDINGS = (".lora_A.weight", ".lora_B.weight")
_NEXT_STEP = "Use a LoRA that was made for this model, in the layout of the published ones."


@dataclass(frozen=True)
class LowRank:
    """The change of one weight [out, in]: `up` [out, r] times `down` [r, in]."""

    down: Tensor
    up: Tensor


@dataclass(frozen=True)
class Lora:
    """Changes by the name of the module whose weight they belong to.

    Attributes:
        name: of the file.
        digest: of its weights.
    """

    name: str
    digest: str
    changes: Mapping[str, LowRank]


def read_lora(path: str | Path) -> Lora:
    """The changes that a LoRA file holds.

    Raises:
        CheckpointError: the file is damaged, or has another layout.
    """
    file = CheckpointFile.open(path)
    names = [name for name in file.tensors if not name.startswith(IGNORED_PREFIX)]
    if not any(name.endswith(_ENDINGS) for name in file.tensors):
        raise CheckpointError(
            f"{file.path.name} is not a LoRA: no tensor in it ends in {_ENDINGS[0]}.",
            next_step=_NEXT_STEP,
        )
    pairs: dict[str, set[str]] = {}
    for name in names:
        module, ending = name[: -len(_ENDINGS[0])], name[-len(_ENDINGS[0]) :]
        if not name.startswith(PREFIX) or ending not in _ENDINGS:
            raise _misfit(file.path.name, f"has a tensor {name[:120]!r}")
        pairs.setdefault(module, set()).add(ending)
    for module, endings in pairs.items():
        shapes = [file.tensors[module + e].shape for e in _ENDINGS if e in endings]
        if len(shapes) != 2 or any(len(shape) != 2 for shape in shapes):
            raise _misfit(file.path.name, f"has no pair of matrices for {module[:120]!r}")
        (rank, _), (_, other_rank) = shapes
        if rank != other_rank:
            raise _misfit(
                file.path.name, f"has the ranks {rank} and {other_rank} for {module[:120]!r}"
            )
    if not pairs:
        raise _misfit(file.path.name, "holds no change of the transformer")
    tensors = file.read(names)
    changes = {
        module.removeprefix(PREFIX): LowRank(*(tensors[module + ending] for ending in _ENDINGS))
        for module in pairs
    }
    return Lora(file.path.name, file.digest, changes)


@torch.no_grad()
def fuse_loras(transformer: nn.Module, loras: Iterable[tuple[Lora, float]]) -> None:
    """Add LoRAs with their strengths to a transformer's weights, in place.

    Everything is summed in float32 and rounded once to the weight's own type.

    Raises:
        CheckpointError: a LoRA changes a weight that is not there, has another shape or was left
            in its file; no weight is changed then.
    """
    chosen = list(loras)
    weights = dict(transformer.named_parameters())
    changes: dict[str, list[tuple[LowRank, float]]] = {}
    for lora, strength in chosen:
        if not any(f"{module}.weight" in weights for module in lora.changes):
            raise _misfit(lora.name, "changes none of the weights of this model")
        for module, change in lora.changes.items():
            name = f"{module}.weight"
            shape = [change.up.shape[0], change.down.shape[1]]
            if name not in weights:
                raise _misfit(lora.name, f"changes {module[:120]!r}, which this model lacks")
            if list(weights[name].shape) != shape:
                raise _misfit(
                    lora.name,
                    f"changes {module[:120]!r} as {shape}, which is {list(weights[name].shape)} "
                    "in this model",
                )
            changes.setdefault(name, []).append((change, strength))
    if any(weights[name].is_meta for name in changes):
        raise CheckpointError(
            "A LoRA cannot be added to weights that stay in their file.",
            next_step="Load the model with --offload cpu or none.",
        )
    for name, parts in changes.items():
        weight = weights[name]
        total = weight.float()
        for change, strength in parts:
            up, down = change.up.to(weight.device).float(), change.down.to(weight.device).float()
            total = torch.addmm(total, up, down, alpha=strength)
        weight.copy_(total)


def _misfit(name: str, what: str) -> CheckpointError:
    return CheckpointError(
        f"The LoRA {name} does not fit this model: it {what}.", next_step=_NEXT_STEP
    )
