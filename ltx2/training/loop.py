"""The loop that every stage of training shares: resumable, logged, averaged.

A stage gives a step function; the loop does the rest and leaves its state in one file, written
atomically, so that a killed run goes on where it was.
"""

import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ltx2.errors import GenerationCancelled, GenerationError
from ltx2.files import replaced
from ltx2.progress import ShouldCancel, never_cancel
from ltx2.training.distributed import ALONE, Processes, gathered, local, spread_like

logger = logging.getLogger(__name__)

Step = Callable[[int, torch.Generator], tuple[Tensor, dict[str, float]]]
"""(step, generator) -> loss to minimise, figures to log."""

OnLog = Callable[[int, Mapping[str, float]], None]
"""(finished steps, smoothed figures)."""


@dataclass(frozen=True)
class Schedule:
    """Learning-rate factor over a run: linear warm-up, constant, then down to `final`.

    Attributes:
        steps: length of the run.
        warmup: steps of linear warm-up.
        decay: share of the run, at its end, in which the rate falls.
        final: factor reached at the end.
        shape: how it falls.
    """

    steps: int
    warmup: int = 50
    decay: float = 0.4
    final: float = 0.02
    shape: Literal["linear", "cosine"] = "linear"

    def factor(self, step: int) -> float:
        """Factor of the learning rate at `step`."""
        start = int(self.steps * (1 - self.decay))
        warm = min(1.0, (step + 1) / max(1, self.warmup))
        if step < start:
            return warm
        done = (step - start) / max(1, self.steps - start)
        if self.shape == "cosine":
            done = (1.0 - math.cos(math.pi * done)) / 2
        return warm * (1.0 + (self.final - 1.0) * done)


@dataclass(frozen=True)
class RunOptions:
    """How a stage is run.

    Attributes:
        state_path: file that holds the state between runs; a `.jsonl` log lies beside it.
        ema_decay: decay of the averaged weights, from which results are taken; 0 takes the
            weights themselves.
        max_grad_norm: gradients are scaled down to this norm.
        accumulation: batches whose gradients are averaged for one step.
        save_every_s, log_every: seconds between saves, steps between log lines.
    """

    state_path: Path
    schedule: Schedule
    seed: int = 1
    ema_decay: float = 0.998
    max_grad_norm: float = 1.0
    accumulation: int = 1
    save_every_s: float = 60.0
    log_every: int = 20


class Average:
    """Exponential moving average of a module's parameters.

    With a decay of 0 it is the parameters themselves and takes no memory.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module = module
        self.decay = decay
        self.is_separate = decay > 0.0
        parameters = [p.detach() for p in module.parameters()]
        self.values = [p.clone() for p in parameters] if self.is_separate else parameters

    def update(self, step: int) -> None:
        """Moves the average toward the current parameters, faster in the first steps."""
        if self.is_separate:
            weight = 1 - min(self.decay, (1 + step) / (10 + step))
            current = [local(p.detach()) for p in self.module.parameters()]
            torch._foreach_lerp_([local(value) for value in self.values], current, weight)

    def copy_to(self, module: nn.Module) -> None:
        """Writes the averaged parameters into a module of the same shape."""
        with torch.no_grad():
            for parameter, value in zip(module.parameters(), self.values, strict=True):
                parameter.copy_(value)

    def named(self) -> dict[str, Tensor]:
        """Averaged parameters by name, whole; all processes have to call it together."""
        names = [name for name, _ in self.module.named_parameters()]
        return dict(zip(names, gathered(self.values), strict=True))

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside it, the module computes with the averaged parameters."""
        if self.is_separate:
            self._swap()
        try:
            yield
        finally:
            if self.is_separate:
                self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for parameter, value in zip(self.module.parameters(), self.values, strict=True):
            kept = local(parameter).clone()
            local(parameter).copy_(local(value))
            local(value).copy_(kept)


