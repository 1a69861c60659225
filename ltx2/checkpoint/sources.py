"""Checkpoints as people have them on their disks, all seen as the official single file.

- the official file, whole or with companions,
- a folder in the layout of diffusers,
- files in pieces, with an index as `huggingface_hub` writes it,
- a transformer alone in a folder of models laid out like ComfyUI's, whose other networks lie in
  the folders beside it.

Headers are read and no tensor; PyTorch is not needed.
"""

import json
import logging
import os.path
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ltx2.checkpoint.components import (
    AUDIO_VAE,
    COMPONENTS,
    TRANSFORMER,
    VIDEO_VAE,
    Component,
)
from ltx2.checkpoint.diffusers_config import to_official
from ltx2.checkpoint.keymaps import FOLDERS, from_diffusers
from ltx2.checkpoint.lora_layouts import is_lora
from ltx2.checkpoint.reader import CheckpointFile, Part, TensorInfo, fingerprint_of
from ltx2.errors import CheckpointError

logger = logging.getLogger(__name__)

MODEL_FILE = "model.safetensors"
DIFFUSERS_INDEX = "model_index.json"
SHARDS_INDEX = ".safetensors.index.json"
SUFFIX = ".safetensors"

DISTILLED_KEY = "distilled"
"""Metadata key: "true" or "false", as the scheduler of a folder of diffusers says it."""

COMFYUI_MODELS = ("diffusion_models", "unet")
COMFYUI_OTHERS = ("vae", "text_encoders", "clip", "checkpoints")
"""Folders of ComfyUI with transformers, and with what belongs to them."""
MAX_FILES = 500
"""Looked at in one folder; nobody has more."""

CONFIGS = Path(__file__).with_name("configs")
"""Metadata of the published files, as their headers state it."""

TRANSFORMER_19B = "c567aaa37d5ed7454c73aa6024458661"
TRANSFORMER_2_3 = "1c55afad76ed33c112a2978550b524d1"
"""Fingerprints of the published transformers alone."""

_KNOWN_TRANSFORMERS = {TRANSFORMER_19B: "ltx-2-19b.json", TRANSFORMER_2_3: "ltx-2.3-22b.json"}
"""Published metadata by the transformer, for files that lost theirs."""

_PARTS = {
    "ltx-2-19b.json": {
        "03513e9bd82be2b6431d637e09b1b1d9",
        "ef9d1813ed6d905c17c92ce8931d6fd7",
        "feae66840ccef9746a4395a0001e025f",
        "e2b4fac9d5bad0d7fcc391b3d12f09f0",
        "3606ec869cfe17543a26b5c4d70e08eb",  # without the statistics that nobody reads
        "60a4cd7f4e531a6887d82d4306628198",
        "f471360f6b24bef702ab73133d9f8bb9",
    },
    "ltx-2.3-22b.json": {
        "ee13c889c9c7ff2d77e6f575fbfd9dd0",
        "9813c7e930fadea5a3b904ab58904e54",
        "1cc0259631bab8802f052e581fdd92ec",
        "b6162f2cb0feddf7d340db77ab934a2e",
        "60a4cd7f4e531a6887d82d4306628198",
        "cd436c99e69ec5c80f050f0944f02a15",
    },
}
"""Fingerprints of the other published networks, under the official names."""


def open_checkpoint(path: str | Path) -> CheckpointFile:
    """A checkpoint under its official names, with every header checked.

    Args:
        path: of a file, an index, or a folder.

    Raises:
        CheckpointError: there is none, a file is missing or damaged, or a configuration cannot be
            used.
    """
    path = Path(path)
    if os.path.isdir(path):  # noqa: PTH112 - never raises
        if os.path.isfile(path / DIFFUSERS_INDEX):  # noqa: PTH113
            return _open_diffusers(path)
        whole, pieces = path / MODEL_FILE, path / f"model{SHARDS_INDEX}"
        is_in_pieces = os.path.isfile(pieces) and not os.path.isfile(whole)  # noqa: PTH113
        path = pieces if is_in_pieces else whole
    if path.name == DIFFUSERS_INDEX:
        return _open_diffusers(path.parent)
    if path.name.endswith(SHARDS_INDEX):
        parts = _shards(path)
        metadata = next((part.metadata for part in parts if "config" in part.metadata), {})
        return _completed(CheckpointFile.of(_named(parts), metadata, path=path))
    file = CheckpointFile.open(path)
    names = official_names(file.stored)
    if names:
        file = CheckpointFile.of(_named(file.parts), file.metadata)
    return _completed(file)


