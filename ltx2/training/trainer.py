"""Training of the transformer, whole or by low-rank additions, from a configuration.

Precomputed latents and text features -> a mode -> states -> noise -> velocities -> loss; the loop
around it is `ltx2.training.loop`. What it leaves, `ltx2.load` or any LoRA loader takes.
"""

import json
import logging
import math
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ltx2.checkpoint.catalog import FoundModel, find_model, require_trainable
from ltx2.checkpoint.components import AUDIO_CONNECTOR, TRANSFORMER, VIDEO_CONNECTOR
from ltx2.checkpoint.loader import (
    build_audio_connector,
    build_transformer,
    build_video_connector,
    load_component,
)
from ltx2.diffusion.state import Joint, LatentState
from ltx2.errors import RequestError, ResourceError
from ltx2.geometry import VideoCompression
from ltx2.model.transformer import Transformer
from ltx2.model.video_vae import VideoVAEConfig
from ltx2.progress import ShouldCancel, never_cancel
from ltx2.runtime.placement import choose_device, memory_explained
from ltx2.training.adapters import add_adapters
from ltx2.training.config import Lora, TrainConfig, changed_settings
from ltx2.training.distributed import Processes, connect
from ltx2.training.flow import Noised, NoiseLevels
from ltx2.training.loop import Every, Hooks, OnLog, RunOptions, Schedule, run
from ltx2.training.modes import Batch, draw_mode, states_of
from ltx2.training.optimizers import build_optimizer
from ltx2.training.results import (
    TRAINABLE,
    CheckpointWriter,
    Generate,
    PipelineClips,
    TextFeatures,
    TrainedNetwork,
    ValidationClips,
    text_features,
)

logger = logging.getLogger(__name__)

STATE_FILE = "training.pt"
CONFIG_FILE = "config.json"
"""What a run goes on from, in the output folder."""

_LESS_MEMORY = (
    "Set gradient_checkpointing, batch_size 1 or a smaller rank; for LoRA training also "
    "base_quantization int8 and the optimizer adamw8bit."
)


class Examples(Protocol):
    """What batches are drawn from, as `ltx2.training.dataset` reads it from a folder."""

    def random_batch(self, size: int, generator: torch.Generator) -> Batch:
        """Examples of equal shapes; the same generator state gives the same ones."""


