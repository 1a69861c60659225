"""Wan 2.2 through diffusers, which is optional; pictures without sound."""

from collections.abc import Mapping
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.canonical import digest
from evaluation.suites.generators.base import Generator
from evaluation.suites.schema import Item
from ltx2 import Clip, Request
from ltx2.errors import CheckpointError, ResourceError
from ltx2.progress import OnProgress, ShouldCancel

USUAL = "Wan-AI/Wan2.2-TI2V-5B-Diffusers"
FRAME_RATE, SIZE, DURATION_S = 24.0, (704, 1280), 5.0
TEMPORAL_MULTIPLE = 4


class WanGenerator(Generator):
    """Makes clips with a `WanPipeline`.

    Args:
        model: name on the hub, or a folder.
    """

    def __init__(self, model: str = USUAL) -> None:
        self.name = model.rstrip("/").split("/")[-1]
        self._model = model

    @cached_property
    def _pipeline(self) -> Any:
        try:
            import torch
            from diffusers import WanPipeline
        except ImportError as error:
            raise ResourceError(
                "Wan 2.2 needs the package diffusers, which is not installed.",
                next_step="Install it with: pip install diffusers",
            ) from error
        try:
            pipeline = WanPipeline.from_pretrained(self._model, torch_dtype=torch.bfloat16)
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"{self._model} cannot be loaded: {error}",
                next_step="Give the folder of a Wan 2.2 model in the layout of diffusers.",
            ) from error
        return pipeline.to("cuda" if torch.cuda.is_available() else "cpu")

    def version(self) -> str:
        """Digest of the model's name and of the package's version."""
        return digest([self._model, _version()])

    def describe(self) -> Mapping[str, Any]:
        """The model and the package's version."""
        return {"kind": "diffusers", "model": self._model, "diffusers": _version()}

    def __call__(
        self,
        item: Item,
        request: Request,
        output: Path,
        *,
        on_progress: OnProgress,
        should_cancel: ShouldCancel,
    ) -> None:
        """Makes and writes the clip."""
        pipeline = self._pipeline
        import torch

        frame_rate = request.frame_rate or FRAME_RATE
        wanted = request.num_frames or (request.duration_s or DURATION_S) * frame_rate
        made = pipeline(
            prompt=request.prompt,
            negative_prompt=request.negative_prompt,
            height=request.height or SIZE[0],
            width=request.width or SIZE[1],
            num_frames=round(wanted / TEMPORAL_MULTIPLE) * TEMPORAL_MULTIPLE + 1,
            num_inference_steps=request.num_steps or 50,
            generator=torch.Generator("cpu").manual_seed(request.seed),
            output_type="np",
        )
        frames = np.round(np.clip(made.frames[0], 0.0, 1.0) * 255.0).astype(np.uint8)
        silent = np.zeros((2, 0), np.float32)
        Clip(frames, silent, frame_rate, sample_rate=48_000).save(output)


def _version() -> str:
    try:
        return metadata.version("diffusers")
    except metadata.PackageNotFoundError:
        return "not installed"
