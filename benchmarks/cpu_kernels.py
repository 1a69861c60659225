"""Race: our attention and linear layers on a CPU against PyTorch's own kernels.

Shapes are those of heads of the 19B and of layers of the puppets and of a model between. A run
repeats the operation often enough to be timed; GFLOP/s of both are printed and the ratio of their
times, below 1 where ours is faster.

    python -m benchmarks.cpu_kernels [--rounds N] [--threads N]
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.turns import Contender, Outputs, Run, take_turns
from ltx2.model import onednn
from ltx2.model.matrix_attention import attend_by_products

RUN_FLOP = 4e10
"""Operations of a timed run, about."""

Kernel = Callable[..., Tensor]


@dataclass(frozen=True)
class Operation:
    """One race.

    Attributes:
        name: of what is computed.
        shapes: of the inputs.
        flop: operations of its matrix products.
        ours, theirs: kernels that take the inputs.
    """

    name: str
    shapes: tuple[tuple[int, ...], ...]
    flop: float
    ours: Kernel
    theirs: Kernel

    @property
    def repeats(self) -> int:
        """How often it is done in a run."""
        return max(1, round(RUN_FLOP / self.flop))

    def prepare(self, dtype: torch.dtype, kernel: Kernel) -> Run:
        """A run with one of the kernels."""
        torch.manual_seed(0)
        inputs = [torch.randn(shape, dtype=dtype) for shape in self.shapes]

        def run() -> Outputs:
            for _ in range(self.repeats):
                result = kernel(*inputs)
            return (result,)

        return run


def attention(heads: int, tokens: int, width: int) -> Operation:
    """Attention of tokens among themselves."""
    return Operation(
        f"attention, {heads} heads of {tokens:,} tokens",
        ((1, heads, tokens, width),) * 3,
        4 * heads * tokens**2 * width,
        attend_by_products,
        F.scaled_dot_product_attention,
    )


def linear(tokens: int, into: int, out: int) -> Operation:
    """A linear layer."""
    return Operation(
        f"linear, {tokens:,} tokens, {into:,} to {out:,} channels",
        ((tokens, into), (out, into), (out,)),
        2 * tokens * into * out,
        onednn.product,
        F.linear,
    )


OPERATIONS = (
    attention(2, 3520, 128),
    attention(8, 880, 128),
    linear(756, 160, 640),
    linear(3520, 1024, 1024),
)


def main() -> None:
    """Print a line for every operation and type."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    for dtype in (torch.bfloat16, torch.float32):
        for one in OPERATIONS:
            contenders = [
                Contender("ours", partial(one.prepare, dtype, one.ours)),
                Contender("PyTorch", partial(one.prepare, dtype, one.theirs)),
            ]
            race = take_turns(contenders, rounds=options.rounds, threads=options.threads)
            work = one.repeats * one.flop / 1e9
            print(
                f"{one.name}, {str(dtype).removeprefix('torch.')}, {options.threads} thread(s): "
                f"ours/PyTorch = {race.ratio('ours', 'PyTorch'):.2f} "
                f"({work / race.seconds('ours'):.0f} and {work / race.seconds('PyTorch'):.0f} "
                f"GFLOP/s); results differ by {race.difference('ours', 'PyTorch'):.1e} of their "
                "range",
                flush=True,
            )


if __name__ == "__main__":
    main()
