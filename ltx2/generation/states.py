"""States to begin a stage with: what is given becomes clean tokens, masks and added tokens."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ltx2.checkpoint.loader import Networks
from ltx2.diffusion.conditioning import (
    append_keyframe,
    append_reference,
    fit_image,
    hold,
    replace_frames,
)
from ltx2.diffusion.state import (
    Grid,
    Joint,
    LatentState,
    audio_positions,
    patchify_audio,
    patchify_video,
    video_positions,
)
from ltx2.errors import RequestError
from ltx2.generation.canvas import Canvas
from ltx2.generation.codec import encode_audio, encode_video
from ltx2.generation.given import Given, Shown
from ltx2.generation.stages import Stage
from ltx2.media.frames import from_uint8_frames

EDGE_S = 0.032
"""Seconds to each side that a spectrum of the sound looks; what is nearer to sound that is made
than this would hold a trace of silence."""


def initial_states(
    networks: Networks, grid: Grid, num_audio: int, *, frame_rate: float
) -> Joint[LatentState]:
    """Both modalities before noise, everything to be generated.

    Args:
        networks: whose latents they are.
        grid: latent frames, height and width.
        num_audio: latent audio frames.
        frame_rate: pictures per second.
    """
    video_vae, audio_vae = networks.video_vae, networks.audio_vae
    device = networks.transformer.patchify_proj.weight.device
    audio_width = audio_vae.latent_channels * audio_vae.latent_bins
    return Joint(
        LatentState.to_generate(
            torch.zeros(1, grid[0] * grid[1] * grid[2], video_vae.latent_channels, device=device),
            video_positions(grid, video_vae.compression, frame_rate).to(device),
        ),
        LatentState.to_generate(
            torch.zeros(1, num_audio, audio_width, device=device),
            audio_positions(num_audio).to(device),
        ),
    )


def begin(
    networks: Networks,
    states: Joint[LatentState],
    stage: Stage,
    given: Given,
    grid: Grid,
    before: Joint[Tensor] | None,
) -> Joint[LatentState]:
    """States of a stage before noise.

    Args:
        networks: whose latents they are.
        states: with everything to be generated; a modality without tokens stays so.
        stage: its size and frame rate.
        given: what the window is held to.
        grid: of the video.
        before: tokens of the stage before, upscaled; None in the first stage.
    """
    video, audio = states
    if before is not None:
        video = LatentState.to_generate(before.video, video.positions)
        audio = LatentState.to_generate(before.audio, audio.positions)
    if video.clean.shape[1]:
        video = _hold_pictures(networks, video, given.canvas, stage, grid)
        video = _show_keyframes(networks, video, given.keyframes, stage, grid)
        if before is None:  # the stages after the first one go without, as they were trained
            video = _follow(networks, video, given, stage)
    if audio.clean.shape[1]:
        audio = _hold_sound(networks, audio, given.canvas)
    return Joint(video, audio)


def _hold_pictures(
    networks: Networks, state: LatentState, canvas: Canvas, stage: Stage, grid: Grid
) -> LatentState:
    """State held to the canvas' pictures wherever all that a latent stands for is known."""
    is_free = _free_latents(canvas, stage, grid)  # [f, h, w]
    if is_free.all():
        return state
    step = networks.video_vae.compression.temporal
    known = np.flatnonzero(~is_free.flatten(1).all(dim=1).numpy())
    # The encoder never looks ahead, so what follows the last known latent can be left out.
    frames = canvas.frames[:: stage.slow][: known[-1] * step + 1]
    latents = encode_video(networks, _sized(from_uint8_frames(frames)[None], stage, state))
    tokens = patchify_video(latents)
    clean = state.clean.clone()
    clean[:, : tokens.shape[1]] = tokens
    return hold(state, clean, ~is_free.flatten().to(clean.device))


