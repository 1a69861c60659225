"""The transformer against recorded forwards, with everything that is recorded on the way."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from ltx2.model.block import Perturbation, Perturbations, PerturbedAttention, TransformerBlock
from ltx2.model.config import CrossTimestep, TransformerConfig
from ltx2.model.transformer import ModalityInput, Transformer
from tests.parity.result import Result, compare

COMPONENT = "transformer"
PREFIX = "model.diffusion_model."

ATTENTIONS = {
    "SKIP_VIDEO_SELF_ATTN": PerturbedAttention.VIDEO_SELF,
    "SKIP_AUDIO_SELF_ATTN": PerturbedAttention.AUDIO_SELF,
    "SKIP_A2V_CROSS_ATTN": PerturbedAttention.AUDIO_TO_VIDEO,
    "SKIP_V2A_CROSS_ATTN": PerturbedAttention.VIDEO_TO_AUDIO,
}
# `out_bf16` is one reference's rounding; the tolerance of its case is for `out`.
CROSS_TIMESTEPS = {
    "out": CrossTimestep.GATE_FROM_OTHER,
    "out_drop": CrossTimestep.GATE_FROM_OTHER,
    "out_own_timestep": CrossTimestep.OWN,
    "out_cross_sigma_everywhere": CrossTimestep.OTHER,
}


@torch.no_grad()
def run(folder: Path) -> Iterator[Result]:
    """Every case of `folder` in every recorded variant."""
    tensors = load_file(folder / "io.safetensors")
    cases: dict[str, dict[str, Any]] = json.loads((folder / "case.json").read_text())["cases"]
    transformer = load_transformer(folder / "weights.safetensors")
    for case, facts in cases.items():
        dtype = torch.bfloat16 if case.startswith("bf16") else torch.float32
        transformer.to(dtype)
        for variant, cross_timestep in CROSS_TIMESTEPS.items():
            expected = _named(tensors, f"{case}/{variant}/")
            if not expected:
                continue
            transformer.config = replace(transformer.config, cross_timestep=cross_timestep)
            video, audio = case_inputs(_named(tensors, f"{case}/in/"), case)
            middle = _Recorder(transformer)
            outputs = transformer(video, audio, _perturbations(facts, variant))
            for name, output in zip(("video", "audio"), outputs, strict=True):
                if (output is None) != (name not in expected):
                    raise ValueError(f"{case}: {name} should be absent in both or in none")
                if output is not None:
                    middle.tensors[f"{variant}/{name}"] = output
            recorded = {f"{variant}/{name}": value for name, value in expected.items()}
            if variant == "out":
                recorded |= _named(tensors, f"{case}/mid/")
            tolerances = {key: facts[key] for key in ("atol", "rtol") if key in facts}
            for name, value in middle.stop().items():
                if name in recorded:
                    yield compare(COMPONENT, case, name, value, recorded[name], **tolerances)


def load_transformer(weights: Path) -> Transformer:
    """A float32 transformer from a small file in the released layout, loaded strictly."""
    with safe_open(weights, "pt") as file:
        config = json.loads(file.metadata()["config"])
    transformer = Transformer(TransformerConfig.from_metadata(config)).eval()
    state = {
        name.removeprefix(PREFIX): tensor.float()
        for name, tensor in load_file(weights).items()
        if name.startswith(PREFIX) and "_embeddings_connector." not in name
    }
    transformer.load_state_dict(state)
    return transformer


def case_inputs(
    inputs: dict[str, Tensor], case: str = ""
) -> tuple[ModalityInput | None, ModalityInput | None]:
    """Video and audio of a case; `*_frozen` in its name disables that modality."""

    def modality(name: str) -> ModalityInput | None:
        if f"{name}_latent" not in inputs:
            return None
        return ModalityInput(
            tokens=inputs[f"{name}_latent"],
            timesteps=inputs[f"{name}_timesteps"],
            sigma=inputs["sigma"],
            positions=inputs[f"{name}_positions"],
            context=inputs[f"{name}_context"],
            context_mask=inputs.get(f"{name}_context_mask"),
            enabled=f"{name}_frozen" not in case,
        )

    return modality("video"), modality("audio")


def _perturbations(facts: dict[str, Any], variant: str) -> Perturbations:
    samples = tuple(
        tuple(
            Perturbation(ATTENTIONS[kind], None if blocks is None else frozenset(blocks))
            for kind, blocks in sample
        )
        for sample in facts.get("perturbations_per_sample", ())
    )
    return Perturbations(samples, drop_self_attention=variant == "out_drop")


def _named(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


class _Recorder:
    """Inputs and outputs of the blocks and of their submodules, under the recorded names."""

    def __init__(self, transformer: Transformer) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._handles = [
            module.register_forward_hook(self._hook(name), with_kwargs=False)
            for name, module in transformer.transformer_blocks.named_modules()
            if re.fullmatch(r"\d+(\.\w*(attn\d?|ff))?", name)
        ]

    def stop(self) -> dict[str, Tensor]:
        """Everything recorded; records no more."""
        for handle in self._handles:
            handle.remove()
        return self.tensors

    def _hook(self, module_name: str) -> Any:
        def record(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            name = f"block{module_name}"
            if isinstance(module, TransformerBlock):
                for stream, key in zip(output, ("video", "audio"), strict=True):
                    if stream is not None:
                        self.tensors[f"{name}.{key}"] = stream.hidden
                return
            self.tensors[f"{name}.in"], self.tensors[f"{name}.out"] = args[0], output
            if len(args) > 1:
                self.tensors[f"{name}.context"] = args[1]

        return record
