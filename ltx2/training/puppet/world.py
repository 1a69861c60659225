"""Renders scenes of the puppet world as clips whose picture, sound and caption agree exactly.

The frame at time t shows the sound's envelope over [t, t + 1 / frame_rate); a ball's impact
falls on the frame that shows its contact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from ltx2.training.puppet.ball import draw_ball, plan_bounces
from ltx2.training.puppet.captions import caption
from ltx2.training.puppet.drawing import Box
from ltx2.training.puppet.face import draw_face
from ltx2.training.puppet.impacts import impact_sound
from ltx2.training.puppet.scenes import (
    BouncingBall,
    Scene,
    TalkingFace,
    is_held_out,
    sample_scene,
)
from ltx2.training.puppet.voices import num_variants, speak

__all__ = [
    "BouncingBall",
    "GroundTruth",
    "RenderedClip",
    "Scene",
    "TalkingFace",
    "is_held_out",
    "render",
    "sample_scene",
]

REPEAT_S = 2.0
"""A longer clip says its word again this often."""
SMOOTHING_S = 0.03
FACE_PAN, BALL_PAN = 0.5, 0.6
PEAK = 0.97


@dataclass(frozen=True)
class GroundTruth:
    """What is known about a clip because it was made.

    Attributes:
        mouth_opening: 0 closed .. 1 wide open [F]; zeros without a face.
        word_times_s: start and end of each time the word is said.
        face_box: the head without its hat while it rests: left, top, right, bottom in pixels.
        subject_boxes: the head, or the ball, in each frame, pixels [F, 4].
        mouth_boxes: the mouth in each frame, pixels [F, 4]; None without a face.
        ball_height: of the ball above the floor, pixels [F]; None without a ball; negative in
            water.
        impact_times_s: when the ball hits the floor.
        pan: place of the sound, -1 left .. 1 right.
    """

    mouth_opening: NDArray[np.float32]
    word_times_s: tuple[tuple[float, float], ...]
    face_box: Box | None
    subject_boxes: NDArray[np.float32]
    mouth_boxes: NDArray[np.float32] | None
    ball_height: NDArray[np.float32] | None
    impact_times_s: tuple[float, ...]
    pan: float

    @property
    def word_start_s(self) -> float | None:
        """When the word is first said, None where nobody speaks."""
        return self.word_times_s[0][0] if self.word_times_s else None

    @property
    def word_end_s(self) -> float | None:
        """When the word first ends, None where nobody speaks."""
        return self.word_times_s[0][1] if self.word_times_s else None


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
    height: int
    width: int
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
    form = _Format(num_frames, height, width, frame_rate, sample_rate)
    match scene:
        case TalkingFace():
            frames, waveform, truth = _render_face(scene, form)
        case BouncingBall():
            frames, waveform, truth = _render_ball(scene, form)
    words = caption(scene, caption_rng)
    return RenderedClip(frames, waveform, frame_rate, sample_rate, words, scene, truth)


Rendered = tuple[NDArray[np.uint8], NDArray[np.float32], GroundTruth]


def _render_face(scene: TalkingFace, form: _Format) -> Rendered:
    word = speak(
        scene.word,
        language=scene.language,
        voice=scene.voice,
        variant=scene.variation % num_variants(scene.voice),
        sample_rate=form.sample_rate,
    )
    mono = np.zeros(form.num_samples, np.float32)
    times: list[tuple[float, float]] = []
    start = round(scene.start_s * form.sample_rate)
    while start < mono.size and (not times or start + word.size <= mono.size):
        end = min(start + word.size, mono.size)
        mono[start:end] += word[: end - start]
        times.append((start / form.sample_rate, end / form.sample_rate))
        start += round(REPEAT_S * form.sample_rate)
    opening = mouth_opening(mono, form.num_frames, form.frame_rate, form.sample_rate)
    drawn = draw_face(
        scene, opening, height=form.height, width=form.width, frame_rate=form.frame_rate
    )
    pan = _pan(scene.position, FACE_PAN)
    truth = GroundTruth(
        mouth_opening=opening.astype(np.float32),
        word_times_s=tuple(times),
        face_box=drawn.head_boxes[0],
        subject_boxes=np.array(drawn.head_boxes, np.float32),
        mouth_boxes=np.array(drawn.mouth_boxes, np.float32),
        ball_height=None,
        impact_times_s=(),
        pan=pan,
    )
    return drawn.frames, panned(mono, pan), truth


def _render_ball(scene: BouncingBall, form: _Format) -> Rendered:
    bounces = plan_bounces(scene, form.num_frames, form.frame_rate)
    mono = np.zeros(form.num_samples, np.float32)
    pitch = np.random.default_rng([scene.variation, 3]).uniform(0.93, 1.07)
    impact_times = tuple(frame / form.frame_rate for frame in bounces.impact_frames)
    for number, (time, strength) in enumerate(zip(impact_times, bounces.strengths, strict=True)):
        sound = impact_sound(
            scene.material,
            strength=strength,
            pitch=pitch,
            sample_rate=form.sample_rate,
            seed=scene.variation + number,
        )
        start = round(time * form.sample_rate)
        end = min(start + sound.size, mono.size)
        mono[start:end] += sound[: end - start]
    drawn = draw_ball(
        scene, bounces, height=form.height, width=form.width, frame_rate=form.frame_rate
    )
    pan = _pan(scene.position, BALL_PAN)
    truth = GroundTruth(
        mouth_opening=np.zeros(form.num_frames, np.float32),
        word_times_s=(),
        face_box=None,
        subject_boxes=np.array(drawn.ball_boxes, np.float32),
        mouth_boxes=None,
        ball_height=(bounces.heights * min(form.height, form.width)).astype(np.float32),
        impact_times_s=impact_times,
        pan=pan,
    )
    return drawn.frames, panned(mono, pan), truth


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
    stereo = gains[:, None] * mono[None]
    return np.clip(stereo, -PEAK, PEAK).astype(np.float32)


def _pan(position: str, amount: float) -> float:
    return {"left": -amount, "centre": 0.0, "right": amount}[position]
