"""A folder of clips with captions becomes latents and text features, which is all training reads.

CLIPS/metadata.jsonl or metadata.csv     rows with `file`, `caption`, perhaps `reference`
CLIPS/NAME.mp4 and CLIPS/NAME.txt        otherwise: a caption beside each clip
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import logging
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from ltx2.checkpoint.catalog import FoundModel, find_model, require_trainable
from ltx2.checkpoint.components import AUDIO_VAE, FEATURE_PROJECTION, VIDEO_VAE
from ltx2.checkpoint.loader import (
    build_audio_vae,
    load_component,
    projection_builder,
    video_vae_builder,
)
from ltx2.checkpoint.text_loader import load_text_encoder
from ltx2.clip import Clip
from ltx2.errors import CheckpointError, LTX2Error, RequestError
from ltx2.files import replaced
from ltx2.geometry import num_audio_latents, num_samples
from ltx2.media.frames import from_uint8_frames
from ltx2.model.audio_vae import AudioVAE, MelSpectrogram
from ltx2.model.text import FeatureProjection
from ltx2.model.video_vae import VideoVAE
from ltx2.progress import OnProgress, Progress, ignore_progress
from ltx2.runtime.placement import choose_device, choose_dtype
from ltx2.training.dataset import EXAMPLES_FOLDER, SETTINGS_FILE

logger = logging.getLogger(__name__)

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi")
METADATA_FILES = ("metadata.jsonl", "metadata.csv")
TEXT_FOLDER = "texts"
"""Where captions lie between the two passes, under the dataset's folder."""

SOURCE_DIGEST = "source"
"""Field of an example's metadata that says what caption and videos it was made of."""


@dataclass(frozen=True)
class Size:
    """What a clip is cut and scaled to: pixels and pictures."""

    width: int
    height: int
    num_frames: int

    @classmethod
    def parse(cls, text: str) -> Size:
        """A size written as WIDTHxHEIGHTxFRAMES.

        Raises:
            RequestError: it is not written so.
        """
        parts = text.lower().split("x")
        if len(parts) != 3 or not all(part.isdecimal() and int(part) > 0 for part in parts):
            raise RequestError(
                f"The size {text!r} cannot be read.",
                next_step="Write WIDTHxHEIGHTxFRAMES, such as 768x512x121.",
            )
        return cls(*map(int, parts))


@dataclass(frozen=True)
class Source:
    """One clip to learn from.

    Attributes:
        name: of its example file.
        video: its file.
        caption: what is seen and heard.
        reference: another video that the clip is to be made after, for IC-LoRAs.
    """

    name: str
    video: Path
    caption: str
    reference: Path | None = None

    @property
    def digest(self) -> str:
        """Changes with the caption and the videos; of these only the sizes are looked at."""
        videos = [self.video] + ([self.reference] if self.reference else [])
        parts = [self.caption, *(str(video.stat().st_size) for video in videos)]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@dataclass(frozen=True)
class Report:
    """What precomputing did.

    Attributes:
        made: examples written now.
        kept: examples that were there.
        left_out: file names with the reason why there is no example of them.
        others: names of examples in the output whose clips are not in the folder.
    """

    made: int
    kept: int
    left_out: tuple[tuple[str, str], ...]
    others: tuple[str, ...]


def find_sources(folder: str | Path) -> list[Source]:
    """All clips of a folder with their captions.

    Raises:
        RequestError: there are none, or a row, a file or a caption is missing.
    """
    folder = Path(folder)
    tables = [folder / name for name in METADATA_FILES if (folder / name).is_file()]
    if tables:
        sources = [_from_row(folder, tables[0], *row) for row in _rows(tables[0])]
    else:
        videos = [p for p in sorted(folder.glob("*")) if p.suffix.lower() in VIDEO_SUFFIXES]
        sources = [Source(video.stem, video, _caption_beside(video)) for video in videos]
    if not sources:
        raise RequestError(
            f"{folder} holds no clips.",
            next_step="Put videos there, each with its caption in a .txt file of the same name.",
        )
    (name, count), *_ = Counter(source.name for source in sources).most_common(1)
    if count > 1:
        raise RequestError(
            f"{folder} has two clips called {name}.", next_step="Rename one of them."
        )
    return sources


