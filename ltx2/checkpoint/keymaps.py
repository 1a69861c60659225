"""Names of the same tensors in the official single file and in the folders of diffusers.

Both directions follow from one table per folder. Only the blocks of the video autoencoder are
numbered differently; how many there are tells the names themselves.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ltx2.checkpoint.components import (
    AUDIO_CONNECTOR,
    AUDIO_VAE,
    FEATURE_PROJECTION,
    TRANSFORMER,
    VIDEO_CONNECTOR,
    VIDEO_VAE,
    VOCODER,
    Component,
)

TRANSFORMER_TO_DIFFUSERS: dict[str, str] = {
    "patchify_proj": "proj_in",
    "audio_patchify_proj": "audio_proj_in",
    "adaln_single": "time_embed",
    "audio_adaln_single": "audio_time_embed",
    "prompt_adaln_single": "prompt_adaln",
    "audio_prompt_adaln_single": "audio_prompt_adaln",
    "av_ca_video_scale_shift_adaln_single": "av_cross_attn_video_scale_shift",
    "av_ca_audio_scale_shift_adaln_single": "av_cross_attn_audio_scale_shift",
    "av_ca_a2v_gate_adaln_single": "av_cross_attn_video_a2v_gate",
    "av_ca_v2a_gate_adaln_single": "av_cross_attn_audio_v2a_gate",
    "scale_shift_table_a2v_ca_video": "video_a2v_cross_attn_scale_shift_table",
    "scale_shift_table_a2v_ca_audio": "audio_a2v_cross_attn_scale_shift_table",
    "q_norm": "norm_q",
    "k_norm": "norm_k",
}
"""Parts of a dotted name that diffusers calls differently; all others are the same."""

_CONNECTOR = {"transformer_1d_blocks": "transformer_blocks", "q_norm": "norm_q", "k_norm": "norm_k"}
_PROJECTION = {
    "aggregate_embed": "text_proj_in",
    "video_aggregate_embed": "video_text_proj_in",
    "audio_aggregate_embed": "audio_text_proj_in",
}
_VIDEO_VAE = {"res_blocks": "resnets"}
_VOCODER = {
    "ups": "upsamplers",
    "resblocks": "resnets",
    "conv_pre": "conv_in",
    "conv_post": "conv_out",
    "act_post": "act_out",
}

STATISTICS = {
    "per_channel_statistics.mean-of-means": "latents_mean",
    "per_channel_statistics.std-of-means": "latents_std",
}
UNUSED_STATISTICS = "per_channel_statistics."
"""The other statistics of a video autoencoder; diffusers leaves them out and nobody reads them."""


def rename(name: str, keymap: Mapping[str, str]) -> str:
    """Dotted `name` with each part looked up in `keymap`."""
    return ".".join(keymap.get(part, part) for part in name.split("."))


Rename = Callable[[str], str]


@dataclass(frozen=True)
class _Place:
    """Where a component's tensors are in diffusers: in which folder, under which prefix."""

    component: Component
    folder: str
    keymap: Mapping[str, str]
    prefix: str = ""


_PLACES = (
    _Place(TRANSFORMER, "transformer", TRANSFORMER_TO_DIFFUSERS),
    _Place(VIDEO_CONNECTOR, "connectors", _CONNECTOR, "video_connector."),
    _Place(AUDIO_CONNECTOR, "connectors", _CONNECTOR, "audio_connector."),
    _Place(FEATURE_PROJECTION, "connectors", _PROJECTION),
    _Place(VIDEO_VAE, "vae", _VIDEO_VAE),
    _Place(AUDIO_VAE, "audio_vae", {}),
    _Place(VOCODER, "vocoder", _VOCODER),
)

FOLDERS = ("transformer", "connectors", "vae", "audio_vae", "vocoder")
"""Of a diffusers model that hold its networks; the text encoder has the layout of transformers."""


