"""What the stages after an upscaling need: latent upsamplers, and a LoRA that refines in few steps.

Both lie beside the model and are read when they are first used.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import torch

from ltx2.checkpoint.catalog import SUFFIX, FoundModel, find_lora, loras_of
from ltx2.checkpoint.loader import load_upsampler
from ltx2.checkpoint.lora import Lora, read_lora
from ltx2.checkpoint.lora_stack import LoraStack
from ltx2.checkpoint.reader import CheckpointFile
from ltx2.checkpoint.upsamplers import enlarging_of, find_upsamplers
from ltx2.errors import RequestError
from ltx2.geometry import Enlarging
from ltx2.model.transformer import Transformer
from ltx2.model.upsampler import LatentUpsampler
from ltx2.request import AppliedLora
from ltx2.runtime.small import is_small

_KINDS: dict[Enlarging, str] = {
    "space": "spatial-upscaler-x2",
    "space-1.5": "spatial-upscaler-x1.5",
    "time": "temporal-upscaler-x2",
}
"""What names of published files have in them."""


class Refining:
    """Upsamplers and the refining LoRA of one model.

    Args:
        name: of the model, for messages.
        files: of upsamplers, the preferred ones first.
        lora: of a distillation, added to the transformer while it refines; None for a model that
            refines as it is.
    """

    def __init__(
        self, name: str, files: Sequence[CheckpointFile], lora: Path | None = None
    ) -> None:
        self._name = name
        self._files = tuple(files)
        self._lora = lora
        self._upsamplers: dict[Enlarging, LatentUpsampler] = {}

    @property
    def has_lora(self) -> bool:
        """Whether the transformer refines in few steps, without guidance."""
        return self._lora is not None

    def applied(self, stages: Sequence[Enlarging]) -> AppliedLora | None:
        """The LoRA that refines in these stages, for recipes; None if none does.

        Raises:
            CheckpointError: its file is damaged.
        """
        if self._lora is None or not stages:
            return None
        file = CheckpointFile.open(self._lora)
        return AppliedLora(file=self._lora.name, strength=1.0, digest=file.digest)

    def require(self, stages: Sequence[Enlarging]) -> None:
        """Complain about upsamplers that are not there before any work is done.

        Raises:
            RequestError: one is missing.
        """
        for stage in stages:
            self._file(stage)

    def upsampler(self, stage: Enlarging, like: torch.Tensor) -> LatentUpsampler:
        """The upsampler of a stage, in the type and place of `like`.

        Raises:
            RequestError: there is none.
            CheckpointError: its file is damaged.
        """
        if stage not in self._upsamplers:
            self._upsamplers[stage] = load_upsampler(
                self._file(stage), dtype=like.dtype, device=like.device
            )
        return self._upsamplers[stage]

    @contextmanager
    def refined(self, transformer: Transformer) -> Iterator[None]:
        """Inside it the transformer refines in few steps; afterwards its weights are as before.

        What the LoRA changes is kept in main memory meanwhile, so that the way back is exact. Where
        a large model's weights wait there, they would be twice in it: the LoRA is live instead.
        """
        if self._lora is None:
            yield
            return
        stack = LoraStack(transformer)
        weights = next(transformer.transformer_blocks.parameters())
        waits_in_memory = weights.device.type == "cpu" and not is_small(transformer)
        stack.put_on([(self._read_lora, 1.0)], live=waits_in_memory)
        try:
            yield
        finally:
            stack.take_off()

    @cached_property
    def _read_lora(self) -> Lora:
        assert self._lora is not None
        return read_lora(self._lora)

    def _file(self, stage: Enlarging) -> CheckpointFile:
        for file in self._files:
            if enlarging_of(file) == stage:
                return file
        here = {enlarging_of(file) for file in self._files} - {"time"}
        instead = f"ask for {' or '.join(sorted(here))} instead" if here else ""
        raise RequestError(
            f"There is no upsampler for the stage {stage!r} beside the model {self._name}.",
            next_step=f"Put the file *{_KINDS[stage]}*{SUFFIX} of the model's version into its "
            f"folder, or {instead if instead and stage != 'time' else 'make the clip without it'}.",
        )


def find_refining(found: FoundModel, refiner: str | Path | None = None) -> Refining:
    """What lies beside a model.

    Args:
        found: the model.
        refiner: file or name of its distillation LoRA; found by its name if not said.

    Raises:
        CheckpointError: there is no such LoRA.
    """
    files = find_upsamplers(found)
    if found.profile.sigmas is not None:
        return Refining(found.name, files)  # it needs few steps as it is
    if refiner is not None:
        return Refining(found.name, files, find_lora(found, refiner))
    folder = found.file.path.parent
    beside = [*loras_of(found).values(), *sorted(folder.glob(f"*distilled-lora*{SUFFIX}"))]
    distilled = [path for path in beside if "distilled" in path.name]
    return Refining(found.name, files, distilled[0] if distilled else None)
