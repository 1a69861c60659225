"""The clip as far as it is known: what is given is drawn first, what is made is added to it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from ltx2.clip import Clip
from ltx2.conditions import Source
from ltx2.diffusion.conditioning import fit_image
from ltx2.geometry import VideoCompression, num_samples
from ltx2.inputs import Inputs
from ltx2.model.audio_vae.mel import resample
from ltx2.request import ModelProfile, Request
from ltx2.timeline import Part

BLEND_FRAMES = 4
"""Pictures beside what was made in which it fades into what is given."""

BLEND_S = 0.02
"""The same for sound, in seconds."""


@dataclass
class Canvas:
    """Pictures and sound of a clip in which some is known and the rest is to be made.

    Attributes:
        frames: uint8 [F, H, W, 3]; where nothing is known they repeat the nearest known picture.
        free_video: bool [F, h, w], True where pixels of a latent's size are to be made.
        waveform: float32 [2, S], silent where nothing is known.
        free_audio: bool [S], True where sound is to be made.
        compression: pixels and frames per latent.
    """

    frames: np.ndarray
    free_video: np.ndarray
    waveform: np.ndarray
    free_audio: np.ndarray
    frame_rate: float
    sample_rate: int
    compression: VideoCompression

    @property
    def free_latents(self) -> list[bool]:
        """Of every latent frame whether any of its picture or sound is to be made."""
        per_frame = np.asarray(self.free_video.any(axis=(1, 2)))
        step = self.compression.temporal
        free = []
        for index in range((len(self.frames) - 1) // step + 1):
            first, stop = max(0, (index - 1) * step + 1), index * step + 1
            samples = self._samples(first, stop)
            free.append(bool(per_frame[first:stop].any() or self.free_audio[samples].any()))
        return free

    def window(self, start: int, stop: int) -> "Canvas":
        """Frames [start, stop) with their sound, sharing the memory of this canvas."""
        frames, samples = slice(start, stop), self._samples(start, stop)
        return Canvas(
            self.frames[frames],
            self.free_video[frames],
            self.waveform[:, samples],
            self.free_audio[samples],
            self.frame_rate,
            self.sample_rate,
            self.compression,
        )

    def add(self, made: Clip) -> None:
        """What was made of this window takes its place, and from now on is known.

        What is given stays as it is, but for a short way beside what was made.
        """
        if len(made.frames):
            self._add_pictures(made.frames)
        self._add_sound(made)

    def _add_pictures(self, made: np.ndarray) -> None:
        if self.free_video.all():
            self.frames[:] = made
        elif self.free_video.any():
            size = self.frames.shape[1:3]
            for index, share in enumerate(_faded(self._free_groups(), BLEND_FRAMES)):
                if not share.any():
                    continue
                mask = _enlarged(share, size)[..., None]
                known = self.frames[index].astype(np.float32)
                mixed = known + mask * (made[index].astype(np.float32) - known)
                self.frames[index] = mixed.round().astype(np.uint8)
        self.free_video[:] = False

    def _free_groups(self) -> np.ndarray:
        """Float [F, h, w]: 1 for the whole of every latent in which something is free."""
        step = self.compression.temporal
        grouped = self.free_video.astype(np.float32)
        for first in range(1, len(grouped), step):
            grouped[first : first + step] = grouped[first : first + step].max(axis=0)
        return grouped

    def _add_sound(self, made: Clip) -> None:
        if self.free_audio.any() and made.waveform.shape[1]:
            sound = torch.from_numpy(made.waveform)
            if made.sample_rate != self.sample_rate:
                sound = resample(sound, made.sample_rate, self.sample_rate)
            fitted = _fit(sound.numpy(), self.waveform.shape[1])
            if self.free_audio.all():
                self.waveform[:] = fitted
            else:
                share = self.free_audio.astype(np.float32)
                share = _faded(share[:, None], round(BLEND_S * self.sample_rate))[:, 0]
                self.waveform += share * (fitted - self.waveform)
        self.free_audio[:] = False

    def _samples(self, start: int, stop: int) -> slice:
        return slice(
            num_samples(start, self.frame_rate, self.sample_rate),
            min(num_samples(stop, self.frame_rate, self.sample_rate), self.waveform.shape[1]),
        )


def draw_canvas(
    request: Request,
    profile: ModelProfile,
    inputs: Inputs,
    *,
    compression: VideoCompression,
    sample_rate: int,
) -> Canvas:
    """The canvas of a resolved request, with what its sources give.

    Args:
        request: the clip.
        profile: of the model.
        inputs: where the sources are.
        compression: of the video autoencoder.
        sample_rate: of the model's own sound; the canvas has the highest of all rates, so that
            given sound is kept as it is.

    Raises:
        RequestError: a source is not there.
        MediaError: a source cannot be read.
    """
    assert request.num_frames is not None
    assert request.frame_rate is not None
    assert request.height is not None
    assert request.width is not None
    clips = [inputs.read(source.file) for source in request.sources]
    rates = [
        clip.sample_rate
        for clip, source in zip(clips, request.sources, strict=True)
        if source.gives_audio
    ]
    sample_rate = max([sample_rate, *rates])
    is_silent = request.makes == "video" and not rates
    length = 0 if is_silent else num_samples(request.num_frames, request.frame_rate, sample_rate)
    cells = (request.height // compression.spatial, request.width // compression.spatial)
    free = request.free_parts(profile)
    canvas = Canvas(
        np.zeros((request.num_frames, request.height, request.width, 3), np.uint8),
        np.zeros((request.num_frames, *cells), bool),
        np.zeros((2, length), np.float32),
        _marked(length, free.audio, sample_rate, round_up=False),
        request.frame_rate,
        sample_rate,
        compression,
    )
    canvas.free_video[_marked(request.num_frames, free.video, request.frame_rate)] = True
    known = np.zeros(request.num_frames, bool)
    for source, clip in zip(request.sources, clips, strict=True):
        if source.gives_video:
            known |= _draw_pictures(canvas, source, clip)
            if source.mask is not None:
                _keep_black(canvas, source, inputs.read(source.mask).frames[0])
        if source.gives_audio:
            _draw_sound(canvas, source, clip)
    if known.any():
        nearest = _nearest(known)
        canvas.frames[~known] = canvas.frames[nearest[~known]]
    return canvas


def _draw_pictures(canvas: Canvas, source: Source, clip: Clip) -> np.ndarray:
    """Draws a source's pictures; True [F] where there are some."""
    times = (np.arange(len(canvas.frames)) + 0.5) / canvas.frame_rate - source.at_s
    index = np.floor(times * clip.frame_rate).astype(int)
    # Half a picture may be missing at its end, and the end of the clip is less than a latent away.
    rest = canvas.compression.temporal
    covered = (index >= 0) & (index < len(clip.frames))
    if covered.any() and len(covered) - 1 - np.flatnonzero(covered)[-1] < rest:
        covered[np.flatnonzero(covered)[-1] :] = True
    height, width = canvas.frames.shape[1:3]
    for frame in np.flatnonzero(covered):
        picture = clip.frames[min(index[frame], len(clip.frames) - 1)]
        canvas.frames[frame] = _filled(picture, height, width)
    return covered


