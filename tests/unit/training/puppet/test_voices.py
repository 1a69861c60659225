import shutil
from collections.abc import Iterator

import numpy as np
import pytest

from ltx2.errors import ResourceError
from ltx2.training.puppet.scenes import LANGUAGES, VOICES, WORDS
from ltx2.training.puppet.voices import LOUDNESS_RMS, PEAK, num_variants, speak
from ltx2.training.puppet.world import TURN_S

needs_espeak = pytest.mark.skipif(
    shutil.which("espeak-ng") is None, reason="espeak-ng is not installed"
)
SAMPLE_RATE = 16000


def say(word: str, voice: str = "high", variant: int = 0, *, language: str = "en") -> np.ndarray:
    return speak(word, language=language, voice=voice, variant=variant, sample_rate=SAMPLE_RATE)


def median_pitch_hz(waveform: np.ndarray) -> float:
    """Median over loud 50-ms windows of the strongest autocorrelation between 55 and 330 Hz."""
    size, pitches = SAMPLE_RATE // 20, []
    for start in range(0, len(waveform) - size, size // 2):
        window = waveform[start : start + size].astype(float)
        if np.sqrt((window**2).mean()) > 0.08:
            match = np.correlate(window, window, "full")[size - 1 :]
            pitches.append(SAMPLE_RATE / (48 + np.argmax(match[48:290])))
    return float(np.median(pitches))


@needs_espeak
@pytest.mark.parametrize("word", ["banana", "hello", "tomorrow"])
def test_the_high_voice_is_an_octave_above_the_low_one(word: str) -> None:
    assert median_pitch_hz(say(word, "high")) > 1.9 * median_pitch_hz(say(word, "low"))


@pytest.mark.slow
@needs_espeak
@pytest.mark.parametrize("voice", VOICES)
@pytest.mark.parametrize("language", LANGUAGES)
def test_words_are_loud_enough_without_silence_at_their_ends_and_end_before_the_next_turn(
    language: str, voice: str
) -> None:
    for word in WORDS[language]:
        waveform = say(word, voice, language=language)
        assert 0.25 < len(waveform) / SAMPLE_RATE < TURN_S, word
        loudness, peak = np.sqrt((waveform**2).mean()), np.abs(waveform).max()
        # All are equally loud but the few whose peaks would then be too high.
        assert loudness <= LOUDNESS_RMS + 1e-3, word
        assert peak <= PEAK + 1e-3, word
        assert loudness > LOUDNESS_RMS - 1e-3 or peak > PEAK - 1e-3, word
        assert loudness > 0.06, word
        edge = round(0.03 * SAMPLE_RATE)
        assert np.abs(waveform[:edge]).max() > 0.005, word
        assert np.abs(waveform[-edge:]).max() > 0.005, word


@needs_espeak
def test_every_language_pronounces_a_word_in_its_own_way() -> None:
    said = {say("demain", language=language).tobytes() for language in LANGUAGES}
    assert len(said) == len(LANGUAGES)


@needs_espeak
def test_sound_is_made_at_the_rate_asked_for() -> None:
    slow, fast = (
        speak("yes", language="en", voice="low", variant=0, sample_rate=rate)
        for rate in (16000, 24000)
    )
    assert len(fast) / 24000 == pytest.approx(len(slow) / 16000, abs=0.01)
    assert np.sqrt((fast**2).mean()) == pytest.approx(np.sqrt((slow**2).mean()), rel=0.05)


@needs_espeak
def test_variants_of_a_word_differ_in_pitch_or_speed() -> None:
    said = {say("music", "low", variant).tobytes() for variant in range(num_variants("low"))}
    assert len(said) == num_variants("low") == 6


@needs_espeak
def test_the_shared_recording_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        say("yes")[0] = 1


@pytest.fixture
def no_programs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    speak.cache_clear()
    monkeypatch.setenv("PATH", "")
    yield
    speak.cache_clear()


@pytest.mark.usefixtures("no_programs")
def test_without_espeak_the_error_says_how_to_install_it() -> None:
    with pytest.raises(ResourceError, match="apt-get install espeak-ng"):
        say("hello")
