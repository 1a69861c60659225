"""Several processes, started by torchrun, that make one clip together or several clips at once.

One clip: every process holds all weights and a share of the video's tokens. What works on tokens
one by one needs nothing from the others. Self-attention changes for its duration from all heads of
a share of the tokens to all tokens of a share of the heads, and back (DeepSpeed Ulysses, Jacobs et
al. 2023). The audio has few tokens, which every process holds; where it asks the video, each
process answers for its heads. Everything around the transformer is done by all of them alike.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ltx2.errors import RequestError
from ltx2.model.attention import Attend
from ltx2.model.block import TransformerBlock
from ltx2.model.transformer import ModalityInput, Transformer

Made = TypeVar("Made")

TIMEOUT = timedelta(minutes=30)
"""How long processes wait for each other; a step may take minutes."""


@dataclass(frozen=True)
class Team:
    """This process among those that work together.

    Attributes:
        rank: its number; 0 is the one that reports and writes files.
        size: number of processes; 1 where it works alone.
    """

    rank: int = 0
    size: int = 1

    def all_of(self, value: Made) -> list[Made]:
        """What each of the processes brings, in their order."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def told_by(self, rank: int, value: Made) -> Made:
        """What the process `rank` brings."""
        if self.size == 1:
            return value
        box = [value if self.rank == rank else None]
        dist.broadcast_object_list(box, src=rank)
        return box[0]  # type: ignore[return-value]


ALONE = Team()


def own_device(device: str) -> str:
    """The device of this process where several of one machine share the work: a GPU for each."""
    if not dist.is_torchelastic_launched() or device not in ("auto", "cuda"):
        return device
    return f"cuda:{os.environ['LOCAL_RANK']}" if torch.cuda.is_available() else device


def processes_here() -> int:
    """How many processes of one machine share its main memory, this one among them."""
    return int(os.environ["LOCAL_WORLD_SIZE"]) if dist.is_torchelastic_launched() else 1


@contextmanager
def joined(device: str) -> Iterator[Team]:
    """The team that torchrun started this process in, for the length of the block.

    Processes that are connected already stay so.

    Args:
        device: of this process.
    """
    if not dist.is_torchelastic_launched():
        yield ALONE
        return
    if dist.is_initialized():
        yield Team(dist.get_rank(), dist.get_world_size())
        return
    if device.startswith("cuda"):
        torch.cuda.set_device(torch.device(device))
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo", timeout=TIMEOUT)
    try:
        yield Team(dist.get_rank(), dist.get_world_size())
        dist.barrier()
    finally:
        dist.destroy_process_group()


def share_tokens(transformer: Transformer, team: Team) -> None:
    """Lets the processes of a team answer together; all have to ask at the same time.

    Args:
        transformer: called as before, with the same inputs in all processes.
        team: of more than one process.

    Raises:
        RequestError: the heads cannot be divided among them.
    """
    config = transformer.config
    for heads in (config.video.num_heads, config.audio.num_heads):
        if heads % team.size:
            raise RequestError(
                f"{heads} heads of attention cannot be divided among {team.size} processes.",
                next_step=f"Start a number of processes that divides {heads}, as --nproc-per-node.",
            )
    shares = _Shares(team)
    for block in transformer.transformer_blocks:
        assert isinstance(block, TransformerBlock)
        attention, to_audio = block.attn1, block.video_to_audio_attn
        attention.attend = partial(shares.attend_among_tokens, attention.attend)
        to_audio.attend = partial(shares.attend_to_tokens, to_audio.attend)
    transformer.register_forward_pre_hook(shares.split)
    transformer.register_forward_hook(shares.join)


class _Shares:
    """A pass whose video tokens are spread; the last share is filled up to the others' length."""

    def __init__(self, team: Team) -> None:
        self._team = team
        self._count = 0

    def split(self, _: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Inputs of the transformer with this process's share of the video."""
        video, *others = inputs
        if video is None:
            return inputs
        assert isinstance(video, ModalityInput)
        self._count = video.tokens.shape[1]
        share = replace(
            video,
            tokens=self._own(video.tokens, dim=1),
            timesteps=self._own(video.timesteps, dim=1),
            positions=self._own(video.positions, dim=2),
        )
        return (share, *others)

    def join(
        self, _: nn.Module, inputs: tuple[Any, ...], outputs: tuple[Tensor | None, Tensor | None]
    ) -> tuple[Tensor | None, Tensor | None]:
        """Velocities of all tokens."""
        video, audio = outputs
        if video is None:
            return outputs
        return torch.cat(self._gathered(video), dim=1)[:, : self._count], audio

    def attend_among_tokens(
        self, attend: Attend, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None
    ) -> Tensor:
        """Attention [B, N, T/P, K] of a share of the tokens to all of them."""
        query, key, value = (self._to_heads(x) for x in (query, key, value))
        answers = attend(query, key[:, :, : self._count], value[:, :, : self._count], mask)
        return self._to_tokens(answers)

    def attend_to_tokens(
        self, attend: Attend, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None
    ) -> Tensor:
        """Attention [B, N, T_a, K] of tokens that all processes hold to the shares of all."""
        key, value = (self._to_heads(x)[:, :, : self._count] for x in (key, value))
        own = query.chunk(self._team.size, dim=1)[self._team.rank]
        answers = attend(own, key, value, mask)
        return torch.cat(self._gathered(answers), dim=1)

    def _own(self, x: Tensor, dim: int) -> Tensor:
        """This process's share along an axis; what is missing at the end is filled up."""
        each = -(-x.shape[dim] // self._team.size)
        missing = each * self._team.size - x.shape[dim]
        if missing:
            x = torch.cat([x, x.narrow(dim, -1, 1).expand(_with(x.shape, dim, missing))], dim=dim)
        return x.narrow(dim, self._team.rank * each, each)

    def _gathered(self, x: Tensor) -> list[Tensor]:
        parts = [torch.empty_like(x) for _ in range(self._team.size)]
        dist.all_gather(parts, x.contiguous())
        return parts

    def _to_heads(self, x: Tensor) -> Tensor:
        """From [B, N, T/P, K] to [B, N/P, T, K]."""
        return torch.cat(self._exchanged(x.chunk(self._team.size, dim=1)), dim=2)

    def _to_tokens(self, x: Tensor) -> Tensor:
        """From [B, N/P, T, K] to [B, N, T/P, K]."""
        return torch.cat(self._exchanged(x.chunk(self._team.size, dim=2)), dim=1)

    def _exchanged(self, parts: tuple[Tensor, ...]) -> list[Tensor]:
        """For every process the part that it has for this one."""
        sent = torch.stack(parts)
        received = torch.empty_like(sent)
        dist.all_to_all_single(received, sent)
        return list(received)


def _with(shape: torch.Size, dim: int, size: int) -> list[int]:
    sizes = list(shape)
    sizes[dim] = size
    return sizes
