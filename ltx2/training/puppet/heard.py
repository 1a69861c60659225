"""Tells from the sound alone what a clip of the puppet world says, strikes or plays.

Words and impacts are recognised by the nearest of all sounds the world can make: log-mel
spectra, aligned in time by dynamic time warping (Sakoe and Chiba, 1978). Where rain or wind is
heard, words are looked for outside its band, and compared with templates that it covers too.
Letters: S samples, L frames of a spectrum, M its bands, N templates, K frames of the longest.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, find_peaks, resample_poly, sosfiltfilt

from ltx2.training.puppet.impacts import impact_sound
from ltx2.training.puppet.scenes import KEYS, LANGUAGES, MATERIALS, POSITIONS, VOICES, WORDS
from ltx2.training.puppet.surroundings import RAIN_BAND_HZ, WIND_BAND_HZ, ambient_sound
from ltx2.training.puppet.voices import num_variants, speak
from ltx2.training.puppet.world import TURN_S
from ltx2.training.puppet.xylophone import NOTE_S, PITCH_HZ

Signal = NDArray[np.float64]
Span = tuple[float, float]
"""First and last moment, seconds."""

SAMPLE_RATE = 16_000
"""Rate in Hz at which everything is measured."""
HOP, WINDOW = 160, 400
NUM_BANDS, LOWEST_HZ, HIGHEST_HZ = 32, 100.0, 7000.0
RANGE_DB = 40.0
"""What lies further below the loudest counts as silence."""
SILENT_RMS = 1e-3
EDGE = 0.08
"""Share of the peak level at which a sound begins and ends."""
LONGEST_PAUSE_S = 0.25
SHORTEST_TURN_S, SHORTEST_GAP_S = 0.25, 0.06
"""A second line begins this long after the first at least, and after such a gap."""
IMPACT_S = 0.4
IMPACT_PITCHES = (0.93, 0.95, 0.97, 1.0, 1.03, 1.05, 1.07)
LARGEST_WORD_DISTANCE, LARGEST_IMPACT_DISTANCE = 5.5, 6.0
"""Distance from the nearest template, in decibels, beyond which a sound is like nothing known.
A word after the autoencoders is 2 to 5 from its template, an impact or a hum about 6 and more."""
MORE_DISTANCE_IN_AMBIENCE = 1.0
"""What rain and wind add, since their templates do not know how they swell."""
SIDE_DB = 3.0
"""Half of what separates a sound on one side from one in the middle."""

NOISE_PERCENTILE, VALLEY_PERCENTILE, LARGEST_PERCENTILE = 20, 30, 98
AMBIENCE_MARGIN = 2.5
"""What is louder than the largest power of an ambience by this factor is not the ambience."""
LEAST_AMBIENCE_DB = -10.0
"""Level of rain or wind, beside the world's own, from which on it counts."""
NOTE_WINDOW, NOTE_HOP = 1024, 160
NOTE_BIN_HZ = SAMPLE_RATE / NOTE_WINDOW
NOTE_BAND = 0.03
"""Half the width of the band around a key's pitch, as a share of it."""
LEAST_NOTE_RISE = 0.12
"""Rise of a key's tone, as a share of the largest, that counts as a stroke."""


@dataclass(frozen=True)
class HeardWord:
    """What is said.

    Attributes:
        word, language, voice: of the nearest template.
        margin: by what share the nearest template of another word is further away.
        in_language: the nearest word of each language.
    """

    word: str
    language: str
    voice: str
    margin: float
    in_language: dict[str, str]


@dataclass(frozen=True)
class HeardNote:
    """One stroke of a xylophone.

    Attributes:
        key: whose pitch it has.
        time_s: when.
        side: where it comes from.
    """

    key: str
    time_s: float
    side: str


def at_rate(waveform: NDArray[np.float32], sample_rate: int) -> Signal | None:
    """Both channels at `SAMPLE_RATE` [2, S]; None where nothing is heard."""
    stereo = waveform.astype(np.float64)
    if stereo.shape[-1] < sample_rate / 10 or np.sqrt(np.mean(stereo**2)) < SILENT_RMS:
        return None
    ratio = Fraction(SAMPLE_RATE, sample_rate)
    return resample_poly(stereo, ratio.numerator, ratio.denominator, axis=-1)


def side_of(stereo: Signal) -> str:
    """Where the loud parts of a sound [2, S] come from."""
    level = np.abs(stereo).max(axis=0, initial=0.0)
    return _side(*(stereo[:, level > 0.2 * level.max(initial=0.0)] ** 2).sum(axis=1))


def _side(left: float, right: float) -> str:
    """Where a sound comes from whose channels have such powers."""
    difference_db = 10 * np.log10((right + 1e-9) / (left + 1e-9))
    return POSITIONS[1 + int(difference_db > SIDE_DB) - int(difference_db < -SIDE_DB)]


