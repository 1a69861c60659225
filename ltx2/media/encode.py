"""Clips to files: H.264 and AAC in MP4, as browsers play them.

Colours are BT.709 with limited range, converted and tagged as such whatever the size, so that no
player has to guess. AAC encoders put 1,024 samples of priming before the sound; the MP4's edit
list hides them from players and from FFmpeg, so the sound is not delayed.
"""

import errno
import math
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream

from ltx2.clip import Clip
from ltx2.errors import MediaError
from ltx2.files import replaced
from ltx2.geometry import num_samples, rational_frame_rate
from ltx2.media.recipe_tag import AI_GENERATED, render_recipe
from ltx2.request import Recipe

AAC_SAMPLE_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
"""Rates that AAC and every browser know (AAC's 64, 88.2 and 96 kHz are not played everywhere).
Sound at one of them keeps its rate: resampling would add nothing but a loss."""

FALLBACK_SAMPLE_RATE = 48_000
"""Rate of the file when the clip's own is not in the list."""

AUDIO_BITS_PER_SAMPLE = 5
"""Per channel: 160 kbit/s for stereo at 16 kHz and 480 at 48 kHz, where AAC allows up to 6. The
encoder needs less for most sound."""

AUDIO_OPTIONS = MappingProxyType({"aac_coder": "fast", "aac_pns": "0", "aac_is": "0"})
"""FFmpeg's usual "twoloop" search spoils sudden onsets: up to 0.4 of full scale is added to an
impact, where "fast" stays within 0.02. The other two replace sound by noise or merge the channels
to save bits that are not scarce here."""

VIDEO_OPTIONS = MappingProxyType({"crf": "18", "preset": "fast", "x264-params": "mbtree=0"})
"""CRF 18 is taken for visually lossless. With its macroblock tree x264 writes other bytes at every
run; without, the same clip gives the same file, a quarter to a third larger."""

MAX_VIDEO_BITS_PER_PIXEL = 1.0
"""Generous estimate for CRF 18, used to say how much disk space a clip may need."""


def write_clip(clip: Clip, path: str | Path) -> Path:
    """The path of the MP4 just written; it replaces an older file only when it is complete.

    The sound is cut or filled with silence to the length of the pictures. A clip without sound
    (no samples) gives a file without a sound track. The recipe is the file's comment, as JSON.

    Raises:
        MediaError: the clip cannot be a video, or the file cannot be written; no partial file
            is left behind.
    """
    path = Path(path)
    _check(clip)
    with _translated_errors(path, needed_bytes=estimate_bytes(clip)), replaced(path) as part:
        _write(clip, part)
    return path


def estimate_bytes(clip: Clip) -> int:
    """Disk space that the file will not exceed in practice."""
    frames, height, width, _ = clip.frames.shape
    video_bits = frames * height * width * MAX_VIDEO_BITS_PER_PIXEL
    audio_bits = clip.duration_s * _aac_sample_rate(clip.sample_rate) * 2 * AUDIO_BITS_PER_SAMPLE
    return int((video_bits + audio_bits) / 8) + 2**18


def _check(clip: Clip) -> None:
    """Refuse arrays that no encoder takes."""
    shape = clip.frames.shape
    if clip.frames.dtype != np.uint8 or len(shape) != 4 or shape[3] != 3 or 0 in shape:
        raise MediaError(
            f"The pictures are {clip.frames.dtype} {list(shape)}.",
            next_step="Give at least one uint8 RGB picture as [F, H, W, 3].",
        )
    if shape[1] % 2 or shape[2] % 2:
        raise MediaError(
            f"The pictures are {shape[2]} x {shape[1]} pixels, but video needs even sizes.",
            next_step="Crop the odd row or column.",
        )
    if clip.waveform.ndim != 2 or clip.waveform.shape[0] != 2:
        raise MediaError(
            f"The sound has the shape {list(clip.waveform.shape)}.",
            next_step="Give stereo sound as [2, S].",
        )
    if not np.isfinite(clip.waveform).all():
        raise MediaError(
            "The sound holds values that are not numbers.",
            next_step="Generate the clip again; if it stays so, use float32.",
        )
    if not 0.1 <= clip.frame_rate <= 1000.0 or clip.sample_rate < 1:
        raise MediaError(
            f"The rates are {clip.frame_rate} pictures/s and {clip.sample_rate} samples/s.",
            next_step="Give the pictures and samples that one second holds.",
        )


