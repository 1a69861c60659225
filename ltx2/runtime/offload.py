"""Lets the weights of a model visit the device instead of living there."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from ltx2.checkpoint.components import (
    AUDIO_CONNECTOR,
    FEATURE_PROJECTION,
    TEXT_ENCODER,
    TRANSFORMER,
    VIDEO_CONNECTOR,
    VIDEO_VAE,
    Component,
)
from ltx2.checkpoint.loader import Networks
from ltx2.checkpoint.reader import CheckpointFile
from ltx2.checkpoint.text_encoders import open_text_encoder
from ltx2.model.video_vae.layers import lay_out
from ltx2.runtime.streaming import BlockStream, Stored, find_homes
from ltx2.runtime.visitors import visits

if TYPE_CHECKING:  # transformers takes seconds to import
    from ltx2.model.text.encoder import TextEncoder


def stream_networks(
    networks: Networks, device: torch.device, file: CheckpointFile
) -> tuple[BlockStream, ...]:
    """Lets the large parts of a model visit a device, and brings the rest there for good.

    Args:
        networks: in main memory; what is on the meta device is read at every visit.
        device: where they run.
        file: with the values of tensors on the meta device.
    """
    vae = networks.video_vae
    lay_out(vae, device)  # loading laid them out for the main memory that they wait in
    runs: list[tuple[Component, nn.Module, Sequence[Sequence[nn.Module]]]] = [
        (TRANSFORMER, networks.transformer, [list(networks.transformer.transformer_blocks)]),
        (FEATURE_PROJECTION, networks.projection, [[networks.projection]]),
        (VIDEO_CONNECTOR, networks.video_connector, [[networks.video_connector]]),
        (AUDIO_CONNECTOR, networks.audio_connector, [[networks.audio_connector]]),
        (VIDEO_VAE, vae, [[vae.encoder], [vae.decoder]]),
    ]
    stored = _stored(file)
    streams: list[BlockStream] = []
    for component, network, blocks in runs:
        homes = find_homes(network, stored, component.prefix)
        _settle(component, network, device)
        streams += [BlockStream(run, device, homes) for run in blocks]
    networks.audio_vae.to(device)
    networks.vocoder.to(device)
    return tuple(streams)


def stream_text_encoder(encoder: "TextEncoder", device: torch.device, path: Path) -> None:
    """Lets the layers of a text encoder visit a device.

    Args:
        encoder: in main memory or, without weights, on the meta device.
        device: where it runs.
        path: of its file or folder.
    """
    model = encoder.model
    homes = find_homes(model, _stored(open_text_encoder(path)), TEXT_ENCODER.prefix)
    model.rotary_emb.to(device)
    for run in ([model.embed_tokens], list(model.layers), [model.norm]):
        BlockStream(run, device, homes)


def _stored(file: CheckpointFile) -> Stored:
    """Where everything is, bits and scales of weights too, by what their layers call them."""
    bits = {
        f"{name.removesuffix('.weight')}.{short}": file.stored[full]
        for name, weight in file.quantized.items()
        for short, full in weight.names.items()
    }
    return {**file.stored, **bits}


@torch.no_grad()
def _settle(component: Component, network: nn.Module, device: torch.device) -> None:
    """What visits becomes fast to copy, the rest is brought to the device."""
    for name, tensor in network.state_dict(keep_vars=True).items():
        if not visits(component, name):
            tensor.data = tensor.data.to(device)
        elif device.type == "cuda" and not tensor.is_meta:
            tensor.data = tensor.data.pin_memory()
