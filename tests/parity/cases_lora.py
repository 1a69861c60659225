"""LoRAs added to the transformer's weights, against recorded forwards and fused weights."""

import json
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file

from ltx2.checkpoint.components import TRANSFORMER
from ltx2.checkpoint.loader import build_transformer, load_component
from ltx2.checkpoint.lora import read_lora
from ltx2.checkpoint.lora_stack import fuse_loras
from ltx2.checkpoint.reader import CheckpointFile
from ltx2.model.transformer import Transformer
from tests.parity.cases_transformer import case_inputs
from tests.parity.result import Result, compare

COMPONENTS: tuple[str, ...] = ("lora",)

LORAS: dict[str, tuple[tuple[str, float], ...]] = {
    "out_without_lora": (),
    "strength_1.0": (("lora", 1.0),),
    "strength_0.6": (("lora", 0.6),),
    "two_loras": (("lora", 0.6), ("lora2", 0.5)),
    "fused_bf16": (("lora", 0.6),),
}


@torch.no_grad()
def run(folder: Path) -> Iterator[Result]:
    """Every case of `folder`, on the base weights of the transformer's cases beside it."""
    tensors = load_file(folder / "io.safetensors")
    cases = json.loads((folder / "case.json").read_text())["cases"]
    inputs = {k.removeprefix("in/"): v for k, v in tensors.items() if k.startswith("in/")}
    video, audio = case_inputs(inputs)
    for case, loras in LORAS.items():
        facts = cases.get(case, {})
        tolerances = {key: facts[key] for key in ("atol", "rtol") if key in facts}
        if case == "fused_bf16":
            for variant, dtype in (("out", torch.bfloat16), ("out_float32", torch.float32)):
                weights = dict(_transformer(folder, loras, dtype).named_parameters())
                prefix = f"{case}/{variant}/"
                for key in (key for key in tensors if key.startswith(prefix)):
                    name = key.removeprefix(prefix)
                    label = f"{variant}/{name}"
                    yield compare("lora", case, label, weights[name], tensors[key], **tolerances)
            continue
        outputs = _transformer(folder, loras, torch.float32)(video, audio)
        prefix = case if case == "out_without_lora" else f"{case}/out"
        for name, output in zip(("video", "audio"), outputs, strict=True):
            assert output is not None
            yield compare("lora", case, name, output, tensors[f"{prefix}/{name}"], **tolerances)


def _transformer(
    folder: Path, loras: tuple[tuple[str, float], ...], dtype: torch.dtype
) -> Transformer:
    file = CheckpointFile.open(folder.parent / "transformer" / "weights.safetensors")
    transformer = load_component(file, TRANSFORMER, build_transformer, dtype=dtype, device="cpu")
    fuse_loras(
        transformer,
        [(read_lora(folder / f"{name}.safetensors"), strength) for name, strength in loras],
    )
    return transformer