# --- rain and wind ---------------------------------------------------------------------------

AMBIENT_BANDS = {"rain": RAIN_BAND_HZ, "wind": WIND_BAND_HZ}


def hear_ambience(mono: Signal) -> str:
    """Rain or wind behind all else in a sound [S], else "none"."""
    levels = {name: _ambient_db(mono, name) - _usual_ambient_db(name) for name in AMBIENT_BANDS}
    loudest = max(levels, key=lambda name: levels[name])
    return loudest if levels[loudest] > LEAST_AMBIENCE_DB else "none"


def _ambient_db(mono: Signal, ambience: str) -> float:
    """Level of noise in a band between the tones and between the events."""
    power = _powers(mono, 1024, 256)
    frequencies = np.fft.rfftfreq(1024, 1 / SAMPLE_RATE)
    low, high = AMBIENT_BANDS[ambience]
    band = power[:, (frequencies > low) & (frequencies < high)]
    valleys = np.percentile(band, VALLEY_PERCENTILE, axis=1)
    return float(10 * np.log10(np.percentile(valleys, NOISE_PERCENTILE) + 1e-12))


@functools.cache
def _usual_ambient_db(ambience: str) -> float:
    sound = ambient_sound(ambience, 4 * SAMPLE_RATE, SAMPLE_RATE, seed=0)
    return _ambient_db(sound.astype(np.float64), ambience)


def clear_of(sound: Signal, ambience: str) -> Signal:
    """A sound [..., S] without the band of rain or wind, not delayed."""
    if ambience == "none":
        return sound
    low, high = AMBIENT_BANDS[ambience]
    kind, edge = ("lowpass", 0.85 * low) if ambience == "rain" else ("highpass", 1.8 * high)
    return sosfiltfilt(butter(4, edge, kind, fs=SAMPLE_RATE, output="sos"), sound)


def _powers(mono: Signal, window: int, hop: int) -> Signal:
    """Power spectra of the overlapping pieces of a sound [L, window / 2 + 1]."""
    padded = np.pad(mono, (0, max(0, window - mono.size)))
    pieces = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]
    return np.abs(np.fft.rfft(pieces * np.hanning(window), axis=-1)) ** 2


# --- words -----------------------------------------------------------------------------------


def spoken_spans(mono: Signal, num_lines: int, ambience: str = "none") -> tuple[Span | None, ...]:
    """When each of one or two lines is said in a sound [S] before an ambience; None where not."""
    level = voice_level(mono, ambience)
    noise = np.percentile(level, 10)
    loud = np.flatnonzero(level > noise + EDGE * (level.max() - noise))
    if loud.size == 0:  # as loud throughout, like a hum
        return (((0.0, mono.size / SAMPLE_RATE),) + (None,) * num_lines)[:num_lines]
    if num_lines == 1:
        return (_span(_main_part(loud, level)),)
    gaps = np.diff(loud)
    middles = (loud[:-1] + loud[1:]) / 2 - loud[0]
    earliest, latest = (seconds * SAMPLE_RATE / HOP for seconds in (SHORTEST_TURN_S, 1.2 * TURN_S))
    gaps = np.where((middles > earliest) & (middles < latest), gaps, 0)
    if gaps.size and gaps.max() >= SHORTEST_GAP_S * SAMPLE_RATE / HOP:
        middle = int(gaps.argmax()) + 1
    else:
        middle = int(np.searchsorted(loud, loud[0] + TURN_S * SAMPLE_RATE / HOP))
    turns = (loud[:middle], loud[middle:])
    return tuple(_span(_main_part(turn, level)) if turn.size else None for turn in turns)


def voice_level(mono: Signal, ambience: str) -> Signal:
    """Level around each hop of what is louder than an ambience ever is [S / HOP]."""
    margin = (WINDOW - HOP) // 2
    threshold = AMBIENCE_MARGIN * _ambient_powers(ambience)[1]
    above = np.maximum(mel_powers(np.pad(mono, margin)) - threshold, 0)
    return np.sqrt(above.sum(axis=1))


@functools.cache
def _ambient_powers(ambience: str) -> tuple[Signal, Signal]:
    """Usual and largest power of an ambience in each band [M]."""
    powers = mel_powers(ambient_sound(ambience, 8 * SAMPLE_RATE, SAMPLE_RATE, 0).astype(np.float64))
    return powers.mean(axis=0), np.percentile(powers, LARGEST_PERCENTILE, axis=0)


def _main_part(loud: NDArray[np.int_], level: Signal) -> NDArray[np.int_]:
    """The longest and loudest part without a long pause."""
    ends = np.flatnonzero(np.diff(loud) > LONGEST_PAUSE_S * SAMPLE_RATE / HOP)
    return max(np.split(loud, ends + 1), key=lambda part: float(level[part].sum()))


