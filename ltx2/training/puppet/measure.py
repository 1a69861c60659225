"""How good puppet checkpoints are: clips of unseen scenes, judged; and how good they could be.

The ceiling is the rendered truth of the same scenes passed through the autoencoders and the
vocoder: what a perfect transformer would give with these decoders.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ltx2.clip import Clip
from ltx2.generation.codec import decode_audio, decode_video
from ltx2.geometry import num_audio_latents, num_samples
from ltx2.media.frames import from_uint8_frames, to_uint8_frames
from ltx2.model.audio_vae import MelSpectrogram
from ltx2.pipeline import Pipeline
from ltx2.progress import OnProgress, Progress, ignore_progress
from ltx2.request import Request
from ltx2.training.autoencoders import psnr
from ltx2.training.puppet.captions import caption
from ltx2.training.puppet.quality import (
    Judgement,
    OffsetSummary,
    Share,
    Summary,
    judge,
    summarise,
)
from ltx2.training.puppet.scenes import (
    WORDS,
    Scene,
    SceneKind,
    Surroundings,
    Talk,
    sample_scene,
)
from ltx2.training.puppet.world import REPEAT_S, RenderedClip, render

LANGUAGE_TURNS = ("en", "es", "en", "de", "en", "fr", "en", "it")
"""Languages of the lines that are judged, in turn: rare ones too often enough to be counted."""
DRIFT_S = 16.0
"""Length of a clip that shows drift: four times the longest of training."""
LEAST_PSNR_DB, LEAST_CEILING_WORDS = 30.0, 0.9
"""What good autoencoders reach: likeness of the picture, share of English words recognised."""
DISTILLED_POINTS = 5.0
"""How many points a distilled model may lie behind its teacher."""


def unseen_scenes(count: int, *, seed: int, kind: SceneKind | None = None) -> list[Scene]:
    """Scenes in combinations that training never sees, their lines in all languages.

    Args:
        count: of scenes.
        seed: of all choices.
        kind: of every scene; None draws all kinds.
    """
    rng = np.random.default_rng(seed)
    languages = itertools.cycle(LANGUAGE_TURNS)
    scenes = (sample_scene(rng, kind=kind, held_out=True) for _ in range(count))
    return [_in_languages(scene, languages, rng) for scene in scenes]


def _in_languages(scene: Scene, languages: Iterator[str], rng: np.random.Generator) -> Scene:
    if not isinstance(scene, Talk):
        return scene
    lines = []
    for line in scene.lines:
        language = next(languages)
        word = WORDS[language][int(rng.integers(len(WORDS[language])))]
        lines.append(dataclasses.replace(line, word=word, language=language))
    return dataclasses.replace(scene, lines=tuple(lines))


def drift_scenes(count: int, *, seed: int) -> list[Scene]:
    """Unseen scenes of one puppet that says an English word, again and again, in calm weather."""
    rng = np.random.default_rng(seed)
    scenes: list[Scene] = []
    for _ in range(count):
        scene = sample_scene(rng, kind=SceneKind.MONOLOGUE, held_out=True)
        english = _in_languages(scene, itertools.repeat("en"), rng)
        calm = Surroundings(scene.surroundings.background)
        scenes.append(dataclasses.replace(english, surroundings=calm))
    return scenes


def generate(
    pipeline: Pipeline, scenes: Sequence[Scene], *, seed: int, duration_s: float | None = None
) -> Iterator[Clip]:
    """A clip for each scene's canonical caption, with seeds that follow each other."""
    for index, scene in enumerate(scenes):
        yield pipeline(Request(prompt=caption(scene), seed=seed + index, duration_s=duration_s))


def judge_clip(clip: Clip, scene: Scene) -> Judgement:
    """What is right about a clip that was asked to show a scene."""
    return judge(clip.frames, clip.waveform, clip.frame_rate, clip.sample_rate, scene)


def judge_generated(
    pipeline: Pipeline,
    scenes: Sequence[Scene],
    *,
    seed: int,
    on_progress: OnProgress = ignore_progress,
) -> list[Judgement]:
    """What is right in one generated clip of each scene."""
    judgements = []
    for clip, scene in zip(generate(pipeline, scenes, seed=seed), scenes, strict=True):
        judgements.append(judge_clip(clip, scene))
        on_progress(Progress("judge", len(judgements), len(scenes)))
    return judgements


@torch.inference_mode()
def through_autoencoders(pipeline: Pipeline, truth: RenderedClip) -> Clip:
    """A rendered clip, encoded and decoded again."""
    networks = pipeline.networks
    frames, rate = truth.frames, truth.sample_rate
    video = from_uint8_frames(frames)[None]
    decoded = decode_video(networks, networks.video_vae.encode(video))
    mel = MelSpectrogram(networks.audio_vae.config)(torch.from_numpy(truth.waveform)[None], rate)
    count = num_audio_latents(len(frames), truth.frame_rate, networks.audio_vae.latents_per_second)
    waveform = decode_audio(networks, networks.audio_vae.encode(mel)[:, :, :count])[0].numpy()
    wanted = num_samples(len(frames), truth.frame_rate, networks.vocoder.sample_rate)
    padded = np.pad(waveform, ((0, 0), (0, max(0, wanted - waveform.shape[1]))))[:, :wanted]
    return Clip(to_uint8_frames(decoded[0]), padded, truth.frame_rate, networks.vocoder.sample_rate)


