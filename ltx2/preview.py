"""What a clip looks and sounds like while it is made, and how often there is time to show it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

SHARE = 0.25
"""Part of the time since the start that decoding previews may take."""


@dataclass(frozen=True)
class Preview:
    """A clip that is not finished.

    Attributes:
        step: finished steps.
        total: all steps.
        frames: pictures uint8 [F, H, W, 3], or the first one alone [1, H, W, 3].
        frame_rate: Hz.
        waveform: sound float32 [2, S]; None beside a single picture.
        sample_rate: Hz.
    """

    step: int
    total: int
    frames: np.ndarray
    frame_rate: float
    waveform: np.ndarray | None
    sample_rate: int


OnPreview = Callable[[Preview], None]
"""Receives previews in order, on the thread that does the work; the work waits for it."""


class PreviewPlan:
    """Decides when a whole clip is decoded before it is finished.

    How long decoding takes is known from the last clip that was decoded; until there is one,
    single pictures have to do.

    Args:
        clock: seconds that pass.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._seconds_per_voxel: float | None = None
        self.start(num_voxels=1)

    def start(self, *, num_voxels: int) -> "PreviewPlan":
        """The same plan, for a clip of so many latent voxels that begins now."""
        self._num_voxels = num_voxels
        self._started = self._clock()
        self._spent_s = 0.0
        return self

    def affords_all(self) -> bool:
        """Whether decoding everything now keeps within `SHARE`."""
        if self._seconds_per_voxel is None:
            return False
        elapsed_s = self._clock() - self._started
        decode_s = self._seconds_per_voxel * self._num_voxels
        return self._spent_s + decode_s <= SHARE * elapsed_s

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Inside it, everything is decoded."""
        started = self._clock()
        yield
        self._seconds_per_voxel = (self._clock() - started) / self._num_voxels

    @contextmanager
    def spent(self) -> Iterator[None]:
        """Inside it, time is spent on a preview."""
        started = self._clock()
        yield
        self._spent_s += self._clock() - started
