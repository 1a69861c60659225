"""Weights alone, without the state of a training: `NAME.weights.pt` in the work folder."""

from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from ltx2.errors import CheckpointError
from ltx2.files import replaced

AnyModule = TypeVar("AnyModule", bound=nn.Module)


def weights_path(folder: Path, name: str) -> Path:
    """Where a work folder keeps the weights of a network."""
    return folder / f"{name}.weights.pt"


def save_weights(folder: Path, name: str, module: nn.Module) -> None:
    """Writes the weights of a network into a work folder."""
    with replaced(weights_path(folder, name)) as part:
        torch.save(module.state_dict(), part)


def load_weights(folder: Path, name: str, module: AnyModule) -> AnyModule:
    """A network with its weights from a work folder.

    Raises:
        CheckpointError: the folder has none.
    """
    path = weights_path(folder, name)
    if not path.exists():
        raise CheckpointError(
            f"The work folder has no {path.name}.",
            next_step="Run the earlier stages of the recipe first, or start from a checkpoint.",
        )
    module.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return module
