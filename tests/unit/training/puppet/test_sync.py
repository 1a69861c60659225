"""Offsets between movement and sound, planted and found again with their sign."""

import numpy as np
import pytest

from ltx2.training.puppet import heard, sync

FRAME_RATE, NUM_FRAMES = 24.0, 49


def a_mouth(early_s: float) -> tuple[np.ndarray, np.ndarray]:
    """A mouth that opens three times, and noise as loud as it is open but early by so much."""
    centres, widths = np.array([0.6, 0.8, 1.1]), np.array([0.05, 0.08, 0.04])

    def opening(seconds: np.ndarray) -> np.ndarray:
        return np.exp(-(((seconds[:, None] - centres) / widths) ** 2)).sum(axis=1)

    samples = np.arange(round(NUM_FRAMES / FRAME_RATE * heard.SAMPLE_RATE))
    noise = np.random.default_rng(0).standard_normal(samples.size)
    frames = (np.arange(NUM_FRAMES) + 0.5) / FRAME_RATE
    return opening(frames), 0.1 * noise * opening(samples / heard.SAMPLE_RATE + early_s)


@pytest.mark.parametrize("early_s", [-0.2, -0.08, 0.0, 0.08, 0.2])
def test_a_voice_that_comes_early_has_a_positive_offset(early_s: float) -> None:
    opening, mono = a_mouth(early_s)
    offset = sync.mouth_offset(opening, heard.voice_level(mono, "none"), FRAME_RATE)
    assert offset.offset_ms == pytest.approx(1000 * early_s, abs=10)
    assert offset.agreement > 0.9


def test_a_voice_that_has_nothing_to_do_with_the_mouth_hardly_agrees() -> None:
    opening, _ = a_mouth(0.0)
    hum = np.sin(np.arange(32_000) / 9) * np.linspace(1, 0.9, 32_000)
    assert sync.mouth_offset(opening, heard.voice_level(hum, "none"), FRAME_RATE).agreement < 0.5


@pytest.mark.parametrize("early_s", [-0.2, -0.08, 0.0, 0.08, 0.2])
def test_knocks_that_come_early_have_a_positive_offset(early_s: float) -> None:
    times, strengths = np.array([0.5, 0.9, 1.2]), np.array([1.0, 0.7, 0.5])
    mono = np.zeros(2 * heard.SAMPLE_RATE)
    for time, strength in zip(times - early_s, strengths, strict=True):
        start = round(time * heard.SAMPLE_RATE)
        mono[start : start + 800] += strength * np.exp(-np.arange(800) / 200)
    offset = sync.impact_offset(times, strengths, mono)
    assert offset.offset_ms == pytest.approx(1000 * early_s, abs=10)
    assert offset.agreement > 0.7
