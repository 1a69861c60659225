"""Checkpoints written in other layouts: tensors are copied as bytes, none is changed or held."""

import json
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

from ltx2.checkpoint.components import FEATURE_PROJECTION
from ltx2.checkpoint.diffusers_config import CLASSES, NONSENSE, to_diffusers_configs
from ltx2.checkpoint.keymaps import FOLDERS, to_diffusers
from ltx2.checkpoint.reader import CheckpointFile, Part
from ltx2.checkpoint.sources import DIFFUSERS_INDEX
from ltx2.errors import CheckpointError, RequestError, ResourceError
from ltx2.files import replaced

WEIGHTS_FILE = "diffusion_pytorch_model.safetensors"
"""What diffusers calls the weights of a network."""

CHUNK_BYTES = 16 << 20
ALIGNMENT = 8
"""Bytes that the format pads its header to."""

Place = tuple[Part, str]
"""A file, and the name that a tensor has in it."""


def write_single_file(file: CheckpointFile, path: Path) -> None:
    """Writes a checkpoint as one file in the official layout; fewer bits stay fewer.

    What a folder of diffusers says of distillation stays in the metadata: tensors do not tell it.

    Raises:
        RequestError: the file exists.
        ResourceError: it cannot be written; nothing is left behind.
    """
    _refuse_existing(path)
    copy_tensors(path, file.stored, file.metadata)


def write_diffusers_folder(file: CheckpointFile, folder: Path, *, is_distilled: bool) -> None:
    """Writes a checkpoint as a folder that diffusers loads, without the text encoder.

    Args:
        file: with all networks.
        folder: that does not exist yet; its parent does.
        is_distilled: whether the model has noise levels of its own.

    Raises:
        CheckpointError: diffusers cannot build such networks, or knows no such bits.
        RequestError: the folder exists.
        ResourceError: it cannot be written.
    """
    _refuse_existing(folder)
    if file.quantized:
        raise CheckpointError(
            f"{file.path.name} holds weights in fewer bits, which diffusers reads in other ways.",
            next_step="Convert the file with bfloat16 weights.",
        )
    configs = to_diffusers_configs(
        file.config, num_states=_num_states(file), is_distilled=is_distilled
    )
    places: dict[str, dict[str, Place]] = {name: {} for name in FOLDERS}
    for official, (name, theirs) in to_diffusers(file.stored).items():
        places[name][theirs] = file.stored[official]
    lacking = [name for name in FOLDERS if not places[name]]
    if lacking:
        raise CheckpointError(
            f"{file.path.name} has no tensors for the folder {lacking[0]!r} of diffusers.",
            next_step="Use a complete LTX-2 checkpoint.",
        )
    index: dict[str, object] = {"_class_name": "LTX2Pipeline"}
    for name, (library, _) in CLASSES.items():
        index[name] = [library, configs[name]["_class_name"]]
    index |= {"text_encoder": ["transformers", "Gemma3ForConditionalGeneration"]}
    index |= {"tokenizer": ["transformers", "GemmaTokenizerFast"]}
    try:
        for name in FOLDERS:
            (folder / name).mkdir(parents=True)
            _write_json(folder / name / "config.json", configs[name])
        (folder / "scheduler").mkdir()
        _write_json(folder / "scheduler" / "scheduler_config.json", configs["scheduler"])
        _write_json(folder / DIFFUSERS_INDEX, index)
    except OSError as error:
        raise _unwritable(folder, error) from error
    for name in FOLDERS:
        copy_tensors(folder / name / WEIGHTS_FILE, places[name], {"format": "pt"})


def _num_states(file: CheckpointFile) -> int:
    """Hidden states of the text encoder that the text's projection takes."""
    weight = next(iter(sorted(FEATURE_PROJECTION.own(file.tensors).items(), reverse=True)), None)
    try:
        hidden = int(file.config.get("transformer", {}).get("caption_channels", 3840))
        return 49 if weight is None else weight[1].shape[-1] // hidden
    except NONSENSE as error:
        raise CheckpointError(
            f"The configuration of {file.path.name} cannot be used ({error!r}).",
            next_step="Use an unchanged LTX-2 or LTX-2.3 checkpoint.",
        ) from error


def copy_tensors(path: Path, tensors: Mapping[str, Place], metadata: Mapping[str, str]) -> None:
    """Writes a safetensors file of tensors that lie in others; until it is complete, there is none.

    Args:
        path: of the file; its folder exists.
        tensors: where each lies, by its new name.
        metadata: free texts.

    Raises:
        CheckpointError: a file changed since it was opened.
        ResourceError: the file cannot be written; nothing is left behind.
    """
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    end = 0
    for name, (part, own) in tensors.items():
        start, stop = part.extents[own]
        info = part.tensors[own]
        offsets = [end, end + stop - start]
        header[name] = {"dtype": info.dtype, "shape": info.shape, "data_offsets": offsets}
        end = offsets[1]
    raw = json.dumps(header, separators=(",", ":")).encode()
    raw += b" " * (-len(raw) % ALIGNMENT)
    try:
        with replaced(path) as unfinished, unfinished.open("wb") as target:
            target.write(struct.pack("<Q", len(raw)) + raw)
            _copy(tensors.values(), target)
    except OSError as error:
        raise _unwritable(path, error) from error


def _copy(places: Iterable[Place], target: BinaryIO) -> None:
    """Data of tensors one after another; a file stays open as long as its tensors follow."""
    opened: tuple[Path, BinaryIO] | None = None
    try:
        for part, own in places:
            if opened is None or opened[0] != part.path:
                if opened is not None:
                    opened[1].close()
                opened = part.path, part.path.open("rb")
            start, stop = part.extents[own]
            opened[1].seek(start)
            left = stop - start
            while left:
                chunk = opened[1].read(min(left, CHUNK_BYTES))
                if not chunk:
                    raise CheckpointError(
                        f"{part.path.name} was cut off while it was being read.",
                        next_step="Download or copy the file again.",
                    )
                target.write(chunk)
                left -= len(chunk)
    finally:
        if opened is not None:
            opened[1].close()


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", "utf-8")


def _refuse_existing(path: Path) -> None:
    if path.exists():
        raise RequestError(f"{path} exists already.", next_step="Choose another name.")
    if not path.absolute().parent.is_dir():
        raise RequestError(
            f"There is no folder {path.absolute().parent}.", next_step="Create it first."
        )


def _unwritable(path: Path, error: OSError) -> ResourceError:
    return ResourceError(
        f"{path} cannot be written ({error.strerror or error}).",
        next_step="Free some space on the disk, or choose another folder.",
    )
