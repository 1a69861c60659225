"""LTX-2: text to a clip with picture and sound. Nothing heavy is imported until it is used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ltx2.best import best_of
    from ltx2.checkpoint.catalog import LoraChoice
    from ltx2.clip import Clip
    from ltx2.conditions import InputFile, Keyframe, Reference, Source, Span
    from ltx2.errors import (
        CheckpointError,
        GenerationCancelled,
        GenerationError,
        LTX2Error,
        MediaError,
        RequestError,
        ResourceError,
    )
    from ltx2.inputs import Inputs
    from ltx2.pipeline import Pipeline, load
    from ltx2.progress import Progress
    from ltx2.request import Guidance, ModelProfile, Recipe, Request

__version__ = "0.1.0"

__all__ = [
    "CheckpointError",
    "Clip",
    "GenerationCancelled",
    "GenerationError",
    "Guidance",
    "InputFile",
    "Inputs",
    "Keyframe",
    "LTX2Error",
    "LoraChoice",
    "MediaError",
    "ModelProfile",
    "Pipeline",
    "Progress",
    "Recipe",
    "Reference",
    "Request",
    "RequestError",
    "ResourceError",
    "Source",
    "Span",
    "best_of",
    "load",
]

_MODULE_OF = {
    "Clip": "ltx2.clip",
    "Guidance": "ltx2.request",
    "InputFile": "ltx2.conditions",
    "Inputs": "ltx2.inputs",
    "Keyframe": "ltx2.conditions",
    "LoraChoice": "ltx2.checkpoint.catalog",
    "ModelProfile": "ltx2.request",
    "Pipeline": "ltx2.pipeline",
    "Progress": "ltx2.progress",
    "Recipe": "ltx2.request",
    "Reference": "ltx2.conditions",
    "Request": "ltx2.request",
    "Source": "ltx2.conditions",
    "Span": "ltx2.conditions",
    "best_of": "ltx2.best",
    "load": "ltx2.pipeline",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULE_OF.get(name, "ltx2.errors")), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
