"""Given pictures as data in the state: tokens that stay, or tokens that are added."""

import math
from dataclasses import replace

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from ltx2.diffusion.state import Grid, LatentState, patchify_video, video_positions
from ltx2.geometry import VideoCompression


def replace_frames(
    state: LatentState, latents: Tensor, grid: Grid, *, index: int, strength: float = 1.0
) -> LatentState:
    """State in which the latent frames from `index` on are held to `latents`.

    Args:
        state: of a video with the latent size `grid`, before noise is added.
        latents: [B, C, f, h, w] of the same height and width.
        grid: latent frames, height and width.
        index: latent frame, counted from 0.
        strength: 1 keeps them exactly, 0 leaves them free.
    """
    tokens = patchify_video(latents).to(state.clean)
    first = index * grid[1] * grid[2]
    where = slice(first, first + tokens.shape[1])
    clean, denoise_mask = state.clean.clone(), state.denoise_mask.clone()
    clean[:, where] = tokens
    denoise_mask[:, where] = 1.0 - strength
    return replace(state, tokens=clean, clean=clean, denoise_mask=denoise_mask)


def hold(state: LatentState, clean: Tensor, is_kept: Tensor) -> LatentState:
    """State held to clean tokens [B, T, C] wherever `is_kept` [T] is true.

    Where it is not, the state's own clean tokens stay.
    """
    kept = is_kept[:, None]
    clean = torch.where(kept, clean, state.clean)
    mask = state.denoise_mask.masked_fill(kept, 0.0)
    return replace(state, tokens=clean, clean=clean, denoise_mask=mask)


def append_reference(
    state: LatentState,
    latents: Tensor,
    *,
    compression: VideoCompression,
    frame_rate: float,
    downscale_factor: int,
    strength: float = 1.0,
) -> LatentState:
    """State with the clean tokens of another video that starts at the same time.

    Args:
        state: of a video, before noise is added.
        latents: [B, C, f, h, w] of the reference.
        compression: pixels per latent voxel.
        frame_rate: pictures per second.
        downscale_factor: how much larger the clip is; the reference's positions are stretched
            by it so that the two cover the same area.
        strength: 1 keeps them exactly, 0 leaves them free.
    """
    grid = (latents.shape[2], latents.shape[3], latents.shape[4])
    positions = video_positions(grid, compression, frame_rate)
    positions[:, 1:] *= downscale_factor
    return _appended(state, latents, positions, strength)


def append_keyframe(
    state: LatentState,
    latents: Tensor,
    *,
    pixel_frame: int,
    compression: VideoCompression,
    frame_rate: float,
    strength: float = 1.0,
) -> LatentState:
    """State with extra tokens that show a moment of the clip without being part of it.

    Args:
        state: of a video, before noise is added.
        latents: [B, C, f, h, w]; a single frame spans one picture, more span what they encode.
        pixel_frame: picture of the clip that the first of them shows, counted from 0.
        compression: pixels per latent voxel.
        frame_rate: pictures per second.
        strength: 1 keeps them exactly, 0 leaves them free.
    """
    grid = (latents.shape[2], latents.shape[3], latents.shape[4])
    # Only at the start of a clip does a latent frame stand for a single picture.
    positions = video_positions(grid, compression, frame_rate, causal=pixel_frame == 0)
    positions[:, 0] += pixel_frame / frame_rate
    if grid[0] == 1:
        positions[:, 0, :, 1] = positions[:, 0, :, 0] + 1 / frame_rate
    return _appended(state, latents, positions, strength)


def fit_image(image: Tensor, *, height: int, width: int) -> Tensor:
    """Video [1, 3, 1, H, W] in -1..1 of one picture, scaled to fill the size and cut centrally.

    Args:
        image: uint8 RGB [H', W', 3] of any size.
        height: wanted, in pixels.
        width: wanted, in pixels.
    """
    pixels = rearrange(image, "h w c -> 1 c h w").float()
    scale = max(height / pixels.shape[2], width / pixels.shape[3])
    filled = [math.ceil(side * scale) for side in pixels.shape[2:]]
    pixels = F.interpolate(pixels, size=filled, mode="bilinear", align_corners=False)
    top, left = (filled[0] - height) // 2, (filled[1] - width) // 2
    pixels = pixels[:, :, top : top + height, left : left + width]
    return rearrange(pixels / 127.5 - 1.0, "1 c h w -> 1 c 1 h w")


def _appended(
    state: LatentState, latents: Tensor, positions: Tensor, strength: float
) -> LatentState:
    tokens = patchify_video(latents).to(state.clean)
    mask = torch.full_like(tokens[..., :1], 1.0 - strength)
    return LatentState(
        tokens=torch.cat([state.tokens, tokens], dim=1),
        clean=torch.cat([state.clean, tokens], dim=1),
        denoise_mask=torch.cat([state.denoise_mask, mask], dim=1),
        positions=torch.cat([state.positions, positions.to(state.positions)], dim=2),
    )
