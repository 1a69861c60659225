"""Both clips of a pair made alike, so that nothing but the content tells who made which.

What generators leave in their files names them: picture size, sample rate, duration, encoder tag,
loudness. Here both clips are decoded, cut to the shorter, brought to one picture size, one frame
rate, 48 kHz stereo and one loudness (EBU R 128, -23 LUFS, no true peak above -1 dBTP), and encoded
by the same encoder with the same settings. Group of pictures and B-frames are fixed, so time
tables are equal; the files are padded to the same size; bit rates that the container would state
are blanked. What is left to differ in the bytes is the coded content and the table of its sizes.

What cannot be hidden, because it is the content: how sharp the picture is (a larger one was scaled
down more), the highest frequency in the sound (24 kHz files have none above 12 kHz), the look of
the pictures, and with the picture policy "pad" the bars. Visible watermarks need `masks`, a black
first picture `trim_start_s`. A pair that had to be cut to 8 s tells that one of its models makes
8 s, not which; `max_duration_s` hides that too. Frame rates are equalised by leaving pictures out,
which can make the faster clip judder; where that matters, compare clips of equal rate.

What was changed is recorded as covariates, so that the ranking can adjust for it.
"""

import hashlib
import hmac
import io
import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

from evaluation.loudness import loudness_lufs
from evaluation.preference.clips import Source
from evaluation.preference.study import Region, StimulusPlan
from ltx2.clip import Clip
from ltx2.errors import MediaError, RequestError
from ltx2.files import replaced
from ltx2.media.decode import read_clip

SAMPLE_RATE = 48_000
AUDIO_BIT_RATE = 320_000

ATTENTION_SHIFT_S = 1.0
"""How late the sound of an attention trial is: eight times what viewers can detect (BT.1359)."""

VIDEO_OPTIONS = MappingProxyType(
    {
        "crf": "18",
        "preset": "veryfast",
        # Scene cuts and adaptive B-frames would write the content into the time tables.
        "x264-params": "keyint=24:min-keyint=24:scenecut=0:b-adapt=0:bframes=2:mbtree=0:threads=1",
    }
)

CONTAINER_OPTIONS = MappingProxyType({"fflags": "+bitexact", "write_btrt": "0"})

SIZE_STEP = 2**18
"""Files are padded to a multiple of so many bytes, at least to the larger of the pair."""

MAX_CROP = 0.45
"""Largest share of a clip's picture that may be cut away before the pair is refused."""

HEADROOM_DB = 0.3
"""AAC moves peaks a little; most clips stay under the limit at the first try with this much."""

TRIES = 4
GREY = 118


@dataclass(frozen=True)
class Made:
    """One clip of a pair, ready to be shown.

    Attributes:
        path: of the MP4; its name says nothing.
        covariates: what the clip was and what was done to it (see `covariates`).
    """

    path: Path
    covariates: Mapping[str, float]


@dataclass(frozen=True)
class Frame:
    """What both clips of a pair have in common.

    Attributes:
        width, height: of the picture, in pixels, even.
        frame_rate: pictures per second.
        num_frames: count.
    """

    width: int
    height: int
    frame_rate: float
    num_frames: int

    @property
    def num_samples(self) -> int:
        """Of the sound, per channel."""
        return round(self.num_frames / self.frame_rate * SAMPLE_RATE)

    @property
    def duration_s(self) -> float:
        """Of both clips."""
        return self.num_frames / self.frame_rate


def opaque_name(secret: bytes, *parts: str) -> str:
    """A name that repeats for the same parts and tells nothing without the secret."""
    message = b"\x00".join(part.encode() for part in parts)
    return hmac.new(secret, message, hashlib.sha256).hexdigest()[:32]


