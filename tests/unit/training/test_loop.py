"""The training loop: resuming, averaging, schedules, failures; and the optimisers."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ltx2.errors import GenerationError
from ltx2.training.loop import RunOptions, Schedule, run
from ltx2.training.optimizers import FlattenedMuon, build_optimizers


def small_network() -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(nn.Conv1d(2, 8, 3), nn.ReLU(), nn.Conv1d(8, 2, 3))


def train(path: Path, steps: int, *, total: int) -> nn.Module:
    module = small_network()

    def step(_: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        x = torch.randn(4, 2, 16, generator=generator)
        return (module(x) - x[:, :, 2:-2]).square().mean(), {"figure": 1.0}

    schedule = Schedule(total, warmup=3)
    options = RunOptions(path, schedule, log_every=2, save_every_s=1e9)
    if steps < total:
        # Stops the run in the middle, as a killed process would after its last save.
        class StoppedError(Exception):
            pass

        def stopping(index: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
            if index == steps:
                raise StoppedError
            return step(index, generator)

        with pytest.raises(StoppedError):
            run(
                module,
                build_optimizers([module], matrix_rate=1e-2, other_rate=1e-2),
                stopping,
                RunOptions(path, schedule, log_every=2, save_every_s=0.0),
            )
        return module
    average = run(
        module, build_optimizers([module], matrix_rate=1e-2, other_rate=1e-2), step, options
    )
    average.copy_to(module)
    return module


def test_a_stopped_and_resumed_run_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole.pt", 12, total=12)
    train(tmp_path / "parts.pt", 5, total=12)
    resumed = train(tmp_path / "parts.pt", 12, total=12)
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


def test_training_lowers_the_loss_and_logs_it(tmp_path: Path) -> None:
    train(tmp_path / "run.pt", 200, total=200)
    lines = [json.loads(line) for line in (tmp_path / "run.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == 200
    assert lines[-1]["loss"] < 0.3 * lines[0]["loss"]


def test_a_loss_that_is_not_finite_stops_the_run_with_a_next_step(tmp_path: Path) -> None:
    module = small_network()

    def step(_: int, __: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        return next(module.parameters()).sum() * float("nan"), {}

    with pytest.raises(GenerationError, match="Lower the learning rate"):
        run(module, [], step, RunOptions(tmp_path / "x.pt", Schedule(3)))


def test_a_gradient_that_is_not_finite_leaves_the_weights_alone(tmp_path: Path) -> None:
    module = small_network()
    before = [p.detach().clone() for p in module.parameters()]

    def step(_: int, __: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        # The root of zero is zero, its slope is infinite.
        return (next(module.parameters()) * 0.0).abs().sqrt().sum(), {}

    optimizers = build_optimizers([module], matrix_rate=1e-2, other_rate=1e-2)
    with pytest.raises(GenerationError, match="gradient"):
        run(module, optimizers, step, RunOptions(tmp_path / "x.pt", Schedule(3)))
    assert all(torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))


def test_the_rate_warms_up_stays_and_falls() -> None:
    schedule = Schedule(100, warmup=10, decay=0.5, final=0.0)
    assert schedule.factor(0) == pytest.approx(0.1)
    assert schedule.factor(30) == 1.0
    assert schedule.factor(75) == pytest.approx(0.5)
    assert schedule.factor(100) == pytest.approx(0.0)


def test_muon_on_a_kernel_equals_muon_on_its_matrix() -> None:
    torch.manual_seed(0)
    kernel = nn.Parameter(torch.randn(6, 4, 3, 3))
    matrix = nn.Parameter(kernel.detach().flatten(1).clone())
    gradient = torch.randn(6, 4, 3, 3)
    kernel.grad, matrix.grad = gradient, gradient.flatten(1)
    FlattenedMuon([kernel], lr=0.1, weight_decay=0.01).step()
    torch.optim.Muon([matrix], lr=0.1, weight_decay=0.01, adjust_lr_fn="match_rms_adamw").step()
    torch.testing.assert_close(kernel.detach().flatten(1), matrix.detach())
