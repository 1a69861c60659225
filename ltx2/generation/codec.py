"""Pictures and sound to latents and back, in tiles where they are large."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ltx2.checkpoint.loader import Networks
from ltx2.errors import GenerationError
from ltx2.media.frames import to_uint8_frames
from ltx2.model.audio_vae.mel import MelSpectrogram
from ltx2.model.video_vae import TileSize

SPATIAL_TILE, TEMPORAL_TILE = TileSize(512, 64), TileSize(64, 24)
"""Tiles of the released pipelines, in pixels and frames; what is no larger is decoded whole."""

ENCODE_TEMPORAL_TILE = TileSize(64, 16)


def decode_video(
    networks: Networks, latents: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """Video [B, 3, F, H, W] in about -1..1 of normalised latents.

    Args:
        networks: whose latents they are.
        latents: [B, C, f, h, w]; a clip of more voxels than one tile is decoded in tiles.
        generator: of the CPU; draws the noise that a timestep-conditioned decoder mixes in, which
            is zero without it. Other decoders draw none.
    """
    return torch.cat(list(stream_video(networks, latents, generator)), dim=2)


def stream_video(
    networks: Networks, latents: Tensor, generator: torch.Generator | None = None
) -> Iterator[Tensor]:
    """The video of `decode_video` in pieces [B, 3, F', H, W], in order.

    Beside a piece only the memory of one temporal tile is taken.
    """
    vae = networks.video_vae
    latents = latents.to(vae.per_channel_statistics.mean.dtype)
    noise = None
    if vae.config.timestep_conditioning and generator is not None:
        noise = torch.randn(latents.shape, generator=generator).to(latents)
    compression = vae.compression
    frames = TEMPORAL_TILE.size // compression.temporal
    side = SPATIAL_TILE.size // compression.spatial
    if latents[0, 0].numel() <= frames * side**2:
        yield vae.decode(latents, noise=noise)
        return
    yield from vae.stream_tiled(latents, spatial=SPATIAL_TILE, temporal=TEMPORAL_TILE, noise=noise)


def decode_frames(
    networks: Networks, latents: Tensor, generator: torch.Generator | None = None
) -> np.ndarray:
    """Pictures uint8 [F, H, W, 3] of normalised latents [1, C, f, h, w].

    Raises:
        GenerationError: they are not finite.
    """
    compression = networks.video_vae.compression
    _, _, frames, height, width = latents.shape
    shape = ((frames - 1) * compression.temporal + 1, height * compression.spatial)
    pictures = np.empty((*shape, width * compression.spatial, 3), np.uint8)
    start = 0
    for piece in stream_video(networks, latents, generator):
        count = piece.shape[2]
        pictures[start : start + count] = to_uint8_frames(finite(piece)[0])
        start += count
    return pictures


def encode_video(networks: Networks, video: Tensor) -> Tensor:
    """Normalised latents [1, C, f, h, w] of pictures [1, 3, F, H, W] in -1..1, float32."""
    vae = networks.video_vae
    video = video.to(vae.per_channel_statistics.mean)
    if video[0, 0].numel() <= TEMPORAL_TILE.size * SPATIAL_TILE.size**2:
        return vae.encode(video).float()
    tiled = vae.encode_tiled(video, spatial=SPATIAL_TILE, temporal=ENCODE_TEMPORAL_TILE)
    return tiled.float()


def decode_audio(networks: Networks, latents: Tensor) -> Tensor:
    """Waveform [B, 2, S] in -1..1 of normalised latents."""
    # 10 bits of mantissa, which CUDA would round to, are audible.
    with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        waveform: Tensor = networks.vocoder(networks.audio_vae.decode(latents.float()))
    return waveform


def encode_audio(networks: Networks, waveform: Tensor, sample_rate: int) -> Tensor:
    """Normalised latents [1, C, l, m], float32, of stereo sound [1, 2, S] in -1..1."""
    vae = networks.audio_vae
    device = vae.per_channel_statistics.mean.device
    mel = MelSpectrogram(vae.config).to(device)
    with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        latents: Tensor = vae.encode(mel(waveform.to(device), sample_rate))
    return latents


def finite(decoded: Tensor) -> Tensor:
    """The same, if it is numbers.

    Raises:
        GenerationError: some are not finite.
    """
    if not decoded.isfinite().all():
        raise GenerationError(
            "The decoded clip holds values that are not finite.",
            next_step="Load the model with dtype float32 or bfloat16.",
        )
    return decoded
