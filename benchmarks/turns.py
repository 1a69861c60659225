"""Contenders of a race, each in a process of its own, that take turns.

A shared machine has good and bad minutes, so each turn gives one ratio of processor seconds (which,
unlike wall-clock, leave out what other programs used), and the median of the ratios counts.
Processes of their own, because memory and its settings belong to a process.
"""

import multiprocessing
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

Outputs = tuple[Tensor, ...]
Run = Callable[[], Outputs]


@dataclass(frozen=True)
class Contender:
    """Who takes part.

    Attributes:
        name: in the results.
        prepare: makes what is timed; a function of a module, or a partial of one, as it is sent
            to the contender's process.
    """

    name: str
    prepare: Callable[[], Run]


@dataclass(frozen=True)
class Turn:
    """One run: processor seconds, and bytes that it needed beyond those held before."""

    seconds: float
    extra_bytes: int


@dataclass(frozen=True)
class Race:
    """Turns of all contenders by name, and what each answered the first time."""

    turns: dict[str, list[Turn]]
    outputs: dict[str, list[np.ndarray]]

    def ratio(self, name: str, other: str) -> float:
        """Median of the seconds of one to the seconds of another in the same round."""
        pairs = zip(self.turns[name], self.turns[other], strict=True)
        return statistics.median(own.seconds / others.seconds for own, others in pairs)

    def seconds(self, name: str) -> float:
        """Median processor seconds of a run."""
        return statistics.median(turn.seconds for turn in self.turns[name])

    def extra_bytes(self, name: str) -> int:
        """Most bytes that a run needed beyond those held before."""
        return max(turn.extra_bytes for turn in self.turns[name])

    def difference(self, name: str, other: str) -> float:
        """Largest difference of what two answered, relative to the largest answer."""
        pairs = zip(self.outputs[name], self.outputs[other], strict=True)
        return max(
            float(np.abs(own - others).max() / np.abs(others).max()) for own, others in pairs
        )


def take_turns(contenders: Sequence[Contender], *, rounds: int, threads: int) -> Race:
    """All contenders once to warm up, then in rounds, each first as often as the others."""
    context = multiprocessing.get_context("spawn")
    race = Race({each.name: [] for each in contenders}, {})
    lines: dict[str, Connection] = {}
    with ExitStack() as stack:
        for each in contenders:
            line, far_end = context.Pipe()
            process = context.Process(target=_work, args=(each, threads, far_end), daemon=True)
            process.start()
            stack.callback(process.join)
            stack.callback(line.close)  # which ends the process
            far_end.close()
            lines[each.name] = line
            race.outputs[each.name] = line.recv()
        names = list(lines)
        for number in range(rounds):
            first = number % len(names)
            for name in names[first:] + names[:first]:
                lines[name].send("run")
                race.turns[name].append(lines[name].recv())
    return race


def _work(contender: Contender, threads: int, line: Connection) -> None:
    """The process of one contender: runs whenever it is told to, until the line is closed."""
    torch.set_num_threads(threads)
    with torch.inference_mode():
        run = contender.prepare()
        line.send([output.float().numpy() for output in run()])
        while True:
            try:
                line.recv()
            except EOFError:
                return
            line.send(_measured(run))


def _measured(run: Run) -> Turn:
    Path("/proc/self/clear_refs").write_text("5")  # forgets the largest size so far (proc(5))
    before, start = _status("VmRSS"), time.process_time()
    run()
    return Turn(time.process_time() - start, _status("VmHWM") - before)


def _status(name: str) -> int:
    """A size of this process in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
