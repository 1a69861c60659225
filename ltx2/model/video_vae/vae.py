"""The video autoencoder: pictures to normalised latents and back."""

from collections.abc import Iterator
from itertools import product, zip_longest

import torch
from torch import Tensor, nn

from ltx2.model.latent_statistics import LatentStatistics
from ltx2.model.video_vae.config import VideoVAEConfig
from ltx2.model.video_vae.decoder import Decoder
from ltx2.model.video_vae.encoder import Encoder
from ltx2.model.video_vae.tiling import (
    Interval,
    TilePlan,
    TileSize,
    plan_tiles,
    spatial_mask,
    temporal_mask,
)

DECODE_NOISE_SCALE = 0.025
DECODE_TIMESTEP = 0.05

UNUSED_STATISTICS = ("mean-of-stds", "mean-of-stds_over_std-of-means", "channel")


class VideoVAE(nn.Module):
    """Autoencoder between pictures [B, 3, F, H, W] in -1..1 and latents [B, C, f, h, w].

    F is a multiple of the temporal compression plus 1, H and W multiples of the spatial one.
    Latents are normalised per channel everywhere outside this class.
    """

    def __init__(self, config: VideoVAEConfig) -> None:
        super().__init__()
        self.config = config
        self.compression = config.compression
        self.latent_channels = config.latent_channels
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.per_channel_statistics = LatentStatistics(
            config.latent_channels, unused=UNUSED_STATISTICS if config.unused_statistics else ()
        )

    def normalise(self, latents: Tensor) -> Tensor:
        """Raw latents [B, C, ...] with zero mean and unit spread per channel."""
        mean, std = self._statistics(latents)
        return (latents - mean) / std

    def denormalise(self, latents: Tensor) -> Tensor:
        """Inverse of `normalise`."""
        mean, std = self._statistics(latents)
        return latents * std + mean

    def encode_mean(self, video: Tensor) -> Tensor:
        """Raw latent means; frames beyond the last whole group are ignored."""
        temporal = self.compression.temporal
        whole = (video.shape[2] - 1) // temporal * temporal + 1
        return self.encoder(video[:, :, :whole])[:, : self.latent_channels]

    def encode(self, video: Tensor) -> Tensor:
        """Normalised latents of pictures."""
        return self.normalise(self.encode_mean(video))

    def decode(
        self, latents: Tensor, *, noise: Tensor | None = None, timestep: Tensor | None = None
    ) -> Tensor:
        """Pictures of normalised latents.

        Args:
            latents: [B, C, f, h, w]; h and w at least 2 where the decoder reflects borders.
            noise: standard normal, like `latents`; only for a timestep-conditioned decoder,
                which mixes a little of it in. Zeros when left out.
            timestep: [B] in 0..1, only for such a decoder; 0.05 when left out.
        """
        if not self.decoder.conditioned:
            return self.decoder(self.denormalise(latents))
        if timestep is None:
            timestep = torch.full((len(latents),), DECODE_TIMESTEP, device=latents.device)
        if noise is None:
            noise = torch.zeros_like(latents)
        noisy = noise * DECODE_NOISE_SCALE + latents * (1 - DECODE_NOISE_SCALE)
        return self.decoder(self.denormalise(noisy), timestep)

    def decode_tiled(
        self,
        latents: Tensor,
        *,
        spatial: TileSize | None,
        temporal: TileSize | None,
        noise: Tensor | None = None,
    ) -> Tensor:
        """Pictures of normalised latents, decoded tile by tile and blended.

        Sizes are in pixels and frames; `noise` is that of `decode`, for the whole clip.
        """
        pieces = self.stream_tiled(latents, spatial=spatial, temporal=temporal, noise=noise)
        return torch.cat(list(pieces), dim=2)

    def stream_tiled(
        self,
        latents: Tensor,
        *,
        spatial: TileSize | None,
        temporal: TileSize | None,
        noise: Tensor | None = None,
    ) -> Iterator[Tensor]:
        """The pictures of `decode_tiled` in pieces [B, 3, F', H, W], each once it is whole.

        Needs the memory of one temporal tile, whatever the clip's length.
        """
        plan = plan_tiles(
            (latents.shape[2], latents.shape[3], latents.shape[4]),
            self.compression,
            spatial=spatial,
            temporal=temporal,
        )
        scale = self.compression.temporal
        following = [time.start * scale for time in plan.time[1:]]
        waiting, weight = latents.new_zeros(0), latents.new_zeros(0)
        for time, next_start in zip_longest(plan.time, following):
            tile = self._decode_slice(latents, noise, time, plan)
            mask = temporal_mask(time, scale).to(tile)
            tile *= mask[:, None, None]
            if shared := len(weight):  # what the tile before left unfinished
                tile[:, :, :shared] += waiting
                mask[:shared] += weight
            whole = tile.shape[2] if next_start is None else next_start - time.start * scale
            yield tile[:, :, :whole] / mask[:whole, None, None].clamp_min(1e-8)
            waiting, weight = tile[:, :, whole:].clone(), mask[whole:]

    def _decode_slice(
        self, latents: Tensor, noise: Tensor | None, time: Interval, plan: TilePlan
    ) -> Tensor:
        """Pictures of one temporal tile, its spatial tiles blended."""
        scale = self.compression.spatial
        frames = (time.stop - time.start - 1) * self.compression.temporal + 1
        height, width = latents.shape[3] * scale, latents.shape[4] * scale
        video = latents.new_zeros(len(latents), 3, frames, height, width)
        weight = latents.new_zeros(height, width)
        for row, column in product(plan.height, plan.width):
            voxels = (
                ...,
                slice(time.start, time.stop),
                slice(row.start, row.stop),
                slice(column.start, column.stop),
            )
            tile = self.decode(latents[voxels], noise=None if noise is None else noise[voxels])
            if len(plan.height) * len(plan.width) == 1:
                return tile.clone()
            mask = (spatial_mask(row, scale)[:, None] * spatial_mask(column, scale)).to(tile)
            region = (
                slice(row.start * scale, row.stop * scale),
                slice(column.start * scale, column.stop * scale),
            )
            video[..., *region] += tile * mask
            weight[region] += mask
        return video / weight.clamp_min(1e-8)

    def encode_tiled(self, video: Tensor, *, spatial: TileSize, temporal: TileSize) -> Tensor:
        """Normalised latents of pictures, encoded tile by tile; sizes in pixels and frames.

        Tiles overlap and give up what lies at their inner edges, where they lack surroundings:
        one latent in space, all of the overlap in time, where the first latent of a tile stands
        for a single picture.
        """
        scale_t, scale = self.compression.temporal, self.compression.spatial
        whole = self.compression.latent_grid(video.shape[2], video.shape[3], video.shape[4])
        plan = plan_tiles(whole, self.compression, spatial=spatial, temporal=temporal)
        latents = video.new_empty(len(video), self.latent_channels, *whole)
        for time, row, column in product(plan.time, plan.height, plan.width):
            pixels = (
                ...,
                slice(time.start * scale_t, (time.stop - 1) * scale_t + 1),
                slice(row.start * scale, row.stop * scale),
                slice(column.start * scale, column.stop * scale),
            )
            # Overwriting in order, a tile's own edge is what the tile before it has better.
            skip = (time.left_ramp, min(1, row.left_ramp), min(1, column.left_ramp))
            voxels = (
                ...,
                slice(time.start + skip[0], time.stop),
                slice(row.start + skip[1], row.stop),
                slice(column.start + skip[2], column.stop),
            )
            tile = self.encode(video[pixels])
            latents[voxels] = tile[..., skip[0] :, skip[1] :, skip[2] :]
        return latents

    def _statistics(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        shape = (1, -1) + (1,) * (latents.ndim - 2)
        statistics = self.per_channel_statistics
        return statistics.mean.to(latents).view(shape), statistics.std.to(latents).view(shape)
