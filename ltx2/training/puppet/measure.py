"""How good a puppet checkpoint is: clips of unseen scenes, judged; and how good it could be.

The ceiling is the rendered truth of the same scenes passed through the autoencoders and the
vocoder: what a perfect transformer would give with these decoders.
"""

from collections.abc import Iterator

import numpy as np
import torch

from ltx2.clip import Clip
from ltx2.geometry import num_audio_latents, num_samples
from ltx2.media.frames import from_uint8_frames, to_uint8_frames
from ltx2.model.audio_vae import MelSpectrogram
from ltx2.pipeline import Pipeline, decode_audio, decode_video
from ltx2.progress import OnProgress, Progress, ignore_progress
from ltx2.request import Request
from ltx2.training.autoencoders import psnr
from ltx2.training.puppet.captions import caption
from ltx2.training.puppet.quality import Judgement, OffsetSummary, Share, Summary, judge
from ltx2.training.puppet.scenes import Scene, sample_scene
from ltx2.training.puppet.world import RenderedClip, render


def unseen_scenes(count: int, *, seed: int) -> list[Scene]:
    """Scenes in combinations that training never sees."""
    rng = np.random.default_rng(seed)
    return [sample_scene(rng, held_out=True) for _ in range(count)]


def generate(pipeline: Pipeline, scenes: list[Scene], *, seed: int) -> Iterator[Clip]:
    """A clip for each scene's canonical caption, with seeds that follow each other."""
    for index, scene in enumerate(scenes):
        yield pipeline(Request(prompt=caption(scene), seed=seed + index))


def judge_generated(
    pipeline: Pipeline,
    scenes: list[Scene],
    *,
    seed: int,
    on_progress: OnProgress = ignore_progress,
) -> list[Judgement]:
    """What is right in one generated clip of each scene."""
    judgements = []
    for clip, scene in zip(generate(pipeline, scenes, seed=seed), scenes, strict=True):
        judgements.append(
            judge(clip.frames, clip.waveform, clip.frame_rate, clip.sample_rate, scene)
        )
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


def judge_ceiling(pipeline: Pipeline, scenes: list[Scene]) -> tuple[list[Judgement], float]:
    """What is right in the rendered truth after the autoencoders, and their mean PSNR in dB."""
    judgements, ratios = [], []
    for scene in scenes:
        truth = render(scene)
        clip = through_autoencoders(pipeline, truth)
        ratios.append(psnr(from_uint8_frames(clip.frames), from_uint8_frames(truth.frames)))
        judgements.append(
            judge(clip.frames, clip.waveform, clip.frame_rate, clip.sample_rate, scene)
        )
    return judgements, float(np.mean(ratios))


def side_by_side(generated: Summary, ceiling: Summary) -> str:
    """Both summaries of the same scenes as one Markdown table."""
    lines = ["| clip | what | generated | ceiling |", "| --- | --- | ---: | ---: |"]
    for ours, best in zip(generated.shares, ceiling.shares, strict=True):
        name = ours.name.replace("_", " ")
        lines.append(f"| {ours.subject} | {name} | {_right(ours)} | {_right(best)} |")
    what = "sound to picture, median and 90th percentile"
    for offset, least in zip(generated.offsets, ceiling.offsets, strict=True):
        lines.append(f"| {offset.subject} | {what} | {_size(offset)} | {_size(least)} |")
    return "\n".join(lines) + "\n"


def _right(share: Share) -> str:
    return f"{share.num_right} of {share.num_measured}"


def _size(offset: OffsetSummary) -> str:
    if not offset.num_measured:
        return "not measurable"
    size = f"{offset.median_size_ms:.0f} and {offset.p90_size_ms:.0f} ms"
    return f"{size} ({offset.num_measured} of {offset.num_clips} measurable)"
