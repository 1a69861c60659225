"""Tells from the sound alone what a clip of the puppet world says or strikes.

Words and impacts are recognised by the nearest of all sounds the world can make: log-mel
spectra, aligned in time by dynamic time warping (Sakoe and Chiba, 1978).
Letters: S samples, L frames of a spectrum, M its bands, N templates.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

from ltx2.training.puppet.impacts import impact_sound
from ltx2.training.puppet.scenes import MATERIALS, POSITIONS, VOICES, WORDS
from ltx2.training.puppet.voices import num_variants, speak

Signal = NDArray[np.float64]

SAMPLE_RATE = 16_000
"""Rate in Hz at which everything is measured."""
HOP, WINDOW = 160, 400
NUM_BANDS, LOWEST_HZ, HIGHEST_HZ = 32, 100.0, 7000.0
RANGE_DB = 40.0
"""What lies further below the loudest counts as silence."""
SILENT_RMS = 1e-3
EDGE = 0.08
"""Share of the peak level at which a sound begins and ends."""
LONGEST_PAUSE_S = 0.15
IMPACT_S = 0.4
IMPACT_PITCHES = (0.94, 1.0, 1.06)
LARGEST_DISTANCE = 4.5
"""Distance from the nearest template, in decibels, beyond which a sound is like nothing known."""
SIDE_DB = 3.0
"""Half of what separates a sound on one side from one in the middle."""


@dataclass(frozen=True)
class HeardWord:
    """What is said.

    Attributes:
        word, voice: of the nearest template.
        margin: by what share the nearest template of another word is further away.
    """

    word: str
    voice: str
    margin: float


def to_mono(waveform: NDArray[np.float32], sample_rate: int) -> Signal | None:
    """The mean of both channels at `SAMPLE_RATE` [S]; None where nothing is heard."""
    mono = waveform.mean(axis=0).astype(np.float64) if waveform.size else np.zeros(0)
    if mono.size < sample_rate / 10 or np.sqrt(np.mean(mono**2)) < SILENT_RMS:
        return None
    ratio = Fraction(SAMPLE_RATE, sample_rate)
    return resample_poly(mono, ratio.numerator, ratio.denominator)


def hear_side(waveform: NDArray[np.float32]) -> str | None:
    """Where the loud parts of a stereo waveform [2, S] come from; None where nothing is heard."""
    level = np.abs(waveform).max(axis=0, initial=0.0)
    if level.max(initial=0.0) < SILENT_RMS:
        return None
    loud = waveform[:, level > 0.2 * level.max()].astype(np.float64)
    left, right = (loud**2).sum(axis=1) + 1e-9
    difference_db = 10 * np.log10(right / left)
    return POSITIONS[1 + int(difference_db > SIDE_DB) - int(difference_db < -SIDE_DB)]


def hear_word(mono: Signal) -> HeardWord | None:
    """The word and the voice most like what is said; None where it is like no word."""
    labels, templates = _word_templates()
    distances = warped_distances(log_mel(_utterance(mono)), templates)
    nearest = int(distances.argmin())
    if distances[nearest] > LARGEST_DISTANCE:
        return None
    word, voice = labels[nearest]
    second = min(d for d, label in zip(distances, labels, strict=True) if label[0] != word)
    return HeardWord(word, voice, float(second / max(distances[nearest], 1e-9) - 1))


def hear_material(mono: Signal) -> str | None:
    """The material that sounds most like the loudest impact; None where it is like no impact."""
    materials, templates = _impact_templates()
    distances = warped_distances(log_mel(_loudest_impact(mono)), templates)
    nearest = int(distances.argmin())
    return materials[nearest] if distances[nearest] <= LARGEST_DISTANCE else None


def log_mel(mono: Signal) -> Signal:
    """Levels in decibels above what counts as silence, 0..RANGE_DB [L, M]."""
    padded = np.pad(mono, (0, max(0, WINDOW - mono.size)))
    pieces = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    power = np.abs(np.fft.rfft(pieces * np.hanning(WINDOW), 512)) ** 2 @ _mel_bands().T
    decibels = 10 * np.log10(power + 1e-12)
    return np.maximum(decibels - decibels.max() + RANGE_DB, 0)


@functools.cache
def _mel_bands() -> Signal:
    """Triangular bands, evenly spaced in mel [M, 257]."""
    mel = np.linspace(_to_mel(LOWEST_HZ), _to_mel(HIGHEST_HZ), NUM_BANDS + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    frequencies = np.fft.rfftfreq(512, 1 / SAMPLE_RATE)
    rise = (frequencies - edges[:-2, None]) / np.diff(edges)[:-1, None]
    fall = (edges[2:, None] - frequencies) / np.diff(edges)[1:, None]
    bands = np.maximum(np.minimum(rise, fall), 0)
    return bands / bands.sum(axis=1, keepdims=True)


def _to_mel(hz: float) -> float:
    return 2595 * float(np.log10(1 + hz / 700))


def _level(mono: Signal) -> Signal:
    """Root mean square of each hop [S / HOP]."""
    whole = mono[: mono.size // HOP * HOP].reshape(-1, HOP)
    return np.sqrt((whole**2).mean(axis=1))


def _utterance(mono: Signal) -> Signal:
    """The longest and loudest part without a long pause."""
    level = _level(mono)
    noise = np.percentile(level, 10)
    loud = np.flatnonzero(level > noise + EDGE * (level.max() - noise))
    if loud.size == 0:  # as loud throughout, like a hum
        return mono
    ends = np.flatnonzero(np.diff(loud) > LONGEST_PAUSE_S * SAMPLE_RATE / HOP)
    pieces = np.split(loud, ends + 1)
    piece = max(pieces, key=lambda part: float(level[part].sum()))
    return mono[piece[0] * HOP : (piece[-1] + 1) * HOP]


def _loudest_impact(mono: Signal) -> Signal:
    """From just before the loudest impact that can be heard out on, `IMPACT_S` of sound."""
    length = round(IMPACT_S * SAMPLE_RATE)
    padded = np.pad(mono, (0, max(0, length + HOP - mono.size)))
    level = _level(padded[: padded.size - length + HOP])
    start = max(0, int(level.argmax()) - 2) * HOP
    return padded[start : start + length]


@functools.cache
def _word_templates() -> tuple[tuple[tuple[str, str], ...], tuple[Signal, ...]]:
    """Every word in every voice and variant: (word, voice) and spectrum of each."""
    spoken = [
        (word, voice, variant)
        for word, voice in itertools.product(WORDS, VOICES)
        for variant in range(num_variants(voice))
    ]
    sounds = [
        speak(word, language="en", voice=voice, variant=variant, sample_rate=SAMPLE_RATE)
        for word, voice, variant in spoken
    ]
    spectra = tuple(log_mel(_utterance(_between_silence(sound))) for sound in sounds)
    return tuple((word, voice) for word, voice, _ in spoken), spectra


@functools.cache
def _impact_templates() -> tuple[tuple[str, ...], tuple[Signal, ...]]:
    """Every material struck at a few pitches: material and spectrum of each."""
    struck = list(itertools.product(MATERIALS, IMPACT_PITCHES))
    sounds = [
        impact_sound(material, strength=1.0, pitch=pitch, sample_rate=SAMPLE_RATE, seed=0)
        for material, pitch in struck
    ]
    spectra = tuple(log_mel(_loudest_impact(_between_silence(sound))) for sound in sounds)
    return tuple(material for material, _ in struck), spectra


def _between_silence(sound: NDArray[np.float32]) -> Signal:
    return np.pad(sound.astype(np.float64), SAMPLE_RATE // 2)


def warped_distances(spectrum: Signal, templates: tuple[Signal, ...]) -> Signal:
    """Mean distance per frame from each template after the best warping of time [N].

    A step in both sounds costs twice its distance, a step in one of them once, so the cost of
    every path divided by the sum of both lengths is a mean.

    Args:
        spectrum: [L, M].
        templates: N spectra of any length.
    """
    lengths = np.array([len(template) for template in templates])
    padded = np.zeros((len(templates), lengths.max(), spectrum.shape[1]))
    for row, template in zip(padded, templates, strict=True):
        row[: len(template)] = template
    costs = np.abs(spectrum[:, None, None] - padded[None]).mean(axis=-1)  # [L, N, longest]
    previous = np.full((len(templates), lengths.max() + 1), np.inf)
    previous[:, 0] = 0.0
    for frame_costs in costs:
        current = np.full_like(previous, np.inf)
        for place in range(lengths.max()):
            cost = frame_costs[:, place]
            straight = previous[:, place] + 2 * cost
            alone = np.minimum(previous[:, place + 1], current[:, place]) + cost
            current[:, place + 1] = np.minimum(straight, alone)
        previous = current
    ends = previous[np.arange(len(templates)), lengths]
    return ends / (len(spectrum) + lengths)
