"""Renders scenes of the puppet world as clips whose picture, sound and caption agree exactly.

The frame at time t shows the sound's envelope over [t, t + 1 / frame_rate); a ball's impact
falls on the frame that shows its contact, a note on the frame that lights its key.
Letters: F frames, S samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from ltx2.training.puppet.ball import paint_ball, plan_bounces
from ltx2.training.puppet.captions import caption
from ltx2.training.puppet.drawing import Box, Canvas
from ltx2.training.puppet.face import paint_puppet, stage
from ltx2.training.puppet.impacts import impact_sound
from ltx2.training.puppet.palette import backdrop
from ltx2.training.puppet.scenes import BouncingBall, Line, Scene, Talk, Xylophone
from ltx2.training.puppet.surroundings import ambient_sound, moved, paint_ambience, travel
from ltx2.training.puppet.voices import num_variants, speak
from ltx2.training.puppet.xylophone import KEY_X, Note, draw_xylophone, note_sound, plan_notes

REPEAT_S = 2.0
"""A longer clip repeats its lines this often."""
TURN_S = 0.95
"""From the start of one line to the start of the next."""
SMOOTHING_S = 0.03
PUPPET_PAN, BALL_PAN, KEY_PAN = 0.6, 0.6, 0.6
PEAK = 0.97
LOUDNESS_RANGE = (0.8, 1.0)
"""How hard a xylophone is struck, beside the hardest."""


@dataclass(frozen=True)
class SpokenLine:
    """A word as it is said in a clip.

    Attributes:
        speaker: index of the puppet.
        word, language: what is said.
        start_s, end_s: when.
    """

    speaker: int
    word: str
    language: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class PuppetTruth:
    """What is known about one puppet.

    Attributes:
        opening: of the mouth, 0 closed .. 1 wide open [F].
        head_boxes, mouth_boxes: the head without hair and hat, and the mouth: left, top, right,
            bottom in pixels [F, 4].
        pan: place of the voice, -1 left .. 1 right.
    """

    opening: NDArray[np.float32]
    head_boxes: NDArray[np.float32]
    mouth_boxes: NDArray[np.float32]
    pan: float


@dataclass(frozen=True)
class BallTruth:
    """What is known about a ball.

    Attributes:
        boxes: the ball in each frame, pixels [F, 4].
        height: above the floor, shares of the picture's shorter side [F]; negative in water.
        impact_times_s: when it hits the floor.
        strengths: speed of each impact beside the first, 0..1.
        pan: place of the sound, -1 left .. 1 right.
    """

    boxes: NDArray[np.float32]
    height: NDArray[np.float32]
    impact_times_s: tuple[float, ...]
    strengths: tuple[float, ...]
    pan: float


@dataclass(frozen=True)
class XylophoneTruth:
    """What is known about a xylophone.

    Attributes:
        notes: every stroke.
        key_boxes: where each key is in the first frame, pixels.
    """

    notes: tuple[Note, ...]
    key_boxes: dict[str, Box]


@dataclass(frozen=True)
class GroundTruth:
    """What is known about a clip because it was made; what a scene lacks is empty or None."""

    puppets: tuple[PuppetTruth, ...] = ()
    spoken: tuple[SpokenLine, ...] = ()
    ball: BallTruth | None = None
    xylophone: XylophoneTruth | None = None


@dataclass(frozen=True)
class RenderedClip:
    """A clip of the puppet world.

    Attributes:
        frames: uint8 [F, H, W, 3].
        waveform: float32 [2, S], -1..1.
        frame_rate, sample_rate: Hz.
        caption: what is seen and heard, in words.
        scene: what was rendered.
        truth: what is known about it.
    """

    frames: NDArray[np.uint8]
    waveform: NDArray[np.float32]
    frame_rate: float
    sample_rate: int
    caption: str
    scene: Scene
    truth: GroundTruth


@dataclass(frozen=True)
class _Format:
    num_frames: int
    frame_rate: float
    sample_rate: int

    @property
    def num_samples(self) -> int:
        return round(self.num_frames / self.frame_rate * self.sample_rate)


def render(
    scene: Scene,
    *,
    num_frames: int = 49,
    height: int = 96,
    width: int = 96,
    frame_rate: float = 24.0,
    sample_rate: int = 16000,
    caption_rng: np.random.Generator | None = None,
) -> RenderedClip:
    """The clip of a scene; the same arguments give the same clip.

    Args:
        scene: what happens.
        num_frames: 8k + 1 for a clip that a model will encode.
        height: pixels.
        width: pixels.
        frame_rate: Hz.
        sample_rate: Hz.
        caption_rng: chooses among the caption's paraphrases; None gives the canonical one.

    Raises:
        ResourceError: a word must be spoken and espeak-ng is missing.
    """
    form = _Format(num_frames, frame_rate, sample_rate)
    around, seed = scene.surroundings, scene.variation
    canvas = backdrop(around.background, height=height, width=width, num_frames=num_frames)
    seconds = np.arange(num_frames) / frame_rate
    paint_ambience(canvas, around.ambience, travel(around.ambience, seconds, seed), seed)
    view = moved(canvas, around.camera, num_frames, frame_rate)
    match scene:
        case Talk():
            waveform, truth = _talk(scene, view, form)
        case BouncingBall():
            waveform, truth = _bounce(scene, view, form)
        case Xylophone():
            waveform, truth = _play(scene, view, form)
    waveform = waveform + ambient_sound(around.ambience, form.num_samples, sample_rate, seed)
    return RenderedClip(
        frames=canvas.frames(),
        waveform=np.clip(waveform, -PEAK, PEAK).astype(np.float32),
        frame_rate=frame_rate,
        sample_rate=sample_rate,
        caption=caption(scene, caption_rng),
        scene=scene,
        truth=truth,
    )


Sounding = tuple[NDArray[np.float32], GroundTruth]
"""A scene's waveform [2, S] without ambience, and what is known about it."""