def official_names(tensors: "Iterable[str]") -> dict[str, str]:
    """Official names of tensors that a file calls otherwise, for the ways in which files are split.

    A network that was taken out of the single file often lost the beginning of its names.
    """
    names = list(tensors)
    if is_lora(names):
        return {}
    known = tuple(component.prefix for component in COMPONENTS)
    result = {}
    # Networks of other models have layers of the same names.
    has_sound = any(_SOUND.search(name) for name in names)
    has_statistics = any(name.startswith("per_channel_statistics.") for name in names)
    is_video = any(name.startswith("encoder.down_blocks.") for name in names)
    autoencoder = VIDEO_VAE.prefix if is_video else AUDIO_VAE.prefix
    for name in names:
        if name.startswith(known):
            continue
        if name.startswith("diffusion_model."):
            result[name] = f"model.{name}"
        elif has_sound and name.startswith(_OF_TRANSFORMER):
            result[name] = f"{TRANSFORMER.prefix}{name}"
        elif has_statistics and name.startswith(_OF_AUTOENCODERS):
            result[name] = f"{autoencoder}{name}"
    return result


_SOUND = re.compile(r"audio_to_video_attn|(video|audio)_embeddings_connector|keyframes_abs_pos")
"""In names of tensors of LTX-2's transformer, its connectors, and no other model."""

_OF_TRANSFORMER = (
    *("transformer_blocks.", "patchify_proj.", "proj_out.", "adaln_single.", "av_ca_"),
    *("caption_projection.", "scale_shift_table", "prompt_adaln_single."),
    *("audio_patchify_proj.", "audio_proj_out.", "audio_adaln_single."),
    *("audio_caption_projection.", "audio_scale_shift_table", "audio_prompt_adaln_single."),
    *("video_embeddings_connector.", "audio_embeddings_connector.", "keyframes_abs_pos_embedding"),
)
_OF_AUTOENCODERS = ("encoder.", "decoder.", "per_channel_statistics.")


def known_transformer(file: CheckpointFile) -> str:
    """Fingerprint of the transformer alone, under its official names."""
    own = TRANSFORMER.own(file.tensors)
    return _fingerprint({TRANSFORMER.prefix + name: info for name, info in own.items()})


def changed_components(file: CheckpointFile) -> tuple[Component, ...]:
    """Networks of a published model that are here in other names or shapes; cut short, perhaps."""
    version = _KNOWN_TRANSFORMERS.get(known_transformer(file))
    if version is None:
        return ()
    changed = []
    for component in COMPONENTS:
        own = {component.prefix + n: i for n, i in component.own(file.tensors).items()}
        if component is not TRANSFORMER and own and _fingerprint(own) not in _PARTS[version]:
            changed.append(component)
    return tuple(changed)


def _completed(file: CheckpointFile) -> CheckpointFile:
    """The file with what it lacks and others know: metadata, and networks in other files."""
    version = _KNOWN_TRANSFORMERS.get(known_transformer(file))
    if version is None:
        return file
    metadata = dict(file.metadata)
    if "config" not in metadata:
        metadata["config"] = (CONFIGS / version).read_text()
    missing = [component for component in COMPONENTS if not component.own(file.tensors)]
    found = list(_elsewhere(file.path, missing, _PARTS[version])) if missing else []
    if not found and metadata == dict(file.metadata):
        return file
    parts = [*_named(file.parts), *found]
    return CheckpointFile.of(parts, metadata, path=file.path)


def comfyui_root(
    path: Path, *, among: Sequence[str] = (*COMFYUI_MODELS, "checkpoints")
) -> Path | None:
    """The folder of models laid out like ComfyUI's that a file lies in; None if it is in none.

    Args:
        path: of the file, perhaps in folders inside, where ComfyUI looks as well.
        among: folders that it may be in.
    """
    parents = (folder for folder in path.absolute().parents if folder.name in among)
    return next((folder.parent for folder in parents), None)


