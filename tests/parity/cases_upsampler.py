"""Latent upsamplers against recorded outputs, raw and between normalised latents."""

import json
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from ltx2.model.config import UpsamplerConfig
from ltx2.model.upsampler import LatentUpsampler
from tests.parity.result import Result, compare

COMPONENTS = ("upsampler_spatial_x2", "upsampler_spatial_x2_plain", "upsampler_temporal_x2")


@torch.no_grad()
def run(folder: Path) -> Iterator[Result]:
    """Every case of one upsampler."""
    tensors = load_file(folder / "io.safetensors")
    upsampler = load_upsampler(folder / "weights.safetensors")
    for case in json.loads((folder / "case.json").read_text())["cases"]:
        latents = tensors[f"{case}/in/latent"]
        mean, std = (_per_channel(tensors[f"{case}/in/{n}_of_means"]) for n in ("mean", "std"))
        normalised = (upsampler(latents * std + mean) - mean) / std
        for name, value in (
            ("upsampled", upsampler(latents)),
            ("upsampled_normalised", normalised),
        ):
            yield compare(folder.name, case, name, value, tensors[f"{case}/out/{name}"])


def load_upsampler(weights: Path) -> LatentUpsampler:
    """An upsampler in float32, loaded strictly."""
    with safe_open(weights, "pt") as file:
        config = json.loads(file.metadata()["config"])
    upsampler = LatentUpsampler(UpsamplerConfig.from_metadata(config)).eval()
    upsampler.load_state_dict({name: t.float() for name, t in load_file(weights).items()})
    return upsampler


def _per_channel(statistics: Tensor) -> Tensor:
    return statistics.view(1, -1, 1, 1, 1)
