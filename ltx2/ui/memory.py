"""What a browser had in the form, which it keeps to itself and brings back after a reload."""

import json
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import gradio as gr

from ltx2.errors import LTX2Error
from ltx2.serving.models import Models
from ltx2.ui.events import Update
from ltx2.ui.form import LORA_FIELDS, Asked, Form, describe_fields, values_of
from ltx2.ui.visitors import STORAGE_SECRET

RESTORED = (
    "mode",
    "prompt",
    "duration",
    "shape",
    "model",
    "seed",
    "randomize_seed",
    "negative_prompt",
    "num_steps",
    "video_cfg_scale",
    "audio_cfg_scale",
    "height",
    "width",
    "lora",
    "lora_strength",
    "frame_rate",
    "sampler",
    "upscale",
    *(name for names in LORA_FIELDS[1:] for name in names[:2]),
    "upscale_time",
    "upscale_by_half",
    *(of_sound for _, _, of_sound in LORA_FIELDS),
    "quantization",
)
"""Fields that come back, of a recipe and after a reload."""

STORAGE_KEY = "ltx2-form"

KEEP_JS = """
(...values) => [Object.fromEntries(NAMES.map((name, index) => [name, values[index] ?? null]))]
""".replace("NAMES", json.dumps(RESTORED))
"""Fields by their names."""


def build_memory() -> gr.BrowserState:
    """What this browser last had in the form."""
    return gr.BrowserState({}, storage_key=STORAGE_KEY, secret=STORAGE_SECRET)


def bind_memory(
    form: Form, memory: gr.BrowserState, filled: Sequence[gr.events.Dependency]
) -> None:
    """The fields are kept when a visitor changes one, and after `filled` changed them.

    Changes while the page loads do not count: they would forget what is to come back.
    """
    restored = [getattr(form, name) for name in RESTORED]
    keep: dict[str, Any] = {
        "fn": None,
        "inputs": restored,
        "outputs": memory,
        "js": KEEP_JS,
        "api_visibility": "private",
    }
    gr.on([component.input for component in restored], **keep)
    for event in filled:
        event.success(**keep)


def recall(memory: Any, models: Models) -> list[Update]:
    """Updates of `RESTORED` from what a browser kept; nothing changes where it is of no use.

    Args:
        memory: may be anything, for visitors can write to their browser's store.
        models: that there are now.
    """
    try:
        return _recalled(memory, models)
    except (LTX2Error, KeyError, TypeError, ValueError, OverflowError):
        return unchanged()  # of another version or model, or tampered with


def unchanged() -> list[Update]:
    """Updates of `RESTORED` that change nothing."""
    return [gr.skip() for _ in RESTORED]


def _recalled(memory: Any, models: Models) -> list[Update]:
    if not memory:
        return unchanged()
    offer = models.offer(memory["model"])
    # Fields that came later have values of their own, and what was kept before them stays of use.
    kept = {part.name: memory[part.name] for part in fields(Asked) if part.name in memory}
    asked = Asked(**kept)
    if not isinstance(asked.prompt, str) or not isinstance(asked.randomize_seed, bool):
        raise TypeError("fields of another form")
    if asked.prompt.strip():
        asked.to_request(offer.profile, seed=asked.seed or 0)
    described = describe_fields(offer)
    if memory.get("mode") not in values_of(described["mode"]["choices"]):
        memory = {**memory, "mode": described["mode"]["value"]}
    updates = []
    for name in RESTORED:
        limits = described.get(name, {})
        value = memory.get(name)
        if value is None and (name not in memory or "minimum" in limits):
            value = limits["value"]
        if "choices" in limits and value not in (None, *values_of(limits["choices"])):
            value = limits["value"]
        if "minimum" in limits:
            value = min(max(limits["minimum"], value), limits["maximum"])
        updates.append(gr.update(**{**limits, "value": value}))
    return updates
