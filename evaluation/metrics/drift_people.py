"""Whether a speaker changes as a clip goes on: lips against voice, the voice, words, who it is.

Faces, and Whisper's features of the sound, are found once and cut into the windows of `drift`.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from evaluation.expectation import Expectation
from evaluation.measurement import Measured, Metric, NotMeasurable, Outcome
from evaluation.metrics.drift import Series, drift, windows
from evaluation.metrics.face_identity import MEASURED_BY, face_vector
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

VERSION = 3
LEAST_VOICE_S = 0.8
FEWEST_WINDOWS = 3
"""With fewer there is neither a slope nor a time of failure, whatever is measured."""
FACE_MARGIN = 0.2
"""Of the box's sides that may show hair and background."""
LOOK_S = 0.5
"""From one look at who is seen to the next; a face takes 60 ms."""
KNOWN_S = 2.0
"""From the first sight of a person on: what they look like."""
MOST_FACES = 3
"""Looked at in one picture, the largest first."""

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
    """Cosine of the voice in every window with that of the first that has speech.

    Windows that share sound with the first one are left out: they would look most alike.
    """
    found = heard(clip)
    if isinstance(found, NotMeasurable):
        return found
    speech, activity = found
    spoken = np.zeros(len(speech), bool)
    for span in activity.spans:
        spoken[round(span.start_s * SPEECH_RATE) : round(span.end_s * SPEECH_RATE)] = True
    values: list[tuple[float, float]] = []
    first_voice: np.ndarray | None = None
    first_s = 0.0
    for time_s, part in windows(clip):
        edges = (time_s - part.duration_s / 2, time_s + part.duration_s / 2)
        inside = slice(*(round(edge * SPEECH_RATE) for edge in edges))
        sound = speech[inside][spoken[inside]]
        is_shared = first_voice is not None and time_s - first_s < part.duration_s
        if is_shared or sound.size < LEAST_VOICE_S * SPEECH_RATE:
            values.append((time_s, np.nan))
            continue
        # It brings torch, which the rest of the metrics does without.
        from evaluation.networks.voice_encoder import voice_vector

        try:
            voice = voice_vector(sound)
        except ResourceError as error:
            return NotMeasurable(error.message, error.next_step)
        if first_voice is None:
            first_voice, first_s = voice, time_s
            values.append((time_s, np.nan))
        else:
            values.append((time_s, float(voice @ first_voice)))
    return values


def face_series(clip: Clip, expectation: Expectation) -> list[tuple[float, float]] | NotMeasurable:
    """How far the colour of the most visible face is from that of the first two seconds, 0..255.

    It follows lighting as well as the person, and is all that can be told of a puppet.
    """
    faces = _faces(clip, expectation)
    if isinstance(faces, NotMeasurable):
        return faces
    values: list[tuple[float, float]] = []
    known: np.ndarray | None = None
    for time_s, part in windows(clip):
        first = _first_frame(time_s, part, clip)
        shown = part_of(faces, first, first + len(part.frames)).tracks
        if not shown:
            values.append((time_s, np.nan))
            continue
        numbers, boxes = shown[0].frames[::4], shown[0].boxes[::4]
        colours = np.array(
            [_colour(part.frames[n], box) for n, box in zip(numbers, boxes, strict=True)]
        )
        if known is None:
            is_early = numbers < numbers[0] + KNOWN_S * clip.frame_rate
            known, colours = colours[is_early].mean(axis=0), colours[~is_early]
        distance = np.linalg.norm(colours.mean(axis=0) - known) if len(colours) else np.nan
        values.append((time_s, float(distance)))
    return values


def identity_series(
    clip: Clip, expectation: Expectation
) -> list[tuple[float, float]] | NotMeasurable:
    """How far whoever looks most alike is from the person of the first two seconds, by window.

    Distance of face vectors, median over the pictures of a window that show a face.
    """
    faces = _faces(clip, expectation)
    if isinstance(faces, NotMeasurable):
        return faces
    if faces.is_cartoon:
        return NotMeasurable(
            "The network that knows people apart does not know drawn faces.",
            "See drift.face, their colour.",
        )
    try:
        distances = _distances(clip, faces)
    except ResourceError as error:
        return NotMeasurable(error.message, error.next_step)
    if not distances:
        return NotMeasurable("No face is seen after the first two seconds.")
    times, values = np.array(distances).T
    found = []
    for time_s, part in windows(clip):
        inside = values[np.abs(times - time_s) <= part.duration_s / 2]
        found.append((time_s, float(np.median(inside)) if inside.size else np.nan))
    return found


def _distances(clip: Clip, faces: Faces) -> list[tuple[float, float]]:
    """Moments after the first two seconds at which faces are seen, and distances of the nearest."""
    step = max(1, round(LOOK_S * clip.frame_rate))
    looks = {n: _vectors(clip, faces, n) for n in range(0, len(clip.frames), step)}
    looks = {n: vectors for n, vectors in looks.items() if vectors}
    if not looks:
        return []
    last = min(looks) + KNOWN_S * clip.frame_rate
    early = [vectors for n, vectors in looks.items() if n < last]
    # The one seen most often, of several the most visible.
    person = max(range(len(faces.tracks)), key=lambda k: sum(k in vectors for vectors in early))
    known = np.mean([vectors[person] for vectors in early if person in vectors], axis=0)
    return [
        (n / clip.frame_rate, min(float(np.linalg.norm(v - known)) for v in vectors.values()))
        for n, vectors in looks.items()
        if n >= last  # what others are compared with would look most alike
    ]


def _vectors(clip: Clip, faces: Faces, number: int) -> dict[int, np.ndarray]:
    """Vectors of the largest faces in a picture, by their place among the tracks."""
    seen: list[tuple[float, int, np.ndarray]] = []
    for place, face in enumerate(faces.tracks):
        row = number - int(face.frames[0])
        if face.landmarks is None or not 0 <= row < len(face.frames):
            continue
        if np.isfinite(face.landmarks[row]).all():
            seen.append((face.area, place, face.landmarks[row]))
    largest = sorted(seen, key=lambda found: -found[0])[:MOST_FACES]
    return {place: face_vector(clip.frames[number], points) for _, place, points in largest}


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
    if len(windows(clip)) < FEWEST_WINDOWS:
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
    if len(windows(clip)) < FEWEST_WINDOWS:
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
    _metric("identity", "distance", f"Theil-Sen slope, {MEASURED_BY}", identity_series),
)
