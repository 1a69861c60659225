"""Sizes of a model's networks, read from headers without PyTorch: its memory follows from them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ltx2.checkpoint.catalog import FoundModel
from ltx2.checkpoint.layouts import AUDIO_VAE, TRANSFORMER, VOCODER
from ltx2.checkpoint.reader import Part
from ltx2.errors import CheckpointError
from ltx2.geometry import AUDIO_LATENTS_PER_SECOND, VideoCompression, num_audio_latents
from ltx2.model.config import TransformerConfig
from ltx2.runtime.small import SMALL_MODEL_PARAMETERS, usual_dtype

ITEM_SIZE = {"float32": 4, "bfloat16": 2, "float16": 2}
"""Bytes of a number."""

TILE_PIXELS, TILE_FRAMES = 512, 64
"""As the pipeline decodes: clips beyond this in tiles."""

# What is in memory at once where a network needs the most, measured on a CPU.
TOKEN_COPIES, TOKEN_BYTES = 12, 24
"""For each channel of a video token: numbers of the type (the stream before and after, four inside
the feed-forward network before GELU and four after, queries and keys), and bytes of float32 (tables
of turns, pairs that are turned)."""
CONVOLUTION_COPIES = 10
"""Feature maps of a residual block: input, hidden, normalised, padded, result, and what the
convolution lays out anew."""
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
    """

    num_values: int
    num_sound_values: int
    num_text_values: int
    dtype: str
    transformer: TransformerConfig
    num_transformer_values: int
    compression: VideoCompression
    stages: tuple[Stage, ...]

    @property
    def weights(self) -> int:
        """Bytes of everything but the text encoder."""
        return ITEM_SIZE[self.dtype] * self.num_values + 4 * self.num_sound_values

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
        return num_channels * (TOKEN_COPIES * item + TOKEN_BYTES)

    def decoding(self, num_frames: int, height: int, width: int) -> int:
        """Most bytes that decoding the pictures takes beside the weights."""
        item = ITEM_SIZE[self.dtype]
        frames, rows, columns = self.compression.latent_grid(num_frames, height, width)
        longer, side = max(rows, columns), TILE_PIXELS // self.compression.spatial
        deep = TILE_FRAMES // self.compression.temporal
        if frames * rows * columns > deep * side**2:
            frames = min(frames, deep + 1)
            if longer > side:
                rows, columns = (max(2, round(side * n / longer)) for n in (rows, columns))
        features = max(
            stage.channels * frames * stage.temporal * rows * columns * stage.spatial**2
            for stage in self.stages
        )
        colours = 3 * num_frames * height * width
        # The whole clip is put together while the last tile is decoded, and turned to 8 bits after.
        return colours * item + max(CONVOLUTION_COPIES * features * item, colours * PICTURE_BYTES)


def anatomy_of(found: FoundModel, *, dtype: str) -> Anatomy | None:
    """Sizes of a model that is computed in a type; None if its headers do not tell them.

    Args:
        found: the model.
        dtype: as settings say it; "auto" chooses as loading does.
    """
    tensors = found.file.tensors
    num_sound = sum(
        info.num_elements for part in (AUDIO_VAE, VOCODER) for info in part.own(tensors).values()
    )
    num_all = sum(info.num_elements for info in tensors.values())
    if dtype == "auto":
        dtype = usual_dtype(num_all)
    try:
        return Anatomy(
            num_values=num_all - num_sound,
            num_sound_values=num_sound,
            num_text_values=_num_values(found.text_encoder),
            dtype=dtype,
            transformer=TransformerConfig.from_metadata(found.file.config),
            num_transformer_values=sum(
                info.num_elements for info in TRANSFORMER.own(tensors).values()
            ),
            **_decoder(found.file.config["vae"]),
        )
    except (CheckpointError, LookupError, TypeError, ValueError):
        return None  # loading says what is wrong with it


def _num_values(folder: Path | None) -> int:
    if folder is None:
        return 0
    files = sorted(folder.glob("*.safetensors"))
    return sum(info.num_elements for file in files for info in Part.open(file).tensors.values())


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
