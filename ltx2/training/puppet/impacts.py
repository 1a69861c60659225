"""Sounds of a ball that hits wood, metal or water, made of a few decaying tones.

Struck bodies ring in modes, each an exponentially decaying sine. A bubble closing under water
is one sine whose pitch rises while it decays (van den Doel, "Physically based models for liquid
sounds", 2005).

Tones that last stand on multiples of the rate of mel frames. A vocoder of convolutions turns a
spectrogram that stays the same into a wave that repeats with every frame, and such waves hold no
other tones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ltx2.model.vocoder import MEL_FRAMES_PER_SECOND

LOUDEST_PEAK = 0.6
LASTING_DECAY_S = 0.1


@dataclass(frozen=True)
class Mode:
    """One decaying tone.

    Attributes:
        frequency_hz: pitch at the impact.
        decay_s: time after which 1/e of the amplitude is left.
        level: amplitude beside the other modes.
        rise_per_s: growth of the pitch; 0 keeps it.
        delay_s: time between the impact and the tone.
    """

    frequency_hz: float
    decay_s: float
    level: float
    rise_per_s: float = 0.0
    delay_s: float = 0.0


@dataclass(frozen=True)
class Material:
    """What an impact sounds like: modes and a burst of noise.

    Attributes:
        modes: the tones.
        noise_level: amplitude of the burst.
        noise_decay_s: its decay.
        duration_s: length after which nothing is heard.
    """

    modes: tuple[Mode, ...]
    noise_level: float
    noise_decay_s: float
    duration_s: float


MATERIAL_SOUNDS = {
    "wood": Material(
        (Mode(270, 0.04, 1.0), Mode(610, 0.028, 0.9), Mode(1120, 0.016, 0.6)),
        noise_level=0.3,
        noise_decay_s=0.004,
        duration_s=0.2,
    ),
    # The ratios 1 : 2.76 : 5.40 : 8.93 are those of a free bar, before rounding.
    "metal": Material(
        (
            Mode(640, 0.45, 0.8),
            Mode(640 * 2.76, 0.34, 1.0),
            Mode(640 * 5.40, 0.22, 0.6),
            Mode(640 * 8.93, 0.12, 0.3),
        ),
        noise_level=0.1,
        noise_decay_s=0.003,
        duration_s=1.6,
    ),
    "water": Material(
        (
            Mode(380, 0.075, 1.0, rise_per_s=11.0),
            Mode(520, 0.05, 0.6, rise_per_s=12.0, delay_s=0.11),
        ),
        noise_level=0.12,
        noise_decay_s=0.03,
        duration_s=0.5,
    ),
}


def impact_sound(
    material: str, *, strength: float, pitch: float, sample_rate: int, seed: int
) -> NDArray[np.float32]:
    """The sound of one impact as mono waveform [S]; it starts at the impact.

    Args:
        material: a key of `MATERIAL_SOUNDS`.
        strength: peak amplitude as a share of the loudest, 0..1.
        pitch: factor on all frequencies, about 1.
        sample_rate: Hz.
        seed: of the noise burst.
    """
    sound = MATERIAL_SOUNDS[material]
    time = np.arange(round(sound.duration_s * sample_rate)) / sample_rate
    noise = np.random.default_rng(seed).standard_normal(time.size)
    waveform = sound.noise_level * noise * np.exp(-time / sound.noise_decay_s)
    for mode in sound.modes:
        if mode.frequency_hz * pitch < sample_rate / 2:
            waveform += _tone(mode, time, pitch)
    waveform *= np.linspace(1, 0, time.size) ** 0.5  # ends in silence, without a click
    waveform *= strength * LOUDEST_PEAK / np.abs(waveform).max()
    return waveform.astype(np.float32)


def _tone(mode: Mode, time: NDArray[np.float64], pitch: float) -> NDArray[np.float64]:
    since = np.maximum(time - mode.delay_s, 0)
    frequency = mode.frequency_hz * pitch
    if mode.decay_s > LASTING_DECAY_S:
        frequency = MEL_FRAMES_PER_SECOND * round(frequency / MEL_FRAMES_PER_SECOND)
    cycles = frequency * (since + mode.rise_per_s * since**2 / 2)
    return mode.level * np.sin(2 * np.pi * cycles) * np.exp(-since / mode.decay_s)
