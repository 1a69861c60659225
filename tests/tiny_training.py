"""Training runs small enough for tests, in this process or as a program of their own.

python -m tests.tiny_training CONFIG.yaml...
"""

import logging
import sys
import time
from dataclasses import dataclass

import torch

from ltx2.training.config import TrainConfig, read_config
from ltx2.training.trainer import stopped_by_signals, train
from tests.tiny_checkpoint import tiny_config

FRAME_RATE = 8.0
NUM_PROMPT_TOKENS = 128


@dataclass(frozen=True)
class TinyBatch:
    """What the reader of precomputed examples gives, made of noise."""

    video: torch.Tensor | None
    audio: torch.Tensor | None
    text_features: torch.Tensor
    text_mask: torch.Tensor
    frame_rate: float = FRAME_RATE
    reference: torch.Tensor | None = None


def tiny_batch(size=2, grid=(3, 2, 4), audio=26, reference=None, generator=None):
    """Random latents of a clip; `grid` or `audio` None leaves the modality out."""
    sizes = tiny_config()["transformer"]
    channels, audio_channels = sizes["in_channels"], sizes["audio_in_channels"] // 16
    generator = generator or torch.Generator().manual_seed(0)

    def noise(*shape):
        return torch.randn(size, *shape, generator=generator)

    mask = torch.zeros(size, NUM_PROMPT_TOKENS)
    mask[:, -20:] = 1
    return TinyBatch(
        video=None if grid is None else noise(channels, *grid),
        audio=None if audio is None else noise(audio_channels, audio, 16),
        text_features=noise(NUM_PROMPT_TOKENS, sizes["caption_channels"]),
        text_mask=mask,
        reference=None if reference is None else noise(channels, *reference),
    )


@dataclass(frozen=True)
class TinyExamples:
    """Draws a new batch of noise each time; `wait_s` makes steps last."""

    reference: tuple | None = None
    wait_s: float = 0.0

    def random_batch(self, size, generator):
        time.sleep(self.wait_s)
        return tiny_batch(size, reference=self.reference, generator=generator)


def tiny_run(model, output, **settings):
    """Configuration of a few steps in float32 on a model folder of `write_tiny_model`."""
    values = {
        "model": str(model),
        "data": "unused",
        "output": str(output),
        "steps": 4,
        "batch_size": 2,
        "precision": "float32",
        "device": "cpu",
        "log_every": 1,
        "optimizer": {"learning_rate": 1e-3},
        "modes": [{"mode": "text_to_video_audio"}, {"mode": "image"}, {"mode": "text_to_video"}],
    }
    return TrainConfig.model_validate(values | settings)


def main(paths):
    logging.basicConfig(level=logging.INFO)
    if torch.distributed.is_torchelastic_launched():
        torch.distributed.init_process_group("gloo")
    for path in paths:
        with stopped_by_signals() as should_stop:
            train(read_config(path), examples=TinyExamples(wait_s=0.05), should_stop=should_stop)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1:])
