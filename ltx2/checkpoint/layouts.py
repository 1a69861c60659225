"""What a file or a folder holds, told by headers."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ltx2.checkpoint.catalog import (
    TEXT_ENCODER_FOLDER,
    Version,
    licence_of,
    name_of,
    version_of,
)
from ltx2.checkpoint.components import (
    AUDIO_CONNECTOR,
    COMPONENTS,
    FEATURE_PROJECTION,
    VIDEO_CONNECTOR,
    VOCODER,
)
from ltx2.checkpoint.lora_layouts import is_lora, lora_shape, other_adapter
from ltx2.checkpoint.reader import CheckpointFile, TensorInfo
from ltx2.checkpoint.sources import SHARDS_INDEX, changed_components, open_checkpoint
from ltx2.checkpoint.text_encoders import (
    SPIECE,
    is_text_encoder,
    open_text_encoder,
    weight_files,
)
from ltx2.checkpoint.upsamplers import enlarging_of
from ltx2.errors import CheckpointError
from ltx2.geometry import Enlarging
from ltx2.model.text_files import TOKENIZERS, tokenizer_folder

_ENLARGED: Mapping[Enlarging, str] = {
    "space": "height and width, to twice as many pixels",
    "space-1.5": "height and width, to 1.5 times as many pixels",
    "time": "the frame rate, to twice as many pictures",
}

MODEL_KIND = "LTX-2 model"
LORA_KIND = "LoRA"
UPSAMPLER_KIND = "latent upsampler"
UNKNOWN_KIND = "unknown"
TEXT_ENCODER = "text encoder"
"""Lies in a folder or a file of its own."""


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
        kind: "LTX-2 model", "LoRA", "latent upsampler", "text encoder" or "unknown".
        version: of LTX-2, as its makers write it; None if it is none.
        size_bytes: of all files.
        companions: names of the files beside the main one that hold parts of it.
        fingerprint: over names and shapes of all tensors, as they are in full bits.
        digest: over the weights; None if it was not asked for.
        quantized: number of weights in fewer bits, by the way in which.
        details: what else is to know, in words.
        missing: names of components that a clip from text needs and this lacks.
        changed: names of components that differ in names or shapes from the published ones.
        licence: of the weights; None if unknown.
    """

    model: str
    kind: str
    version: str | None
    path: str
    size_bytes: int
    companions: tuple[str, ...]
    fingerprint: str
    digest: str | None
    quantized: Mapping[str, int]
    details: tuple[str, ...]
    components: tuple[ComponentDescription, ...]
    missing: tuple[str, ...]
    changed: tuple[str, ...]
    licence: str | None

    def to_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [
            f"{self.model} ({self.kind})",
            *([f"  architecture {self.version}"] if self.version else []),
            f"  file         {self.path}, {self.size_bytes / 1e6:,.1f} MB",
            *(f"  with         {name}" for name in self.companions),
            f"  fingerprint  {self.fingerprint}",
            *([f"  digest       {self.digest}"] if self.digest else []),
            f"  weights      {self.licence or 'licence unknown'}",
            *(
                f"  fewer bits   {count:,} weights as {way}"
                for way, count in self.quantized.items()
            ),
            *(f"  {detail}" for detail in self.details),
        ]
        for part in self.components:
            dtypes = ", ".join(f"{dtype} {count}" for dtype, count in sorted(part.dtypes.items()))
            lines.append(
                f"  {part.name:<20} {part.num_parameters:>16,} parameters in "
                f"{part.num_tensors:,} tensors ({dtypes})"
            )
        if self.missing:
            lines.append(f"  missing      {', '.join(self.missing)}")
        if self.changed:
            lines.append(f"  changed      {', '.join(self.changed)}")
        return "\n".join(lines)


