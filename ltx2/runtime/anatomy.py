"""Sizes of a model's networks, read from headers without PyTorch: its memory follows from them."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ltx2.checkpoint.catalog import FoundModel
from ltx2.checkpoint.components import AUDIO_VAE, COMPONENTS, TEXT_ENCODER, TRANSFORMER, VOCODER
from ltx2.checkpoint.quantized import is_quantizable, kept_bytes
from ltx2.checkpoint.reader import CheckpointFile, TensorInfo
from ltx2.checkpoint.text_encoders import open_text_encoder
from ltx2.errors import CheckpointError
from ltx2.geometry import AUDIO_LATENTS_PER_SECOND, VideoCompression, num_audio_latents
from ltx2.model.config import TransformerConfig
from ltx2.runtime.small import SMALL_MODEL_PARAMETERS, usual_dtype
from ltx2.runtime.visitors import visit_of, visits

ITEM_SIZE = {"float32": 4, "bfloat16": 2, "float16": 2}
"""Bytes of a number."""

TILE_PIXELS, TILE_FRAMES = 512, 64
"""As the pipeline decodes: clips beyond this in tiles."""

# What is in memory at once where a network needs the most, measured on a CPU.
TOKEN_COPIES, TOKEN_BYTES = 12, 24
"""For each channel of a video token: numbers of the type (the stream before and after, four inside
the feed-forward network before GELU and four after, queries and keys), and bytes of float32 (tables
of turns, pairs that are turned)."""
SCORES = 2**20
"""Of attention on CPUs, `ltx2.model.matrix_attention.BLOCK_ENTRIES`, which would load PyTorch."""
CONVOLUTION_COPIES = 3
"""Feature maps of a residual block, what it is given and what is between its convolutions, and room
for the stretch that one of them reads, lays out anew and answers."""
PICTURE_BYTES = 14
"""For each colour of a pixel on its way to 8 bits, beside the decoder's own number."""


@dataclass(frozen=True)
class Stage:
    """Residual blocks of the video decoder.

    Attributes:
        channels: of a feature.
        temporal, spatial: features for one latent voxel, in time and in each side.
    """

    channels: int
    temporal: int
    spatial: int


@dataclass(frozen=True)
class Visits:
    """Sizes of what is on the device only while it is needed, where there is no room for all.

    Attributes:
        num_values: weights of all that visits.
        blocks: those of them that are in blocks of the transformer.
        block: weights of the largest block, of which two are there at once.
        network: weights of the largest other visitor, which comes alone.
        text: weights of the text encoder that are there at most: two layers, or the embedding.
    """

    num_values: int
    blocks: int
    block: int
    network: int
    text: int


