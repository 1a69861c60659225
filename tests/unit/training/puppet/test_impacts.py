import numpy as np
import pytest

from ltx2.training.puppet.impacts import MATERIAL_SOUNDS, impact_sound

SAMPLE_RATE = 16000


def strike(material: str, *, strength: float = 1.0, seed: int = 0) -> np.ndarray:
    return impact_sound(material, strength=strength, pitch=1.0, sample_rate=SAMPLE_RATE, seed=seed)


def decay_s(waveform: np.ndarray) -> float:
    """Time until nine tenths of the energy has passed."""
    energy = np.cumsum(waveform.astype(float) ** 2)
    return float(np.searchsorted(energy, 0.9 * energy[-1])) / SAMPLE_RATE


def centroid_hz(waveform: np.ndarray) -> float:
    power = np.abs(np.fft.rfft(waveform, 1 << 15)) ** 2
    frequencies = np.fft.rfftfreq(1 << 15, 1 / SAMPLE_RATE)
    return float((power * frequencies).sum() / power.sum())


def test_wood_is_short_and_metal_rings_long_and_bright() -> None:
    wood, metal, water = (strike(material) for material in ("wood", "metal", "water"))
    assert decay_s(wood) < 0.06 < decay_s(water) < 0.2 < decay_s(metal)
    assert centroid_hz(metal) > 2 * max(centroid_hz(wood), centroid_hz(water))


def test_the_pitch_of_water_rises() -> None:
    water = strike("water")
    early = centroid_hz(water[: round(0.04 * SAMPLE_RATE)])
    late = centroid_hz(water[round(0.06 * SAMPLE_RATE) : round(0.1 * SAMPLE_RATE)])
    assert late > 1.25 * early


@pytest.mark.parametrize("material", MATERIAL_SOUNDS)
def test_an_impact_starts_at_once_ends_in_silence_and_peaks_with_its_strength(
    material: str,
) -> None:
    hard, soft = strike(material), strike(material, strength=0.5)
    assert np.abs(soft).max() == pytest.approx(0.5 * np.abs(hard).max(), rel=1e-4)
    loud = np.flatnonzero(np.abs(hard) > 0.2 * np.abs(hard).max())
    assert loud[0] < 0.002 * SAMPLE_RATE
    assert np.abs(hard[-20:]).max() < 0.01


def test_the_seed_decides_the_noise() -> None:
    assert np.array_equal(strike("wood", seed=3), strike("wood", seed=3))
    assert not np.array_equal(strike("wood", seed=3), strike("wood", seed=4))
