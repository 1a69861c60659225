"""The recipe of the puppet checkpoint, stage by stage; every stage resumes where it stopped.

    render, render-pairs, video-vae, audio-vae, vocoder, latents, transformer, video-decoder,
    distill, pairs, upsampler, export, loras

`all` runs them one after the other. video-decoder may run while the transformer trains: it keeps
the latents as they are. LoRAs are trained on the exported checkpoint.
A work folder holds everything: `shards/`, `large/` and `small/` pictures of the same scenes, one
state file and log per stage, `latents/`, `pairs/`.
"""

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ltx2.diffusion.guidance import Pass
from ltx2.diffusion.schedules import shifted_sigmas
from ltx2.diffusion.state import Joint
from ltx2.errors import CheckpointError
from ltx2.model.audio_vae import AudioVAE, AudioVAEConfig, MelSpectrogram
from ltx2.model.config import UpsamplerConfig
from ltx2.model.upsampler import LatentUpsampler
from ltx2.model.video_vae import VideoVAE, VideoVAEConfig
from ltx2.model.vocoder import Vocoder, VocoderConfig
from ltx2.request import Guidance, ModelProfile
from ltx2.training import autoencoders
from ltx2.training.distill import Distillation
from ltx2.training.flow import FullPrecisionAttention, flow_loss
from ltx2.training.loop import (
    Average,
    Hooks,
    RunOptions,
    Schedule,
    Step,
    last_figures,
    load_average,
    run,
)
from ltx2.training.optimizers import build_optimizers
from ltx2.training.puppet import architecture
from ltx2.training.puppet.data import (
    FIRST_CONVERSATION_SHARD,
    Shards,
    render_pair_shard,
    render_shard,
    struck_metal,
)
from ltx2.training.puppet.export import (
    DISTILLED_FILE,
    MODEL_FILE,
    UPSAMPLER_FILE,
    export_autoencoders,
    export_text_encoder,
    export_transformer,
    export_upsampler,
)
from ltx2.training.puppet.latents import (
    LatentPairs,
    LatentShards,
    encode_missing,
    encode_pairs,
)
from ltx2.training.puppet.lora_clips import LESSONS
from ltx2.training.puppet.loras import log_name, train_loras
from ltx2.training.puppet.networks import PuppetNetworks
from ltx2.training.puppet.scenes import WORDS
from ltx2.training.puppet.text import write_text_encoder_folder
from ltx2.training.puppet.warm_start import redistilled
from ltx2.training.puppet.weights import AnyModule, load_weights, save_weights, weights_path
from ltx2.training.trainer import stopped_by_signals
from ltx2.training.upsampling import upsampler_step

logger = logging.getLogger(__name__)

SHARDS, PAIR_SHARDS = FIRST_CONVERSATION_SHARD + 16, 4
LARGE_SHARE = 0.3
"""Share of the shortest cuts that the video autoencoder sees of large pictures."""
VIDEO_VAE_STEPS = 9_000
VIDEO_DECODER_STEPS = 1_600
AUDIO_VAE_STEPS = 2_500
VOCODER_STEPS = 10_000
TRANSFORMER_STEPS = 4_900
TRANSFORMER_BATCH = 24
TRANSFORMER_RATE, WARM_RATE = 2e-3, 1.2e-3
"""Learning rates from nothing, and from trained weights, which a high rate would first undo."""
TRANSFORMER_SHIFT = 1.1
"""Of the noise levels in training: higher ones than generation walks through, because at them it is
settled who speaks first and which key sounds when."""
PROMPT_DROPOUT = 0.1
UPSAMPLER_STEPS, UPSAMPLER_BATCH = 4_000, 8
DISTILL_STEPS, DISTILL_BATCH = 400, 8

STAGES = (
    "video_vae",
    "video_decoder",
    "audio_vae",
    "vocoder",
    "transformer",
    "distilled",
    "upsampler",
)
"""Stages that train something, in order; each has a state file and a log of its name."""
LOGS = (*STAGES, *(log_name(lesson) for lesson in LESSONS))
"""Names of logs; earlier runs that a stage went on from have a number behind theirs."""

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
    max_duration_s=16.0,
    shift=architecture.SHIFT,
    example_prompts=(
        'A red puppet with a top hat on a white background says "hello" in a high voice.',
        "A yellow ball on a pink background bounces on a metal floor with a long ring.",
        "A green puppet with a crown on the left and a blue puppet with pink hair on the right on "
        'a grey background. The one on the left says "banana" in a high voice, then the one on '
        'the right "cheese" in a low voice.',
        "A xylophone on a black background plays first red, then yellow, finally blue.",
        'A purple puppet on a cyan background says "gracias" in Spanish in a low voice. It rains.',
        "An orange ball on the left of a white background bounces on water with a soft plop. The "
        "camera zooms in.",
        *(
            f'A green puppet on a cyan background says "{word}" in a low voice.'
            for word in WORDS["en"]
        ),
    ),
)
DISTILLED_SIGMAS = tuple(
    round(level, 4) for level in shifted_sigmas(8, shift=architecture.SHIFT).tolist()
)
"""Noise levels of the distilled model's eight steps."""
DISTILLED_PROFILE = PROFILE.model_copy(
    update={
        "num_steps": len(DISTILLED_SIGMAS) - 1,
        "sigmas": DISTILLED_SIGMAS,
        "video_guidance": Guidance(),
        "audio_guidance": Guidance(),
        "shift": None,
    }
)


