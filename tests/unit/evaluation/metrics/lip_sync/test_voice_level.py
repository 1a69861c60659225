import numpy as np
from scipy.signal import butter, sosfilt

from evaluation.metrics.lip_sync.voice_level import LEVEL_RATE, voice_level
from evaluation.metrics.sound import SPEECH_RATE

TIME_S = np.arange(2 * SPEECH_RATE) / SPEECH_RATE


def a_voice():
    """Two syllables of a voice of 120 Hz, from 0.6 to 1.2 s."""
    tone = sum(np.sin(2 * np.pi * 120 * n * TIME_S) / n for n in range(1, 30))
    loudness = sum(np.exp(-0.5 * ((TIME_S - middle) / 0.06) ** 2) for middle in (0.75, 1.05))
    return 0.1 * tone * loudness


def gusts():
    """Wind that swells to nine times its power and down again, loudest where nobody speaks."""
    noise = np.random.default_rng(0).normal(size=TIME_S.size)
    low = sosfilt(butter(2, (180, 700), "bandpass", fs=SPEECH_RATE, output="sos"), noise)
    return 0.25 * low * (0.6 + 0.3 * np.cos(2 * np.pi * TIME_S / 1.3))


def test_wind_that_swells_hides_little_of_a_voice():
    clear = voice_level(a_voice().astype(np.float32))
    windy = voice_level((a_voice() + gusts()).astype(np.float32))
    assert np.corrcoef(clear, windy)[0, 1] > 0.97
    quiet = np.r_[0 : round(0.5 * LEVEL_RATE), round(1.35 * LEVEL_RATE) : len(windy)]
    assert windy[quiet].mean() < 0.08 * windy.max()


def test_a_short_hiss_is_no_background():
    hiss = np.random.default_rng(1).normal(0, 0.05, TIME_S.size)
    hiss *= (TIME_S > 0.9) & (TIME_S < 1.05)
    level = voice_level(hiss.astype(np.float32))
    assert abs(level.argmax() / LEVEL_RATE - 0.975) < 0.08
    assert level.max() > 10 * np.median(level)


def test_a_sound_shorter_than_a_window_has_a_level():
    assert np.isfinite(voice_level(np.full(10, 0.1, np.float32))).all()