def _rows(table: Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    text = _read_text(table)
    if table.suffix == ".csv":
        rows = csv.DictReader(io.StringIO(text, newline=""))
        for row in rows:
            yield rows.line_num, row
        return
    # Not splitlines: JSON strings may hold rarer line breaks as they are.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise RequestError(
                f"{table.name}:{number} is not JSON ({error.msg}).",
                next_step="Write one object per line.",
            ) from error
        yield number, row if isinstance(row, dict) else {}


def _from_row(folder: Path, table: Path, number: int, row: Mapping[str, object]) -> Source:
    for key in ("file", "caption"):
        if not isinstance(row.get(key), str) or not str(row[key]).strip():
            raise RequestError(
                f"{table.name}:{number} has no {key}.",
                next_step='Give every row "file" and "caption", perhaps "reference".',
            )
    video, reference = folder / str(row["file"]), row.get("reference") or None
    paths = [video] + ([folder / str(reference)] if reference else [])
    for path in paths:
        if not path.is_file():
            raise RequestError(
                f"{table.name}:{number} names {path.name}, which is not there.",
                next_step="Correct the name; it is relative to the table's folder.",
            )
    return Source(video.stem, video, str(row["caption"]), paths[1] if len(paths) == 2 else None)


def _caption_beside(video: Path) -> str:
    path = video.with_suffix(".txt")
    caption = _read_text(path).strip() if path.is_file() else ""
    if not caption:
        raise RequestError(
            f"{video.name} has no caption.",
            next_step=f"Write it to {path.name}, or list all clips in metadata.jsonl.",
        )
    return caption


def _read_text(path: Path) -> str:
    try:
        # Spreadsheets put a mark at the start of what they save as UTF-8.
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RequestError(
            f"{path.name} is not UTF-8 text.", next_step="Save it again as UTF-8."
        ) from error


@torch.inference_mode()
def precompute(
    clips: str | Path,
    output: str | Path,
    *,
    model: str,
    text_encoder: str | Path | None = None,
    sizes: Sequence[Size],
    frame_rate: float | None = None,
    device: str = "auto",
    on_progress: OnProgress = ignore_progress,
) -> Report:
    """Makes every example that is not there yet; stopped, it goes on where it was.

    An example whose caption or video has changed is made again. Examples of clips that are no
    longer in the folder stay, and are reported: they may come from another folder.

    A clip takes the size nearest to its own shape among those it has enough pictures for. It is
    scaled to cover it, cut around the middle, and played from its start at `frame_rate` by
    repeating or leaving out pictures.

    Args:
        clips: folder of clips with captions.
        output: folder of the dataset.
        model: known name, model folder or checkpoint file whose encoders are used.
        text_encoder: folder of the text encoder, if the model has none beside it.
        sizes: to choose from.
        frame_rate: of all examples, Hz; None is the model's usual one.
        device: "cpu", "cuda", ...; auto takes what is there.
        on_progress: told about captions, then about clips.

    Raises:
        RequestError: clips or captions are missing, a size does not fit the model, or the output
            was made with other settings.
        CheckpointError: the model or its text encoder is missing or damaged.
    """
    sources, output = find_sources(clips), Path(output)
    found = find_model(model, text_encoder=text_encoder)
    require_trainable(found.file)
    rate = found.profile.frame_rate if frame_rate is None else frame_rate
    _remember(output, found, sizes, rate)
    missing = [s for s in sources if not _is_made(output, s)]
    place = choose_device(device)
    texts = [s for s in missing if not _text(output, s).exists()]
    if texts:
        _encode_captions(found, texts, output, place, on_progress)
    left_out = []
    if missing:
        encoders = _Encoders.load(found, place)
        encoders.check(sizes)
        for number, source in enumerate(missing, start=1):
            try:
                tensors = encoders.encode(source, sizes, rate)
            except LTX2Error as error:
                left_out.append((source.video.name, error.message))
            else:
                tensors |= load_file(_text(output, source))
                _write(_example(output, source), tensors, {SOURCE_DIGEST: source.digest})
                _text(output, source).unlink()
            on_progress(Progress("clips", number, len(missing)))
    made = len(missing) - len(left_out)
    names = {path.stem for path in (output / EXAMPLES_FOLDER).glob("*.safetensors")}
    others = sorted(names - {source.name for source in sources})
    return Report(made, len(sources) - len(missing), tuple(left_out), tuple(others))


