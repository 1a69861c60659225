"""Whether each line is spoken by the face that was asked to, told by the place it stands at.

A voice is heard during a line, and the face that moves its lips then is taken for the speaker.
Two faces that both move cannot be told apart by that; such lines are undecided, not guessed.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from evaluation.expectation import Expectation, ExpectedLine
from evaluation.measurement import Curve, Measured, Metric, NotMeasurable, Outcome
from evaluation.metrics.faces import Faces, find_faces
from evaluation.metrics.line_spans import spans_by_turns, spans_by_words, without_pauses
from evaluation.metrics.once import OncePerClip
from evaluation.metrics.speaking_faces import speaking_curves
from evaluation.metrics.speech import transcribe
from evaluation.metrics.voice_activity import Span, heard
from ltx2 import Clip
from ltx2.errors import ResourceError

VERSION = 4
MEASURED_BY = "Light-ASD or puppet mouths, silero-vad, Whisper"
LEAST_MARGIN, LEAST_PUPPET_MARGIN = 0.5, 0.05
"""By how much the best face's score in a line must exceed the second's: a logit for people, a share
of the mouth's opening for puppets."""
PUPPET_QUANTILE = 0.8
"""A puppet's mouth is open on vowels only, so the score in a line is what its widest fifth exceeds;
for people, whose score holds between syllables too, it is the mean."""
SEVERAL_SHARE = 0.3
"""Share of a line during which another mouth moves too, from which on several speak."""

UNSEEN = -1.0
"""Score of a face that is not in the picture."""

Verdict = Literal["right", "wrong face", "off-screen", "undecided", "not heard"]


@dataclass(frozen=True)
class Attribution:
    """Who said one line.

    Attributes:
        line: index of the expected line.
        verdict: beside what was asked; "off-screen" where no visible mouth moves although one
            should.
        start_s, end_s: when it is heard; None where it is not.
        face: index of the face that speaks, the most visible first; None where none does.
        place: where that face stands.
        score, margin: of the best face in this line, and by how much it exceeds the second.
        several_mouths: whether another mouth moves as well.
    """

    line: int
    verdict: Verdict
    start_s: float | None = None
    end_s: float | None = None
    face: int | None = None
    place: str | None = None
    score: float | None = None
    margin: float | None = None
    several_mouths: bool = False


def speaker_accuracy(clip: Clip, expectation: Expectation) -> Outcome:
    """Share of the lines that the face asked for says, of those that could be decided."""
    found = attributed(clip, expectation=expectation)
    if isinstance(found, NotMeasurable):
        return found
    attributions, evidence = found.attributions, found.evidence
    decided = [a for a in attributions if a.verdict not in ("undecided", "not heard")]
    counts = {
        verdict: sum(a.verdict == verdict for a in attributions)
        for verdict in ("right", "wrong face", "off-screen", "undecided", "not heard")
    }
    details = {
        "lines": [asdict(attribution) for attribution in attributions],
        "counts": counts,
        "several_mouths": sum(a.several_mouths for a in attributions),
    }
    if not decided:
        reason = "No line can be given to one face."
        return NotMeasurable(reason, details=details, evidence=evidence)
    value = counts["right"] / len(decided)
    return Measured(value, "share", details=details, evidence=evidence)


def _rate(name: str, counts: Callable[[Attribution], bool]) -> Metric:
    def measure(clip: Clip, expectation: Expectation) -> Outcome:
        found = attributed(clip, expectation=expectation)
        if isinstance(found, NotMeasurable):
            return found
        heard = [a for a in found.attributions if a.verdict != "not heard"]
        if not heard:
            return NotMeasurable("No line is heard.", evidence=found.evidence)
        number = sum(map(counts, heard))
        details = {"lines": number, "of": len(heard)}
        return Measured(number / len(heard), "share", details=details, evidence=found.evidence)

    return Metric(f"speakers.{name}", VERSION, MEASURED_BY, measure)


METRICS = (
    Metric("speakers.accuracy", VERSION, MEASURED_BY, speaker_accuracy),
    _rate("wrong_face", lambda a: a.verdict == "wrong face"),
    _rate("off_screen", lambda a: a.verdict == "off-screen"),
    _rate("several_mouths", lambda a: a.several_mouths),
)


def places_of(faces: Faces, width: int) -> list[str]:
    """Where each face stands among those of its shot: left, centre or right.

    Args:
        faces: with the most visible ones first.
        width: of the picture in pixels.
    """
    places = []
    for track in faces.tracks:
        shot = sum(track.frames[0] >= cut for cut in faces.cuts)
        together = [
            other.centre_x
            for other in faces.tracks
            if sum(other.frames[0] >= cut for cut in faces.cuts) == shot
        ]
        if len(together) == 1:
            third = int(np.clip(3 * track.centre_x / width, 0, 2))
            places.append(("left", "centre", "right")[third])
        elif track.centre_x == min(together):
            places.append("left")
        else:
            places.append("right" if track.centre_x == max(together) else "centre")
    return places


