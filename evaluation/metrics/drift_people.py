"""Whether a speaker changes as a clip goes on: lips against voice, the voice, words, face.

Faces, and Whisper's features of the sound, are found once and cut into the windows of `drift`.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from evaluation.expectation import Expectation
from evaluation.measurement import Measured, Metric, NotMeasurable, Outcome
from evaluation.metrics.drift import Series, drift, windows
from evaluation.metrics.face_tracks import find_cuts
from evaluation.metrics.faces import Faces, find_faces, part_of, remember_faces, shows_puppets
from evaluation.metrics.lip_sync import landmarks
from evaluation.metrics.puppet_words import words_heard
from evaluation.metrics.sound import SPEECH_RATE
from evaluation.metrics.speech_features import FEATURE_RATE, speech_features
from evaluation.metrics.voice_activity import heard
from evaluation.metrics.wording import tokens
from ltx2 import Clip
from ltx2.errors import ResourceError

VERSION = 2
LEAST_VOICE_S = 0.8
FACE_MARGIN = 0.2
"""Of the box's sides that may show hair and background."""

Measure = Callable[[Clip, Expectation], list[tuple[float, float]] | NotMeasurable]
"""Times of the windows and values, NaN where there is none."""


def sync_series(clip: Clip, expectation: Expectation) -> list[tuple[float, float]] | NotMeasurable:
    """Offset of lips and sound in every window, in ms."""
    faces = _faces(clip, expectation)
    if isinstance(faces, NotMeasurable):
        return faces
    if not clip.waveform.size:
        return NotMeasurable("The clip has no sound.")
    features = None if faces.is_cartoon else speech_features(clip)
    if isinstance(features, NotMeasurable):
        return features
    values = []
    for time_s, part in windows(clip):
        first = _first_frame(time_s, part, clip)
        remember_faces(part, part_of(faces, first, first + len(part.frames)))
        if features is not None:
            edges = (first / clip.frame_rate, first / clip.frame_rate + part.duration_s)
            rows = slice(*(round(edge * FEATURE_RATE) for edge in edges))
            speech_features.remember(part, features[rows])
        outcome = landmarks.METRIC.measure(part, expectation)
        values.append((time_s, outcome.value if isinstance(outcome, Measured) else np.nan))
    return values


def voice_series(clip: Clip, expectation: Expectation) -> list[tuple[float, float]] | NotMeasurable:
    """Cosine of the voice in every window with that of the first that has speech."""
    found = heard(clip)
    if isinstance(found, NotMeasurable):
        return found
    speech, activity = found
    spoken = np.zeros(len(speech), bool)
    for span in activity.spans:
        spoken[round(span.start_s * SPEECH_RATE) : round(span.end_s * SPEECH_RATE)] = True
    values: list[tuple[float, float]] = []
    first_voice: np.ndarray | None = None
    for time_s, part in windows(clip):
        edges = (time_s - part.duration_s / 2, time_s + part.duration_s / 2)
        inside = slice(*(round(edge * SPEECH_RATE) for edge in edges))
        sound = speech[inside][spoken[inside]]
        if sound.size < LEAST_VOICE_S * SPEECH_RATE:
            values.append((time_s, np.nan))
            continue
        # It brings torch, which the rest of the metrics does without.
        from evaluation.networks.voice_encoder import voice_vector

        try:
            voice = voice_vector(sound)
        except ResourceError as error:
            return NotMeasurable(error.message, error.next_step)
        first_voice = voice if first_voice is None else first_voice
        values.append((time_s, float(voice @ first_voice)))
    return values


def face_series(clip: Clip, expectation: Expectation) -> list[tuple[float, float]] | NotMeasurable:
    """How far the colour of the most visible face is from that of the first window, 0..255.

    It follows lighting as well as the person; a network that knows people apart is not used.
    """
    faces = _faces(clip, expectation)
    if isinstance(faces, NotMeasurable):
        return faces
    values: list[tuple[float, float]] = []
    first_colour: np.ndarray | None = None
    for time_s, part in windows(clip):
        first = _first_frame(time_s, part, clip)
        shown = part_of(faces, first, first + len(part.frames)).tracks
        if not shown:
            values.append((time_s, np.nan))
            continue
        colours = [
            _colour(part.frames[number], box)
            for number, box in zip(shown[0].frames[::4], shown[0].boxes[::4], strict=True)
        ]
        colour = np.mean(colours, axis=0)
        first_colour = colour if first_colour is None else first_colour
        values.append((time_s, float(np.linalg.norm(colour - first_colour))))
    return values