@dataclass(frozen=True)
class Anatomy:
    """Sizes of a model's networks.

    Attributes:
        num_values: weights that are computed in the chosen type.
        num_sound_values: weights that are always float32.
        num_text_values: weights of the text encoder.
        dtype: the chosen type, one of `ITEM_SIZE`.
        transformer: its widths.
        compression: of the video autoencoder.
        stages: of its decoder.
        visits: how it runs in less memory than its weights take; None if it cannot.
        block_item: bytes of a weight in the transformer's blocks, where they are quantised.
        in_8_bits: the same model with its large weights in 8 bits; None if they are already.

    A weight in fewer bits counts as so many numbers of the type as take its bytes.
    """

    num_values: int
    num_sound_values: int
    num_text_values: int
    dtype: str
    transformer: TransformerConfig
    num_transformer_values: int
    compression: VideoCompression
    stages: tuple[Stage, ...]
    visits: Visits | None = None
    block_item: float | None = None
    in_8_bits: "Anatomy | None" = None

    @property
    def weights(self) -> int:
        """Bytes of everything but the text encoder."""
        return self._sized(self.num_values, self._num_in_blocks) + 4 * self.num_sound_values

    @property
    def visiting(self) -> int:
        """Bytes of all that visits the device where there is no room for it."""
        return 0 if self.visits is None else self._sized(self.visits.num_values, self.visits.blocks)

    @property
    def visiting_blocks(self) -> int:
        """Bytes of the blocks that are there at once."""
        return 0 if self.visits is None else 2 * self._sized(self.visits.block, self.visits.block)

    @property
    def visiting_network(self) -> int:
        """Bytes of the largest other visitor."""
        return 0 if self.visits is None else ITEM_SIZE[self.dtype] * self.visits.network

    @property
    def visiting_text(self) -> int:
        """Bytes of the text encoder that are there at most."""
        return 0 if self.visits is None else ITEM_SIZE[self.dtype] * self.visits.text

    @property
    def _num_in_blocks(self) -> int:
        return 0 if self.visits is None else self.visits.blocks

    def _sized(self, num_values: int, in_blocks: int) -> int:
        item = ITEM_SIZE[self.dtype]
        of_block = item if self.block_item is None else self.block_item
        return item * (num_values - in_blocks) + round(of_block * in_blocks)

    @property
    def text_encoder(self) -> int:
        """Bytes of the text encoder."""
        return ITEM_SIZE[self.dtype] * self.num_text_values

    @property
    def keeps_text_encoder(self) -> bool:
        """Whether it stays in memory; that of a large model leaves before denoising."""
        return self.num_transformer_values < SMALL_MODEL_PARAMETERS

    @property
    def resident(self) -> int:
        """Bytes that stay in memory between clips."""
        return self.weights + (self.text_encoder if self.keeps_text_encoder else 0)

    def denoising(self, num_frames: int, height: int, width: int, frame_rate: float) -> int:
        """Most bytes that one pass of the transformer takes beside its weights."""
        item = ITEM_SIZE[self.dtype]
        video, audio = self.transformer.video.dim, self.transformer.audio.dim
        num_video = math.prod(self.compression.latent_grid(num_frames, height, width))
        num_audio = num_audio_latents(num_frames, frame_rate, AUDIO_LATENTS_PER_SECOND)
        num_channels = num_video * video + num_audio * audio
        return num_channels * (TOKEN_COPIES * item + TOKEN_BYTES) + SCORES * item

    def decoding(self, num_frames: int, height: int, width: int) -> int:
        """Most bytes that decoding the pictures takes beside the weights and the clip.

        A large clip is decoded in stretches of time, each put together of tiles.
        """
        item = ITEM_SIZE[self.dtype]
        frames, rows, columns = self.compression.latent_grid(num_frames, height, width)
        longer, side = max(rows, columns), TILE_PIXELS // self.compression.spatial
        deep = TILE_FRAMES // self.compression.temporal
        if frames * rows * columns > deep * side**2:
            frames = min(frames, deep + 1)
            num_frames = min(num_frames, frames * self.compression.temporal)
            if longer > side:
                rows, columns = (max(2, round(side * n / longer)) for n in (rows, columns))
        features = max(
            stage.channels * frames * stage.temporal * rows * columns * stage.spatial**2
            for stage in self.stages
        )
        colours = 3 * num_frames * height * width
        # A stretch is put together while its last tile is decoded, and turned to 8 bits after.
        return colours * item + max(CONVOLUTION_COPIES * features * item, colours * PICTURE_BYTES)


def anatomy_of(found: FoundModel, *, dtype: str, quantization: str = "none") -> Anatomy | None:
    """Sizes of a model that is computed in a type; None if its headers do not tell them.

    Args:
        found: the model.
        dtype: as settings say it; "auto" chooses as loading does.
        quantization: likewise.
    """
    tensors = found.file.tensors
    num_transformer = sum(info.num_elements for info in TRANSFORMER.own(tensors).values())
    if dtype == "auto":
        dtype = usual_dtype(sum(info.num_elements for info in tensors.values()))
    in_8_bits = quantization != "none"
    try:
        kept = _as_kept(found.file, ITEM_SIZE[dtype], in_8_bits=in_8_bits)
        text: Mapping[str, TensorInfo] = {}
        if found.text_encoder is not None:
            text_file = open_text_encoder(found.text_encoder)
            text = _as_kept(text_file, ITEM_SIZE[dtype], in_8_bits=in_8_bits)
        narrow = None if in_8_bits else anatomy_of(found, dtype=dtype, quantization="int8")
        sizes = measure_anatomy(kept, found.file.config, text.items(), dtype=dtype)
        return replace(sizes, num_transformer_values=num_transformer, in_8_bits=narrow)
    except (CheckpointError, LookupError, TypeError, ValueError):
        return None  # loading says what is wrong with it


