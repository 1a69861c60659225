"""How much memory a training run needs, found out without a weight or a GPU.

Networks are built on the meta device, which knows shapes and no values, with the adapters and the
8-bit weights that the configuration asks for. What a forward and a backward pass would take at once
is counted, not guessed.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ltx2.checkpoint.catalog import find_model, require_trainable
from ltx2.errors import CheckpointError
from ltx2.geometry import AUDIO_LATENTS_PER_SECOND, VideoCompression, num_audio_latents
from ltx2.model.config import ConnectorConfig, TransformerConfig
from ltx2.model.text import Connector
from ltx2.model.transformer import ModalityInput, Transformer
from ltx2.model.video_vae import VideoVAEConfig
from ltx2.training.adapters import add_adapters
from ltx2.training.config import Full, Lora, TrainConfig
from ltx2.training.precompute import Size
from ltx2.training.quantize import quantize_frozen_linears
from ltx2.training.trainer import checkpoint_blocks

CONTEXT_TOKENS = 1024
OVERHEAD_BYTES = 1_500_000_000
"""What CUDA itself and gaps between tensors take; a usual value, not computed."""

_OPTIMIZER_BYTES = {"adamw": 8, "adamw8bit": 2, "muon": 4}
"""Bytes of optimiser state for each trained weight."""


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes that one process needs while training.

    Attributes:
        frozen: weights that do not change, connectors included.
        trained: weights that do, in float32.
        gradients: of the trained weights.
        optimizer: its state.
        average: of the weights, where one is kept.
        activations: most at once of what a forward and a backward pass make: what is kept for
            the gradients, gradients on their way, 8-bit weights made whole.
        overhead: of CUDA and of gaps.
    """

    frozen: int
    trained: int
    gradients: int
    optimizer: int
    average: int
    activations: int
    overhead: int = OVERHEAD_BYTES

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self.rows().values())

    def rows(self) -> dict[str, int]:
        """Every part by its name."""
        return {
            "frozen weights": self.frozen,
            "trained weights": self.trained,
            "gradients": self.gradients,
            "optimiser": self.optimizer,
            "averaged weights": self.average,
            "activations": self.activations,
            "CUDA and gaps (usual value)": self.overhead,
        }


@dataclass(frozen=True)
class Architecture:
    """Shapes of the networks that are trained."""

    transformer: TransformerConfig
    connector: ConnectorConfig
    compression: VideoCompression


PUBLISHED = Architecture(TransformerConfig(), ConnectorConfig(), VideoCompression(8, 32))
"""Of the 19-billion-parameter files."""


def architecture_of(config: TrainConfig) -> Architecture:
    """Architecture of the model that a configuration names; of the published 19B if it is away.

    Raises:
        CheckpointError: the model's header asks for something not implemented.
    """
    try:
        found = find_model(config.model)
    except CheckpointError:
        if Path(config.model).exists():
            raise
        return PUBLISHED
    require_trainable(found.file)
    metadata = found.file.config
    return Architecture(
        TransformerConfig.from_metadata(metadata),
        ConnectorConfig.from_metadata(metadata),
        VideoVAEConfig.from_metadata(metadata).compression,
    )


def plan_training(
    config: TrainConfig, architecture: Architecture, size: Size, *, frame_rate: float
) -> MemoryPlan:
    """Memory of a run on one process.

    Args:
        config: as for `train`; its paths are not looked at.
        architecture: of the model.
        size: of the clips.
        frame_rate: Hz.
    """
    is_lora = isinstance(config.train, Lora)
    dtype = torch.bfloat16 if is_lora and config.precision == "bfloat16" else torch.float32
    with torch.device("meta"):
        transformer = Transformer(architecture.transformer).to(dtype)
        connectors = nn.ModuleList(Connector(architecture.connector) for _ in range(2)).to(dtype)
    transformer.requires_grad_(False)
    connectors.requires_grad_(False)
    trained = _make_trainable(config, transformer, connectors)
    num_trained = sum(p.numel() for p in trained)
    everything = _bytes(transformer) + _bytes(connectors)
    activations = _activation_bytes(config, architecture, size, frame_rate)
    if not is_lora and config.precision == "bfloat16":
        activations += 2 * num_trained  # autocast keeps a bfloat16 copy of every weight
    return MemoryPlan(
        frozen=everything - 4 * num_trained,
        trained=4 * num_trained,
        gradients=4 * num_trained,
        optimizer=_OPTIMIZER_BYTES[config.optimizer.name] * num_trained,
        average=4 * num_trained if config.ema_decay else 0,
        activations=activations,
    )