def to_diffusers(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Folder and name in diffusers of every official name that has one.

    Args:
        names: of all tensors of a checkpoint; those of nobody are left out.
    """
    official = list(names)
    last_block = _largest(r"^vae\.encoder\.down_blocks\.(\d+)\.", official)
    result: dict[str, tuple[str, str]] = {}
    for place in _PLACES:
        for own in place.component.own(dict.fromkeys(official, None)):
            short = _statistic(own, STATISTICS) if "vae" in place.folder else own
            if short is None:
                continue
            if place.folder == "vae":
                short = _to_grouped_block(short, last_block)
            if place.folder == "vocoder":
                short = short.replace(".downsample.lowpass.", ".downsample.")
            name = place.prefix + rename(short, place.keymap)
            result[place.component.prefix + own] = (place.folder, name)
    return result


def from_diffusers(folder: str, names: Iterable[str]) -> dict[str, str]:
    """Official names of all tensors in one folder of a diffusers model."""
    theirs = list(names)
    groups = _largest(r"^encoder\.down_blocks\.(\d+)\.", theirs) + 1
    back = {new: old for old, new in STATISTICS.items()}
    result: dict[str, str] = {}
    for name in theirs:
        place = _place_of(folder, name)
        keymap = {new: old for old, new in place.keymap.items()}
        own = name.removeprefix(place.prefix)
        if folder == "vae":
            own = _to_single_block(own, groups)
        if "vae" in folder:
            own = back.get(own, own)
        own = rename(own, keymap)
        if folder == "vocoder":
            own = own.replace(".downsample.filter", ".downsample.lowpass.filter")
        result[name] = place.component.prefix + own
    return result


def _place_of(folder: str, name: str) -> _Place:
    """The place with the longest prefix that fits."""
    fitting = [p for p in _PLACES if p.folder == folder and name.startswith(p.prefix)]
    return max(fitting, key=lambda place: len(place.prefix))


def _statistic(name: str, names: Mapping[str, str]) -> str | None:
    """A statistic's other name, None for an unused one; other tensors are called the same."""
    if name in names:
        return names[name]
    return None if name.startswith(UNUSED_STATISTICS) else name


def _largest(pattern: str, names: Iterable[str]) -> int:
    """The largest number that the pattern finds; -1 if none."""
    return max((int(m[1]) for name in names if (m := re.match(pattern, name))), default=-1)


def _to_grouped_block(name: str, last: int) -> str:
    """A block of the video autoencoder, as diffusers groups it with the resampling beside it.

    Officially residual blocks and resamplings take turns, numbered together.
    """
    match = re.match(r"(encoder\.down|decoder\.up)_blocks\.(\d+)\.(.*)", name)
    if match is None:
        return name
    side, number, rest = match[1], int(match[2]), match[3]
    if side == "encoder.down":
        if number == last:
            return f"encoder.mid_block.{rest}"
        inside = f"downsamplers.0.{rest}" if number % 2 else rest
        return f"encoder.down_blocks.{number // 2}.{inside}"
    if number == 0:
        return f"decoder.mid_block.{rest}"
    inside = f"upsamplers.0.{rest}" if number % 2 else rest
    return f"decoder.up_blocks.{(number - 1) // 2}.{inside}"


def _to_single_block(name: str, groups: int) -> str:
    """Inverse of `_to_grouped_block`; the encoder has `groups` groups before its middle."""
    if name.startswith("encoder.mid_block."):
        return name.replace("mid_block", f"down_blocks.{2 * groups}", 1)
    if name.startswith("decoder.mid_block."):
        return name.replace("mid_block", "up_blocks.0", 1)
    match = re.match(r"(encoder\.down|decoder\.up)_blocks\.(\d+)\.(.*)", name)
    if match is None:
        return name
    side, group, rest = match[1], int(match[2]), match[3]
    is_resampling = re.match(r"(down|up)samplers\.0\.", rest)
    inside = rest[is_resampling.end() :] if is_resampling else rest
    if side == "encoder.down":
        return f"encoder.down_blocks.{2 * group + bool(is_resampling)}.{inside}"
    return f"decoder.up_blocks.{2 * group + (1 if is_resampling else 2)}.{inside}"