def _talk(scene: Talk, canvas: Canvas, form: _Format) -> Sounding:
    voices = [np.zeros(form.num_samples, np.float32) for _ in scene.puppets]
    spoken: list[SpokenLine] = []
    for start, line in _turns(scene, form):
        voice = scene.puppets[line.speaker].voice
        word = speak(
            line.word,
            language=line.language,
            voice=voice,
            variant=(scene.variation + line.speaker) % num_variants(voice),
            sample_rate=form.sample_rate,
        )
        first_time = len(spoken) < len(scene.lines)
        if not first_time and start + word.size > form.num_samples:
            break  # a repetition is said whole or not at all
        end = _add(voices[line.speaker], word, start)
        times = (start / form.sample_rate, end / form.sample_rate)
        spoken.append(SpokenLine(line.speaker, line.word, line.language, *times))
    truths, waveform = [], np.zeros((2, form.num_samples), np.float32)
    for number, (puppet, mono) in enumerate(zip(scene.puppets, voices, strict=True)):
        opening = mouth_opening(mono, form.num_frames, form.frame_rate, form.sample_rate)
        drawn = paint_puppet(
            stage(canvas, puppet, alone=len(scene.puppets) == 1),
            puppet,
            opening,
            frame_rate=form.frame_rate,
            variation=scene.variation + number,
        )
        pan = _pan(puppet.position, PUPPET_PAN)
        waveform += panned(mono, pan)
        truths.append(
            PuppetTruth(
                opening=opening.astype(np.float32),
                head_boxes=np.array(drawn.head_boxes, np.float32),
                mouth_boxes=np.array(drawn.mouth_boxes, np.float32),
                pan=pan,
            )
        )
    return waveform, GroundTruth(puppets=tuple(truths), spoken=tuple(spoken))


def _turns(scene: Talk, form: _Format) -> list[tuple[int, Line]]:
    """First sample and line of every time something is said, in order."""
    turns, start_s = [], scene.start_s
    while start_s < form.num_frames / form.frame_rate:
        for number, line in enumerate(scene.lines):
            start = round((start_s + number * TURN_S) * form.sample_rate)
            if start < form.num_samples:
                turns.append((start, line))
        start_s += REPEAT_S
    return turns


