"""What is said in a clip: words with their times, and in which language.

A recogniser writes words where nobody speaks, so silence is looked for first, and a transcript
that repeats itself or that the recogniser itself does not believe is called unintelligible.
"""

import zlib
from collections import Counter
from typing import Any

import numpy as np

from evaluation.expectation import Expectation
from evaluation.measurement import Measured, Metric, NotMeasurable, Outcome
from evaluation.metrics.faces import shows_puppets
from evaluation.metrics.once import OncePerClip
from evaluation.metrics.puppet_words import puppet_transcript
from evaluation.metrics.recogniser import Recogniser, load_recogniser
from evaluation.metrics.speech_types import Transcript, Word
from evaluation.metrics.voice_activity import VoiceActivity, heard
from ltx2 import Clip

VERSION = 3
LEAST_SPEECH_S = 0.5
"""Less is no line of dialogue, and the recogniser guesses its language."""
LARGEST_COMPRESSION, LEAST_LOG_PROBABILITY = 2.4, -1.0
"""Whisper's own limits for a transcript that loops or is made up."""
LONGEST_LOOP = 4
"""The same three words in a row so often are a loop."""


def transcribe(
    clip: Clip, *, language: str | None = None, model: str = ""
) -> Transcript | NotMeasurable:
    """What is said in a clip; not measurable where nobody speaks or a package is missing.

    Clips of puppets are read by the recogniser of their own world.

    Args:
        clip: any.
        language: ISO 639-1 code to read it in; None identifies it.
        model: as in `load_recogniser`.
    """
    return _transcribed(clip, language=language, model=model)


@OncePerClip
def _transcribed(clip: Clip, *, language: str | None, model: str) -> Transcript | NotMeasurable:
    found = heard(clip)
    if isinstance(found, NotMeasurable):
        return found
    speech, activity = found
    if shows_puppets(clip):
        return puppet_transcript(speech, activity)
    if activity.speech_s < LEAST_SPEECH_S:
        details = {"speech_s": activity.speech_s}
        return NotMeasurable("Nobody speaks for half a second.", details=details)
    recogniser = load_recogniser(model)
    if isinstance(recogniser, NotMeasurable):
        return recogniser
    return _recognised(recogniser, speech, activity, language)


def said(clip: Clip, expectation: Expectation) -> Outcome:
    """Number of words said, with the transcript as details."""
    transcript = transcribe(clip)
    if isinstance(transcript, NotMeasurable):
        return transcript
    return Measured(float(len(transcript.words)), "words", details=transcript_details(transcript))


METRIC = Metric(
    "speech.words", VERSION, "faster-whisper or the puppets' own recogniser, silero-vad", said
)


def transcript_details(transcript: Transcript) -> dict[str, Any]:
    """JSON values of a transcript."""
    return {
        "text": transcript.text,
        "language": transcript.language,
        "language_probability": transcript.language_probability,
        "speech_s": transcript.speech_s,
        "recogniser": transcript.recogniser,
        "is_intelligible": transcript.is_intelligible,
        "words": [[word.text, word.start_s, word.end_s] for word in transcript.words],
    }


def is_looping(text: str) -> bool:
    """Whether a text repeats itself as no speaker does."""
    data = text.encode()
    if len(data) > 40 and len(data) / len(zlib.compress(data)) > LARGEST_COMPRESSION:
        return True
    words = text.split()
    triples = Counter(zip(words, words[1:], words[2:], strict=False))
    return max(triples.values(), default=0) >= LONGEST_LOOP


def _recognised(
    recogniser: Recogniser, speech: np.ndarray, activity: VoiceActivity, language: str | None
) -> Transcript:
    # Higher temperatures are tried when the first attempt is poor: they take minutes and differ
    # from run to run. Earlier text as a prompt lets one loop spread.
    segments, info = recogniser.network.transcribe(
        speech,
        language=language,
        temperature=0.0,
        beam_size=5,
        condition_on_previous_text=False,
        word_timestamps=True,
        vad_filter=False,
    )
    parts = list(segments)
    words = tuple(
        Word(word.word.strip(), float(word.start), float(word.end), float(word.probability))
        for part in parts
        for word in part.words or ()
    )
    text = " ".join(part.text.strip() for part in parts)
    believed = [part.avg_logprob >= LEAST_LOG_PROBABILITY for part in parts]
    return Transcript(
        text=text,
        words=words,
        language=info.language,
        language_probability=float(info.language_probability),
        speech_s=activity.speech_s,
        recogniser=recogniser.name,
        is_intelligible=bool(words) and any(believed) and not is_looping(text),
    )