def common_frame(left: Source, right: Source, plan: StimulusPlan) -> Frame:
    """Picture size, rate and length that both clips can have without being enlarged.

    Raises:
        RequestError: the shapes differ so much that too little would be left of one, or the plan
            trims more than there is.
    """
    box_width = min(plan.max_width, left.width, right.width)
    box_height = min(plan.max_height, left.height, right.height)
    if plan.picture == "pad":
        width, height = box_width, box_height
    else:
        fitted = [_fitted(source, box_width, box_height) for source in (left, right)]
        width, height = (min(sizes) for sizes in zip(*fitted, strict=True))
        lost = max(1 - width * height / (w * h) for w, h in fitted)
        if lost > MAX_CROP:
            raise RequestError(
                f"Prompt {left.prompt}: {left.width} x {left.height} and {right.width} x "
                f"{right.height} differ so much in shape that {lost:.0%} would be cut away.",
                next_step='Set stimulus.picture to "pad", or bring clips of like shape.',
            )
    rate = plan.frame_rate or min(left.frame_rate, right.frame_rate)
    shorter_s = min(left.duration_s, right.duration_s) - plan.trim_start_s
    duration_s = min(shorter_s, plan.max_duration_s or math.inf)
    num_frames = math.floor(duration_s * rate + 1e-6)
    if num_frames < 1:
        raise RequestError(
            f"Prompt {left.prompt}: nothing is left after trimming the start.",
            next_step="Set stimulus.trim_start_s lower.",
        )
    return Frame(width // 2 * 2, height // 2 * 2, rate, num_frames)


def make_pair(
    left: Source,
    right: Source,
    paths: tuple[Path, Path],
    plan: StimulusPlan,
    *,
    late_s: tuple[float, float] = (0.0, 0.0),
) -> tuple[Made, Made]:
    """The two clips just written, equal in everything but their content.

    Args:
        left, right: as they came.
        paths: where to write them.
        plan: how.
        late_s: by how much the sound of each is delayed (attention trials).

    Raises:
        RequestError: they cannot be made alike.
        MediaError: a clip cannot be read or written.
    """
    frame = common_frame(left, right, plan)
    pictures, sounds = [], []
    for source, delay_s in zip((left, right), late_s, strict=True):
        clip = read_clip(source.path)
        pictures.append(_encoded_pictures(clip, frame, plan))
        sounds.append(_delayed(_sound(clip, frame, plan), delay_s))
    levels = [loudness_lufs(sound, SAMPLE_RATE) for sound in sounds]
    if not all(math.isfinite(level) for level in levels):
        raise RequestError(
            f"Prompt {left.prompt}: a clip is silent in the {frame.duration_s:.1f} s shown.",
            next_step="Replace it, or take the prompt out of the study.",
        )
    target = _target_lufs(sounds, levels, plan)
    for _ in range(TRIES):
        gains_db = [target - level for level in levels]
        contents = [
            _muxed(video, sound * 10 ** (gain / 20), frame)
            for video, sound, gain in zip(pictures, sounds, gains_db, strict=True)
        ]
        peak = max(true_peak_dbtp(_decoded_sound(content)) for content in contents)
        if peak <= plan.max_true_peak_dbtp:
            break
        target -= peak - plan.max_true_peak_dbtp + 0.1
    size = -(-max(map(len, contents)) // SIZE_STEP) * SIZE_STEP
    made = []
    for source, path, content, level, gain in zip(
        (left, right), paths, contents, levels, gains_db, strict=True
    ):
        _write(path, _padded(_index_first(_blanked(content)), size))
        made.append(Made(path, _covariates(source, frame, level, gain)))
    return made[0], made[1]


def true_peak_dbtp(waveform: np.ndarray) -> float:
    """True peak of a waveform [2, S], oversampled four times (ITU-R BS.1770, annex 2), in dBTP."""
    if not waveform.size:
        return -math.inf
    from scipy.signal import resample_poly

    peak = float(np.abs(resample_poly(waveform, 4, 1, axis=1)).max())
    return 20 * math.log10(peak) if peak else -math.inf


def _target_lufs(sounds: list[np.ndarray], levels: list[float], plan: StimulusPlan) -> float:
    """The loudness that both can have without a peak above the limit."""
    limit = plan.max_true_peak_dbtp - HEADROOM_DB
    reachable = [
        level + limit - true_peak_dbtp(sound) for level, sound in zip(levels, sounds, strict=True)
    ]
    return min(plan.loudness_lufs, *reachable)


def _covariates(source: Source, frame: Frame, lufs: float, gain_db: float) -> dict[str, float]:
    """Properties that raters may react to although they are no quality; logarithms to base e."""
    return {
        "log_duration": math.log(source.duration_s),
        "cut_s": max(0.0, source.duration_s - frame.duration_s),
        "lufs": lufs,
        "gain_db": gain_db,
        "log_pixels": math.log(source.width * source.height),
        "log_aspect": math.log(source.width / source.height),
        "log_resize": math.log(max(frame.width / source.width, frame.height / source.height)),
        "log_sample_rate": math.log(source.sample_rate),
        "log_sharpness": math.log(max(source.sharpness, 0.1)),
        "frame_rate": source.frame_rate,
        "leading_black_s": source.leading_black_s,
    }


# Pictures


def _fitted(source: Source, box_width: int, box_height: int) -> tuple[int, int]:
    scale = min(1.0, box_width / source.width, box_height / source.height)
    return round(source.width * scale), round(source.height * scale)


def _encoded_pictures(clip: Clip, frame: Frame, plan: StimulusPlan) -> bytes:
    """An MP4 without sound."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4", options=dict(CONTAINER_OPTIONS)) as container:
        rate = Fraction(frame.frame_rate).limit_denominator(1001)
        video = container.add_stream("libx264", rate=rate, options=dict(VIDEO_OPTIONS))
        video.width, video.height, video.pix_fmt = frame.width, frame.height, "yuv420p"
        context = video.codec_context
        context.time_base = 1 / rate
        context.sample_aspect_ratio = Fraction(1)
        context.color_range = ColorRange.MPEG
        context.colorspace = Colorspace.ITU709
        context.color_primaries = ColorPrimaries.BT709
        context.color_trc = ColorTrc.BT709
        for index, picture in enumerate(_pictures(clip, frame, plan)):
            shown = picture.reformat(
                format="yuv420p",
                dst_colorspace=Colorspace.ITU709,
                dst_color_range=ColorRange.MPEG,
            )
            shown.pts, shown.time_base = index, 1 / rate
            container.mux(video.encode(shown))
        container.mux(video.encode(None))
    return file.getvalue()


def _pictures(clip: Clip, frame: Frame, plan: StimulusPlan) -> Iterator[av.VideoFrame]:
    height, width = clip.frames.shape[1:3]
    choose = max if plan.picture == "crop" else min
    scale = min(1.0, choose(frame.width / width, frame.height / height))
    # The part of the source that is seen, and how large it is shown.
    seen_width = min(width, round(frame.width / scale))
    seen_height = min(height, round(frame.height / scale))
    shown_width = min(frame.width, round(seen_width * scale))
    shown_height = min(frame.height, round(seen_height * scale))
    top, left = (height - seen_height) // 2, (width - seen_width) // 2
    for index in range(frame.num_frames):
        time_s = plan.trim_start_s + index / frame.frame_rate
        nearest = min(len(clip.frames) - 1, round(time_s * clip.frame_rate))
        part = clip.frames[nearest, top : top + seen_height, left : left + seen_width]
        scaled = av.VideoFrame.from_ndarray(np.ascontiguousarray(part), format="rgb24").reformat(
            width=shown_width, height=shown_height, interpolation="LANCZOS"
        )
        canvas = np.zeros((frame.height, frame.width, 3), np.uint8)
        y, x = (frame.height - shown_height) // 2, (frame.width - shown_width) // 2
        canvas[y : y + shown_height, x : x + shown_width] = scaled.to_ndarray(format="rgb24")
        for mask in plan.masks:
            _cover(canvas, mask)
        yield av.VideoFrame.from_ndarray(canvas, format="rgb24")


def _cover(canvas: np.ndarray, mask: Region) -> None:
    height, width = canvas.shape[:2]
    rows = slice(math.floor(mask.top * height), math.ceil(mask.bottom * height))
    columns = slice(math.floor(mask.left * width), math.ceil(mask.right * width))
    canvas[rows, columns] = GREY


# Sound


def _sound(clip: Clip, frame: Frame, plan: StimulusPlan) -> np.ndarray:
    """[2, S] float32 at 48 kHz, as long as the pictures shown."""
    start = round(plan.trim_start_s * clip.sample_rate)
    factor = Fraction(SAMPLE_RATE, clip.sample_rate)
    sound = clip.waveform[:, start:]
    if factor != 1:
        from scipy.signal import resample_poly

        sound = resample_poly(sound, factor.numerator, factor.denominator, axis=1)
    exact = np.zeros((2, frame.num_samples), np.float32)
    part = sound[:, : frame.num_samples]
    exact[:, : part.shape[1]] = part
    return exact


def _delayed(sound: np.ndarray, late_s: float) -> np.ndarray:
    """What falls off the end comes first, so a late sound is no softer or shorter."""
    return np.roll(sound, round(late_s * SAMPLE_RATE), axis=1) if late_s else sound


def _decoded_sound(content: bytes) -> np.ndarray:
    """[2, S] float32 of an MP4."""
    with av.open(io.BytesIO(content), "r") as container:
        parts = [part.to_ndarray() for part in container.decode(audio=0)]
    return np.concatenate(parts, axis=1)


# The file


def _muxed(pictures: bytes, sound: np.ndarray, frame: Frame) -> bytes:
    file = io.BytesIO()
    with (
        av.open(io.BytesIO(pictures), "r") as given,
        av.open(file, "w", format="mp4", options=dict(CONTAINER_OPTIONS)) as container,
    ):
        video = container.add_stream_from_template(given.streams.video[0])
        audio = container.add_stream("aac", rate=SAMPLE_RATE, layout="stereo")
        # "twoloop", FFmpeg's usual search, spoils sudden onsets.
        audio.options = {"aac_coder": "fast", "aac_pns": "0", "aac_is": "0"}
        audio.bit_rate = AUDIO_BIT_RATE
        packets = [packet for packet in given.demux(given.streams.video[0]) if packet.size]
        done = 0
        for index, packet in enumerate(packets, 1):
            packet.stream = video
            container.mux(packet)
            end = round(index / frame.frame_rate * SAMPLE_RATE)
            part = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(sound[:, done:end]), format="fltp", layout="stereo"
            )
            part.sample_rate, part.pts = SAMPLE_RATE, done
            part.time_base = Fraction(1, SAMPLE_RATE)
            container.mux(audio.encode(part))
            done = end
        container.mux(audio.encode(None))
    return file.getvalue()


def boxes(content: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[str, int, int]]:
    """Type, start and end of the payload of each box of an MP4 (ISO/IEC 14496-12, 4.2)."""
    end = len(content) if end is None else end
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", content, start)
        header = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", content, start + 8)
            header = 16
        if size < header:
            return
        yield kind.decode("latin-1"), start + header, start + size
        start += size


def _blanked(content: bytes) -> bytes:
    """Without the sound's bit rates, which the muxer measures from the content."""
    blank = bytearray(content)
    for start, end in _find(
        content, "moov", "trak", "mdia", "minf", "stbl", "stsd", "mp4a", "esds"
    ):
        # DecoderConfigDescriptor: tag 4, its length in up to four bytes, then object type (1),
        # stream type (1), buffer size (3), largest (4) and mean (4) bit rate.
        at = content.index(b"\x04", start + 4 + 5 + 3, end)
        while content[at + 1] & 0x80:
            at += 1
        blank[at + 4 : at + 15] = bytes(11)
    return bytes(blank)


_PREFIX = {"stsd": 8, "mp4a": 28, "avc1": 78}
"""Bytes before the boxes inside a box, where there are any."""


def _find(
    content: bytes, *path: str, start: int = 0, end: int | None = None
) -> Iterator[tuple[int, int]]:
    for kind, inner, stop in boxes(content, start, end):
        if kind != path[0]:
            continue
        if len(path) == 1:
            yield inner, stop
        else:
            yield from _find(content, *path[1:], start=inner + _PREFIX.get(kind, 0), end=stop)


def _index_first(content: bytes) -> bytes:
    """The file with its index before the media data, so that playing starts at once."""
    parts = {kind: (start - 8, end) for kind, start, end in boxes(content)}
    index, media = slice(*parts["moov"]), slice(*parts["mdat"])
    moved = bytearray(content)
    first = content[slice(*parts["ftyp"])]
    shift = len(first) + index.stop - index.start - media.start
    for start, _ in _find(content, "moov", "trak", "mdia", "minf", "stbl", "stco"):
        (count,) = struct.unpack_from(">I", content, start + 4)
        offsets = np.frombuffer(content, ">u4", count, start + 8) + shift
        moved[start + 8 : start + 8 + 4 * count] = offsets.astype(">u4").tobytes()
    return first + bytes(moved[index]) + content[media]


def _padded(content: bytes, size: int) -> bytes:
    """The file made longer inside its last box, the media data, which nobody reads to the end."""
    *_, (kind, start, end) = boxes(content)
    if kind != "mdat" or end != len(content):
        raise MediaError("The encoder wrote an unusual file.", next_step="Report this as a bug.")
    longer = bytearray(content.ljust(size, b"\x00"))
    struct.pack_into(">I", longer, start - 8, size - start + 8)
    return bytes(longer)


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced(path) as part:
            part.write_bytes(content)
    except OSError as error:
        raise MediaError(
            f"The clips to be shown cannot be written into {path.parent}: {error.strerror}.",
            next_step="Free disk space, or choose another folder.",
        ) from error