def _example(output: Path, source: Source) -> Path:
    return output / EXAMPLES_FOLDER / f"{source.name}.safetensors"


def _is_made(output: Path, source: Source) -> bool:
    """False also for a damaged example, and for one of another caption or video."""
    try:
        with safe_open(_example(output, source), "pt") as file:
            return (file.metadata() or {}).get(SOURCE_DIGEST) == source.digest
    except (SafetensorError, OSError):
        return False


def _text(output: Path, source: Source) -> Path:
    digest = hashlib.sha256(source.caption.encode()).hexdigest()[:12]
    return output / TEXT_FOLDER / f"{source.name}.{digest}.safetensors"


def _write(
    path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = {name: tensor.contiguous().cpu() for name, tensor in tensors.items()}
    with replaced(path) as part:
        save_file(stored, part, metadata)


def _remember(output: Path, found: FoundModel, sizes: Sequence[Size], rate: float) -> None:
    """Writes what the examples are made with, or checks that it is still the same."""
    settings = {
        "model": found.name,
        "fingerprint": found.file.fingerprint,
        "frame_rate": rate,
        "sizes": [asdict(size) for size in sizes],
    }
    path = output / SETTINGS_FILE
    if path.is_file():
        before = json.loads(path.read_text())
        changed = [name for name, value in settings.items() if before.get(name) != value]
        if changed:
            raise RequestError(
                f"{output} holds examples made with another {', '.join(changed)}.",
                next_step="Choose another output folder, or delete this one.",
            )
        return
    output.mkdir(parents=True, exist_ok=True)
    with replaced(path) as part:
        part.write_text(json.dumps(settings, indent=1))


def _encode_captions(
    found: FoundModel,
    sources: Sequence[Source],
    output: Path,
    device: torch.device,
    on_progress: OnProgress,
) -> None:
    """Text features of captions; the text encoder, the largest network, is gone afterwards."""
    if found.text_encoder is None:
        raise CheckpointError(
            f"The model {found.name} has no text encoder beside it.",
            next_step="Give its folder as text encoder.",
        )
    dtype = choose_dtype(
        "auto", num_parameters=sum(i.num_elements for i in found.file.tensors.values())
    )
    encoder = load_text_encoder(found.text_encoder, dtype=dtype, device=device)
    projection = load_component(
        found.file, FEATURE_PROJECTION, projection_builder(found.file), dtype=dtype, device=device
    )
    assert isinstance(projection, FeatureProjection)  # of a version that can be trained
    for number, source in enumerate(sources, start=1):
        encoded = encoder.encode([source.caption])
        features = projection(encoded.hidden_states, encoded.mask)[0]
        tensors = {
            "text_features": features.to(torch.bfloat16),
            "text_mask": encoded.mask[0].to(torch.uint8),
        }
        _write(_text(output, source), tensors)
        on_progress(Progress("captions", number, len(sources)))


@dataclass(frozen=True)
class _Encoders:
    video_vae: VideoVAE
    audio_vae: AudioVAE
    mel_front_end: MelSpectrogram
    device: torch.device

    @classmethod
    def load(cls, found: FoundModel, device: torch.device) -> _Encoders:
        dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        video_vae = load_component(
            found.file, VIDEO_VAE, video_vae_builder(found.file), dtype=dtype, device=device
        )
        # The official trainer encodes sound in float32 everywhere.
        audio_vae = load_component(
            found.file, AUDIO_VAE, build_audio_vae, dtype=torch.float32, device=device
        )
        return cls(video_vae, audio_vae, MelSpectrogram(audio_vae.config).to(device), device)

    def check(self, sizes: Sequence[Size]) -> None:
        """Refuses sizes that have no place on the latent grid."""
        step = self.video_vae.config.compression
        for size in sizes:
            if size.width % step.spatial or size.height % step.spatial:
                raise RequestError(
                    f"The size {size.width} x {size.height} does not fit this model.",
                    next_step=f"Use multiples of {step.spatial} pixels.",
                )
            if size.num_frames % step.temporal != 1:
                raise RequestError(
                    f"A clip of {size.num_frames} pictures does not fit this model.",
                    next_step=f"Use a multiple of {step.temporal} and one more.",
                )

    def encode(self, source: Source, sizes: Sequence[Size], frame_rate: float) -> dict[str, Tensor]:
        """Latents of one clip.

        Raises:
            MediaError: a file cannot be read.
            RequestError: the clip is shorter than every size.
        """
        clip = Clip.load(source.video)
        size = choose_size(clip, sizes, frame_rate)
        tensors = {"video": self._encode_video(clip, size, frame_rate)}
        if clip.waveform.shape[1]:
            tensors["audio"] = self._encode_audio(clip, size, frame_rate)
        if source.reference is not None:
            reference = Clip.load(source.reference)
            choose_size(reference, [size], frame_rate)
            tensors["reference"] = self._encode_video(reference, size, frame_rate)
        return tensors

    def _encode_video(self, clip: Clip, size: Size, frame_rate: float) -> Tensor:
        times = np.arange(size.num_frames) / frame_rate
        picks = np.minimum((times * clip.frame_rate + 0.5).astype(int), len(clip.frames) - 1)
        video = fit(from_uint8_frames(clip.frames[picks]), size)
        dtype = next(self.video_vae.parameters()).dtype
        latents = self.video_vae.encode(video[None].to(self.device, dtype))[0]
        return latents.to(torch.bfloat16)

    def _encode_audio(self, clip: Clip, size: Size, frame_rate: float) -> Tensor:
        length = num_samples(size.num_frames, frame_rate, clip.sample_rate)
        waveform = torch.from_numpy(clip.waveform[:, :length])
        waveform = F.pad(waveform, (0, length - waveform.shape[1]))[None].to(self.device)
        mel = self.mel_front_end(waveform, clip.sample_rate)
        count = num_audio_latents(size.num_frames, frame_rate, self.audio_vae.latents_per_second)
        return self.audio_vae.encode(mel)[0, :, :count].to(torch.bfloat16)


def choose_size(clip: Clip, sizes: Sequence[Size], frame_rate: float) -> Size:
    """The size nearest in shape among those a clip is long enough for; the longest of equals.

    Raises:
        RequestError: the clip is shorter than every size.
    """
    # Half a picture more than is there still rounds to the last one.
    available = math.floor((len(clip.frames) + 0.5) / clip.frame_rate * frame_rate)
    fitting = [size for size in sizes if size.num_frames <= available]
    if not fitting:
        raise RequestError(
            f"It lasts {clip.duration_s:.2f} s, less than every size.",
            next_step="Add a size with fewer pictures, or leave the clip out.",
        )
    aspect = math.log(clip.frames.shape[2] / clip.frames.shape[1])

    def misfit(size: Size) -> tuple[float, int, int]:
        distance = abs(math.log(size.width / size.height) - aspect)
        return round(distance, 6), -size.num_frames, -size.width * size.height

    return min(fitting, key=misfit)


def fit(video: Tensor, size: Size) -> Tensor:
    """Pictures [3, F, H, W] scaled to cover a size and cut around the middle."""
    height, width = video.shape[2:]
    scale = max(size.height / height, size.width / width)
    scaled = (max(size.height, round(height * scale)), max(size.width, round(width * scale)))
    if scaled != (height, width):
        frames = video.transpose(0, 1)
        frames = F.interpolate(frames, scaled, mode="bicubic", antialias=True)
        video = frames.transpose(0, 1).clamp(-1, 1)
    top, left = (scaled[0] - size.height) // 2, (scaled[1] - size.width) // 2
    return video[:, :, top : top + size.height, left : left + size.width]