def judge_ceiling(
    pipeline: Pipeline, scenes: Sequence[Scene], *, on_progress: OnProgress = ignore_progress
) -> tuple[list[Judgement], float]:
    """What is right in the rendered truth after the autoencoders, and their mean PSNR in dB."""
    judgements, ratios = [], []
    for scene in scenes:
        truth = render(scene)
        clip = through_autoencoders(pipeline, truth)
        ratios.append(psnr(from_uint8_frames(clip.frames), from_uint8_frames(truth.frames)))
        judgements.append(judge_clip(clip, scene))
        on_progress(Progress("ceiling", len(judgements), len(scenes)))
    return judgements, float(np.mean(ratios))


def judge_drift(
    pipeline: Pipeline,
    scenes: Sequence[Scene],
    *,
    seed: int,
    on_progress: OnProgress = ignore_progress,
) -> dict[str, Summary]:
    """What is right in each stretch of clips four times as long as any in training."""
    by_window: dict[str, list[Judgement]] = {}
    clips = generate(pipeline, scenes, seed=seed, duration_s=DRIFT_S)
    for number, (clip, scene) in enumerate(zip(clips, scenes, strict=True), start=1):
        for name, window in windows(clip):
            by_window.setdefault(name, []).append(judge_clip(window, scene))
        on_progress(Progress("drift", number, len(scenes)))
    return {name: summarise(judgements) for name, judgements in by_window.items()}


def windows(clip: Clip) -> Iterator[tuple[str, Clip]]:
    """Stretches of a clip, each as long as one repetition, with the seconds they cover.

    The last may be a little shorter, since frames come in groups.
    """
    num_windows = round(clip.duration_s / REPEAT_S)
    for number in range(num_windows):
        start, end = number * REPEAT_S, (number + 1) * REPEAT_S
        first, last = round(start * clip.frame_rate), round(end * clip.frame_rate)
        left, right = round(start * clip.sample_rate), round(end * clip.sample_rate)
        window = Clip(
            clip.frames[first : last + 1],
            clip.waveform[:, left:right],
            clip.frame_rate,
            clip.sample_rate,
        )
        yield f"{start:g} to {end:g} s", window


# --- tables ----------------------------------------------------------------------------------


def side_by_side(columns: Mapping[str, Summary]) -> str:
    """Summaries of the same scenes as one Markdown table, with what a good model reaches.

    Args:
        columns: a summary under each heading.

    Raises:
        ValueError: they are of different scenes.
    """
    lines = [
        f"| part | what | target | {' | '.join(columns)} |",
        "| --- | --- | --- |" + " ---: |" * len(columns),
    ]
    for shares in zip(*(summary.shares for summary in columns.values()), strict=True):
        row = shares[0]
        cells = " | ".join(_right(share) for share in shares)
        lines.append(f"| {row.subject} | {row.name} | {row.target} | {cells} |")
    for offsets in zip(*(summary.offsets for summary in columns.values()), strict=True):
        what = "sound to picture, median and 90th percentile"
        cells = " | ".join(_size(offset) for offset in offsets)
        lines.append(f"| {offsets[0].subject} | {what} | {offsets[0].target} | {cells} |")
    return "\n".join(lines) + "\n"


def _right(share: Share) -> str:
    if not share.num_measured:
        return "not measured"
    right = f"{share.num_right} of {share.num_measured} ({share.percent:.0f} %)"
    return right + _met(share.met)


def _size(offset: OffsetSummary) -> str:
    if not offset.num_measured:
        return "not measurable"
    size = f"{offset.median_size_ms:.0f} and {offset.p90_size_ms:.0f} ms"
    return f"{size} ({offset.num_measured} of {offset.num_clips} measurable){_met(offset.met)}"


def _met(met: bool | None) -> str:
    return {True: ", met", False: ", **not met**", None: ""}[met]


def autoencoders_line(ceiling: Summary, psnr_db: float) -> str:
    """One sentence on what the autoencoders reach and should reach."""
    picture = _met(psnr_db >= LEAST_PSNR_DB)
    line = f"Autoencoders: picture {psnr_db:.1f} dB (>= {LEAST_PSNR_DB:.0f} dB{picture})"
    for share in ceiling.shares:
        if share.name == "word (en)" and share.num_measured:
            met = _met(share.num_right >= LEAST_CEILING_WORDS * share.num_measured)
            target = f">= {LEAST_CEILING_WORDS:.0%}{met}"
            line += f"; English words {share.percent:.0f} % ({target})"
    return line + ".\n"


def points_behind(teacher: Summary, student: Summary) -> list[tuple[str, float]]:
    """Where a student is right less often than its teacher, and by how many points of a hundred.

    Only what both were measured in counts; differences within `DISTILLED_POINTS` are left out.
    """
    behind = []
    for before, after in zip(teacher.shares, student.shares, strict=True):
        points = before.percent - after.percent
        if points > DISTILLED_POINTS:  # false where either is NaN
            behind.append((f"{before.subject} {before.name}", points))
    return behind


def as_json(columns: Mapping[str, Summary]) -> dict[str, Any]:
    """The figures of `side_by_side` for other programs; what was not measured is null."""
    return {
        name: {
            "shares": [
                {
                    **dataclasses.asdict(share),
                    "percent": _number(share.percent),
                    "target": share.target,
                    "met": share.met,
                }
                for share in summary.shares
            ],
            "offsets": [
                {
                    **{key: _number(value) for key, value in dataclasses.asdict(offset).items()},
                    "target": offset.target,
                    "met": offset.met,
                }
                for offset in summary.offsets
            ],
        }
        for name, summary in columns.items()
    }


def _number(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
