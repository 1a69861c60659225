"""Our own pipeline."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ltx2
from evaluation.canonical import digest
from evaluation.suites.generators.base import Generator
from evaluation.suites.given import Given
from evaluation.suites.schema import Item, given_fields
from ltx2.inputs import Inputs
from ltx2.progress import OnProgress, ShouldCancel
from ltx2.request import Request

if TYPE_CHECKING:
    from ltx2 import Pipeline


def version_of(weights: str, loras: Sequence[Mapping[str, Any]], dtype: str) -> str:
    """Digest of all that a clip of our pipeline depends on beside its request."""
    return digest(
        {
            "software": ltx2.__version__,
            "weights": weights,
            "loras": list(loras),
            "dtype": dtype,
        }
    )


class PipelineGenerator(Generator):
    """Makes clips with a model of `ltx2.load`, which is loaded when it is first needed.

    Args:
        model: a known name, a model folder or a checkpoint file.
        options: further arguments of `ltx2.load`.
    """

    def __init__(self, model: str, options: Mapping[str, Any] | None = None) -> None:
        self.name = Path(model).stem if Path(model).suffix else model.rstrip("/").split("/")[-1]
        self._model = model
        self._options = dict(options or {})

    @cached_property
    def _pipeline(self) -> "Pipeline":
        return ltx2.load(self._model, **self._options)

    def version(self) -> str:
        """Digest of the weights, of the LoRAs and of how they are computed."""
        pipeline = self._pipeline
        return version_of(
            pipeline.digest or pipeline.fingerprint,
            [lora.model_dump() for lora in pipeline.loras],
            self._options.get("dtype", "auto"),
        )

    def describe(self) -> Mapping[str, Any]:
        """Name and digest of the weights, and the device."""
        pipeline = self._pipeline
        return {
            "kind": "pipeline",
            "model": pipeline.name,
            "weights_digest": pipeline.digest,
            "fingerprint": pipeline.fingerprint,
            "loras": [lora.model_dump() for lora in pipeline.loras],
            "device": str(pipeline.device),
        }

    def takes(self, given: Given) -> bool:
        """Every file that a request can name."""
        return True

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
        inputs = Inputs()
        given_fields(item, inputs)
        clip = self._pipeline(
            request, inputs=inputs, on_progress=on_progress, should_cancel=should_cancel
        )
        clip.save(output)
