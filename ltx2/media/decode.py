"""Files to clips: any common video, within limits that protect the machine."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from ltx2.clip import Clip
from ltx2.conditions import Kind
from ltx2.errors import MediaError
from ltx2.geometry import num_samples
from ltx2.media.image import begins_like_picture, read_image, refuse_unread
from ltx2.media.recipe_tag import parse_recipe
from ltx2.request import Recipe

logger = logging.getLogger(__name__)

MAX_DURATION_S = 180.0
"""Longest video read, in seconds: three times the longest clip that a model makes."""

MAX_FRAME_PIXELS = 4096 * 4096
"""Largest picture read: what the largest request has."""

MAX_DECODED_BYTES = 6 * 2**30
"""Most memory that the decoded pictures may take: a minute of 1216 x 704 at 24 per second, and
half as much again."""

MAX_STREAMS = 16
"""Most tracks in one file; files with hundreds are made to slow readers down."""

SILENT_SAMPLE_RATE = 48_000
"""Sample rate stated for the empty waveform of a video without sound."""

FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,ogg,flv,mpeg,gif,wav,mp3,flac,aac"
"""Containers read. Playlists and other formats that point to further files are left out."""

MAX_FRAME_RATE = 240.0
"""Pictures per second; more is a wrong header, not a video."""

SAMPLE_RATES = range(4_000, 192_001)
"""Sample rates taken seriously."""

TRUNCATION_TOLERANCE_S = 0.1
"""How far before the length that the header promises both tracks may end."""


def read_clip(path: str | Path) -> Clip:
    """Clip of a video file: pictures at a constant rate, and sound cut to their length.

    Pictures of variable rate are repeated or dropped to the mean rate. Sound begins with the first
    picture: an offset between the tracks becomes silence or a cut. Mono is copied to both
    channels, more channels are mixed down, the sample rate stays. A video without sound has a
    waveform without samples [2, 0], which is not the same as silence.

    Raises:
        MediaError: the file is missing, damaged, cut short, too large, or has no picture.
    """
    with _opened(Path(path)) as container:
        video, audio = _tracks(container)
        pictures, sound = _Pictures(video), _Sound(audio)
        for packet in container.demux([track for track in (video, audio) if track is not None]):
            if packet.is_corrupt:
                raise _damaged("a piece of it is missing")
            for frame in packet.decode():
                if isinstance(frame, av.VideoFrame):
                    pictures.add(frame)
                elif isinstance(frame, av.AudioFrame):
                    sound.add(frame)
        if not pictures.frames:
            raise _damaged("it holds no picture that can be decoded")
        _check_complete(container, pictures, sound)
        waveform = sound.waveform(pictures.start_s, len(pictures.frames), pictures.frame_rate)
        recipe = _recipe_if_readable(container)
        return Clip(pictures.stacked(), waveform, pictures.frame_rate, sound.sample_rate, recipe)


def read_sound(path: str | Path) -> Clip | None:
    """A sound file as a clip without pictures [0, 0, 0, 3]; None for a file with pictures.

    Mono is copied to both channels, more channels are mixed down, the sample rate stays. A cover
    picture is not looked at.

    Raises:
        MediaError: the file is missing, damaged, cut short or too long, or has no sound.
    """
    with _opened(Path(path)) as container:
        if _moving_pictures(container):
            return None
        tracks = [track for track in container.streams.audio if track.codec_context is not None]
        if not tracks:
            raise _damaged("it has neither picture nor sound")
        if container.duration is not None:
            _check_length(container.duration / av.time_base)
        sound = _Sound(tracks[0])
        for frame in container.decode(tracks[0]):
            sound.add(frame)
            _check_length(sound.end_s - sound.start_s)
        if not sound.parts:
            raise _damaged("it holds no sound that can be decoded")
        samples = np.concatenate(sound.parts, axis=1)
        waveform = np.ascontiguousarray(np.broadcast_to(samples, (2, samples.shape[1])))
        return Clip(np.zeros((0, 0, 0, 3), np.uint8), waveform, 1.0, sound.sample_rate)


def read_media(path: str | Path) -> tuple[Kind, Clip]:
    """What a file of any kind holds, and its content as a clip; a picture is a clip of one.

    Raises:
        MediaError: the file is missing, damaged, too large or of no kind that is known.
    """
    picture = read_image(path)
    if picture is not None:
        return "image", Clip(picture[None], np.zeros((2, 0), np.float32), 1.0, SILENT_SAMPLE_RATE)
    try:
        sound = read_sound(path)
        return ("video", read_clip(path)) if sound is None else ("sound", sound)
    except MediaError:
        refuse_unread(path)
        raise


def read_recipe(path: str | Path) -> Recipe | None:
    """Recipe that a file of ours carries; None for a file without one.

    Raises:
        MediaError: the file is missing or damaged, or its recipe is of an unknown version.
    """
    with _opened(Path(path)) as container:
        return parse_recipe(container.metadata.get("comment", ""))


def read_first_picture(path: str | Path) -> np.ndarray:
    """The first picture of a video, uint8 [H, W, 3].

    Raises:
        MediaError: the file is missing, damaged or too large, or has no picture.
    """
    with _opened(Path(path)) as container:
        video, _ = _tracks(container)
        for frame in container.decode(video):
            _check_picture_size(frame.width, frame.height)
            return frame.to_ndarray(format="rgb24")
    raise _damaged("it holds no picture that can be decoded")


class _Pictures:
    """Decoded pictures at a constant rate."""

    def __init__(self, track: VideoStream) -> None:
        rate = track.average_rate or track.guessed_rate
        if rate is None or not 0 < rate <= MAX_FRAME_RATE:
            raise _damaged("it does not say how many pictures a second has")
        self.frame_rate = float(rate)
        self.frames: list[np.ndarray] = []
        self.start_s = 0.0

    @property
    def end_s(self) -> float:
        return self.start_s + len(self.frames) / self.frame_rate

    def add(self, frame: av.VideoFrame) -> None:
        """Put a picture at its time; fill a gap with the last one, drop what comes too early."""
        if frame.is_corrupt:
            raise _damaged("a picture cannot be decoded")
        _check_picture_size(frame.width, frame.height)
        if not self.frames:
            self.start_s = frame.time or 0.0
        index = count = len(self.frames)
        if frame.time is not None:
            index = round((frame.time - self.start_s) * self.frame_rate)
        _check_length((index + 1) / self.frame_rate)
        if (index + 1) * frame.width * frame.height * 3 > MAX_DECODED_BYTES:
            raise MediaError(
                f"The video needs more than {MAX_DECODED_BYTES / 2**30:g} GiB of memory.",
                next_step="Cut it shorter or make its pictures smaller.",
            )
        if index < count:
            return
        picture = frame.to_ndarray(format="rgb24")
        if self.frames and picture.shape != self.frames[0].shape:
            raise _damaged("its pictures change their size")
        self.frames.extend(self.frames[-1:] * (index - count))
        self.frames.append(picture)

    def stacked(self) -> np.ndarray:
        """All pictures [F, H, W, 3]; each is let go once copied, so memory does not double."""
        frames = np.empty((len(self.frames), *self.frames[0].shape), np.uint8)
        for index in range(len(frames)):
            frames[index] = self.frames[index]
            self.frames[index] = frames[index]
        return frames


class _Sound:
    """Decoded stereo sound; nothing if the file has no sound track."""

    def __init__(self, track: AudioStream | None) -> None:
        self.sample_rate = SILENT_SAMPLE_RATE if track is None else track.codec_context.sample_rate
        if self.sample_rate not in SAMPLE_RATES:
            raise _damaged(f"its sound claims {self.sample_rate} samples per second")
        self.parts: list[np.ndarray] = []
        self.num_samples = 0
        self.start_s = 0.0
        self._resampler: av.AudioResampler | None = None

    @property
    def end_s(self) -> float:
        return self.start_s + self.num_samples / self.sample_rate

    def add(self, frame: av.AudioFrame) -> None:
        """Append samples as floating point, in stereo or mono."""
        if self._resampler is None:
            self.start_s = frame.time or 0.0
            # FFmpeg would make mono 3 dB softer, so mono stays mono here.
            layout = "mono" if frame.layout.nb_channels == 1 else "stereo"
            self._resampler = av.AudioResampler("fltp", layout, self.sample_rate)
        for part in self._resampler.resample(frame):
            self.num_samples += part.samples
            if self.num_samples <= MAX_DURATION_S * self.sample_rate:
                self.parts.append(part.to_ndarray())

    def waveform(self, start_s: float, num_frames: int, frame_rate: float) -> np.ndarray:
        """Stereo samples [2, S] that belong to the pictures, silent where there are none."""
        if not self.parts:
            return np.zeros((2, 0), np.float32)
        samples = np.concatenate(self.parts, axis=1)
        waveform = np.zeros((2, num_samples(num_frames, frame_rate, self.sample_rate)), np.float32)
        late = round((self.start_s - start_s) * self.sample_rate)
        samples = samples[:, max(0, -late) :]
        place = waveform[:, max(0, late) :][:, : samples.shape[1]]
        place[:] = samples[:, : place.shape[1]]
        return waveform


def _tracks(container: InputContainer) -> tuple[VideoStream, AudioStream | None]:
    """The first video that is not a cover picture, and the first sound."""
    if len(container.streams) > MAX_STREAMS:
        raise MediaError(
            f"The file has {len(container.streams)} tracks.",
            next_step=f"Export it with one video and one sound track, at most {MAX_STREAMS}.",
        )
    videos = _moving_pictures(container)
    if not videos:
        raise MediaError(
            "The file has no picture that can be decoded.", next_step="Choose a video file."
        )
    sounds = [track for track in container.streams.audio if track.codec_context is not None]
    videos[0].thread_type = "AUTO"
    _check_picture_size(videos[0].codec_context.width, videos[0].codec_context.height)
    if container.duration is not None:
        _check_length(container.duration / av.time_base)
    return videos[0], sounds[0] if sounds else None


def _moving_pictures(container: InputContainer) -> list[VideoStream]:
    return [
        track
        for track in container.streams.video
        if not track.disposition & Disposition.attached_pic and track.codec_context is not None
    ]


def _check_picture_size(width: int, height: int) -> None:
    if width * height > MAX_FRAME_PIXELS:
        raise MediaError(
            f"The video's pictures are {width} x {height} pixels.",
            next_step=f"Make them smaller, at most {MAX_FRAME_PIXELS:,} pixels each.",
        )


def _check_length(duration_s: float) -> None:
    if duration_s > MAX_DURATION_S:
        raise MediaError(
            f"The video lasts {duration_s:.0f} s or more.",
            next_step=f"Cut it to at most {MAX_DURATION_S:g} s.",
        )


def _check_complete(container: InputContainer, pictures: _Pictures, sound: _Sound) -> None:
    """FFmpeg ends quietly where a file was cut; the header still knows the length."""
    if container.duration is None:
        return
    promised_s = ((container.start_time or 0) + container.duration) / av.time_base
    if max(pictures.end_s, sound.end_s) < promised_s - TRUNCATION_TOLERANCE_S:
        raise _damaged("it was cut short")


def _recipe_if_readable(container: InputContainer) -> Recipe | None:
    """A recipe that cannot be read must not keep anybody from watching the clip."""
    try:
        return parse_recipe(container.metadata.get("comment", ""))
    except MediaError as error:
        logger.warning("%s", error.message)
        return None


def _damaged(reason: str) -> MediaError:
    return MediaError(
        f"The file is damaged or not a video: {reason}.",
        next_step="Choose another file, or copy or download it again.",
    )


@contextmanager
def _opened(path: Path) -> Iterator[InputContainer]:
    """An open media file; errors of the system and of FFmpeg become `MediaError`."""
    options = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
    try:
        # An absolute path can never be taken for the URL of a protocol.
        with av.open(
            str(path.absolute()), "r", options=options, metadata_errors="replace"
        ) as container:
            yield container
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise MediaError(
            f"The file {path} cannot be opened: {error.strerror}.",
            next_step="Check the name and that you may read it.",
        ) from error
    except (av.FFmpegError, OSError, ValueError) as error:
        if begins_like_picture(path):
            raise MediaError(
                "The file is a picture, not a video.", next_step="Choose a video file."
            ) from error
        raise _damaged(getattr(error, "strerror", None) or str(error)) from error
