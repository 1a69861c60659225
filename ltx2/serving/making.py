"""A job while it is made: its worker writes, everybody reads."""

import time
from dataclasses import replace

from ltx2.preview import Preview
from ltx2.progress import Progress
from ltx2.serving.jobs import INTERRUPTED, Cancelled, End, Job, Running
from ltx2.serving.models import Stop
from ltx2.serving.previews import Sketch, sketch
from ltx2.serving.timing import Forecast, Run, Stage, Work, seconds_left, stage_of


class Making:
    """How far one job is.

    Args:
        job: from the store, running.

    Attributes:
        stop: the wish to end it.
        end_if_stopped: what it becomes then.
        forecast: how long it was expected to take; None if unknown.
        sketch: its last preview; None before there is one.
        clip: which one is being made, where several are and one is kept.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.stop = Stop()
        self.end_if_stopped: End = Cancelled()
        self.forecast: Forecast | None = None
        self.sketch: Sketch | None = None
        self.clip = 1
        self._seconds: dict[Stage, float] = {}
        self._at = Progress("start", 0, 1), time.monotonic()
        """How far it is, and when that stage began."""

    def interrupt(self) -> None:
        """The server stops, which is not the visitor's wish."""
        if not self.stop():
            self.end_if_stopped = INTERRUPTED
            self.stop.express()

    def on_progress(self, progress: Progress) -> None:
        """It got further."""
        before, since = self._at
        if stage_of(progress.stage) != stage_of(before.stage):
            self._lap()
            since = time.monotonic()
        self._at = progress, since

    def on_preview(self, preview: Preview) -> None:
        """This is what it looks and sounds like now."""
        self.sketch = sketch(preview)

    def state(self) -> Running:
        """How far it is."""
        progress, since = self._at
        assert isinstance(self.job.state, Running)
        if self.stop():
            return replace(self.job.state, stage="stop")
        left = seconds_left(self.forecast, progress, time.monotonic() - since)
        later = self.job.choice.best_of - self.clip
        if left is not None and later:
            left = None if self.forecast is None else left + later * self.forecast.without_loading
        return replace(
            self.job.state,
            stage=progress.stage,
            step=progress.step,
            total=progress.total,
            seconds_left=left,
            clip=self.clip,
            clips=self.job.choice.best_of,
        )

    def run(self, model: str, device: str, work: Work) -> Run:
        """What was learnt of one clip, once the file is written."""
        self._lap()
        each = {stage: s / self.job.choice.best_of for stage, s in self._seconds.items()}
        return Run(
            model,
            device,
            work,
            load_s=self._seconds.get("load"),
            encode_s=each.get("encode", 0.0),
            denoise_s=each.get("denoise", 0.0),
            decode_s=each.get("decode", 0.0),
        )

    @property
    def seconds(self) -> float:
        """All that it took so far, until the last change of its stage."""
        return sum(self._seconds.values())

    def _lap(self) -> None:
        progress, since = self._at
        stage = stage_of(progress.stage)
        self._seconds[stage] = self._seconds.get(stage, 0.0) + time.monotonic() - since
