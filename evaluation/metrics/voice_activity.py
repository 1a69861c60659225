"""When somebody speaks, by the Silero network (MIT licence), whose weights its package holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.expectation import Expectation
from evaluation.measurement import Curve, Measured, Metric, NotMeasurable, Outcome
from evaluation.metrics.once import OncePerClip
from evaluation.metrics.sound import SPEECH_RATE, mono_speech
from ltx2 import Clip

VERSION = 1
MEASURED_BY = "silero-vad 6 (onnx)"
CHUNK, CONTEXT = 512, 64
"""Samples that the network takes at once, and those before that it sees again."""
ENTER, LEAVE = 0.5, 0.35
"""Probability at which speech begins and ends, the authors' defaults."""
LEAST_SPEECH_S, LEAST_PAUSE_S, PAD_S = 0.1, 0.1, 0.03

NO_NETWORK = NotMeasurable(
    "The network that finds speech is not installed.",
    "Install it with `pip install silero-vad onnxruntime`.",
)


@dataclass(frozen=True)
class Span:
    """A stretch of time, in seconds."""

    start_s: float
    end_s: float

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.end_s - self.start_s


@dataclass(frozen=True)
class VoiceActivity:
    """Where somebody speaks.

    Attributes:
        probabilities: of speech in each `CHUNK` samples at 16 kHz [chunks].
        spans: stretches of speech, in order.
    """

    probabilities: np.ndarray
    spans: tuple[Span, ...]

    @property
    def speech_s(self) -> float:
        """Seconds of speech."""
        return sum(span.duration_s for span in self.spans)


def voice_activity(speech: np.ndarray) -> VoiceActivity | NotMeasurable:
    """Where a sound [S] at 16 kHz has speech; not measurable where the network is absent."""
    session = _session()
    if session is None:
        return NO_NETWORK
    chunks = np.pad(speech, (0, -speech.size % CHUNK)).reshape(-1, CHUNK)
    state = np.zeros((2, 1, 128), np.float32)
    before = np.zeros(CONTEXT, np.float32)
    probabilities = np.zeros(len(chunks))
    rate = np.array(SPEECH_RATE, np.int64)
    for number, chunk in enumerate(chunks):
        seen = np.concatenate([before, chunk])[None].astype(np.float32)
        output, state = session.run(None, {"input": seen, "state": state, "sr": rate})
        probabilities[number] = output[0, 0]
        before = chunk[-CONTEXT:]
    return VoiceActivity(probabilities, _spans(probabilities, speech.size / SPEECH_RATE))


@OncePerClip
def heard(clip: Clip) -> tuple[np.ndarray, VoiceActivity] | NotMeasurable:
    """Sound of a clip [S] at 16 kHz, and where it has speech."""
    if not clip.waveform.size:
        return NotMeasurable("The clip has no sound.")
    speech = mono_speech(clip)
    activity = voice_activity(speech)
    return activity if isinstance(activity, NotMeasurable) else (speech, activity)


def speech_present(clip: Clip, expectation: Expectation) -> Outcome:
    """Seconds in which somebody speaks."""
    found = heard(clip)
    if isinstance(found, NotMeasurable):
        return found
    _, activity = found
    times = (np.arange(len(activity.probabilities)) + 0.5) * CHUNK / SPEECH_RATE
    curve = Curve("speech", times, activity.probabilities, "time (s)", "probability")
    details = {"spans": [[span.start_s, span.end_s] for span in activity.spans]}
    return Measured(activity.speech_s, "s", details=details, evidence=(curve,))


METRIC = Metric("speech.present", VERSION, MEASURED_BY, speech_present)


@cache
def _session() -> Any | None:
    """The network, run by one thread; None where a package is missing.

    The package itself imports torch, so only its file is used.
    """
    package = find_spec("silero_vad")
    if package is None or package.origin is None or find_spec("onnxruntime") is None:
        return None
    import onnxruntime

    path = Path(package.origin).parent / "data" / "silero_vad.onnx"
    if not path.is_file():
        return None
    options = onnxruntime.SessionOptions()
    options.inter_op_num_threads = options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _spans(probabilities: Sequence[float] | np.ndarray, duration_s: float) -> tuple[Span, ...]:
    """Stretches between entering and leaving speech, close ones joined, short ones dropped."""
    found: list[list[float]] = []
    speaking = False
    for number, probability in enumerate(probabilities):
        time_s = number * CHUNK / SPEECH_RATE
        if not speaking and probability >= ENTER:
            speaking = True
            if found and time_s - found[-1][1] < LEAST_PAUSE_S:
                found[-1][1] = duration_s
            else:
                found.append([time_s, duration_s])
        elif speaking and probability < LEAVE:
            speaking = False
            found[-1][1] = time_s
    return tuple(
        Span(max(0.0, start - PAD_S), min(duration_s, end + PAD_S))
        for start, end in found
        if end - start >= LEAST_SPEECH_S
    )
