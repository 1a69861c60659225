"""Measures by how much a clip's sound comes before its picture.

An offset is positive where the sound is early, as in ITU-R BT.1359.
Letters: F frames, S samples, K lags tried.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, uniform_filter1d

from ltx2.training.puppet.heard import HOP, SAMPLE_RATE

Signal = NDArray[np.float64]

LONGEST_OFFSET_S = 0.5
STEP_S = 0.0025
ONSET_SPREAD_S = 0.01
NOISE_PERCENTILE = 10


@dataclass(frozen=True)
class Offset:
    """How far apart sound and picture are where they agree best.

    Attributes:
        offset_ms: positive where the sound is early.
        agreement: of both once the offset is undone, 1 perfect.
    """

    offset_ms: float
    agreement: float


NUM_STEPS = round(LONGEST_OFFSET_S / STEP_S)
LAGS_S = np.arange(-NUM_STEPS, NUM_STEPS + 1) * STEP_S


def mouth_offset(opening: Signal, level: Signal, frame_rate: float) -> Offset:
    """Offset of a mouth's opening [F], which changes, from the level of a sound.

    The agreement is their correlation.

    Args:
        opening: of the mouth in each frame [F].
        level: of the sound around each hop, as `heard.voice_level` gives it.
        frame_rate: Hz.
    """
    level = np.maximum(level - 2 * np.percentile(level, NOISE_PERCENTILE), 0)
    total = np.concatenate([[0.0], np.cumsum(level)])
    edges = np.arange(len(opening) + 1) / frame_rate + LAGS_S[:, None]  # [K, F + 1]
    totals = np.interp(edges * SAMPLE_RATE / HOP, np.arange(total.size), total)
    envelopes = np.diff(totals, axis=1)
    correlations = _unit(envelopes**0.8) @ _unit(opening)  # mouths open with this power
    best = int(correlations.argmax())
    return Offset(_offset_ms(best), float(correlations[best]))


def impact_offset(times_s: Signal, strengths: Signal, mono: Signal) -> Offset:
    """Offset of seen impacts from the onsets of a sound [S].

    The agreement is the share of the onsets, weighted by the impacts, that is found there.
    """
    step = round(STEP_S * SAMPLE_RATE)
    power = uniform_filter1d(mono**2, 2 * step, mode="constant")[::step]
    rises = np.maximum(np.diff(np.sqrt(np.maximum(power, 0)), prepend=0.0), 0)
    # A rise is noticed in the middle of its window, which is where the window is centred.
    onsets = gaussian_filter1d(rises, ONSET_SPREAD_S / STEP_S, mode="constant")
    onsets /= onsets.max()
    moments = (times_s + LAGS_S[:, None]) / STEP_S  # [K, impacts]
    found = np.interp(moments, np.arange(onsets.size), onsets, left=0.0, right=0.0)
    scores = found @ (strengths / strengths.sum())
    best = int(scores.argmax())
    return Offset(_offset_ms(best), float(scores[best]))


def _offset_ms(lag: int) -> float:
    """Offset undone by one of the lags; sound that fits when read earlier was early."""
    return (NUM_STEPS - lag) * STEP_S * 1000


def _unit(values: Signal) -> Signal:
    """Values less their mean along the last axis, of length 1."""
    centred = values - values.mean(axis=-1, keepdims=True)
    return centred / (np.linalg.norm(centred, axis=-1, keepdims=True) + 1e-12)
