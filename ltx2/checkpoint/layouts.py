"""What a file or a folder holds, told by headers."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ltx2.checkpoint.catalog import TEXT_ENCODER_FOLDER, licence_of, name_of
from ltx2.checkpoint.components import COMPONENTS
from ltx2.checkpoint.reader import CheckpointFile, TensorInfo
from ltx2.checkpoint.sources import open_checkpoint

MODEL_KIND = "LTX-2 model"
TEXT_ENCODER = "text encoder"
"""Lies in a folder of its own."""


@dataclass(frozen=True)
class ComponentDescription:
    """Size of one component.

    Attributes:
        dtypes: number of tensors of each type, as the format writes it.
    """

    name: str
    num_tensors: int
    num_parameters: int
    dtypes: Mapping[str, int]

    @classmethod
    def of(cls, name: str, tensors: Iterable[TensorInfo]) -> "ComponentDescription":
        """Description of tensors that belong together."""
        infos = list(tensors)
        dtypes = Counter(info.dtype for info in infos)
        return cls(name, len(infos), sum(i.num_elements for i in infos), dict(dtypes))


@dataclass(frozen=True)
class Description:
    """What a file or a model folder holds.

    Attributes:
        model: name of the known model, or of the file.
        kind: "LTX-2 model", "LoRA", "latent upsampler" or "unknown".
        size_bytes: of all files.
        companions: names of the files beside the main one that hold parts of it.
        fingerprint: over names and shapes of all tensors.
        digest: over the weights.
        missing: names of components that a clip from text needs and this lacks.
        licence: of the weights; None if unknown.
    """

    model: str
    kind: str
    path: str
    size_bytes: int
    companions: tuple[str, ...]
    fingerprint: str
    digest: str
    components: tuple[ComponentDescription, ...]
    missing: tuple[str, ...]
    licence: str | None

    def to_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [
            f"{self.model} ({self.kind})",
            f"  file         {self.path}, {self.size_bytes / 1e6:,.1f} MB",
            *(f"  with         {name}" for name in self.companions),
            f"  fingerprint  {self.fingerprint}",
            f"  digest       {self.digest}",
            f"  weights      {self.licence or 'licence unknown'}",
        ]
        for part in self.components:
            dtypes = ", ".join(f"{dtype} {count}" for dtype, count in sorted(part.dtypes.items()))
            lines.append(
                f"  {part.name:<20} {part.num_parameters:>16,} parameters in "
                f"{part.num_tensors:,} tensors ({dtypes})"
            )
        if self.missing:
            lines.append(f"  missing      {', '.join(self.missing)}")
        return "\n".join(lines)


def describe(path: str | Path) -> Description:
    """What a checkpoint file or a model folder holds, from headers and samples of the weights.

    Raises:
        CheckpointError: there is no such file, or a header is damaged.
    """
    file = open_checkpoint(path)
    path = file.path
    kind, components = _contents(file)
    text_encoder = _text_encoder(path.parent / TEXT_ENCODER_FOLDER) if kind == MODEL_KIND else None
    if text_encoder is not None:
        components = (*components, text_encoder)
    found = {part.name for part in components}
    needed = [part.name for part in COMPONENTS] + [TEXT_ENCODER]
    return Description(
        model=name_of(file),
        kind=kind,
        path=str(file.path),
        size_bytes=file.size_bytes,
        companions=tuple(path.name for path in file.companions),
        fingerprint=file.fingerprint,
        digest=file.digest,
        components=components,
        missing=tuple(n for n in needed if n not in found) if kind == MODEL_KIND else (),
        licence=licence_of(file),
    )


def _contents(file: CheckpointFile) -> tuple[str, tuple[ComponentDescription, ...]]:
    owned = {part.name: part.own(file.tensors) for part in COMPONENTS}
    parts = [ComponentDescription.of(n, own.values()) for n, own in owned.items() if own]
    rest = len(file.tensors) - sum(part.num_tensors for part in parts)
    if parts:
        prefixes = tuple(part.prefix for part in COMPONENTS)
        others = [info for name, info in file.tensors.items() if not name.startswith(prefixes)]
        if rest:
            parts.append(ComponentDescription.of("other", others))
        return MODEL_KIND, tuple(parts)
    kind = "unknown"
    if any(name.endswith(".lora_A.weight") for name in file.tensors):
        kind = "LoRA"
    elif any(name.startswith("post_upsample_res_blocks.") for name in file.tensors):
        kind = "latent upsampler"
    return kind, (ComponentDescription.of(kind, file.tensors.values()),)


def _text_encoder(folder: Path) -> ComponentDescription | None:
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        return None
    infos = [info for file in files for info in CheckpointFile.open(file).tensors.values()]
    return ComponentDescription.of(TEXT_ENCODER, infos)