def render(folder: Path, *, first: int, count: int) -> None:
    """Renders shards `first` to `first + count - 1` that are not there yet."""
    for index in range(first, first + count):
        render_shard(folder / "shards", index)
        logger.info("shard %d is ready", index)


def render_pairs(folder: Path, *, count: int = PAIR_SHARDS) -> None:
    """Renders the shards of large and small pictures of the same scenes that are not there yet."""
    for index in range(count):
        render_pair_shard(folder, index)
        logger.info("shard %d of pairs is ready", index)


def train_video_vae(folder: Path, *, steps: int = VIDEO_VAE_STEPS) -> None:
    """Encoder and decoder of the picture, from nothing."""
    torch.manual_seed(1)
    vae = VideoVAE(VideoVAEConfig.from_metadata(architecture.CONFIG))
    autoencoders.start_from_skips(vae)
    shards, large = Shards.open(folder / "shards"), Shards.open(folder / "large")

    def clips(generator: torch.Generator) -> Tensor:
        # Mostly short cuts for speed; longer ones show the decoder its later phases.
        num_frames, batch = ((9, 6), (17, 4), (33, 2))[
            int(torch.multinomial(torch.tensor([0.5, 0.3, 0.2]), 1, generator=generator))
        ]
        if num_frames == 9 and torch.rand((), generator=generator) < LARGE_SHARE:
            return large.random_video(batch, num_frames, generator, side=architecture.HEIGHT)
        return shards.random_video(batch, num_frames, generator)

    step = autoencoders.video_vae_step(vae, clips, latent_noise=0.03, train_encoder=True)
    average = _run(
        vae,
        build_optimizers([vae], matrix_rate=4e-3, other_rate=1e-3),
        step,
        RunOptions(folder / "video_vae.pt", Schedule(steps, decay=0.6)),
    )
    average.copy_to(vae)
    _measure_video_statistics(vae, shards)
    save_weights(folder, "video_vae", vae)


def train_video_decoder(folder: Path, *, steps: int = VIDEO_DECODER_STEPS) -> None:
    """The decoder alone, on whole clips and noisier latents, with the encoder fixed."""
    vae = load_video_vae(folder)
    autoencoders.freeze(vae.encoder)
    shards = Shards.open(folder / "shards")

    def clips(generator: torch.Generator) -> Tensor:
        return shards.random_video(2, architecture.NUM_FRAMES, generator)

    step = autoencoders.video_vae_step(vae, clips, latent_noise=0.05, train_encoder=False)
    options = RunOptions(folder / "video_decoder.pt", Schedule(steps, decay=0.7))
    _run(vae, build_optimizers([vae.decoder], matrix_rate=1.5e-3, other_rate=5e-4), step, options)


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
    average = _run(vae, optimizers, step, options)
    average.copy_to(vae)
    _measure_audio_statistics(vae, mel_front_end, shards)
    save_weights(folder, "audio_vae", vae)


def train_vocoder(folder: Path, *, steps: int = VOCODER_STEPS) -> None:
    """Mel spectrograms to waveforms, one side of the sound at a time, from nothing."""
    torch.manual_seed(3)
    vocoder = _one_sided_vocoder()
    mel_front_end = MelSpectrogram(AudioVAEConfig.from_metadata(architecture.CONFIG))
    shards = Shards.open(folder / "shards")

    def waveforms(generator: torch.Generator) -> Tensor:
        # Much of every clip is silent: the louder half teaches more, one other keeps silence known.
        cuts = shards.random_waveform(12, 48 * mel_front_end.config.hop_length, generator)
        order = cuts.square().mean(dim=(1, 2)).argsort(descending=True)
        cuts = torch.cat([cuts[order[[0, 1, 2, 3, -1]]], struck_metal(3, cuts.shape[2], generator)])
        sides = torch.randint(2, (len(cuts),), generator=generator)
        return cuts[torch.arange(len(cuts)), sides].unsqueeze(1)

    step = autoencoders.vocoder_step(vocoder, mel_front_end, waveforms)
    optimizers = build_optimizers([vocoder], matrix_rate=2e-3, other_rate=8e-4)
    options = RunOptions(folder / "vocoder.pt", Schedule(steps, decay=0.6))
    _run(vocoder, optimizers, step, options)