def _bounce(scene: BouncingBall, canvas: Canvas, form: _Format) -> Sounding:
    bounces = plan_bounces(scene, form.num_frames, form.frame_rate)
    mono = np.zeros(form.num_samples, np.float32)
    pitch = np.random.default_rng([scene.variation, 3]).uniform(0.93, 1.07)
    times = tuple(frame / form.frame_rate for frame in bounces.impact_frames)
    for number, (time, strength) in enumerate(zip(times, bounces.strengths, strict=True)):
        sound = impact_sound(
            scene.material,
            strength=strength,
            pitch=pitch,
            sample_rate=form.sample_rate,
            seed=scene.variation + number,
        )
        _add(mono, sound, round(time * form.sample_rate))
    boxes = paint_ball(canvas, scene, bounces, frame_rate=form.frame_rate)
    pan = _pan(scene.position, BALL_PAN)
    truth = BallTruth(
        boxes=np.array(boxes, np.float32),
        height=bounces.heights.astype(np.float32),
        impact_times_s=times,
        strengths=bounces.strengths,
        pan=pan,
    )
    return panned(mono, pan), GroundTruth(ball=truth)


def _play(scene: Xylophone, canvas: Canvas, form: _Format) -> Sounding:
    notes = plan_notes(scene, form.num_frames, form.frame_rate)
    boxes = draw_xylophone(canvas, notes, form.num_frames, form.frame_rate)
    loudness = np.random.default_rng([scene.variation, 3]).uniform(*LOUDNESS_RANGE)
    waveform = np.zeros((2, form.num_samples), np.float32)
    for note in notes:
        sound = np.float32(loudness) * note_sound(note.key, sample_rate=form.sample_rate)
        mono = np.zeros(form.num_samples, np.float32)
        _add(mono, sound, round(note.time_s * form.sample_rate))
        waveform += panned(mono, KEY_PAN * KEY_X[note.key] / max(KEY_X.values()))
    return waveform, GroundTruth(xylophone=XylophoneTruth(notes, boxes))


def _add(track: NDArray[np.float32], sound: NDArray[np.float32], start: int) -> int:
    """Adds a sound to a track, cut where the track ends; returns the sample after its end."""
    end = min(start + sound.size, track.size)
    track[start:end] += sound[: end - start]
    return end


def mouth_opening(
    mono: NDArray[np.float32], num_frames: int, frame_rate: float, sample_rate: int
) -> NDArray[np.float64]:
    """How far the mouth opens in each frame, 0..1 [F]: the sound's smoothed envelope.

    The smoothing is symmetric, so the mouth is neither early nor late.
    """
    size = round(SMOOTHING_S * sample_rate) | 1
    level = uniform_filter1d(np.abs(mono).astype(np.float64), size, mode="constant")
    edges = np.round(np.arange(num_frames + 1) / frame_rate * sample_rate).astype(int)
    total = np.concatenate([[0.0], np.cumsum(level)])
    edges = np.minimum(edges, level.size)
    envelope = (total[edges[1:]] - total[edges[:-1]]) / np.maximum(np.diff(edges), 1)
    peak = envelope.max()
    if peak == 0:
        return np.zeros(num_frames)
    return np.clip((envelope / peak - 0.04) / 0.96, 0, 1) ** 0.8


def panned(mono: NDArray[np.float32], pan: float) -> NDArray[np.float32]:
    """Stereo [2, S] of equal power for every pan from -1 (left) to 1 (right)."""
    angle = (pan + 1) * np.pi / 4
    gains = np.sqrt(2) * np.array([np.cos(angle), np.sin(angle)])
    return (gains[:, None] * mono[None]).astype(np.float32)


def _pan(position: str, amount: float) -> float:
    return {"left": -amount, "centre": 0.0, "right": amount}[position]