@dataclass(frozen=True)
class Objective:
    """Loss of one batch, drawn and noised identically in all processes.

    Attributes:
        network: `TrainedNetwork`, perhaps wrapped for several processes.
        compression: pixels per latent voxel.
    """

    config: TrainConfig
    network: nn.Module
    examples: Examples
    compression: VideoCompression
    processes: Processes

    def __call__(self, step: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """Weighted loss of this process's rows, and the plain losses by modality."""
        config, processes = self.config, self.processes
        batch = self.examples.random_batch(config.batch_size, generator)
        states = states_of(
            draw_mode(config.modes, generator),
            batch,
            compression=self.compression,
            reference_downscale_factor=config.reference_downscale_factor,
            generator=generator,
        )
        levels = NoiseLevels(config.timesteps.shift, config.timesteps.uniform_share)
        size, num_tokens = len(batch.text_mask), _num_tokens(batch, states)
        sigma = levels.sample(size, num_tokens=num_tokens, generator=generator)
        whole = [None if s is None else Noised.of(s, sigma, generator) for s in states]
        own = processes.rows(size)
        device = processes.device
        video, audio = (None if part is None else part.rows(own, device) for part in whole)
        is_bfloat16 = config.precision == "bfloat16"
        with torch.autocast(device.type, torch.bfloat16, enabled=is_bfloat16):
            velocities = self.network(
                Joint(video, audio),
                batch.text_features[own].to(device),
                batch.text_mask[own].to(device),
            )
        total = sigma.new_zeros((), device=device)
        figures = {}
        for name, all_rows, part, velocity in zip(
            Joint._fields, whole, (video, audio), velocities, strict=True
        ):
            if all_rows is None or part is None or not bool(all_rows.denoise_mask.any()):
                continue
            num_generated = all_rows.denoise_mask.sum().to(device)
            # Gradients are averaged over the processes, the loss is a mean over all rows.
            loss = part.loss(velocity, num_generated) * processes.world_size
            total = total + loss * getattr(config.loss, name)
            figures[name] = float(loss.detach())
        return total, figures


def train(
    config: TrainConfig,
    *,
    examples: Examples | None = None,
    generate: Generate | None = None,
    should_stop: ShouldCancel = never_cancel,
) -> Path:
    """The finished checkpoint or LoRA; a run that finds its state in the output folder goes on.

    Under torchrun the processes share the work, and the first of them writes.

    Args:
        config: what to do.
        examples: None opens the folder of the configuration.
        generate: makes validation clips; None uses the model's own pipeline.
        should_stop: asked after every step; True saves everything and ends the run.

    Raises:
        RequestError: the configuration does not fit the data, the model, or an earlier run.
        CheckpointError: the model is not there or does not fit the code.
        ResourceError: there is too little memory or disk space, or a package is missing.
        GenerationError: the loss or its gradient is not finite.
        GenerationCancelled: `should_stop` said so; the run can go on.
    """
    found = find_model(config.model, text_encoder=config.text_encoder)
    require_trainable(found.file)
    with (
        connect(config.engine, choose_device(config.device)) as processes,
        memory_explained(_LESS_MEMORY),
    ):
        # A call of its own: what it makes has to be gone before the processes part.
        return _train(config, found, processes, examples, generate, should_stop)


def _train(
    config: TrainConfig,
    found: FoundModel,
    processes: Processes,
    examples: Examples | None,
    generate: Generate | None,
    should_stop: ShouldCancel,
) -> Path:
    _remember_config(config, processes)
    if examples is None:
        examples = _open_examples(config.data)
    texts: TextFeatures = {}
    if config.validation is not None and generate is None:
        # Before the transformer is loaded: both together may not fit.
        requests = config.validation.requests()
        texts = processes.made_once(lambda: text_features(found, requests))
    network, trained = build_network(config, found)
    if config.engine == "ddp" or processes.world_size == 1:
        network.to(processes.device)  # fsdp moves and cuts block by block
    parallel = processes.parallel(network)
    if config.validation is not None and generate is None:
        # Several processes have to stop at the same place, which is not inside a clip.
        cancel = should_stop if processes.world_size == 1 else never_cancel
        generate = PipelineClips(found, network, texts, processes.device, cancel)
    compression = VideoVAEConfig.from_metadata(found.file.config).compression
    objective = Objective(config, parallel, examples, compression, processes)
    optimizers = build_optimizer(
        config.optimizer.name,
        trained,
        learning_rate=config.optimizer.learning_rate,
        weight_decay=config.optimizer.weight_decay,
    )
    is_writer = processes.rank == 0
    writer = CheckpointWriter(config, found, trained, is_writer=is_writer)
    every = [Every(config.checkpoints.every, writer, at_end=True)]
    if config.validation is not None and generate is not None:
        clips = ValidationClips(config, config.validation, generate, is_writer=is_writer)
        every.append(Every(config.validation.every, clips))
    with _board(config.output, is_writer=is_writer) as on_log:
        run(
            trained,
            optimizers,
            objective,
            _run_options(config),
            hooks=Hooks(on_log, tuple(every), should_stop),
            processes=processes,
        )
    return writer.newest


def build_network(config: TrainConfig, found: FoundModel) -> tuple[TrainedNetwork, nn.Module]:
    """The network on the CPU and the part of it that is trained: `Adapters` or whole networks."""
    is_lora = isinstance(config.train, Lora)
    halved = is_lora and config.precision == "bfloat16"
    dtype = torch.bfloat16 if halved else torch.float32
    load = partial(load_component, found.file, dtype=dtype, device="cpu")
    transformer = load(TRANSFORMER, build_transformer)
    connectors = Joint(
        load(VIDEO_CONNECTOR, build_video_connector), load(AUDIO_CONNECTOR, build_audio_connector)
    )
    trains_connectors = not isinstance(config.train, Lora) and config.train.connectors
    network = TrainedNetwork(transformer, connectors, trains_connectors=trains_connectors)
    trained: nn.Module
    if isinstance(config.train, Lora):
        rank, alpha = config.train.rank, config.train.alpha
        trained = add_adapters(
            transformer,
            config.train.targets,
            rank=rank,
            alpha=rank if alpha is None else alpha,
            seed=config.seed,
        )
        if config.base_quantization == "int8":
            from ltx2.training.quantize import quantize_frozen_linears

            quantize_frozen_linears(network)
    else:
        names = list(TRAINABLE) if trains_connectors else ["transformer"]
        trained = nn.ModuleDict({name: getattr(network, name) for name in names})
        trained.requires_grad_(True)
    if config.gradient_checkpointing:
        checkpoint_blocks(transformer)
    return network, trained


def checkpoint_blocks(transformer: Transformer) -> None:
    """Makes every block forget what it computed and compute it again for its gradients."""
    for block in transformer.transformer_blocks:
        # Nothing in a block is random, so there is no random state to keep.
        block.forward = partial(
            checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False
        )


@contextmanager
def stopped_by_signals() -> Iterator[ShouldCancel]:
    """Says True after Ctrl-C or a request to end; a second one ends the program at once."""
    caught: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(number)
        logger.warning("stopping after this step; once more stops at once")

    before = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(caught)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _open_examples(folder: Path) -> Examples:
    from ltx2.training.dataset import PrecomputedDataset

    examples: Examples = PrecomputedDataset.open(folder)
    return examples


def _remember_config(config: TrainConfig, processes: Processes) -> None:
    """Writes the configuration into the output folder; a run goes on only as it began."""
    path = config.output / CONFIG_FILE
    if (config.output / STATE_FILE).exists() and path.exists():
        changed = changed_settings(json.loads(path.read_text()), config)
        if changed:
            raise RequestError(
                f"{config.output} holds a run with another {', '.join(changed)}.",
                next_step="Choose another output, or the settings of the run to go on with it.",
            )
    if processes.rank == 0:
        try:
            config.output.mkdir(parents=True, exist_ok=True)
            path.write_text(config.model_dump_json(indent=2))
        except OSError as error:
            raise ResourceError(
                f"{config.output} cannot be written ({error.strerror}).",
                next_step="Choose another output folder.",
            ) from error


def _run_options(config: TrainConfig) -> RunOptions:
    schedule, is_constant = config.schedule, config.schedule.name == "constant"
    return RunOptions(
        config.output / STATE_FILE,
        Schedule(
            config.steps,
            warmup=schedule.warmup_steps,
            decay=0.0 if is_constant else 1.0,
            final=0.0,
            shape="cosine" if schedule.name == "cosine" else "linear",
        ),
        seed=config.seed,
        ema_decay=config.ema_decay,
        max_grad_norm=config.optimizer.max_grad_norm,
        accumulation=config.accumulation,
        save_every_s=config.checkpoints.state_every_s,
        log_every=config.log_every,
    )


def _num_tokens(batch: Batch, states: Joint[LatentState | None]) -> int:
    """Tokens of the clip, whose number shifts the noise levels: the picture's if there is one."""
    if states.video is not None and batch.video is not None:
        return math.prod(batch.video.shape[2:])
    assert states.audio is not None
    return states.audio.clean.shape[1]


@contextmanager
def _board(folder: Path, *, is_writer: bool) -> Iterator[OnLog]:
    """Sends figures to TensorBoard, where it is installed; the log file has them anyway."""
    if not is_writer:
        yield lambda step, figures: None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        logger.info("tensorboard is not installed; the figures are in training.jsonl alone")
        yield lambda step, figures: None
        return
    with SummaryWriter(folder / "tensorboard") as board:

        def on_log(step: int, figures: Mapping[str, float]) -> None:
            for name, value in figures.items():
                if name != "step":
                    board.add_scalar(name, value, step)
            board.flush()

        yield on_log