def _free_latents(canvas: Canvas, stage: Stage, grid: Grid) -> Tensor:
    """True [f, h, w] where anything that a latent stands for is free."""
    free = torch.from_numpy(canvas.free_video[:: stage.slow]).float()[None, None]
    if stage.slow > 1:
        # A picture that is left out in this stage is free with the one that stands for it.
        every = torch.from_numpy(canvas.free_video).float()[None, None]
        free = F.max_pool3d(every, (stage.slow, 1, 1), ceil_mode=True)[:, :, : free.shape[2]]
    cells = F.adaptive_max_pool3d(free, (free.shape[2], *grid[1:]))[0, 0]
    step = canvas.compression.temporal
    first, rest = cells[:1], cells[1:]
    groups = rest.reshape(grid[0] - 1, step, *grid[1:]).amax(dim=1)
    return torch.cat([first, groups]) > 0.0


def _hold_sound(networks: Networks, state: LatentState, canvas: Canvas) -> LatentState:
    if canvas.free_audio.all() or not len(canvas.free_audio):
        return state
    starts, ends = state.positions[0, 0].cpu().unbind(-1)
    edges = np.concatenate([[0], np.cumsum(canvas.free_audio)])
    last = len(canvas.free_audio)
    first = ((starts - EDGE_S) * canvas.sample_rate).round().long().clamp(0, last)
    stop = ((ends + EDGE_S) * canvas.sample_rate).round().long().clamp(0, last)
    is_known = torch.from_numpy(edges[stop.numpy()] == edges[first.numpy()])
    waveform = torch.from_numpy(np.array(canvas.waveform))[None]
    tokens = patchify_audio(encode_audio(networks, waveform, canvas.sample_rate))
    clean = state.clean.clone()
    count = min(tokens.shape[1], clean.shape[1])
    clean[:, :count] = tokens[:, :count]
    is_known[count:] &= not canvas.free_audio.any()
    if count:
        clean[:, count:] = clean[:, count - 1 : count]
    return hold(state, clean, is_known.to(clean.device))


def _show_keyframes(
    networks: Networks,
    state: LatentState,
    keyframes: tuple[Shown, ...],
    stage: Stage,
    grid: Grid,
) -> LatentState:
    """The first picture takes the place of the first latent; others are tokens of their own."""
    for shown in sorted(keyframes, key=lambda shown: shown.frame):
        frame = min(round(shown.frame / stage.slow), stage.num_frames - 1)
        picture = fit_image(
            torch.from_numpy(np.array(shown.picture)), height=stage.height, width=stage.width
        )
        latents = encode_video(networks, picture.to(state.clean))
        if frame == 0:
            state = replace_frames(state, latents, grid, index=0, strength=shown.strength)
        else:
            state = append_keyframe(
                state,
                latents,
                pixel_frame=frame,
                compression=networks.video_vae.compression,
                frame_rate=stage.frame_rate,
                strength=shown.strength,
            )
    return state


def _follow(networks: Networks, state: LatentState, given: Given, stage: Stage) -> LatentState:
    followed = given.reference
    if followed is None or not len(followed.frames):
        return state
    compression, factor = networks.video_vae.compression, followed.downscale
    multiple = compression.spatial * factor
    if stage.height % multiple or stage.width % multiple:
        raise RequestError(
            f"A reference {factor} times smaller than {stage.width} x {stage.height} pixels has "
            "no whole latents.",
            next_step=f"Make width and height multiples of {multiple}.",
        )
    frames = followed.frames[:: stage.slow]
    whole = (len(frames) - 1) // compression.temporal * compression.temporal + 1
    height, width = stage.height // factor, stage.width // factor
    pictures = [
        fit_image(torch.from_numpy(np.array(frame)), height=height, width=width)
        for frame in frames[:whole]
    ]
    latents = encode_video(networks, torch.cat(pictures, dim=2).to(state.clean))
    return append_reference(
        state,
        latents,
        compression=compression,
        frame_rate=stage.frame_rate,
        downscale_factor=factor,
        strength=followed.strength,
    )


def _sized(video: Tensor, stage: Stage, state: LatentState) -> Tensor:
    """Pictures [1, 3, F, H, W] at the size of a stage, by averaging."""
    # Each pixel of the stage averages `numerator` of `denominator` times as many.
    large, small = stage.shrink.numerator, stage.shrink.denominator
    video = video.to(state.clean).repeat_interleave(small, -2).repeat_interleave(small, -1)
    return F.avg_pool3d(video, (1, large, large))
