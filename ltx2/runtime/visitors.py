"""Which weights wait elsewhere while a device does not need them, and where; without PyTorch."""

from collections.abc import Mapping
from enum import Enum

from ltx2.checkpoint.components import (
    AUDIO_CONNECTOR,
    FEATURE_PROJECTION,
    TRANSFORMER,
    VIDEO_CONNECTOR,
    VIDEO_VAE,
    Component,
)


class Offload(Enum):
    """Where weights wait that are not needed at the moment."""

    NONE = "none"
    """Nowhere: they are all on the device."""
    CPU = "cpu"
    """In main memory."""
    DISK = "disk"
    """In their files."""


VISITORS: Mapping[Component, tuple[str, ...]] = {
    TRANSFORMER: ("transformer_blocks.",),
    FEATURE_PROJECTION: ("",),
    VIDEO_CONNECTOR: ("",),
    AUDIO_CONNECTOR: ("",),
    VIDEO_VAE: ("encoder.", "decoder."),
}
"""Beginnings of the names of what visits the device: nearly all of a model's weights."""


def visits(component: Component, name: str) -> bool:
    """Whether a component's tensor of that name is on the device only while it is needed."""
    return component in VISITORS and name.startswith(VISITORS[component])


def visit_of(component: Component, name: str) -> str:
    """What a visiting tensor comes and goes with: a block, a whole network, a part of one."""
    parts = name.split(".")
    if component is TRANSFORMER:
        return f"{component.name} block {parts[1]}"
    return f"{component.name} {parts[0]}" if component is VIDEO_VAE else component.name
