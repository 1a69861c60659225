"""A stand-in for the model: the same call as `ltx2.Pipeline`, a drawn clip at once, no PyTorch."""

import time
from dataclasses import dataclass, field

import numpy as np

from ltx2.clip import Clip
from ltx2.errors import GenerationCancelled
from ltx2.geometry import num_samples
from ltx2.preview import OnPreview, Preview
from ltx2.progress import OnProgress, Progress, ShouldCancel
from ltx2.request import Guidance, ModelProfile, Recipe, Request

PROFILE = ModelProfile(
    width=96,
    height=96,
    duration_s=1.96,
    frame_rate=25.0,
    num_steps=10,
    video_guidance=Guidance(cfg_scale=2.0),
    audio_guidance=Guidance(cfg_scale=2.0),
    min_size=64,
    max_size=128,
    trained_duration_s=1.96,
    max_duration_s=4.0,
    example_prompts=(
        'A red puppet with a top hat on a white background says "hello" in a high voice.',
        'A green puppet on the left of a blue background says "yes" in a low voice.',
        "A yellow ball on a black background bounces on a metal floor with a long ring.",
    ),
)

SAMPLE_RATE = 16_000


@dataclass
class FakeModel:
    """Draws a bright square that moves, with a tone whose pitch is the seed's.

    Attributes:
        step_s: seconds that one step takes.
        error: raised instead of making a clip.
        requests: what was asked so far.
    """

    step_s: float = 0.0
    error: Exception | None = None
    requests: list[Request] = field(default_factory=list)

    def __call__(
        self,
        request: Request,
        *,
        on_progress: OnProgress,
        should_cancel: ShouldCancel,
        on_preview: OnPreview | None = None,
    ) -> Clip:
        resolved = request.resolve(PROFILE)
        self.requests.append(resolved)
        steps = resolved.num_steps or 1
        for step in range(steps):
            if should_cancel():
                raise GenerationCancelled
            time.sleep(self.step_s)
            on_progress(Progress("denoise", step + 1, steps))
            if on_preview is not None:
                clip = draw(resolved)
                on_preview(
                    Preview(
                        step + 1,
                        steps,
                        clip.frames,
                        clip.frame_rate,
                        clip.waveform,
                        clip.sample_rate,
                    )
                )
        if self.error is not None:
            raise self.error
        return draw(resolved)


def draw(request: Request) -> Clip:
    """The stand-in's clip of a resolved request."""
    num_frames, frame_rate = request.num_frames or 1, request.frame_rate or 25.0
    frames = np.full((num_frames, request.height, request.width, 3), 40, np.uint8)
    for index in range(num_frames):
        left = (index * 2) % ((request.width or 96) - 16)
        frames[index, 30:46, left : left + 16] = (240, 190, 60)
    samples = num_samples(num_frames, frame_rate, SAMPLE_RATE)
    tone = 0.3 * np.sin(2 * np.pi * (300 + request.seed % 300) / SAMPLE_RATE * np.arange(samples))
    recipe = Recipe(software="test", model="stand-in", fingerprint="0" * 16, request=request)
    return Clip(frames, np.stack([tone, tone]).astype(np.float32), frame_rate, SAMPLE_RATE, recipe)
