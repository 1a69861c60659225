"""Precomputed training examples on disk, and batches of them.

A dataset is a folder with `dataset.json`, which says what the examples were made with, and
`examples/`, one safetensors file per clip: `video` [C, f, h, w] and `audio` [c, l, m] normalised
latents, `text_features` [T, D] and `text_mask` [T] of the caption, perhaps `reference`, latents of
another video. A clip without sound has no `audio`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from ltx2.errors import RequestError

SETTINGS_FILE = "dataset.json"
EXAMPLES_FOLDER = "examples"
_VARIABLE = ("video", "audio", "reference")

Bucket = tuple[tuple[int, ...] | None, ...]
"""Shapes of video, audio and reference, which examples of a batch have in common."""


@dataclass(frozen=True)
class TrainingBatch:
    """Examples of equal shapes.

    Attributes:
        video: normalised latents [B, C, f, h, w].
        audio: normalised latents [B, c, l, m].
        text_features: what the feature projection made of the captions [B, T, D].
        text_mask: 1 for real tokens [B, T].
        frame_rate: pictures per second.
        reference: normalised latents of another video [B, C, f', h', w'].
    """

    video: Tensor | None
    audio: Tensor | None
    text_features: Tensor
    text_mask: Tensor
    frame_rate: float
    reference: Tensor | None = None


@dataclass(frozen=True)
class PrecomputedDataset:
    """Examples of a folder, grouped by shape.

    Attributes:
        buckets: files of equal shapes, in a fixed order.
        frame_rate: of all clips, Hz.
    """

    buckets: tuple[tuple[Path, ...], ...]
    frame_rate: float

    @classmethod
    def open(cls, folder: str | Path) -> PrecomputedDataset:
        """The dataset of a folder; only headers are read.

        Raises:
            RequestError: the folder holds no examples, or one of them is damaged.
        """
        folder = Path(folder)
        settings = folder / SETTINGS_FILE
        paths = sorted((folder / EXAMPLES_FOLDER).glob("*.safetensors"))
        if not settings.is_file() or not paths:
            raise RequestError(
                f"{folder} holds no precomputed examples.",
                next_step="Make them: python -m ltx2 precompute CLIPS --output FOLDER.",
            )
        groups: dict[Bucket, list[Path]] = {}
        for path in paths:
            groups.setdefault(_bucket(path), []).append(path)
        buckets = [tuple(groups[key]) for key in sorted(groups, key=repr)]
        return cls(tuple(buckets), float(json.loads(settings.read_text())["frame_rate"]))

    def __len__(self) -> int:
        return sum(map(len, self.buckets))

    def random_batch(self, size: int, generator: torch.Generator) -> TrainingBatch:
        """Examples of one bucket, which is chosen in proportion to its size, with repetitions."""
        counts = torch.tensor([len(bucket) for bucket in self.buckets], dtype=torch.float64)
        bucket = self.buckets[int(torch.multinomial(counts, 1, generator=generator))]
        picks = torch.randint(len(bucket), (size,), generator=generator).tolist()
        examples = [load_file(bucket[pick]) for pick in picks]

        def stacked(name: str) -> Tensor | None:
            if name not in examples[0]:
                return None
            return torch.stack([example[name] for example in examples]).float()

        features, mask = stacked("text_features"), stacked("text_mask")
        assert features is not None
        assert mask is not None
        return TrainingBatch(
            video=stacked("video"),
            audio=stacked("audio"),
            text_features=features,
            text_mask=mask.long(),
            frame_rate=self.frame_rate,
            reference=stacked("reference"),
        )


def _bucket(path: Path) -> Bucket:
    try:
        with safe_open(path, "pt") as file:
            names = set(file.keys())
            if not {"text_features", "text_mask"} <= names or not names & {"video", "audio"}:
                raise _damaged(path, "it lacks tensors")
            return tuple(
                tuple(file.get_slice(name).get_shape()) if name in names else None
                for name in _VARIABLE
            )
    except (SafetensorError, OSError) as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, why: str) -> RequestError:
    return RequestError(
        f"The example {path.name} is damaged: {why}.",
        next_step="Delete it and run precompute again; only what is missing is made.",
    )
