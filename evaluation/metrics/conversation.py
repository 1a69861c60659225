"""Word error rate of a conversation, by who says the words: cpWER with faces for voices."""

import numpy as np

from evaluation.expectation import Expectation
from evaluation.measurement import Measured, Metric, NotMeasurable, Outcome
from evaluation.metrics.cp_error import cp_edits
from evaluation.metrics.speakers import Attributions, attributed
from evaluation.metrics.speech import transcribe
from evaluation.metrics.speech_types import Word
from evaluation.metrics.wording import base_language, tokens
from ltx2 import Clip

UNSEEN = "nobody seen"


def conversation_error(clip: Clip, expectation: Expectation) -> Outcome:
    """Share of words wrong when each face's words are held against the speaker they fit best.

    A word belongs to the face that moves its lips most while it sounds.
    """
    found = attributed(clip, expectation=expectation)
    if isinstance(found, NotMeasurable):
        return found
    languages = {base_language(line.language) for line in expectation.lines}
    transcript = transcribe(clip, language=languages.pop() if len(languages) == 1 else None)
    if isinstance(transcript, NotMeasurable):
        return transcript
    asked: dict[str, list[str]] = {}
    for line in expectation.lines:
        asked.setdefault(line.speaker or line.place or UNSEEN, []).extend(
            tokens(line.text, line.language)
        )
    heard: dict[str, list[str]] = {}
    for word in transcript.words:
        heard.setdefault(_face(word, found, clip.frame_rate), []).extend(
            tokens(word.text, transcript.language)
        )
    edits, match = cp_edits(asked, heard)
    details = {
        "substitutions": edits.substitutions,
        "deletions": edits.deletions,
        "insertions": edits.insertions,
        "asked": edits.num_asked,
        "face_of_speaker": match,
        "recogniser": transcript.recogniser,
    }
    return Measured(edits.rate, "share", details=details, evidence=found.evidence)


METRIC = Metric(
    "speakers.conversation_error",
    3,
    "cpWER; Whisper or the puppets' own recogniser, Light-ASD or puppet mouths",
    conversation_error,
)


def _face(word: Word, found: Attributions, frame_rate: float) -> str:
    first = int(word.start_s * frame_rate)
    last = max(first + 1, round(word.end_s * frame_rate))
    scores = [float(np.nan_to_num(curve[first:last], nan=-1.0).mean()) for curve in found.curves]
    if not scores or max(scores) <= 0:
        return UNSEEN
    best = int(np.argmax(scores))
    return f"face {best + 1} ({found.places[best]})"