def _span(hops: NDArray[np.int_]) -> Span:
    return float(hops[0]) * HOP / SAMPLE_RATE, float(hops[-1] + 1) * HOP / SAMPLE_RATE


def cut(sound: Signal, span: Span) -> Signal:
    """A stretch of a sound [..., S]."""
    first, last = (round(seconds * SAMPLE_RATE) for seconds in span)
    return sound[..., max(0, first) : last]


def hear_word(mono: Signal, ambience: str = "none") -> HeardWord | None:
    """The word and the voice most like what is said; None where it is like no word.

    Args:
        mono: one word from its beginning to its end [S].
        ambience: what is heard behind it.
    """
    spoken, powers = _word_templates()
    distances = _distances(mono, powers, ambience)
    nearest = int(distances.argmin())
    if distances[nearest] > _largest(LARGEST_WORD_DISTANCE, ambience):
        return None
    word, language, voice = spoken[nearest]
    by_word: dict[tuple[str, str], float] = {}
    for distance, (other, tongue, _) in zip(distances, spoken, strict=True):
        by_word[tongue, other] = min(by_word.get((tongue, other), np.inf), float(distance))
    second = min(distance for key, distance in by_word.items() if key != (language, word))
    in_language = {
        tongue: min(WORDS[tongue], key=lambda other: by_word[tongue, other]) for tongue in LANGUAGES
    }
    margin = second / max(float(distances[nearest]), 1e-9) - 1
    return HeardWord(word, language, voice, margin, in_language)


def hear_material(mono: Signal, ambience: str = "none") -> str | None:
    """The material that sounds most like the loudest impact; None where it is like no impact."""
    materials, powers = _impact_templates()
    distances = _distances(_loudest_impact(mono), powers, ambience)
    nearest = int(distances.argmin())
    near = distances[nearest] <= _largest(LARGEST_IMPACT_DISTANCE, ambience)
    return materials[nearest] if near else None


def _largest(distance: float, ambience: str) -> float:
    return distance if ambience == "none" else distance + MORE_DISTANCE_IN_AMBIENCE


def _distances(mono: Signal, templates: Sequence[Signal], ambience: str) -> Signal:
    """Distance of a sound from each template, in decibels [N]."""
    powers = mel_powers(mono)
    peak = float(powers.max()) + 1e-12
    if ambience != "none":
        noise = _ambient_powers(ambience)[0] / peak
        templates = [template + noise for template in templates]
    spectra = [_decibels(template) for template in templates]
    return warped_distances(_decibels(powers), spectra)


def mel_powers(mono: Signal) -> Signal:
    """Powers in bands evenly spaced in mel [L, M]."""
    padded = np.pad(mono, (0, max(0, WINDOW - mono.size)))
    pieces = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    return np.abs(np.fft.rfft(pieces * np.hanning(WINDOW), 512)) ** 2 @ _mel_bands().T


def _decibels(powers: Signal) -> Signal:
    """Levels above what counts as silence, 0..RANGE_DB [L, M]."""
    decibels = 10 * np.log10(powers + 1e-12)
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