@dataclass(frozen=True)
class Every:
    """Something done every so many steps.

    Attributes:
        steps: how many.
        call: told the finished steps and the averaged weights; has to leave both alone.
        at_end: whether it is also done after the last step and when the run is stopped.
    """

    steps: int
    call: Callable[[int, Average], None]
    at_end: bool = False

    def is_due(self, step: int, *, last: bool) -> bool:
        """Whether it is done after `step` finished steps."""
        return step % self.steps == 0 or (last and self.at_end)


@dataclass(frozen=True)
class Hooks:
    """What goes on beside the training.

    Attributes:
        on_log: told the smoothed figures beside the log.
        every: done in this order.
        should_stop: asked after every step; True saves the state and ends the run.
    """

    on_log: OnLog = lambda step, figures: None
    every: tuple[Every, ...] = ()
    should_stop: ShouldCancel = never_cancel


NO_HOOKS = Hooks()


def run(
    module: nn.Module,
    optimizers: list[Optimizer],
    step_function: Step,
    options: RunOptions,
    *,
    hooks: Hooks = NO_HOOKS,
    processes: Processes = ALONE,
) -> Average:
    """The averaged weights after `options.schedule.steps` steps.

    Resumes from `options.state_path` when it exists: parameters, optimiser, average and the
    random state continue as if never interrupted.

    Args:
        module: everything that is trained; only parameters that require gradients change.
        optimizers: of its parameters.
        step_function: loss of one batch, a mean that the processes' gradients are averaged for.
        options: how it is run.
        hooks: what goes on beside it.
        processes: that train together; only the first of them writes.

    Raises:
        GenerationError: the loss or its gradient is not finite.
        GenerationCancelled: `hooks.should_stop` said so; the state is saved.
    """
    average = Average(module, options.ema_decay)
    generator = torch.Generator().manual_seed(options.seed)
    rates = [[group["lr"] for group in o.param_groups] for o in optimizers]
    state = _State(module, optimizers, average, generator)
    if options.state_path.exists():
        state.restore(options.state_path)
        logger.info("resumed %s at step %d", options.state_path.name, state.step)
    options.state_path.parent.mkdir(parents=True, exist_ok=True)
    total = options.schedule.steps
    saved = logged = time.monotonic()
    while state.step < total:
        step = state.step
        _set_rates(optimizers, rates, options.schedule.factor(step))
        figures = _update(state, step_function, options, processes)
        average.update(step)
        state.step = step = step + 1
        state.smooth(figures)
        now = time.monotonic()
        if step % options.log_every == 0 and processes.rank == 0:
            pace = (now - logged) / options.log_every
            line = {"step": step, "seconds_per_step": pace, **state.figures}
            _log(options.state_path.with_suffix(".jsonl"), line)
            hooks.on_log(step, line)
        if step % options.log_every == 0:
            logged = now
        stopped, is_due = processes.any(hooks.should_stop(), now - saved > options.save_every_s)
        last = stopped or step == total
        # Before the save: a run that is killed in a hook does these steps, and the hook, again.
        for hook in hooks.every:
            if hook.is_due(step, last=last):
                hook.call(step, average)
        if is_due or last:
            state.save(options.state_path, is_writer=processes.rank == 0)
            saved = time.monotonic()
        if stopped and step < total:
            logger.info("stopped %s after step %d", options.state_path.name, step)
            raise GenerationCancelled
    return average


