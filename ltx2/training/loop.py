"""The loop that every stage of training shares: resumable, logged, averaged.

A stage gives a step function; the loop does the rest and leaves its state in one file, written
atomically, so that a killed run goes on where it was.
"""

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ltx2.errors import GenerationError

logger = logging.getLogger(__name__)

Step = Callable[[int, torch.Generator], tuple[Tensor, dict[str, float]]]
"""(step, generator) -> loss to minimise, figures to log."""


@dataclass(frozen=True)
class Schedule:
    """Learning-rate factor over a run: linear warm-up, constant, then down to `final`.

    Attributes:
        steps: length of the run.
        warmup: steps of linear warm-up.
        decay: share of the run, at its end, in which the rate falls linearly.
        final: factor reached at the end.
    """

    steps: int
    warmup: int = 50
    decay: float = 0.4
    final: float = 0.02

    def factor(self, step: int) -> float:
        """Factor of the learning rate at `step`."""
        start = int(self.steps * (1 - self.decay))
        if step < start:
            return min(1.0, (step + 1) / self.warmup)
        return 1.0 + (self.final - 1.0) * (step - start) / max(1, self.steps - start)


@dataclass(frozen=True)
class RunOptions:
    """How a stage is run.

    Attributes:
        state_path: file that holds the state between runs; a `.jsonl` log lies beside it.
        ema_decay: decay of the averaged weights, from which results are taken.
        max_grad_norm: gradients are scaled down to this norm.
        save_every_s, log_every: seconds between saves, steps between log lines.
    """

    state_path: Path
    schedule: Schedule
    seed: int = 1
    ema_decay: float = 0.998
    max_grad_norm: float = 1.0
    save_every_s: float = 60.0
    log_every: int = 20


class Average:
    """Exponential moving average of a module's parameters."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module = module
        self.decay = decay
        self.values = [p.detach().clone() for p in module.parameters()]

    def update(self, step: int) -> None:
        """Moves the average toward the current parameters, faster in the first steps."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.values, [p.detach() for p in self.module.parameters()], weight)

    def copy_to(self, module: nn.Module) -> None:
        """Writes the averaged parameters into a module of the same shape."""
        with torch.no_grad():
            for parameter, value in zip(module.parameters(), self.values, strict=True):
                parameter.copy_(value)


def run(
    module: nn.Module,
    optimizers: list[Optimizer],
    step_function: Step,
    options: RunOptions,
) -> Average:
    """The averaged weights after `options.schedule.steps` steps.

    Resumes from `options.state_path` when it exists: parameters, optimiser, average and the
    random state continue as if never interrupted.

    Args:
        module: everything that is trained; only parameters that require gradients change.

    Raises:
        GenerationError: the loss or its gradient is not finite.
    """
    average = Average(module, options.ema_decay)
    generator = torch.Generator().manual_seed(options.seed)
    rates = [[group["lr"] for group in o.param_groups] for o in optimizers]
    start = 0
    if options.state_path.exists():
        start = _restore(options.state_path, module, optimizers, average, generator)
        logger.info("resumed %s at step %d", options.state_path.name, start)
    options.state_path.parent.mkdir(parents=True, exist_ok=True)
    parameters = [p for p in module.parameters() if p.requires_grad]
    figures: dict[str, float] = {}
    saved = logged = time.monotonic()
    for step in range(start, options.schedule.steps):
        _set_rates(optimizers, rates, options.schedule.factor(step))
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss, values = step_function(step, generator)
        _require_finite(loss, "loss", step)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(parameters, options.max_grad_norm)
        _require_finite(norm, "gradient", step)
        for optimizer in optimizers:
            optimizer.step()
        average.update(step)
        values = {"loss": float(loss.detach()), **values}
        for name, value in values.items():
            figures[name] = figures.get(name, value) * 0.95 + value * 0.05
        now = time.monotonic()
        if (step + 1) % options.log_every == 0:
            line = {"step": step + 1, "seconds_per_step": (now - logged) / options.log_every}
            _log(options.state_path.with_suffix(".jsonl"), {**line, **figures})
            logged = now
        if now - saved > options.save_every_s or step + 1 == options.schedule.steps:
            _save(options.state_path, step + 1, module, optimizers, average, generator)
            saved = time.monotonic()
    return average


def _require_finite(value: Tensor, name: str, step: int) -> None:
    """Stops before weights are touched, so that the saved state stays usable."""
    if not torch.isfinite(value):
        raise GenerationError(
            f"The {name} became {value.item()} at step {step}.",
            next_step="Lower the learning rate and resume from the saved state.",
        )


def _set_rates(optimizers: list[Optimizer], rates: list[list[float]], factor: float) -> None:
    for optimizer, base in zip(optimizers, rates, strict=True):
        for group, rate in zip(optimizer.param_groups, base, strict=True):
            group["lr"] = rate * factor


def _log(path: Path, figures: Mapping[str, float]) -> None:
    line = json.dumps({k: round(v, 5) for k, v in figures.items()})
    logger.info("%s %s", path.stem, line)
    with path.open("a") as file:
        file.write(line + "\n")


def _save(
    path: Path,
    step: int,
    module: nn.Module,
    optimizers: list[Optimizer],
    average: Average,
    generator: torch.Generator,
) -> None:
    state: dict[str, Any] = {
        "step": step,
        "module": module.state_dict(),
        "optimizers": [o.state_dict() for o in optimizers],
        "average": average.values,
        "generator": generator.get_state(),
    }
    part = path.with_suffix(".part")
    torch.save(state, part)
    part.replace(path)


def _restore(
    path: Path,
    module: nn.Module,
    optimizers: list[Optimizer],
    average: Average,
    generator: torch.Generator,
) -> int:
    # The file holds tensors and numbers only, so it is read without executing anything.
    state = torch.load(path, map_location="cpu", weights_only=True)
    module.load_state_dict(state["module"])
    for optimizer, values in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(values)
    for value, saved in zip(average.values, state["average"], strict=True):
        value.copy_(saved)
    generator.set_state(state["generator"])
    return int(state["step"])


def load_average(state_path: Path, module: nn.Module, *, prefix: str = "") -> None:
    """Writes the averaged weights of a run, finished or not, into a module.

    Args:
        state_path: state file of the run.
        module: of the same shape as the one that was trained.
        prefix: only parameters whose names start with it are written.
    """
    state = torch.load(state_path, map_location="cpu", weights_only=True)
    with torch.no_grad():
        named = module.named_parameters()
        for (name, parameter), value in zip(named, state["average"], strict=True):
            if name.startswith(prefix):
                parameter.copy_(value)


def last_figures(log_path: Path) -> dict[str, float]:
    """The last line of a stage's log; empty when there is no log."""
    if not log_path.exists():
        return {}
    return dict(json.loads(log_path.read_text().splitlines()[-1]))