def word_series(clip: Clip, expectation: Expectation) -> list[tuple[float, float]] | NotMeasurable:
    """Share of the words in every window that are none of the words asked; 1 where none is heard.

    Only puppets say their lines again and again, so only theirs can be followed over time.
    """
    if not expectation.lines:
        return NotMeasurable("No words were asked for.", "Give the lines that the clip should say.")
    if not (expectation.is_cartoon or shows_puppets(clip)):
        return NotMeasurable(
            "People say their lines once, so no words are due in every stretch.",
            "See language.word_error for the whole clip.",
        )
    if not windows(clip):
        return NotMeasurable("The clip is too short for drift.", "Make clips of 10 s or more.")
    found = heard(clip)
    if isinstance(found, NotMeasurable):
        return found
    words = words_heard(*found)
    if isinstance(words, NotMeasurable):
        return words
    asked = {token for line in expectation.lines for token in tokens(line.text, line.language)}
    values = []
    for time_s, part in windows(clip):
        inside = [
            tokens(word.word, word.language)
            for word in words
            if abs((word.start_s + word.end_s) / 2 - time_s) <= part.duration_s / 2
        ]
        right = sum(bool(said) and set(said) <= asked for said in inside)
        values.append((time_s, 1 - right / len(inside) if inside else 1.0))
    return values


def _faces(clip: Clip, expectation: Expectation) -> Faces | NotMeasurable:
    if not len(clip.frames):
        return NotMeasurable("The clip has no picture.")
    if not windows(clip):
        return NotMeasurable("The clip is too short for drift.", "Make clips of 10 s or more.")
    try:
        faces = find_faces(clip, cartoon=True if expectation.is_cartoon else None)
    except ResourceError as error:
        return NotMeasurable(error.message, error.next_step)
    return faces if faces.tracks else NotMeasurable("No face is seen.")


def _first_frame(time_s: float, part: Clip, clip: Clip) -> int:
    return round(time_s * clip.frame_rate - len(part.frames) / 2)


def _colour(frame: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Mean colour of the middle of a box [3]."""
    width, height = box[2] - box[0], box[3] - box[1]
    inner = box + FACE_MARGIN * np.array([width, height, -width, -height])
    left, top, right, bottom = (max(0, round(float(edge))) for edge in inner)
    middle = frame[top : max(top + 1, bottom), left : max(left + 1, right)]
    if not middle.size:
        middle = frame
    mean: np.ndarray = middle.reshape(-1, 3).mean(axis=0)
    return mean


def _metric(name: str, unit: str, measured_by: str, measure: Measure) -> Metric:
    def measured(clip: Clip, expectation: Expectation) -> Outcome:
        found = measure(clip, expectation)
        if isinstance(found, NotMeasurable):
            return found
        times = np.array([time_s for time_s, _ in found])
        outcome = drift(Series(times, np.array([value for _, value in found])), name, unit)
        if isinstance(outcome, Measured):
            details = dict(outcome.details) | {"cuts": len(find_cuts(clip.frames))}
            outcome = replace(outcome, details=details)
        return outcome

    return Metric(f"drift.{name}", VERSION, measured_by, measured)


METRICS = (
    _metric("sync", "ms", "Theil-Sen slope of the landmark offset, windows of 4 s", sync_series),
    _metric("voice", "cosine", "Theil-Sen slope, voice encoder of Resemblyzer", voice_series),
    _metric("words", "share", "Theil-Sen slope, puppets' own recogniser", word_series),
    _metric("face", "levels", "Theil-Sen slope of the face's colour", face_series),
)
