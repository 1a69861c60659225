"""Video autoencoder against recorded tensors: encode, decode, tiled decode, noise-conditioned."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from ltx2.media.frames import to_uint8_frames
from ltx2.model.video_vae import TileSize, VideoVAE, VideoVAEConfig
from tests.parity.result import Result, compare

COMPONENTS = ("video_vae", "video_vae_timestep")
PREFIX = "vae."


def load_vae(weights: Path) -> VideoVAE:
    """Autoencoder of a golden folder in float32."""
    with safe_open(weights, "pt") as file:
        config = json.loads(file.metadata()["config"])
    state = {
        name.removeprefix(PREFIX): tensor.float()
        for name, tensor in load_file(weights).items()
        if name.startswith(PREFIX)
    }
    vae = VideoVAE(VideoVAEConfig.from_metadata(config))
    decoder_only = not any(name.startswith("encoder.") for name in state)
    missing, unexpected = vae.load_state_dict(state, strict=not decoder_only)
    if unexpected or any(not name.startswith("encoder.") for name in missing):
        raise AssertionError(f"missing {missing}, unexpected {unexpected}")
    return vae.eval()


@torch.no_grad()
def run(folder: Path) -> Iterator[Result]:
    """All cases of one folder."""
    vae = load_vae(folder / "weights.safetensors")
    cases = json.loads((folder / "case.json").read_text())["cases"]
    tensors = load_file(folder / "io.safetensors")
    for case, facts in cases.items():
        inputs = {k.split("/")[-1]: v for k, v in tensors.items() if k.startswith(f"{case}/in/")}
        actual = outputs(vae, case, facts, inputs, tensors)
        for name, expected in tensors.items():
            if name.startswith(f"{case}/out/"):
                tensor = name.split("/")[-1]
                atol = 1.0 if tensor == "frames_uint8" else facts.get("atol", 1e-4)
                rtol = facts.get("rtol", 1e-4)
                yield compare(
                    folder.name,
                    case,
                    tensor,
                    actual[tensor].float(),
                    expected.float(),
                    atol=atol,
                    rtol=rtol,
                )


def outputs(
    vae: VideoVAE,
    case: str,
    facts: dict[str, Any],
    inputs: dict[str, Tensor],
    tensors: dict[str, Tensor],
) -> dict[str, Tensor]:
    """What our network gives for one case, under the recorded names."""
    if "video" in inputs:
        mean = vae.encode_mean(inputs["video"])
        return {"latent_mean": mean, "latent": vae.normalise(mean)}
    if case == "tiled_input":
        return {"untiled_strided": vae.decode(inputs["latent"])[..., ::3, ::5, ::5]}
    if case.startswith("tiled_"):
        video = vae.decode_tiled(
            tensors["tiled_input/in/latent"],
            spatial=TileSize(*facts["spatial"]) if facts["spatial"] else None,
            temporal=TileSize(*facts["temporal"]) if facts["temporal"] else None,
        )
        return {"video_strided": video[..., ::3, ::5, ::5]}
    video = vae.decode(inputs["latent"], noise=inputs.get("noise"), timestep=inputs.get("timestep"))
    return {
        "video": video,
        "video_strided": video[..., ::2, ::2],
        "frames_uint8": torch.from_numpy(to_uint8_frames(video[0])),
    }
