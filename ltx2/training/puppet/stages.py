"""The recipe of the puppet checkpoint, stage by stage; every stage resumes where it stopped.

    render, video-vae, audio-vae, vocoder, latents, transformer, export

video-decoder may run while the transformer trains: it keeps the latents as they are.
A work folder holds everything: `shards/`, one state file and log per stage, `latents/`.
"""

import logging
import shutil
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from ltx2.diffusion.state import Joint
from ltx2.errors import CheckpointError
from ltx2.model.audio_vae import AudioVAE, AudioVAEConfig, MelSpectrogram
from ltx2.model.video_vae import VideoVAE, VideoVAEConfig
from ltx2.model.vocoder import Vocoder, VocoderConfig
from ltx2.request import Guidance, ModelProfile
from ltx2.training import autoencoders
from ltx2.training.flow import FullPrecisionAttention, flow_loss
from ltx2.training.loop import RunOptions, Schedule, last_figures, load_average, run
from ltx2.training.optimizers import build_optimizers
from ltx2.training.puppet import architecture
from ltx2.training.puppet.data import Shards, render_shard
from ltx2.training.puppet.export import export
from ltx2.training.puppet.latents import LatentShards, encode_missing
from ltx2.training.puppet.networks import PuppetNetworks
from ltx2.training.puppet.scenes import WORDS
from ltx2.training.puppet.text import write_text_encoder_folder

logger = logging.getLogger(__name__)

AnyModule = TypeVar("AnyModule", bound=nn.Module)

VIDEO_VAE_STEPS = 2_750
VIDEO_DECODER_STEPS = 1_900
AUDIO_VAE_STEPS = 2_000
VOCODER_STEPS = 3_000
TRANSFORMER_STEPS = 1_650
TRANSFORMER_BATCH = 24
PROMPT_DROPOUT = 0.1

STAGES = ("video_vae", "video_decoder", "audio_vae", "vocoder", "transformer")
"""Stages that train something, in order; each has a state file and a log of its name."""

PROFILE = ModelProfile(
    width=architecture.WIDTH,
    height=architecture.HEIGHT,
    duration_s=architecture.NUM_FRAMES / architecture.FRAME_RATE,
    frame_rate=architecture.FRAME_RATE,
    num_steps=16,
    video_guidance=Guidance(cfg_scale=2.5, rescale=0.5),
    audio_guidance=Guidance(cfg_scale=2.5, rescale=0.5),
    spatial_multiple=16,
    min_size=64,
    max_size=128,
    trained_duration_s=architecture.LONG_NUM_FRAMES / architecture.FRAME_RATE,
    max_duration_s=8.0,
    shift=architecture.SHIFT,
    example_prompts=(
        'A red puppet with a top hat on a white background says "hello" in a high voice.',
        "A yellow ball on a pink background bounces on a metal floor with a long ring.",
        'A blue puppet with a crown on the left of a pink background says "music" in a low voice.',
        "A purple ball on a grey background bounces on water with a soft plop.",
        *(f'A green puppet on a cyan background says "{word}" in a low voice.' for word in WORDS),
    ),
)


def render(folder: Path, *, first: int, count: int) -> None:
    """Renders shards `first` to `first + count - 1` that are not there yet."""
    for index in range(first, first + count):
        render_shard(folder / "shards", index)
        logger.info("shard %d is ready", index)


def train_video_vae(folder: Path, *, steps: int = VIDEO_VAE_STEPS) -> None:
    """Encoder and decoder of the picture, from nothing."""
    torch.manual_seed(1)
    vae = VideoVAE(VideoVAEConfig.from_metadata(architecture.CONFIG))
    autoencoders.start_from_skips(vae)
    shards = Shards.open(folder / "shards")

    def clips(generator: torch.Generator) -> Tensor:
        # Mostly short cuts for speed; longer ones show the decoder its later phases.
        num_frames, batch = ((9, 6), (17, 4), (33, 2))[
            int(torch.multinomial(torch.tensor([0.5, 0.3, 0.2]), 1, generator=generator))
        ]
        return shards.random_video(batch, num_frames, generator)

    step = autoencoders.video_vae_step(vae, clips, latent_noise=0.03, train_encoder=True)
    average = run(
        vae,
        build_optimizers([vae], matrix_rate=4e-3, other_rate=1e-3),
        step,
        RunOptions(folder / "video_vae.pt", Schedule(steps, decay=0.6)),
    )
    average.copy_to(vae)
    _measure_video_statistics(vae, shards)
    _save_weights(folder / "video_vae.weights.pt", vae)