def _elsewhere(
    path: Path, missing: list[Component], fingerprints: set[str]
) -> Iterator[tuple[Part, Mapping[str, str]]]:
    """Parts of other files in the same folder of models that hold missing networks, each once."""
    root = comfyui_root(path, among=COMFYUI_MODELS)
    if root is None:
        return
    left = list(missing)
    for name in COMFYUI_OTHERS:
        for other in sorted((root / name).rglob(f"*{SUFFIX}"))[:MAX_FILES]:
            try:
                part = Part.open(other)
            except CheckpointError as error:
                logger.info("a file among the models is passed over: %s", error.message)
                continue
            names = {own: own for own in part.tensors} | official_names(part.tensors)
            tensors = {official: part.tensors[own] for own, official in names.items()}
            fitting = []
            for component in left:
                own = {component.prefix + n: i for n, i in component.own(tensors).items()}
                if own and _fingerprint(own) in fingerprints:
                    fitting.append(component)
            if not fitting:
                continue
            left = [component for component in left if component not in fitting]
            wanted = {component.prefix + n for component in fitting for n in component.own(tensors)}
            kept = {own: info for own, info in part.tensors.items() if names[own] in wanted}
            yield replace(part, tensors=kept), names


def _fingerprint(tensors: Mapping[str, TensorInfo]) -> str:
    return fingerprint_of((name, info.shape) for name, info in tensors.items())


def _named(parts: Iterable[Part]) -> list[tuple[Part, Mapping[str, str]]]:
    return [(part, official_names(part.tensors)) for part in parts]


def _open_diffusers(folder: Path) -> CheckpointFile:
    """A folder of diffusers as if it were a single file; its path is that of the index."""
    configs = {name: _read_json(folder / name / "config.json") for name in FOLDERS}
    parts: list[tuple[Part, Mapping[str, str]]] = []
    for name in FOLDERS:
        shards = _weights(folder / name)
        names = from_diffusers(name, [own for part in shards for own in part.tensors])
        parts += [(part, names) for part in shards]
    metadata = {"config": json.dumps(to_official(configs))}
    scheduler = folder / "scheduler" / "scheduler_config.json"
    if os.path.isfile(scheduler):  # noqa: PTH113 - never raises
        shifts = _read_json(scheduler).get("use_dynamic_shifting", True)
        metadata[DISTILLED_KEY] = "false" if shifts else "true"
    return CheckpointFile.of(parts, metadata, path=folder / DIFFUSERS_INDEX)


def open_upsampler(folder: Path) -> CheckpointFile:
    """A latent upsampler in a folder of diffusers, as if it were an official file.

    Raises:
        CheckpointError: a file is missing or damaged.
    """
    theirs = _read_json(folder / "config.json")
    config = theirs | {
        "spatial_scale": theirs.get("rational_spatial_scale", 2.0),
        "rational_resampler": theirs.get("use_rational_resampler", True),
    }
    parts: list[tuple[Part, Mapping[str, str]]] = [(part, {}) for part in _weights(folder)]
    return CheckpointFile.of(parts, {"config": json.dumps(config)})


def _weights(folder: Path) -> list[Part]:
    """The files of one network of diffusers; the usual ones go before variants such as fp16."""
    for name in ("diffusion_pytorch_model", "model"):
        if os.path.isfile(folder / f"{name}{SHARDS_INDEX}"):  # noqa: PTH113 - never raises
            return _shards(folder / f"{name}{SHARDS_INDEX}")
        if os.path.isfile(folder / f"{name}{SUFFIX}"):  # noqa: PTH113
            return [Part.open(folder / f"{name}{SUFFIX}")]
    raise CheckpointError(
        f"There are no weights in {folder}.",
        next_step="Download the folder again; files other than .safetensors are not opened.",
    )


def _shards(index: Path) -> list[Part]:
    """The pieces that an index lists, which hold all that it says."""
    listed = _read_json(index).get("weight_map")
    if not isinstance(listed, dict) or not all(isinstance(v, str) for v in listed.values()):
        raise CheckpointError(
            f"{index.name} lists no files.", next_step="Download or copy it again."
        )
    names = sorted(set(listed.values()))
    for name in names:
        if name in ("", ".", "..") or any(mark in name for mark in "/\\:\0"):
            raise CheckpointError(
                f"{index.name} names {name[:120]!r}, which is not the name of a file beside it.",
                next_step="Use an unchanged checkpoint from a source that you trust.",
            )
    parts = [Part.open(index.with_name(name)) for name in names]
    held = {tensor for part in parts for tensor in part.tensors}
    lacking = sorted(listed.keys() - held)
    if lacking:
        raise CheckpointError(
            f"{index.name} promises {lacking[0][:120]!r}, which is in none of its files.",
            next_step="Use the files of one download together.",
        )
    return parts


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(
            f"There is no file {path}.", next_step="Check the path, or download the folder again."
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path} cannot be read ({error}).", next_step="Download or copy it again."
        ) from error
    if not isinstance(value, dict):
        raise CheckpointError(
            f"{path} is not a JSON object.", next_step="Download or copy it again."
        )
    return value