@dataclass(frozen=True)
class Attributions:
    """Who said each line of a clip.

    Attributes:
        attributions: one a line.
        spans: when each line is heard; None where it is not.
        places: where the faces stand, in the order of `curves`.
        curves: how much each face looks as if it spoke [F].
        evidence: the same curves, to be drawn.
    """

    attributions: tuple[Attribution, ...]
    spans: tuple[Span | None, ...]
    places: tuple[str, ...]
    curves: tuple[np.ndarray, ...]
    evidence: tuple[Curve, ...]


@OncePerClip
def attributed(clip: Clip, *, expectation: Expectation) -> Attributions | NotMeasurable:
    """Who says each line asked for; remembered as long as the clip lives."""
    missing = _what_is_missing(clip, expectation)
    if missing is not None:
        return missing
    try:
        faces = find_faces(clip, cartoon=True if expectation.is_cartoon else None)
        spans = _line_spans(clip, expectation.lines, is_cartoon=faces.is_cartoon)
        if isinstance(spans, NotMeasurable):
            return spans
        curves = speaking_curves(clip, faces)
    except ResourceError as error:
        return NotMeasurable(error.message, error.next_step)
    off_screen = all(line.place == "off-screen" for line in expectation.lines)
    if not curves and not off_screen:
        return NotMeasurable("No face is seen.")
    places = places_of(faces, clip.frames.shape[2])[: len(curves)]
    scene = _Scene(curves, places, clip.frame_rate, faces.is_cartoon)
    attributions = tuple(
        _attributed(number, line, span, scene)
        for number, (line, span) in enumerate(zip(expectation.lines, spans, strict=True))
    )
    times = np.arange(len(clip.frames)) / clip.frame_rate
    evidence = tuple(
        Curve(f"face {number + 1} ({place})", times, curve, "time (s)", "speaking score")
        for number, (place, curve) in enumerate(zip(places, curves, strict=True))
    )
    return Attributions(attributions, tuple(spans), tuple(places), tuple(curves), evidence)


def _what_is_missing(clip: Clip, expectation: Expectation) -> NotMeasurable | None:
    if not expectation.lines:
        return NotMeasurable("No words were asked for.", "Give the lines and who says them.")
    if any(line.place is None for line in expectation.lines):
        return NotMeasurable(
            "It was not said where the speakers stand.", "Give every line a place."
        )
    if not clip.waveform.size:
        return NotMeasurable("The clip has no sound.")
    if not len(clip.frames):
        return NotMeasurable("The clip has no picture.")
    return None


def _line_spans(
    clip: Clip, lines: Sequence[ExpectedLine], *, is_cartoon: bool
) -> tuple[Span | None, ...] | NotMeasurable:
    """When each line is said; by turns where no recogniser knows the voices."""
    if is_cartoon:
        found = heard(clip)
        if isinstance(found, NotMeasurable):
            return found
        speech, activity = found
        return spans_by_turns(without_pauses(speech, activity.spans), len(lines))
    languages = {line.language.split("-")[0] for line in lines}
    transcript = transcribe(clip, language=languages.pop() if len(languages) == 1 else None)
    if isinstance(transcript, NotMeasurable):
        return transcript
    return spans_by_words(transcript, lines)


@dataclass(frozen=True)
class _Scene:
    """Scores and places of the faces that are seen."""

    curves: Sequence[np.ndarray]
    places: Sequence[str]
    frame_rate: float
    is_cartoon: bool

    def score(self, part: np.ndarray) -> float:
        """How much a face speaks in a stretch of its curve."""
        if not part.size:
            return UNSEEN
        return float(np.quantile(part, PUPPET_QUANTILE) if self.is_cartoon else part.mean())

    @property
    def least_margin(self) -> float:
        """By which the best face must exceed the others."""
        return LEAST_PUPPET_MARGIN if self.is_cartoon else LEAST_MARGIN


def _attributed(number: int, line: ExpectedLine, span: Span | None, scene: _Scene) -> Attribution:
    if span is None:
        return Attribution(number, "not heard")
    first = int(span.start_s * scene.frame_rate)
    last = max(first + 1, round(span.end_s * scene.frame_rate))
    during = [np.nan_to_num(curve[first:last], nan=UNSEEN) for curve in scene.curves]
    scores = np.array([scene.score(part) for part in during])
    if not (scores > 0).any():
        verdict: Verdict = "right" if line.place == "off-screen" else "off-screen"
        return Attribution(number, verdict, span.start_s, span.end_s)
    order = np.argsort(-scores)
    best = int(order[0])
    margin = float(scores[best] - max(scores[order[1]], 0.0)) if len(order) > 1 else None
    several = any((during[i] > 0).mean() >= SEVERAL_SHARE for i in map(int, order[1:]))
    verdict = "right" if scene.places[best] == line.place else "wrong face"
    if margin is not None and margin < scene.least_margin:
        verdict = "undecided"
    return Attribution(
        number,
        verdict,
        span.start_s,
        span.end_s,
        best,
        scene.places[best],
        float(scores[best]),
        margin,
        several,
    )