def levels(mono: Signal) -> Signal:
    """Root mean square around each hop [S / HOP]."""
    whole = mono[: mono.size // HOP * HOP].reshape(-1, HOP)
    return np.sqrt((whole**2).mean(axis=1))


def _loudest_impact(mono: Signal) -> Signal:
    """From just before the loudest impact that can be heard out on, `IMPACT_S` of sound."""
    length = round(IMPACT_S * SAMPLE_RATE)
    padded = np.pad(mono, (0, max(0, length + HOP - mono.size)))
    level = levels(padded[: padded.size - length + HOP])
    start = max(0, int(level.argmax()) - 2) * HOP
    return padded[start : start + length]


@functools.cache
def _word_templates() -> tuple[tuple[tuple[str, str, str], ...], tuple[Signal, ...]]:
    """Every word in every voice and variant: (word, language, voice), and powers of each."""
    wanted = [
        (word, language, voice, variant)
        for language, voice in itertools.product(LANGUAGES, VOICES)
        for word, variant in itertools.product(WORDS[language], range(num_variants(voice)))
    ]
    # Every sound is a process of its own: as many at once as there are cores.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        powers = tuple(pool.map(lambda choice: _spoken_powers(*choice), wanted))
    return tuple(choice[:3] for choice in wanted), powers


def _spoken_powers(word: str, language: str, voice: str, variant: int) -> Signal:
    sound = speak(word, language=language, voice=voice, variant=variant, sample_rate=SAMPLE_RATE)
    padded = _between_silence(sound)
    (span,) = spoken_spans(padded, 1)
    return _normalised(cut(padded, span or (0.0, np.inf)))


@functools.cache
def _impact_templates() -> tuple[tuple[str, ...], tuple[Signal, ...]]:
    """Every material struck at a few pitches: material and powers of each."""
    struck = list(itertools.product(MATERIALS, IMPACT_PITCHES))
    sounds = [
        impact_sound(material, strength=1.0, pitch=pitch, sample_rate=SAMPLE_RATE, seed=0)
        for material, pitch in struck
    ]
    powers = tuple(_normalised(_loudest_impact(_between_silence(sound))) for sound in sounds)
    return tuple(material for material, _ in struck), powers


def _normalised(mono: Signal) -> Signal:
    """Powers whose largest is 1."""
    powers = mel_powers(mono)
    return powers / powers.max()


def _between_silence(sound: NDArray[np.float32]) -> Signal:
    return np.pad(sound.astype(np.float64), SAMPLE_RATE // 2)


def warped_distances(spectrum: Signal, templates: Sequence[Signal]) -> Signal:
    """Root mean square per frame from each template after the best warping of time [N].

    A step in both sounds costs twice its distance, a step in one of them once, so the cost of
    every path divided by the sum of both lengths is a mean.

    Args:
        spectrum: [L, M].
        templates: N spectra of any length.
    """
    lengths = np.array([len(template) for template in templates])
    count, longest = len(spectrum), int(lengths.max())
    costs = _costs(spectrum, templates, longest)  # [L, K, N]
    # Along a diagonal no place depends on another: diagonal d holds the costs of (i, d - i).
    number = count + longest - 1
    diagonals = np.full((number, count, len(templates)), np.inf, np.float32)
    for i, row in enumerate(costs):
        diagonals[i : i + longest, i] = row
    ends = np.zeros(len(templates))
    before = np.full((count + 1, len(templates)), np.inf, np.float32)  # the path before the sound
    previous = before.copy()
    before[0] = 0.0  # at d = -2, where the only beginning lies
    for d, cost in enumerate(diagonals):
        current = np.full_like(before, np.inf)
        alone = np.minimum(previous[:-1], previous[1:])
        current[1:] = np.minimum(before[:-1] + 2 * cost, alone + cost)
        finished = lengths == d - count + 2
        ends[finished] = current[count, finished]
        before, previous = previous, current
    return ends / (count + lengths)


def _costs(spectrum: Signal, templates: Sequence[Signal], longest: int) -> NDArray[np.float32]:
    """Root mean square difference of each frame from each frame of the templates [L, K, N]."""
    padded = np.zeros((longest, len(templates), spectrum.shape[1]), np.float32)
    for number, template in enumerate(templates):
        padded[: len(template), number] = template
    sound = spectrum.astype(np.float32)
    product = np.tensordot(sound, padded, axes=(1, 2))
    squares = (sound**2).sum(axis=1)[:, None, None] + (padded**2).sum(axis=2) - 2 * product
    return np.sqrt(np.maximum(squares, 0) / spectrum.shape[1])


# --- notes -----------------------------------------------------------------------------------


def hear_notes(stereo: Signal) -> tuple[HeardNote, ...]:
    """The strokes of a xylophone in a sound [2, S], in order."""
    padded = np.pad(stereo, ((0, 0), (NOTE_WINDOW // 2, NOTE_WINDOW // 2)))
    tones = np.stack([_key_tones(channel) for channel in padded])  # [2, L, keys]
    level = np.sqrt(tones.sum(axis=0))
    step = NOTE_WINDOW // (2 * NOTE_HOP)
    rises = level[2 * step :] - level[: -2 * step]  # across a whole window [L - 2 step, keys]
    peaks, _ = find_peaks(
        np.pad(rises.max(axis=1), 1),
        height=LEAST_NOTE_RISE * rises.max(initial=1e-9),
        distance=round(0.5 * NOTE_S * SAMPLE_RATE / NOTE_HOP),
    )
    notes = []
    for peak in peaks - 1:
        key = int(rises[peak].argmax())
        after = tones[:, peak + 2 * step : peak + 4 * step, key].sum(axis=1)
        time_s = float(peak + step) * NOTE_HOP / SAMPLE_RATE
        notes.append(HeardNote(KEYS[key], time_s, _side(*after)))
    return tuple(notes)


def _key_tones(channel: Signal) -> Signal:
    """Power around each key's pitch [L, keys]."""
    power = _powers(channel, NOTE_WINDOW, NOTE_HOP) / NOTE_WINDOW
    frequencies = np.fft.rfftfreq(NOTE_WINDOW, 1 / SAMPLE_RATE)
    pitches = (PITCH_HZ[key] for key in KEYS)
    bands = [np.abs(frequencies - pitch) < NOTE_BAND * pitch + NOTE_BIN_HZ / 2 for pitch in pitches]
    return np.stack([power[:, band].sum(axis=1) for band in bands], axis=1)