def cheaper(
    config: TrainConfig,
    architecture: Architecture,
    size: Size,
    *,
    frame_rate: float,
    budget_bytes: int,
) -> str | None:
    """The first change that makes a run fit, in the order of what it costs; None if none does."""
    tried = config
    sentences = []
    for sentence, change in _CHANGES:
        changed = change(tried)
        if changed == tried:
            continue
        tried = changed
        sentences.append(sentence)
        plan = plan_training(tried, architecture, size, frame_rate=frame_rate)
        if plan.total <= budget_bytes:
            return " and ".join(sentences)
    return None


def _with_less_batch(config: TrainConfig) -> TrainConfig:
    factor = config.batch_size
    return config.model_copy(update={"batch_size": 1, "accumulation": config.accumulation * factor})


def _with_small_optimizer(config: TrainConfig) -> TrainConfig:
    if config.engine == "fsdp":
        return config
    optimizer = config.optimizer.model_copy(update={"name": "adamw8bit"})
    return config.model_copy(update={"optimizer": optimizer})


def _with_small_base(config: TrainConfig) -> TrainConfig:
    if isinstance(config.train, Full) or config.engine == "fsdp":
        return config
    return config.model_copy(update={"base_quantization": "int8"})


def _with_half_rank(config: TrainConfig) -> TrainConfig:
    if isinstance(config.train, Full) or config.train.rank == 1:
        return config
    lora = config.train.model_copy(update={"rank": config.train.rank // 2})
    return config.model_copy(update={"train": lora})


_CHANGES: tuple[tuple[str, Callable[[TrainConfig], TrainConfig]], ...] = (
    (
        "gradient_checkpointing: true",
        lambda config: config.model_copy(update={"gradient_checkpointing": True}),
    ),
    ("batch_size: 1 with more accumulation", _with_less_batch),
    ("optimizer adamw8bit", _with_small_optimizer),
    ("base_quantization: int8", _with_small_base),
    ("half the rank", _with_half_rank),
    (
        "train a LoRA (train.kind: lora) on an int8 base",
        lambda config: config.model_copy(update={"train": Lora(), "base_quantization": "int8"}),
    ),
)


def _make_trainable(
    config: TrainConfig, transformer: Transformer, connectors: nn.Module
) -> list[nn.Parameter]:
    if isinstance(config.train, Lora):
        adapters = add_adapters(
            transformer,
            config.train.targets,
            rank=config.train.rank,
            alpha=config.train.rank,
            seed=0,
        )
        if config.base_quantization == "int8":
            quantize_frozen_linears(transformer)
            quantize_frozen_linears(connectors)
        return list(adapters.parameters())
    transformer.requires_grad_(True)
    if config.train.connectors:
        connectors.requires_grad_(True)
    modules: list[nn.Module] = [transformer, connectors]
    return [p for module in modules for p in module.parameters() if p.requires_grad]


def _bytes(module: nn.Module) -> int:
    tensors = [*module.parameters(), *module.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _activation_bytes(
    config: TrainConfig, architecture: Architecture, size: Size, frame_rate: float
) -> int:
    """From two and three blocks: from the second on, each adds the same."""

    def peak(num_layers: int) -> int:
        transformer = replace(architecture.transformer, num_layers=num_layers)
        return step_bytes(config, replace(architecture, transformer=transformer), size, frame_rate)

    num_layers = architecture.transformer.num_layers
    if num_layers <= 3:
        return peak(num_layers)
    two, three = peak(2), peak(3)
    return two + (num_layers - 2) * (three - two)


def step_bytes(
    config: TrainConfig, architecture: Architecture, size: Size, frame_rate: float
) -> int:
    """Most bytes that a forward and a backward pass take at once, counted on shapes alone.

    Args:
        config: what is trained, and how.
        architecture: of the model, perhaps with fewer blocks.
        size: of the clips.
        frame_rate: Hz.
    """
    dtype = torch.bfloat16 if config.precision == "bfloat16" else torch.float32
    with torch.device("meta"):
        network = Transformer(architecture.transformer).to(dtype).requires_grad_(False)
    _make_trainable(config, network, nn.ModuleList())
    for block in network.transformer_blocks:
        # Inside the block, so that it holds when checkpointing computes the block again.
        block.forward = _WithoutValues.around(block.forward)
    if config.gradient_checkpointing:
        checkpoint_blocks(network)
    inputs = _inputs(config.batch_size, architecture, size, frame_rate, dtype)
    with _WithoutValues():
        return peak_bytes(network, *inputs)


def peak_bytes(network: Transformer, video: ModalityInput, audio: ModalityInput) -> int:
    """Most bytes at once of what a forward and a backward pass make.

    Weights, their gradients and the inputs, which are there before, do not count.
    """
    for parameter in network.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.empty_like(parameter)
    with LiveBytes() as live:
        # In one expression: the network's output must not outlive its use.
        loss = sum(
            velocity.float().square().mean()
            for velocity in network(video, audio)
            if velocity is not None
        )
        assert isinstance(loss, Tensor)
        loss.backward()
    return live.peak


class LiveBytes(TorchDispatchMode):
    """Counts the memory of tensors made inside it for as long as they live.

    Attributes:
        now: bytes of what lives.
        peak: most that lived at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._alive: set[int] = set()

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Runs an operation and counts what memory is new in its results."""
        results = func(*args, **(kwargs or {}))
        given = {storage._cdata for storage in _storages((args, kwargs))}
        for storage in _storages(results):
            if storage._cdata not in given | self._alive:
                self._count(storage)
        return results

    def _count(self, storage: torch.UntypedStorage) -> None:
        self._alive.add(storage._cdata)
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, storage._cdata, storage.nbytes())

    def _forget(self, address: int, num_bytes: int) -> None:
        self._alive.discard(address)
        self.now -= num_bytes


def _storages(values: object) -> list[torch.UntypedStorage]:
    return [leaf.untyped_storage() for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def _inputs(
    batch: int, architecture: Architecture, size: Size, frame_rate: float, dtype: torch.dtype
) -> tuple[ModalityInput, ModalityInput]:
    config = architecture.transformer
    frames, height, width = architecture.compression.latent_grid(
        size.num_frames, size.height, size.width
    )
    num_audio = num_audio_latents(size.num_frames, frame_rate, AUDIO_LATENTS_PER_SECOND)

    def part(num_tokens: int, channels: int, axes: int) -> ModalityInput:
        def empty(*shape: int, of: torch.dtype = dtype) -> Tensor:
            return torch.empty(shape, dtype=of, device="meta")

        return ModalityInput(
            tokens=empty(batch, num_tokens, channels),
            timesteps=empty(batch, num_tokens, of=torch.float32),
            sigma=empty(batch, of=torch.float32),
            positions=empty(1, axes, num_tokens, 2, of=torch.float32),
            context=empty(batch, CONTEXT_TOKENS, config.context_channels(config.video)),
        )

    return (
        part(frames * height * width, config.video.in_channels, 3),
        part(num_audio, config.audio.in_channels, 1),
    )


class _WithoutValues(TorchFunctionMode):
    """What lets a network run on shapes alone, and take what it would take on a GPU.

    Attention takes what a fused kernel takes, never the matrix of all pairs. Questions about values
    are answered with yes: all tokens of a clip have one noise level.
    """

    @classmethod
    def around(cls, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function that runs in this mode wherever it is called from."""

        def inside(*args: Any) -> Any:
            with cls():
                return function(*args)

        return inside

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Replaces attention and questions about values, leaves the rest."""
        if func is Tensor.__bool__:
            return True
        if func is scaled_dot_product_attention:
            query, key, value = args[:3]
            return _FusedAttention.apply(query, key, value)
        return func(*args, **(kwargs or {}))


class _FusedAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        out = torch.empty_like(query)
        row_sums = torch.empty(query.shape[:-1], dtype=torch.float32, device=query.device)
        ctx.save_for_backward(query, key, value, out, row_sums)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value, _, _ = ctx.saved_tensors
        return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)