def _aac_sample_rate(sample_rate: int) -> int:
    return sample_rate if sample_rate in AAC_SAMPLE_RATES else FALLBACK_SAMPLE_RATE


def _write(clip: Clip, part: Path) -> None:
    # An absolute path can never be taken for the URL of a protocol.
    with av.open(
        str(part.absolute()), "w", format="mp4", options={"movflags": "+faststart"}
    ) as container:
        if clip.recipe is not None:
            container.metadata.update(_tags(clip.recipe))
        frame_rate = rational_frame_rate(clip.frame_rate)
        video = container.add_stream("libx264", rate=frame_rate, options=dict(VIDEO_OPTIONS))
        _set_picture_format(video, clip)
        sound = _at_aac_rate(clip)
        if sound.shape[1] == 0:
            for _, packets in _encoded_video(video, clip.frames):
                container.mux(packets)
            return
        sample_rate = _aac_sample_rate(clip.sample_rate)
        audio = container.add_stream(
            "aac", rate=sample_rate, layout="stereo", options=dict(AUDIO_OPTIONS)
        )
        audio.bit_rate = sample_rate * 2 * AUDIO_BITS_PER_SAMPLE
        # Alternating keeps the two interleaved in the file and little in memory.
        done = 0
        for shown, packets in _encoded_video(video, clip.frames):
            container.mux(packets)
            end = num_samples(shown, float(frame_rate), sample_rate)
            if end > done:
                container.mux(audio.encode(_audio_frame(sound, done, end, sample_rate)))
            done = end
        container.mux(audio.encode(None))


def _tags(recipe: Recipe) -> dict[str, str]:
    return {
        "comment": render_recipe(recipe),
        "description": f"{AI_GENERATED} Model: {recipe.model}.",
    }


def _set_picture_format(video: VideoStream, clip: Clip) -> None:
    video.height, video.width = clip.frames.shape[1:3]
    video.pix_fmt = "yuv420p"
    context = video.codec_context
    context.color_range = ColorRange.MPEG
    context.colorspace = Colorspace.ITU709
    context.color_primaries = ColorPrimaries.BT709
    context.color_trc = ColorTrc.BT709


def _encoded_video(video: VideoStream, frames: np.ndarray) -> Iterator[tuple[int, list[av.Packet]]]:
    """How many pictures went in so far, and the packets that came out, the rest last."""
    for index, picture in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        frame = frame.reformat(
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            interpolation="BICUBIC",
        )
        frame.pts, frame.time_base = index, 1 / video.codec_context.framerate
        yield index + 1, video.encode(frame)
    yield len(frames), video.encode(None)


def _audio_frame(sound: np.ndarray, start: int, end: int, sample_rate: int) -> av.AudioFrame:
    samples = np.zeros((2, end - start), np.float32)
    given = sound[:, start:end]
    samples[:, : given.shape[1]] = given
    frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
    frame.sample_rate, frame.pts, frame.time_base = sample_rate, start, Fraction(1, sample_rate)
    return frame


def _at_aac_rate(clip: Clip) -> np.ndarray:
    """The clip's waveform [2, S] in -1..1 at a rate that AAC knows."""
    waveform = np.clip(clip.waveform, -1.0, 1.0).astype(np.float32)
    sample_rate = _aac_sample_rate(clip.sample_rate)
    if sample_rate == clip.sample_rate or waveform.shape[1] == 0:
        return waveform
    resampler = av.AudioResampler(format="fltp", layout="stereo", rate=sample_rate)
    frame = _audio_frame(waveform, 0, waveform.shape[1], clip.sample_rate)
    resampled = [*resampler.resample(frame), *resampler.resample(None)]
    return np.concatenate([part.to_ndarray() for part in resampled], axis=1)


@contextmanager
def _translated_errors(path: Path, needed_bytes: int) -> Iterator[None]:
    """Errors of the system and of FFmpeg while writing, as one `MediaError`."""
    try:
        yield
    except (OSError, av.FFmpegError) as error:
        folder = path.absolute().parent
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            megabytes = math.ceil(needed_bytes / 1e6)
            raise MediaError(
                f"The disk is full: the clip could not be written into {folder}.",
                next_step=f"Free {megabytes} MB or choose another folder.",
            ) from error
        reason = error.strerror or "the encoder failed"
        raise MediaError(
            f"The clip could not be written to {path}: {reason}.",
            next_step="Choose a folder that exists and that you may write into.",
        ) from error
