"""Several processes that train one network, started by torchrun; one process alone is the default.

Every process draws the same batch from the same seed and takes its own rows, so that the result
does not depend on how many there are. State files hold whole tensors: a run that was started
with four processes goes on with one.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import Any, Literal, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.export import register_dataclass
from torch.nn.parallel import DistributedDataParallel

from ltx2.errors import RequestError
from ltx2.model.block import Stream
from ltx2.model.transformer import Transformer

Engine = Literal["ddp", "fsdp"]
"""ddp keeps all weights in every process, fsdp spreads them over the processes."""

Made = TypeVar("Made")

TIMEOUT = timedelta(hours=2)
"""How long processes wait for each other; making validation clips takes minutes."""


class Processes:
    """This process among those that train together; here it is the only one.

    Attributes:
        device: of this process.
        rank: 0 is the one that logs and writes files.
        world_size: number of processes.
    """

    rank = 0
    world_size = 1

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def parallel(self, network: nn.Module) -> nn.Module:
        """The network whose gradients are averages over all processes."""
        return network

    def rows(self, batch: int) -> slice:
        """Which examples of a batch this process takes."""
        return slice(0, batch)

    def mean(self, figures: Mapping[str, float]) -> dict[str, float]:
        """Means over all processes, which bring the same names."""
        return dict(figures)

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """For each flag whether a process has raised it."""
        return flags

    def made_once(self, make: Callable[[], Made]) -> Made:
        """What the first process makes, in all of them."""
        return make()


class ProcessGroup(Processes):
    """This process among several.

    Args:
        engine: how the network is spread.
        device: of this process.
    """

    def __init__(self, engine: Engine, device: torch.device) -> None:
        super().__init__(device)
        self.rank = dist.get_rank()
        self.world_size = dist.get_world_size()
        self.engine = engine

    def parallel(self, network: nn.Module) -> nn.Module:
        """The network whose gradients are averages over all processes."""
        if self.engine == "ddp":
            # Modes that leave a modality out use a part of the parameters only.
            return DistributedDataParallel(network, find_unused_parameters=True)
        return self._shard(network)

    def rows(self, batch: int) -> slice:
        """Which examples of a batch this process takes.

        Raises:
            RequestError: the processes cannot take equally many.
        """
        if batch % self.world_size:
            raise RequestError(
                f"A batch of {batch} cannot be split over {self.world_size} processes.",
                next_step=f"Make batch_size a multiple of {self.world_size}.",
            )
        own = batch // self.world_size
        return slice(self.rank * own, (self.rank + 1) * own)

    def mean(self, figures: Mapping[str, float]) -> dict[str, float]:
        """Means over all processes, which bring the same names."""
        names = sorted(figures)
        values = torch.tensor([figures[name] for name in names], device=self.device)
        dist.all_reduce(values)
        return dict(zip(names, (values / self.world_size).tolist(), strict=True))

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """For each flag whether a process has raised it."""
        raised = torch.tensor(flags, dtype=torch.int32, device=self.device)
        dist.all_reduce(raised, dist.ReduceOp.MAX)
        return tuple(bool(flag) for flag in raised.tolist())

    def made_once(self, make: Callable[[], Made]) -> Made:
        """What the first process makes, in all of them."""
        box = [make() if self.rank == 0 else None]
        dist.broadcast_object_list(box, device=self.device)
        return cast(Made, box[0])

    def _shard(self, network: nn.Module) -> nn.Module:
        """Every transformer block is gathered when its turn comes, the rest for a whole step."""
        mesh = init_device_mesh(self.device.type, (self.world_size,))
        _let_hooks_see_streams()
        # Nobody changes the outputs of a block or of the network in place.
        warnings.filterwarnings("ignore", "FSDP2-wrapped module", UserWarning)
        for transformer in [m for m in network.modules() if isinstance(m, Transformer)]:
            for block in transformer.transformer_blocks:
                fully_shard(block, mesh=mesh)
        for part in network.children():
            # Of its own, so that validation can call the transformer alone.
            fully_shard(part, mesh=mesh)
        fully_shard(network, mesh=mesh)
        return network


ALONE = Processes(torch.device("cpu"))


@contextmanager
def connect(engine: Engine, device: torch.device) -> Iterator[Processes]:
    """The processes that torchrun started, or this one alone.

    They are connected for the length of the block, unless they are connected already.

    Args:
        engine: how the network is spread over several processes.
        device: kind of device; with CUDA each process takes the one of its number.
    """
    if not dist.is_torchelastic_launched():
        yield Processes(device)
        return
    if device.type == "cuda":
        device = torch.device("cuda", dist.get_node_local_rank())
        torch.cuda.set_device(device)
    is_ours = not dist.is_initialized()
    if is_ours:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    try:
        yield ProcessGroup(engine, device)
        dist.barrier()
    finally:
        if is_ours:
            dist.destroy_process_group()


def gathered(state: Any) -> Any:
    """Nested dicts and lists with whole tensors in the place of spread ones.

    All processes have to call it together.
    """
    if isinstance(state, DTensor):
        return state.full_tensor().detach().cpu()
    if isinstance(state, Mapping):
        return {key: gathered(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return [gathered(value) for value in state]
    return state


def spread_like(value: Tensor, like: Tensor) -> Tensor:
    """A whole tensor, spread over the processes where `like` is."""
    if not isinstance(like, DTensor) or isinstance(value, DTensor):
        return value
    value = value.to(like.device)
    # Every process has read the whole tensor, so none has to be sent.
    return distribute_tensor(value, like.device_mesh, like.placements, src_data_rank=None)


def local(tensor: Tensor) -> Tensor:
    """This process's share of a tensor, in the same memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


@cache
def _let_hooks_see_streams() -> None:
    """FSDP finds the tensors that go through a block only in types that PyTorch can flatten."""
    register_dataclass(Stream)
