"""Faults of sound that a program can hear in a fraction of a second.

Letters: S samples of both channels [2, S], -1..1.
"""

import numpy as np

from evaluation.loudness import SHORTEST_S, loudness_lufs
from evaluation.metrics.finding import Finding, Verdict

SILENT_DBFS = -60.0
"""Root mean square, decibels below full scale, of what nobody hears at a usual volume."""
FULL_SCALE = 0.999
CLIPPED_NOTICE, CLIPPED_PROBLEM = 1e-4, 1e-3
"""Share of samples at full scale. Clean recordings that just touch it have up to 0.00003."""
LOUDEST_LUFS, QUIETEST_LUFS = -9.0, -35.0
"""Generated and recorded clips lie between -11 and -27; broadcast aims at -23 (EBU R 128)."""
LEAST_GAP_S = 0.25
LONGEST_OWN_ZEROS_S, LEAST_SOUNDING_S = 0.02, 2.0
"""A sound that is never exactly zero for so long, over such a time, does not end in zeros of its
own; in a shorter one that cannot be known."""


def silence(waveform: np.ndarray) -> Finding:
    """Whether anything is heard at all.

    Args:
        waveform: [2, S]; without samples where the clip has no sound.
    """
    name, title = "silence", "Sound"
    if waveform.shape[-1] == 0:
        advice = "Ask for sound in the prompt, or switch sound on."
        return Finding(name, title, "notice", "The clip has no sound track.", 0.0, "tracks", advice)
    broken = int((~np.isfinite(waveform)).sum())
    if broken:
        sentence = f"{broken} samples are not numbers; a player may screech or stay silent."
        advice = "Make the clip again, with float32 for the vocoder where that can be chosen."
        return Finding(name, title, "problem", sentence, float(broken), "samples", advice)
    level = decibels(waveform)
    if level < SILENT_DBFS:
        sentence = f"The sound is silent ({level:.0f} dB below full scale)."
        advice = "Describe in the prompt what is heard, or use another seed."
        return Finding(name, title, "problem", sentence, level, "dBFS", advice)
    return Finding(name, title, "fine", f"Sound is heard ({level:.0f} dBFS).", level, "dBFS")


def clipping(waveform: np.ndarray) -> Finding:
    """Which share of the samples is at full scale, where loud sound is cut off and crackles."""
    name, title = "clipping", "Clipping"
    share = float((np.abs(waveform) >= FULL_SCALE).mean())
    if share < CLIPPED_NOTICE:
        return Finding(name, title, "fine", "The sound is not clipped.", share, "share")
    sentence = f"{share:.2%} of the samples are clipped; it may crackle."
    advice = "Use another seed, or ask for quieter or less sound; lowering it later does not help."
    verdict: Verdict = "problem" if share >= CLIPPED_PROBLEM else "notice"
    return Finding(name, title, verdict, sentence, share, "share", advice)


def loudness(waveform: np.ndarray, sample_rate: int) -> Finding:
    """Integrated loudness (ITU-R BS.1770-4, EBU R 128)."""
    name, title = "loudness", "Loudness"
    if waveform.shape[-1] <= SHORTEST_S * sample_rate:
        return Finding(name, title, "not measured", "The sound is too short for a loudness.")
    value = loudness_lufs(waveform, sample_rate)
    if not np.isfinite(value):
        return Finding(name, title, "not measured", "The sound is too quiet for a loudness.")
    sentence = f"The loudness is {value:.1f} LUFS."
    if QUIETEST_LUFS <= value <= LOUDEST_LUFS:
        return Finding(name, title, "fine", sentence, value, "LUFS")
    word = "louder" if value > LOUDEST_LUFS else "quieter"
    advice = f"It is {word} than clips usually are: bring it to -23 LUFS in an editor."
    return Finding(name, title, "notice", sentence, value, "LUFS", advice)


def sound_length(waveform: np.ndarray, sample_rate: int, duration_s: float) -> Finding:
    """By how many seconds the sound is longer (positive) or shorter than the pictures.

    Readers fill a short track up with zeros. They count as missing where the sound itself is
    never zero for long; a drawn or muted sound that is may end in silence of its own.

    Args:
        waveform: [2, S].
        sample_rate: Hz.
        duration_s: of the pictures.
    """
    name, title = "sound_length", "Length of the sound"
    zero = ~waveform.any(axis=0)
    length = zero.size
    sounding = np.flatnonzero(~zero)
    if sounding.size:
        own_zeros = max(int(np.diff(sounding).max(initial=1)) - 1, int(sounding[0]))
        is_long_enough = sounding[-1] - sounding[0] >= LEAST_SOUNDING_S * sample_rate
        if is_long_enough and own_zeros < LONGEST_OWN_ZEROS_S * sample_rate:
            length = int(sounding[-1]) + 1
    gap = length / sample_rate - duration_s
    if abs(gap) < LEAST_GAP_S:
        return Finding(name, title, "fine", "Sound and picture are equally long.", gap, "s")
    word = "before" if gap < 0 else "after"
    sentence = f"The sound ends {abs(gap):.1f} s {word} the picture."
    advice = "Cut the clip to the shorter of both."
    return Finding(name, title, "notice", sentence, gap, "s", advice)


def decibels(waveform: np.ndarray) -> float:
    """Root mean square below full scale, -120 at least."""
    power = float(np.mean(np.square(waveform, dtype=np.float64))) if waveform.size else 0.0
    return 10 * float(np.log10(power + 1e-12))
