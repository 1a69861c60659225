"""A model whose steps a test lets pass, and a queue around it."""

import threading
from dataclasses import dataclass, field

import numpy as np

from ltx2.errors import GenerationCancelled
from ltx2.geometry import VideoCompression
from ltx2.model.config import TransformerConfig
from ltx2.preview import Preview
from ltx2.progress import Progress
from ltx2.request import Request
from ltx2.runtime.anatomy import Anatomy, Stage
from ltx2.serving.models import Models, Offer
from ltx2.serving.store import Store
from ltx2.serving.worker import JobQueue, Limits
from tests.fakes.model import PROFILE, SAMPLE_RATE, draw

WAIT_S = 30.0
"""Longer than any machine needs; a test that waits so long has failed."""

REQUEST = Request(prompt="a ball", num_frames=9, num_steps=3)


SMALL = Anatomy(
    num_values=10_000_000,
    num_sound_values=2_000_000,
    num_text_values=400_000,
    dtype="float32",
    transformer=TransformerConfig(),
    num_transformer_values=5_000_000,
    compression=VideoCompression(8, 32),
    stages=(Stage(128, 8, 8), Stage(1024, 1, 1)),
)
"""Sizes of a model's networks."""


@dataclass
class Maker:
    """Draws clips; with `gate` each step waits until the test opens it.

    Attributes:
        error: raised instead of making a clip.
        prompts: what was asked so far.
        begun: set when a clip is begun.
    """

    gate: threading.Semaphore | None = None
    error: Exception | None = None
    prompts: list[str] = field(default_factory=list)
    begun: threading.Event = field(default_factory=threading.Event)

    def __call__(self, request, *, on_progress, should_cancel, on_preview):
        request = request.resolve(PROFILE)
        self.prompts.append(request.prompt)
        total = request.num_steps
        on_progress(Progress("encode prompt", 0, 1))
        on_progress(Progress("denoise", 0, total))
        self.begun.set()
        for step in range(1, total + 1):
            if self.gate is not None:
                assert self.gate.acquire(timeout=WAIT_S)
            if should_cancel():
                raise GenerationCancelled
            on_progress(Progress("denoise", step, total))
            if on_preview is not None:
                on_preview(a_preview(step, total))
        if self.error is not None:
            raise self.error
        on_progress(Progress("decode video", 0, 1))
        return draw(request)


def a_preview(step=1, total=3, num_frames=9):
    frames = np.zeros((num_frames, 96, 64, 3), np.uint8)
    frames[:, :, :, 0] = np.linspace(0, 250, num_frames, dtype=np.uint8)[:, None, None]
    sound = np.full((2, SAMPLE_RATE), 0.5, np.float32)
    return Preview(step, total, frames, 25.0, sound, SAMPLE_RATE)


def an_offer(maker=None, **values):
    maker = maker or Maker()
    return Offer("stand-in", PROFILE, values.pop("load", lambda loras: maker), **values)


def a_queue(folder, maker=None, *, limits=None, score=None, **values):
    """A queue whose workers have not begun."""
    models = Models([an_offer(maker, **values)], device="cpu")
    store = Store(folder / "jobs.sqlite")
    return JobQueue(store, [models], folder / "clips", limits=limits or Limits(), score=score)


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self, now=1_000.0):
        self.now = now

    def __call__(self):
        return self.now
