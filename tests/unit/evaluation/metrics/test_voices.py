from dataclasses import replace

import numpy as np
import pytest

from evaluation.expectation import Expectation
from evaluation.measurement import Measured, NotMeasurable
from evaluation.metrics import voices
from evaluation.networks import voice_encoder
from ltx2 import Clip
from ltx2.errors import ResourceError


def a_voice(pitch_hz, seconds=3.2, seed=0):
    """A buzz with three formants: no speech, but a voice to the encoder."""
    time_s = np.arange(round(16_000 * seconds)) / 16_000
    buzz = sum(np.sin(2 * np.pi * pitch_hz * n * time_s) / n for n in range(1, 30))
    noise = np.random.default_rng(seed).normal(0, 0.01, time_s.size)
    return (0.05 * buzz * (1 + 0.5 * np.sin(2 * np.pi * 4 * time_s)) + noise).astype(np.float32)


def test_a_voice_is_nearer_to_itself_than_to_another():
    low, high = a_voice(90), a_voice(260)
    first, second = (voice_encoder.voice_vector(part) for part in np.array_split(low, 2))
    other = voice_encoder.voice_vector(high)
    assert np.linalg.norm(first) == pytest.approx(1)
    assert first @ second > first @ other + 0.1


def test_loudness_does_not_change_a_quiet_voice():
    voice = 0.01 * a_voice(120)
    assert voice_encoder.voice_vector(voice) @ voice_encoder.voice_vector(
        voice / 4
    ) == pytest.approx(1, abs=1e-3)


def test_without_the_package_it_says_which_one_brings_it(monkeypatch):
    voice_encoder.load_voice_encoder.cache_clear()
    monkeypatch.setattr(voice_encoder, "find_spec", lambda name: None)
    with pytest.raises(ResourceError, match="Resemblyzer"):
        voice_encoder.load_voice_encoder()


def test_consistency_is_what_speakers_have_in_common_less_what_they_share():
    same, other = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    outcome = voices._compared({"a": [same, same], "b": [other, other]})
    assert isinstance(outcome, Measured)
    assert outcome.value == pytest.approx(1)
    assert outcome.details["speakers"] == 2
    assert isinstance(voices._compared({"a": [same]}), NotMeasurable)


@pytest.mark.slow
def test_a_real_voice_is_one_voice(data_folder):
    clip = Clip.load(data_folder / "grid" / "lrwp9a.mpg")
    outcome = voices.METRIC.measure(clip, Expectation())
    assert isinstance(outcome, Measured)
    assert outcome.value > 0.6
    mute = replace(clip, waveform=np.zeros((2, 0), np.float32))
    assert isinstance(voices.METRIC.measure(mute, Expectation()), NotMeasurable)
