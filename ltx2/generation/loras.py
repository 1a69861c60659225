"""LoRAs of a loaded model: which are on, and how others take their place."""

import math
from collections.abc import Iterable, Sequence

from torch import Tensor

from ltx2.checkpoint.catalog import FoundModel, LoraChoice, find_lora
from ltx2.checkpoint.components import TRANSFORMER
from ltx2.checkpoint.loader import read_weight
from ltx2.checkpoint.lora import Lora, Strengths, read_lora
from ltx2.checkpoint.lora_stack import LoraStack
from ltx2.errors import RequestError
from ltx2.model.transformer import Transformer
from ltx2.request import AppliedLora

ReadLora = tuple[Lora, Strengths]
"""A LoRA and the strengths that it is wanted with."""


def read_loras(found: FoundModel, choices: Iterable[LoraChoice]) -> list[ReadLora]:
    """The LoRAs of a model that were chosen.

    Raises:
        CheckpointError: one is not there, damaged, or in another layout.
        RequestError: a strength is not a number.
    """
    wanted = [(find_lora(found, choice.path), _strengths(choice)) for choice in choices]
    return [(read_lora(path), strengths) for path, strengths in wanted]


class ModelLoras:
    """The LoRAs on a model's transformer.

    What they are fused into is read from the model's file again when they come off, so that the
    weights are as before to the bit and nothing has to be kept for it.

    Args:
        found: the model.
        transformer: its own, loaded from its file.
        live: computes the changes beside the weights instead of fusing them.
    """

    def __init__(self, found: FoundModel, transformer: Transformer, *, live: bool = False) -> None:
        self._found = found
        self._live = live
        self._stack = LoraStack(transformer, self._original)
        self.applied: tuple[AppliedLora, ...] = ()

    def use(self, loras: Sequence[ReadLora]) -> None:
        """Puts LoRAs on in the place of those that are.

        Raises:
            CheckpointError: one does not fit; none is on then.
        """
        self.applied = ()
        self._stack.put_on(loras, live=self._live)
        self.applied = tuple(_applied(lora, strengths) for lora, strengths in loras)

    def choose(self, choices: Iterable[LoraChoice]) -> None:
        """The same for LoRAs that have to be found and read.

        Raises:
            CheckpointError: one is not there, damaged, or does not fit.
            RequestError: a strength is not a number.
        """
        self.use(read_loras(self._found, choices))

    def _original(self, module: str) -> Tensor:
        return read_weight(self._found.file, f"{TRANSFORMER.prefix}{module}.weight")


def changes_of(loras: Sequence[AppliedLora]) -> list[tuple[str, float, float]]:
    """What LoRAs do, whatever their files are called."""
    return [(lora.digest, lora.strength, lora.strength_of_sound) for lora in loras]


def listed(loras: Sequence[AppliedLora]) -> str:
    """LoRAs in words."""
    if not loras:
        return "no LoRA"
    shown = ", ".join(f"{lora.file} ({lora.shown_strength}, {lora.digest[:8]})" for lora in loras)
    return f"the LoRA {shown}" if len(loras) == 1 else f"the LoRAs {shown}"


def _applied(lora: Lora, strengths: Strengths) -> AppliedLora:
    audio = None if strengths.audio == strengths.video else strengths.audio
    return AppliedLora(
        file=lora.name, strength=strengths.video, audio_strength=audio, digest=lora.digest
    )


def _strengths(choice: LoraChoice) -> Strengths:
    audio = choice.strength if choice.audio_strength is None else choice.audio_strength
    strengths = Strengths(choice.strength, audio)
    if not all(math.isfinite(strength) for strength in strengths):
        wrong = next(strength for strength in strengths if not math.isfinite(strength))
        raise RequestError(
            f"The LoRA {choice.path} has the strength {wrong}.",
            next_step="Give a number; 1 is as it was trained.",
        )
    return strengths