@dataclass
class _State:
    """What has to survive for a run to go on exactly."""

    module: nn.Module
    optimizers: list[Optimizer]
    average: Average
    generator: torch.Generator

    def __post_init__(self) -> None:
        self.step = 0
        self.figures: dict[str, float] = {}

    def smooth(self, figures: Mapping[str, float]) -> None:
        """Takes a step's figures into the running means."""
        for name, value in figures.items():
            self.figures[name] = self.figures.get(name, value) * 0.95 + value * 0.05

    def save(self, path: Path, *, is_writer: bool) -> None:
        """Writes everything, whole, whatever the processes hold of it."""
        average = self.average.values if self.average.is_separate else []
        state: dict[str, Any] = {
            "step": self.step,
            "module": gathered(self.module.state_dict()),
            "optimizers": gathered([o.state_dict() for o in self.optimizers]),
            "average": gathered(average),
            "generator": self.generator.get_state(),
            "figures": self.figures,
        }
        if is_writer:
            with replaced(path) as part:
                torch.save(state, part)

    def restore(self, path: Path) -> None:
        """Continues from a file; it holds tensors and numbers, so nothing in it is executed."""
        state = torch.load(path, map_location="cpu", weights_only=True)
        own = self.module.state_dict()
        values = {name: spread_like(v, own.get(name, v)) for name, v in state["module"].items()}
        self.module.load_state_dict(values)
        if self.average.is_separate:
            current = [p.detach() for p in self.module.parameters()]
            for value, saved in zip(self.average.values, state["average"] or current, strict=True):
                value.copy_(spread_like(saved, value))
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            _load_optimizer(optimizer, saved)
        self.generator.set_state(state["generator"])
        self.step = int(state["step"])
        self.figures = dict(state.get("figures", {}))


def _update(
    state: _State, step_function: Step, options: RunOptions, processes: Processes
) -> dict[str, float]:
    """One update of the weights; the figures of its batches, averaged over the processes."""
    for optimizer in state.optimizers:
        optimizer.zero_grad(set_to_none=True)
    sums: dict[str, list[float]] = {}
    for _ in range(options.accumulation):
        loss, values = step_function(state.step, state.generator)
        # Processes average every batch's gradients, not only their sum: the next batch may use
        # other parameters, and those it leaves out would keep what is their process's alone.
        (loss / options.accumulation).backward()
        for name, value in {"loss": float(loss.detach()), **values}.items():
            sums.setdefault(name, []).append(value)
    figures = processes.mean({name: sum(values) / len(values) for name, values in sums.items()})
    _require_finite(figures["loss"], "loss", state.step)
    parameters = [p for p in state.module.parameters() if p.requires_grad]
    norm = torch.nn.utils.clip_grad_norm_(parameters, options.max_grad_norm)
    _require_finite(float(gathered(norm)), "gradient", state.step)
    for optimizer in state.optimizers:
        optimizer.step()
    return figures


def _require_finite(value: float, name: str, step: int) -> None:
    """Stops before weights are touched, so that the saved state stays usable."""
    if not math.isfinite(value):
        raise GenerationError(
            f"The {name} became {value} at step {step}.",
            next_step="Lower the learning rate and resume from the saved state.",
        )


def _set_rates(optimizers: list[Optimizer], rates: list[list[float]], factor: float) -> None:
    for optimizer, base in zip(optimizers, rates, strict=True):
        for group, rate in zip(optimizer.param_groups, base, strict=True):
            group["lr"] = rate * factor


def _load_optimizer(optimizer: Optimizer, saved: dict[str, Any]) -> None:
    """Loads an optimiser's state, spread as its parameters are."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for index, values in saved["state"].items():
        parameter = parameters[index]
        for name, value in values.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                values[name] = spread_like(value, parameter)
    optimizer.load_state_dict(saved)


def _log(path: Path, figures: Mapping[str, float]) -> None:
    line = json.dumps({k: round(v, 5) for k, v in figures.items()})
    logger.info("%s %s", path.stem, line)
    with path.open("a") as file:
        file.write(line + "\n")


def load_average(state_path: Path, module: nn.Module, *, prefix: str = "") -> None:
    """Writes the averaged weights of a run, finished or not, into a module.

    Args:
        state_path: state file of the run.
        module: of the same shape as the one that was trained.
        prefix: only parameters whose names start with it are written.
    """
    state = torch.load(state_path, map_location="cpu", weights_only=True)
    names = [name for name, _ in module.named_parameters()]
    average = state["average"] or [state["module"][name] for name in names]
    with torch.no_grad():
        for (name, parameter), value in zip(module.named_parameters(), average, strict=True):
            if name.startswith(prefix):
                parameter.copy_(value)


def last_figures(log_path: Path) -> dict[str, float]:
    """The last line of a stage's log; empty when there is no log."""
    if not log_path.exists():
        return {}
    return dict(json.loads(log_path.read_text().splitlines()[-1]))
