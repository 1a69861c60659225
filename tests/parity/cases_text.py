"""The text path against recorded values: hidden states, features, contexts."""

import json
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from ltx2.model.config import ConnectorConfig, FeatureProjectionConfig
from ltx2.model.text import Connector, FeatureProjection
from ltx2.model.text.encoder import TextEncoder, load_text_model
from ltx2.model.text.features import normalise_hidden_states
from tests.parity.result import Result, compare

COMPONENT = "text"


@torch.no_grad()
def run(folder: Path) -> Iterator[Result]:
    """Every case of `folder`; those with token ids go through its Gemma 3 as well."""
    tensors = load_file(folder / "io.safetensors")
    cases = json.loads((folder / "case.json").read_text())["cases"]
    projection, connectors = load_networks(folder / "weights.safetensors")
    for case in cases:
        mask = tensors[f"{case}/in/attention_mask"]
        actual: dict[str, Tensor] = {}
        if f"{case}/in/input_ids" in tensors:
            ids = tensors[f"{case}/in/input_ids"]
            actual |= _encoder_states(folder / "gemma", ids, mask, tensors, case)
            states = actual["mid/hidden_states"]
        else:
            states = tensors[f"{case}/in/hidden_states"]
        features = projection(states, mask)
        actual["out/normed"] = normalise_hidden_states(states, mask)
        actual["out/features"] = features
        for name, connector in connectors.items():
            context = connector(features, mask)
            actual[f"out/{name}_context"] = context
            # Our connectors return no mask: every row of a context may be attended to.
            actual["out/mask_out"] = torch.ones(context.shape[:2])
        for name, value in actual.items():
            if f"{case}/{name}" in tensors:
                yield compare(COMPONENT, case, name, value, tensors[f"{case}/{name}"])


def load_networks(weights: Path) -> tuple[FeatureProjection, dict[str, Connector]]:
    """The projection and both connectors in float32, loaded strictly."""
    with safe_open(weights, "pt") as file:
        config = json.loads(file.metadata()["config"])
    state = {name: tensor.float() for name, tensor in load_file(weights).items()}

    def part(prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}

    projection_state = part("text_embedding_projection.")
    out_width, in_width = projection_state["aggregate_embed.weight"].shape
    sizes = FeatureProjectionConfig.from_metadata(config, num_states=in_width // out_width)
    projection = FeatureProjection(sizes)
    projection.load_state_dict(projection_state)
    connectors = {}
    for name in ("video", "audio"):
        connectors[name] = Connector(ConnectorConfig.from_metadata(config))
        prefix = f"model.diffusion_model.{name}_embeddings_connector."
        connectors[name].load_state_dict(part(prefix))
    return projection, connectors


def _encoder_states(
    folder: Path, ids: Tensor, mask: Tensor, tensors: dict[str, Tensor], case: str
) -> dict[str, Tensor]:
    """Hidden states by the names they are recorded under, also with a short sliding window."""
    states = {}
    prefix = f"{case}/mid/"
    for name in (name.removeprefix(prefix) for name in tensors if name.startswith(prefix)):
        encoder = TextEncoder(load_text_model(folder, torch.float32), None, ids.shape[1])
        if "sliding_window_" in name:
            encoder.model.config.sliding_window = int(name.rsplit("_", 1)[1])
        states[f"mid/{name}"] = encoder(ids, mask).hidden_states
    return states