def _keep_black(canvas: Canvas, source: Source, mask: np.ndarray) -> None:
    """Where a source's mask is black, its pictures are kept; cells with any white are made."""
    height, width = canvas.frames.shape[1:3]
    white = torch.from_numpy(_filled(mask, height, width).mean(axis=2) >= 127.5)
    cells = F.max_pool2d(white.float()[None, None], canvas.compression.spatial)[0, 0].bool()
    first = max(0, round(source.at_s * canvas.frame_rate))
    stop = max(first, math.ceil(source.end_s * canvas.frame_rate))
    if len(canvas.frames) - stop < canvas.compression.temporal:
        stop = len(canvas.frames)
    canvas.free_video[first:stop] &= cells.numpy()


def _draw_sound(canvas: Canvas, source: Source, clip: Clip) -> None:
    sound = torch.from_numpy(np.array(clip.waveform))
    if clip.sample_rate != canvas.sample_rate:
        sound = resample(sound, clip.sample_rate, canvas.sample_rate)
    late = round(source.at_s * canvas.sample_rate)
    samples = sound.numpy()[:, max(0, -late) :]
    place = canvas.waveform[:, max(0, late) :][:, : samples.shape[1]]
    place[:] = samples[:, : place.shape[1]]


def _marked(
    length: int, parts: Sequence[Part], rate: float, *, round_up: bool = True
) -> np.ndarray:
    """True [length] where one of the parts is, with all frames that they touch if rounded up."""
    marked = np.zeros(length, bool)
    for start, end in parts:
        if round_up:
            first, stop = math.floor(start * rate + 1e-6), math.ceil(end * rate - 1e-6)
        else:
            first, stop = round(start * rate), round(end * rate)
        marked[first:stop] = True
    return marked


def _nearest(known: np.ndarray) -> np.ndarray:
    """For every frame the nearest that is known."""
    places = np.flatnonzero(known)
    after = np.searchsorted(places, np.arange(len(known))).clip(0, len(places) - 1)
    before = (after - 1).clip(0)
    frames = np.arange(len(known))
    closer = np.abs(places[before] - frames) <= np.abs(places[after] - frames)
    return np.where(closer, places[before], places[after])


def _faded(share: np.ndarray, reach: int) -> np.ndarray:
    """Shares [n, ...] of 0 and 1 along the first axis; beside ones they fall to 0 in `reach`."""
    flat = torch.from_numpy(share).flatten(1).T[:, None]  # [cells, 1, n]
    width = 2 * reach - 1
    spread = F.avg_pool1d(flat, width, stride=1, padding=reach - 1) * (width / reach)
    return torch.maximum(flat, spread.clamp(max=1.0))[:, 0].T.reshape(share.shape).numpy()


def _enlarged(share: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Shares [h, w] of cells for every pixel [H, W]; beside a cell they fall within half of one."""
    if share.min() == share.max():
        return np.full(tuple(size), share.flat[0], np.float32)
    cells = torch.from_numpy(share)[None, None]
    soft = F.interpolate(cells, size=tuple(size), mode="bilinear", align_corners=False)
    hard = F.interpolate(cells, size=tuple(size), mode="nearest")
    near = F.interpolate(F.max_pool2d(cells, 3, 1, 1), size=tuple(size), mode="nearest")
    return torch.maximum(hard, torch.minimum(2 * soft, near)).numpy()[0, 0]


def _filled(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """A picture uint8 [H', W', 3] scaled to fill a size and cut centrally."""
    if picture.shape[:2] == (height, width):
        return picture
    fitted = fit_image(torch.from_numpy(picture), height=height, width=width)[0, :, 0]
    pixels = ((fitted + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return pixels.permute(1, 2, 0).numpy()


def _fit(waveform: np.ndarray, length: int) -> np.ndarray:
    fitted = np.zeros((2, length), np.float32)
    kept = min(length, waveform.shape[1])
    fitted[:, :kept] = waveform[:, :kept]
    return fitted