def train_video_decoder(folder: Path, *, steps: int = VIDEO_DECODER_STEPS) -> None:
    """The decoder alone, on whole clips and noisier latents, with the encoder fixed."""
    vae = load_video_vae(folder)
    autoencoders.freeze(vae.encoder)
    shards = Shards.open(folder / "shards")

    def clips(generator: torch.Generator) -> Tensor:
        return shards.random_video(2, architecture.NUM_FRAMES, generator)

    step = autoencoders.video_vae_step(vae, clips, latent_noise=0.1, train_encoder=False)
    options = RunOptions(folder / "video_decoder.pt", Schedule(steps, decay=0.7))
    run(vae, build_optimizers([vae.decoder], matrix_rate=1.5e-3, other_rate=5e-4), step, options)


def train_audio_vae(folder: Path, *, steps: int = AUDIO_VAE_STEPS) -> None:
    """Encoder and decoder of the sound, from nothing."""
    torch.manual_seed(2)
    config = AudioVAEConfig.from_metadata(architecture.CONFIG)
    vae, mel_front_end = AudioVAE(config), MelSpectrogram(config)
    shards = Shards.open(folder / "shards")

    def waveforms(generator: torch.Generator) -> Tensor:
        return shards.random_waveform(6, 128 * config.hop_length, generator)

    autoencoders.start_from_mean(
        vae,
        mel_front_end,
        shards.random_waveform(64, architecture.SAMPLE_RATE, torch.Generator().manual_seed(7)),
    )
    step = autoencoders.audio_vae_step(vae, mel_front_end, waveforms, latent_noise=0.03)
    optimizers = build_optimizers([vae], matrix_rate=4e-3, other_rate=3e-3)
    options = RunOptions(folder / "audio_vae.pt", Schedule(steps, decay=0.6))
    average = run(vae, optimizers, step, options)
    average.copy_to(vae)
    _measure_audio_statistics(vae, mel_front_end, shards)
    _save_weights(folder / "audio_vae.weights.pt", vae)


def train_vocoder(folder: Path, *, steps: int = VOCODER_STEPS) -> None:
    """Mel spectrograms to waveforms, from nothing."""
    torch.manual_seed(3)
    vocoder = Vocoder(VocoderConfig.from_metadata(architecture.CONFIG))
    mel_front_end = MelSpectrogram(AudioVAEConfig.from_metadata(architecture.CONFIG))
    shards = Shards.open(folder / "shards")

    def waveforms(generator: torch.Generator) -> Tensor:
        return shards.random_waveform(6, 48 * mel_front_end.config.hop_length, generator)

    step = autoencoders.vocoder_step(vocoder, mel_front_end, waveforms)
    optimizers = build_optimizers([vocoder], matrix_rate=2e-3, other_rate=8e-4)
    options = RunOptions(folder / "vocoder.pt", Schedule(steps, decay=0.6))
    run(vocoder, optimizers, step, options)


def encode_latents(folder: Path) -> None:
    """Latents of every shard that has none yet, and the tokenizer learnt from the captions."""
    encode_missing(folder, load_video_vae(folder).eval(), load_audio_vae(folder).eval())
    if not (folder / "text_encoder" / "tokenizer.json").exists():
        captions = LatentShards.open(folder).all_captions()
        write_text_encoder_folder(folder / "text_encoder", captions)