def encode_latents(folder: Path) -> None:
    """Latents of every shard that has none yet, and the tokenizer learnt from the captions."""
    encode_missing(folder, load_video_vae(folder).eval(), load_audio_vae(folder).eval())
    if not (folder / "text_encoder" / "tokenizer.json").exists():
        captions = LatentShards.open(folder).all_captions()
        write_text_encoder_folder(folder / "text_encoder", captions)


def train_transformer(
    folder: Path, *, steps: int = TRANSFORMER_STEPS, batch: int = TRANSFORMER_BATCH
) -> None:
    """Text encoder, connectors and transformer together, on latents.

    From nothing, or from the weights that `start-from` put into the folder.
    """
    torch.manual_seed(4)
    networks = _untrained_networks(folder)
    is_warm = weights_path(folder, "transformer").exists()
    if is_warm:
        load_weights(folder, "transformer", networks)
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
                shift=TRANSFORMER_SHIFT,
                generator=generator,
            )
        return loss.total, {"video": float(loss.video), "audio": float(loss.audio)}

    rate = WARM_RATE if is_warm else TRANSFORMER_RATE
    optimizers = build_optimizers([networks], matrix_rate=rate, other_rate=rate)
    options = RunOptions(
        folder / "transformer.pt",
        Schedule(steps, warmup=100, decay=0.4),
        ema_decay=0.999,
        save_every_s=120.0,
    )
    _run(networks, optimizers, step, options)