def measure_anatomy(
    tensors: Mapping[str, TensorInfo],
    config: Mapping[str, Any],
    text: Iterable[tuple[str, TensorInfo]],
    *,
    dtype: str,
) -> Anatomy:
    """Sizes of a model.

    Args:
        tensors: of the official single file, by name.
        config: its architecture, as the metadata state it.
        text: names and sizes of the text encoder's tensors.
        dtype: as settings say it.

    Raises:
        CheckpointError: the configuration asks for something not implemented; LookupError,
            TypeError or ValueError: it says nonsense.
    """
    text = list(text)
    num_sound = sum(
        info.num_elements for part in (AUDIO_VAE, VOCODER) for info in part.own(tensors).values()
    )
    num_all = sum(info.num_elements for info in tensors.values())
    if dtype == "auto":
        dtype = usual_dtype(num_all)
    return Anatomy(
        num_values=num_all - num_sound,
        num_sound_values=num_sound,
        num_text_values=sum(info.num_elements for _, info in text),
        dtype=dtype,
        transformer=TransformerConfig.from_metadata(config),
        num_transformer_values=sum(info.num_elements for info in TRANSFORMER.own(tensors).values()),
        **_decoder(config["vae"]),
        visits=_visits(tensors, text),
    )


def _as_kept(file: CheckpointFile, item_size: int, *, in_8_bits: bool) -> Mapping[str, TensorInfo]:
    """Tensors as if each were a list of as many numbers of the type as its bytes take."""
    kept = {}
    blocks = {
        component.prefix + own
        for component in (TRANSFORMER, TEXT_ENCODER)
        for own in component.own(file.tensors)
    }
    for name, info in file.tensors.items():
        stored = None
        if name in file.quantized:
            places = [file.stored[part] for part in file.quantized[name].names.values()]
            extents = [part.extents[own] for part, own in places]
            stored = sum(stop - start for start, stop in extents)
        narrow = in_8_bits and name in blocks and is_quantizable(name)
        size = kept_bytes(info, item_size=item_size, stored_bytes=stored, in_8_bits=narrow)
        kept[name] = replace(info, shape=(math.ceil(size / item_size),))
    return kept


def _visits(tensors: Mapping[str, TensorInfo], of_text: Iterable[tuple[str, TensorInfo]]) -> Visits:
    blocks: Counter[str] = Counter()
    networks: Counter[str] = Counter()
    for component in COMPONENTS:
        sizes = blocks if component is TRANSFORMER else networks
        for name, info in component.own(tensors).items():
            if visits(component, name):
                sizes[visit_of(component, name)] += info.num_elements
    text: Counter[str] = Counter()
    for name, info in of_text:
        layer = re.search(r"layers\.\d+\.", name)
        text[name if layer is None else layer[0]] += info.num_elements * (1 + (layer is not None))
    return Visits(
        num_values=blocks.total() + networks.total(),
        blocks=blocks.total(),
        block=max(blocks.values(), default=0),
        network=max(networks.values(), default=0),
        text=max(text.values(), default=0),
    )


def _decoder(section: Mapping[str, Any]) -> dict[str, Any]:
    """Compression and stages, from the section `vae` that lists them from picture to latents."""
    patch = int(section["patch_size"])
    channels = int(section.get("decoder_base_channels", section["latent_channels"]))
    levels = [(channels, 1, 1)]  # channels, and by how much smaller than the patched picture
    for name, options in section["decoder_blocks"]:
        if not name.startswith("compress_"):
            continue
        channels, time, space = levels[-1]
        multiplier = int(options.get("multiplier", 2)) if isinstance(options, Mapping) else 2
        halves_time, halves_space = "space" not in name, "time" not in name
        levels.append((channels * multiplier, time << halves_time, space << halves_space))
    _, temporal, spatial = levels[-1]
    return {
        "compression": VideoCompression(temporal, spatial * patch),
        "stages": tuple(Stage(c, temporal // t, spatial // s) for c, t, s in levels),
    }