def train_transformer(
    folder: Path, *, steps: int = TRANSFORMER_STEPS, batch: int = TRANSFORMER_BATCH
) -> None:
    """Text encoder, connectors and transformer together, on latents."""
    torch.manual_seed(4)
    networks = PuppetNetworks(folder / "text_encoder")
    shards = LatentShards.open(folder)
    compression = VideoVAEConfig.from_metadata(architecture.CONFIG).compression

    def step(_: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        examples = shards.random_batch(batch, generator)
        dropped = torch.rand(len(examples.captions), generator=generator) < PROMPT_DROPOUT
        captions = [
            "" if drop else text for drop, text in zip(dropped, examples.captions, strict=True)
        ]
        with torch.autocast("cpu", torch.bfloat16), FullPrecisionAttention():
            loss = flow_loss(
                networks.transformer,
                Joint(examples.video, examples.audio),
                networks.contexts(captions),
                compression=compression,
                frame_rate=architecture.FRAME_RATE,
                shift=architecture.SHIFT,
                generator=generator,
            )
        return loss.total, {"video": float(loss.video), "audio": float(loss.audio)}

    optimizers = build_optimizers([networks], matrix_rate=2e-3, other_rate=2e-3)
    options = RunOptions(
        folder / "transformer.pt",
        Schedule(steps, warmup=100, decay=0.4),
        ema_decay=0.999,
        save_every_s=120.0,
    )
    run(networks, optimizers, step, options)


def export_checkpoint(folder: Path, target: Path) -> None:
    """The averaged weights of every stage's last save as one checkpoint folder, with the logs."""
    networks = PuppetNetworks(folder / "text_encoder")
    load_average(folder / "transformer.pt", networks)
    logs = [log for stage in STAGES if (log := folder / f"{stage}.jsonl").exists()]
    export(
        target,
        folder / "text_encoder",
        networks,
        load_video_vae(folder),
        load_audio_vae(folder),
        load_vocoder(folder),
        PROFILE,
        recipe={log.stem: last_figures(log) for log in logs},
    )
    (target / "training").mkdir(exist_ok=True)
    for log in logs:
        shutil.copy(log, target / "training" / log.name)


def load_video_vae(folder: Path) -> VideoVAE:
    """The trained video autoencoder of a work folder, with the decoder trained furthest."""
    config = VideoVAEConfig.from_metadata(architecture.CONFIG)
    vae = _load_weights(folder / "video_vae.weights.pt", VideoVAE(config))
    if (folder / "video_decoder.pt").exists():
        load_average(folder / "video_decoder.pt", vae, prefix="decoder.")
    return vae


def load_audio_vae(folder: Path) -> AudioVAE:
    """The trained audio autoencoder of a work folder."""
    config = AudioVAEConfig.from_metadata(architecture.CONFIG)
    return _load_weights(folder / "audio_vae.weights.pt", AudioVAE(config))


def load_vocoder(folder: Path) -> Vocoder:
    """The vocoder of a work folder, trained so far."""
    vocoder = Vocoder(VocoderConfig.from_metadata(architecture.CONFIG))
    load_average(folder / "vocoder.pt", vocoder)
    return vocoder


@torch.no_grad()
def _measure_video_statistics(vae: VideoVAE, shards: Shards) -> None:
    generator = torch.Generator().manual_seed(7)
    cuts = [shards.random_video(4, architecture.NUM_FRAMES, generator) for _ in range(32)]
    latents = torch.cat([vae.encode_mean(video) for video in cuts])
    mean, std = autoencoders.measure_statistics(latents)
    vae.per_channel_statistics.mean.copy_(mean)
    vae.per_channel_statistics.std.copy_(std)


@torch.no_grad()
def _measure_audio_statistics(vae: AudioVAE, mel_front_end: MelSpectrogram, shards: Shards) -> None:
    generator = torch.Generator().manual_seed(7)
    waveform = shards.random_waveform(256, 2 * architecture.SAMPLE_RATE, generator)
    latents = vae.encode_mean(mel_front_end(waveform, architecture.SAMPLE_RATE))
    mean, std = autoencoders.measure_statistics(latents.permute(0, 1, 3, 2).flatten(1, 2))
    vae.per_channel_statistics.mean.copy_(mean)
    vae.per_channel_statistics.std.copy_(std)


def _save_weights(path: Path, module: nn.Module) -> None:
    part = path.with_suffix(".part")
    torch.save(module.state_dict(), part)
    part.replace(path)


def _load_weights(path: Path, module: AnyModule) -> AnyModule:
    if not path.exists():
        raise CheckpointError(
            f"The work folder has no {path.name}.",
            next_step="Run the earlier stages of the recipe first.",
        )
    module.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return module