def distill(folder: Path, *, steps: int = DISTILL_STEPS, batch: int = DISTILL_BATCH) -> None:
    """A transformer that needs few steps and no guidance, taught by the one that needs both."""
    torch.manual_seed(5)
    teacher = load_networks(folder)
    student = redistilled(folder, teacher)
    autoencoders.freeze(teacher)
    # Both models share one text encoder file.
    autoencoders.freeze(student.text_encoder)
    autoencoders.freeze(student.projection)
    shards = LatentShards.open(folder)
    distillation = Distillation(
        student.transformer,
        teacher.transformer,
        VideoVAEConfig.from_metadata(architecture.CONFIG).compression,
        architecture.FRAME_RATE,
        DISTILLED_SIGMAS,
        Joint(PROFILE.video_guidance, PROFILE.audio_guidance),
    )

    def step(_: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        examples = shards.random_batch(batch, generator)
        with torch.autocast("cpu", torch.bfloat16), FullPrecisionAttention():
            with torch.no_grad():
                asked = teacher.contexts(examples.captions)
                unasked = teacher.contexts([""] * len(examples.captions))
            loss = distillation.loss(
                Joint(examples.video, examples.audio),
                student.contexts(examples.captions),
                {Pass.CONDITIONAL: asked, Pass.NEGATIVE: unasked},
                generator,
            )
        return loss.total, {"video": float(loss.video), "audio": float(loss.audio)}

    optimizers = build_optimizers([student], matrix_rate=5e-4, other_rate=5e-4)
    options = RunOptions(
        folder / "distilled.pt", Schedule(steps, warmup=20, decay=0.6), ema_decay=0.99
    )
    _run(student, optimizers, step, options)


def encode_large_pairs(folder: Path) -> None:
    """Latents of the large pictures and of the small ones of the same scenes."""
    encode_pairs(folder, load_video_vae(folder).eval())


def train_upsampler(folder: Path, *, steps: int = UPSAMPLER_STEPS) -> None:
    """From latents of a picture to latents of one twice as large."""
    torch.manual_seed(6)
    upsampler = LatentUpsampler(UpsamplerConfig.from_metadata(architecture.UPSAMPLER_CONFIG))
    vae = load_video_vae(folder)
    pairs = LatentPairs.open(folder)

    def draw(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        small, large = pairs.random_batch(UPSAMPLER_BATCH, generator)
        return vae.denormalise(small), vae.denormalise(large)

    step = upsampler_step(upsampler, draw, std=vae.per_channel_statistics.std)
    options = RunOptions(folder / "upsampler.pt", Schedule(steps, decay=0.6))
    _run(upsampler, build_optimizers([upsampler], matrix_rate=2e-3, other_rate=1e-3), step, options)


def run_all(folder: Path, target: Path) -> None:
    """Every stage from nothing to the checkpoint folder; what is done already is not done again."""
    render(folder, first=0, count=SHARDS)
    render_pairs(folder)
    train_video_vae(folder)
    train_audio_vae(folder)
    train_vocoder(folder)
    encode_latents(folder)
    train_transformer(folder)
    train_video_decoder(folder)
    distill(folder)
    encode_large_pairs(folder)
    train_upsampler(folder)
    export_checkpoint(folder, target)
    train_loras(folder, target)


def export_checkpoint(folder: Path, target: Path) -> None:
    """The averaged weights of every stage's last save as one checkpoint folder, with the logs."""
    logs = find_logs(folder)
    recipe = {log.stem: last_figures(log) for log in logs}
    networks = load_networks(folder)
    export_text_encoder(target, folder / "text_encoder", networks)
    export_autoencoders(
        target,
        load_video_vae(folder),
        load_audio_vae(folder),
        load_vocoder(folder),
        recipe=recipe,
    )
    export_transformer(target / MODEL_FILE, networks, PROFILE, recipe=recipe)
    if (folder / "distilled.pt").exists():
        load_average(folder / "distilled.pt", networks)
        path = target / DISTILLED_FILE
        export_transformer(path, networks, DISTILLED_PROFILE, recipe=recipe)
    if (folder / "upsampler.pt").exists() or weights_path(folder, "upsampler").exists():
        export_upsampler(target / UPSAMPLER_FILE, load_upsampler(folder), recipe=recipe)
    (target / "training").mkdir(exist_ok=True)
    for log in logs:
        shutil.copy(log, target / "training" / log.name)


def find_logs(folder: Path) -> list[Path]:
    """Logs of a folder in the order of the stages, earlier runs of a stage before the last one."""
    return [
        log
        for name in LOGS
        for log in (*sorted(folder.glob(f"{name}_[0-9].jsonl")), folder / f"{name}.jsonl")
        if log.exists()
    ]


def load_networks(folder: Path) -> PuppetNetworks:
    """Text encoder, connectors and transformer of a work folder, trained so far."""
    return _load_trained(folder, "transformer", _untrained_networks(folder))


def load_upsampler(folder: Path) -> LatentUpsampler:
    """The latent upsampler of a work folder, trained so far."""
    upsampler = LatentUpsampler(UpsamplerConfig.from_metadata(architecture.UPSAMPLER_CONFIG))
    return _load_trained(folder, "upsampler", upsampler)


def load_video_vae(folder: Path) -> VideoVAE:
    """The trained video autoencoder of a work folder, with the decoder trained furthest."""
    config = VideoVAEConfig.from_metadata(architecture.CONFIG)
    vae = load_weights(folder, "video_vae", VideoVAE(config))
    if (folder / "video_decoder.pt").exists():
        load_average(folder / "video_decoder.pt", vae, prefix="decoder.")
    return vae


def load_audio_vae(folder: Path) -> AudioVAE:
    """The trained audio autoencoder of a work folder."""
    config = AudioVAEConfig.from_metadata(architecture.CONFIG)
    return load_weights(folder, "audio_vae", AudioVAE(config))


def load_vocoder(folder: Path) -> Vocoder:
    """The vocoder of a work folder, trained so far, for both sides."""
    if not (folder / "vocoder.pt").exists():
        config = VocoderConfig.from_metadata(architecture.CONFIG)
        return load_weights(folder, "vocoder", Vocoder(config))
    one_side = _one_sided_vocoder()
    load_average(folder / "vocoder.pt", one_side)
    return autoencoders.two_sided(one_side)


def _run(
    module: nn.Module, optimizers: list[Optimizer], step: Step, options: RunOptions
) -> Average:
    """The averaged weights of a stage; Ctrl-C or a request to end saves its state and ends it."""
    with stopped_by_signals() as should_stop:
        return run(module, optimizers, step, options, hooks=Hooks(should_stop=should_stop))


def _load_trained(folder: Path, stage: str, module: AnyModule) -> AnyModule:
    """What a stage has trained so far, or the weights that it would start from."""
    if not (folder / f"{stage}.pt").exists():
        return load_weights(folder, stage, module)
    load_average(folder / f"{stage}.pt", module)
    return module


def _untrained_networks(folder: Path) -> PuppetNetworks:
    text_folder = folder / "text_encoder"
    if not text_folder.exists():
        raise CheckpointError(
            f"The work folder {folder} has no tokenizer.",
            next_step="Run `render` and `latents` first, or `start-from` a checkpoint.",
        )
    return PuppetNetworks(text_folder)


def _one_sided_vocoder() -> Vocoder:
    config = VocoderConfig.from_metadata(architecture.CONFIG)
    half = config.initial_channels // 2
    return Vocoder(replace(config, num_channels=1, initial_channels=half))


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
