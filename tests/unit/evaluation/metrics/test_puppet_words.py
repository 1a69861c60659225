import numpy as np

from evaluation.measurement import NotMeasurable
from evaluation.metrics import puppet_words
from evaluation.metrics.puppet_words import UNKNOWN, puppet_transcript
from evaluation.metrics.voice_activity import Span, VoiceActivity
from ltx2.errors import ResourceError
from ltx2.puppet import PuppetWord

SPEECH = np.sin(np.arange(64_000) / 5).astype(np.float32) * 0.3
for first in (0, 14_000, 30_000, 46_000):
    SPEECH[first : first + 6000] = 0
ACTIVITY = VoiceActivity(np.ones(125), (Span(0.3, 4.0),))


def hears(monkeypatch, *words):
    def hear(speech, spans):
        return tuple(
            PuppetWord(word, "en" if word else "", start, end, 0.5)
            for word, (start, end) in zip(words, spans, strict=False)
        )

    monkeypatch.setattr(puppet_words, "hear_words", hear)


def test_a_line_said_again_after_two_seconds_counts_once(monkeypatch):
    hears(monkeypatch, "hello", "music", "hello", "music")
    transcript = puppet_transcript(SPEECH, ACTIVITY)
    assert transcript.text == "hello music"
    assert transcript.language == "en"
    assert transcript.is_intelligible
    assert "puppet" in transcript.recogniser


def test_after_the_first_round_a_word_off_the_beat_is_no_second_line(monkeypatch):
    def hear(speech, spans):
        starts = (0.5, 1.5, 3.9, 7.9, 9.1, 11.4)
        words = ("hello", "hello", "hello", "hello", "music", "music")
        return tuple(
            PuppetWord(word, "en", start, start + 0.4, 0.5)
            for word, start in zip(words, starts, strict=True)
        )

    monkeypatch.setattr(puppet_words, "hear_words", hear)
    # 1.5 s is within the first round: it may be somebody else's line.
    assert puppet_transcript(SPEECH, ACTIVITY).text == "hello hello music"


def test_what_is_like_no_word_stands_as_unknown(monkeypatch):
    hears(monkeypatch, "", "")
    transcript = puppet_transcript(SPEECH, ACTIVITY)
    assert set(transcript.text.split()) == {UNKNOWN}
    assert not transcript.is_intelligible


def test_without_a_voice_to_compare_with_it_says_what_is_missing(monkeypatch):
    def missing(speech, spans):
        raise ResourceError("espeak-ng is missing.", next_step="Install espeak-ng.")

    monkeypatch.setattr(puppet_words, "hear_words", missing)
    outcome = puppet_transcript(SPEECH, ACTIVITY)
    assert isinstance(outcome, NotMeasurable)
    assert "espeak-ng" in outcome.next_step
    assert isinstance(puppet_transcript(SPEECH, VoiceActivity(np.zeros(1), ())), NotMeasurable)