def describe(path: str | Path, *, digest: bool = False) -> Description:
    """What a checkpoint file or a model folder holds, from headers alone.

    Args:
        path: of a file, an index or a folder.
        digest: reads samples of the weights too, which tell them from others.

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
    version = version_of(file) if kind == MODEL_KIND else None
    return Description(
        model=name_of(file),
        kind=kind,
        version=None if version is None else version.name,
        path=str(file.path),
        size_bytes=file.size_bytes,
        companions=tuple(path.name for path in file.companions),
        fingerprint=file.fingerprint,
        digest=file.digest if digest else None,
        quantized=dict(Counter(weight.kind for weight in file.quantized.values())),
        details=_details(kind, version, file),
        components=components,
        missing=tuple(n for n in needed if n not in found) if kind == MODEL_KIND else (),
        changed=tuple(component.name for component in changed_components(file)),
        licence=licence_of(file),
    )


def _details(kind: str, version: Version | None, file: CheckpointFile) -> tuple[str, ...]:
    """What is to know of a file beside its sizes."""
    if kind == LORA_KIND:
        shape = lora_shape({name: info.shape for name, info in file.tensors.items()})
        ranks = (
            f"{shape.ranks[0]} to {shape.ranks[-1]}"
            if len(shape.ranks) > 1
            else "".join(map(str, shape.ranks))
        )
        details = [
            f"kind         {', '.join(shape.kinds) or 'unknown'}",
            f"rank         {ranks or 'full'}",
            f"changes      {shape.num_video:,} layers of the picture, "
            f"{shape.num_audio:,} of the sound",
        ]
        details += ["left out     changes of the text's projection"] if shape.ignored else []
        details += [f"refused      for {shape.refused[:120]!r}"] if shape.refused else []
        return tuple(details)
    if kind == TEXT_ENCODER:
        return _details_of_text_encoder(file)
    if kind == UPSAMPLER_KIND:
        try:
            return (f"enlarges     {_ENLARGED[enlarging_of(file)]}",)
        except CheckpointError as error:
            return (f"refused      {error.message}",)
    if kind == UNKNOWN_KIND and (other := other_adapter(file.tensors)) is not None:
        return (f"refused      as {other}, which is another kind of change than a LoRA",)
    return () if version is None or version.can else (f"refused      {version.cannot[0]}",)


def _place_of(file: CheckpointFile) -> Path:
    """Where a text encoder lies: its file, or the folder of its pieces."""
    return file.path.parent if file.path.name.endswith(SHARDS_INDEX) else file.path


def _details_of_text_encoder(file: CheckpointFile) -> tuple[str, ...]:
    text = open_text_encoder(_place_of(file))
    layers, width = (text.config[key] for key in ("num_hidden_layers", "hidden_size"))
    if SPIECE in file.tensors:
        tokenizer = "inside"
    elif (folder := tokenizer_folder(_place_of(file))) is not None:
        tokenizer = f"in {folder}"
    else:
        tokenizer = f"missing: put {TOKENIZERS[0]} of Gemma 3 into a folder 'tokenizer' beside it"
    return (f"Gemma 3      {layers} layers of {width:,}", f"tokenizer    {tokenizer}")


def _contents(file: CheckpointFile) -> tuple[str, tuple[ComponentDescription, ...]]:
    if is_lora(file.tensors):  # some names begin as those of a model do
        return LORA_KIND, (ComponentDescription.of(LORA_KIND, file.tensors.values()),)
    owned = {part.name: part.own(file.tensors) for part in COMPONENTS}
    parts = [ComponentDescription.of(n, own.values()) for n, own in owned.items() if own]
    rest = len(file.tensors) - sum(part.num_tensors for part in parts)
    if parts and _is_ltx2(file):
        prefixes = tuple(part.prefix for part in COMPONENTS)
        others = [info for name, info in file.tensors.items() if not name.startswith(prefixes)]
        if rest:
            parts.append(ComponentDescription.of("other", others))
        return MODEL_KIND, tuple(parts)
    if is_text_encoder(file.tensors):
        return TEXT_ENCODER, _parts_of_text_encoder(file)
    kind = UNKNOWN_KIND
    if any(name.startswith("post_upsample_res_blocks.") for name in file.tensors):
        kind = UPSAMPLER_KIND
    return kind, (ComponentDescription.of(kind, file.tensors.values()),)


def _parts_of_text_encoder(file: CheckpointFile) -> tuple[ComponentDescription, ...]:
    """The text model, and what lies beside it that nothing here uses."""
    own = open_text_encoder(_place_of(file)).tensors
    rest = len(file.tensors) - len(own) - (SPIECE in file.tensors)
    others = [info for name, info in file.tensors.items() if name.startswith(_PICTURES)]
    parts = [ComponentDescription.of(TEXT_ENCODER, own.values())]
    return (*parts, ComponentDescription.of("picture encoder", others)) if rest else tuple(parts)


_PICTURES = ("vision_model.", "vision_tower.", "multi_modal_projector.", "model.vision_tower.")
"""Of the pictures that Gemma 3 reads as well."""


def _is_ltx2(file: CheckpointFile) -> bool:
    """Whether it is a model or a part of one; single files of other models have such names too."""
    statistics = ("vae.per_channel_statistics.", "audio_vae.per_channel_statistics.")
    others = (FEATURE_PROJECTION, VIDEO_CONNECTOR, AUDIO_CONNECTOR, VOCODER)
    own = (*statistics, *(component.prefix for component in others))
    is_part = any(name.startswith(own) for name in file.tensors)
    return is_part or version_of(file) is not None


def _text_encoder(folder: Path) -> ComponentDescription | None:
    if not weight_files(folder):
        return None
    return ComponentDescription.of(TEXT_ENCODER, open_text_encoder(folder).tensors.values())
