"""Words spoken by the espeak-ng program, trimmed and of equal loudness."""

from __future__ import annotations

import functools
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.io import wavfile
from scipy.signal import resample_poly

from ltx2.errors import ResourceError

PROGRAM = "espeak-ng"
LOUDNESS_RMS = 0.14
PEAK = 0.68
SILENCE = 0.02
"""Share of the peak below which the ends of a recording count as silence."""
FADE_S = 0.005


@dataclass(frozen=True)
class VoiceSettings:
    """How espeak-ng speaks: its timbre variant, pitches 0..99 and speeds in words per minute."""

    timbre: str
    pitches: tuple[int, ...]
    speeds: tuple[int, ...]


VOICE_SETTINGS = {
    "high": VoiceSettings("f3", pitches=(68, 78, 88), speeds=(145, 170)),
    "low": VoiceSettings("m3", pitches=(24, 34, 44), speeds=(145, 170)),
}
ESPEAK_LANGUAGES = {"en": "en-us", "es": "es", "de": "de", "fr": "fr-fr", "it": "it"}


def num_variants(voice: str) -> int:
    """How many slightly different ways a voice says each word."""
    settings = VOICE_SETTINGS[voice]
    return len(settings.pitches) * len(settings.speeds)


@functools.cache
def speak(
    word: str, *, language: str, voice: str, variant: int, sample_rate: int
) -> NDArray[np.float32]:
    """A word as mono waveform [S] in -1..1, without silence at its ends; read-only.

    Args:
        word: what to say.
        language: a key of `ESPEAK_LANGUAGES`.
        voice: "high" or "low".
        variant: 0..num_variants(voice) - 1, a pitch and a speed.
        sample_rate: of the result, Hz.

    Raises:
        ResourceError: espeak-ng is missing or failed.
    """
    settings = VOICE_SETTINGS[voice]
    pitch = settings.pitches[variant % len(settings.pitches)]
    speed = settings.speeds[variant // len(settings.pitches)]
    recorded_rate, recorded = _synthesise(
        word, f"{ESPEAK_LANGUAGES[language]}+{settings.timbre}", pitch, speed
    )
    ratio = Fraction(sample_rate, recorded_rate)
    waveform = resample_poly(recorded, ratio.numerator, ratio.denominator)
    waveform = _faded(_trimmed(waveform), round(FADE_S * sample_rate))
    waveform *= min(LOUDNESS_RMS / np.sqrt(np.mean(waveform**2)), PEAK / np.abs(waveform).max())
    result = waveform.astype(np.float32)
    result.setflags(write=False)  # the cache hands the same array to everybody
    return result


def _synthesise(
    word: str, voice_name: str, pitch: int, speed: int
) -> tuple[int, NDArray[np.float64]]:
    """espeak-ng's sample rate and its mono recording [S] in -1..1."""
    program = shutil.which(PROGRAM)
    if program is None:
        raise ResourceError(
            f"The program {PROGRAM}, which speaks the puppets' words, is not installed.",
            next_step=f"Install it, on Debian or Ubuntu with `apt-get install {PROGRAM}`.",
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "word.wav"
        command = [program, "-v", voice_name, "-p", str(pitch), "-s", str(speed)]
        finished = subprocess.run(
            [*command, "-w", str(path), word], capture_output=True, text=True, check=False
        )
        if finished.returncode != 0 or not path.exists():
            raise ResourceError(
                f"{PROGRAM} could not speak with the voice {voice_name}: {finished.stderr.strip()}",
                next_step=f"Reinstall {PROGRAM} together with its voice data.",
            )
        sample_rate, samples = wavfile.read(path)
    return sample_rate, samples.astype(np.float64) / 32768


def _trimmed(waveform: NDArray[np.float64]) -> NDArray[np.float64]:
    level = np.abs(waveform)
    loud = np.flatnonzero(level > SILENCE * level.max())
    return waveform[loud[0] : loud[-1] + 1].copy()


def _faded(waveform: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    ramp = np.linspace(0, 1, length, endpoint=False)
    waveform[:length] *= ramp
    waveform[-length:] *= ramp[::-1]
    return waveform
