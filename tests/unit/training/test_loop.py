"""The training loop: resuming, averaging, schedules, failures; and the optimisers."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ltx2.errors import GenerationCancelled, GenerationError
from ltx2.training.loop import Average, Every, Hooks, RunOptions, Schedule, load_average, run
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


def test_the_rate_falls_along_a_cosine_after_the_warm_up() -> None:
    schedule = Schedule(100, warmup=10, decay=1.0, final=0.0, shape="cosine")
    assert schedule.factor(0) == pytest.approx(0.1, abs=1e-3)
    assert schedule.factor(50) == pytest.approx(0.5)
    assert schedule.factor(75) == pytest.approx(0.1464, abs=1e-4)
    assert Schedule(100, warmup=0, decay=0.0).factor(99) == 1.0


def batches(module: nn.Module) -> list[Tensor]:
    generator = torch.Generator().manual_seed(9)
    return [torch.randn(4, 2, 16, generator=generator) for _ in range(4)]


def test_accumulated_batches_equal_one_batch_of_all(tmp_path: Path) -> None:
    results = []
    for accumulation in (1, 4):
        module = small_network()
        parts = batches(module) if accumulation == 4 else [torch.cat(batches(module))]
        todo = iter(parts)

        def step(
            _: int,
            __: torch.Generator,
            module: nn.Module = module,
            todo: Iterator[Tensor] = todo,
        ) -> tuple[Tensor, dict[str, float]]:
            x = next(todo)
            return (module(x) - x[:, :, 2:-2]).square().mean(), {}

        optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
        path = tmp_path / f"{accumulation}.pt"
        run(module, [optimizer], step, RunOptions(path, Schedule(1), accumulation=accumulation))
        results.append(torch.cat([p.detach().flatten() for p in module.parameters()]))
    torch.testing.assert_close(*results)


def test_hooks_run_when_due_and_at_the_end_and_a_stop_saves_the_state(tmp_path: Path) -> None:
    module, seen = small_network(), []

    def step(_: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        x = torch.randn(4, 2, 16, generator=generator)
        return (module(x) - x[:, :, 2:-2]).square().mean(), {}

    def note(name: str) -> Callable[[int, Average], None]:
        return lambda step, average: seen.append((name, step))

    hooks = Hooks(
        every=(Every(2, note("two")), Every(3, note("three"), at_end=True)),
        should_stop=lambda: ("two", 4) in seen,
    )
    options = RunOptions(tmp_path / "run.pt", Schedule(9), save_every_s=1e9)
    with pytest.raises(GenerationCancelled):
        run(
            module,
            build_optimizers([module], matrix_rate=1e-2, other_rate=1e-2),
            step,
            options,
            hooks=hooks,
        )
    assert seen == [("two", 2), ("three", 3), ("two", 4), ("three", 5)]
    assert torch.load(options.state_path, weights_only=True)["step"] == 5


def test_without_averaging_the_average_is_the_weights_and_is_not_saved(tmp_path: Path) -> None:
    module = small_network()

    def step(_: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        return module(torch.randn(4, 2, 16, generator=generator)).square().mean(), {}

    options = RunOptions(tmp_path / "run.pt", Schedule(3), ema_decay=0.0)
    optimizers = build_optimizers([module], matrix_rate=1e-2, other_rate=1e-2)
    average = run(module, optimizers, step, options)
    assert torch.load(options.state_path, weights_only=True)["average"] == []
    other = small_network()
    load_average(options.state_path, other)
    for weight, named, loaded in zip(
        module.parameters(), average.named().values(), other.parameters(), strict=True
    ):
        assert torch.equal(weight, named)
        assert torch.equal(weight, loaded)


def test_the_average_can_take_the_place_of_the_weights_for_a_while() -> None:
    module = small_network()
    average = Average(module, 0.9)
    before = [p.detach().clone() for p in module.parameters()]
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(1.0)
    with average.in_place():
        assert all(torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))
    for old, new, kept in zip(before, module.parameters(), average.values, strict=True):
        assert torch.equal(old + 1.0, new)
        assert torch.equal(old, kept)


def test_a_state_file_from_before_figures_were_kept_still_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    train(path, 5, total=12)
    state = torch.load(path, weights_only=True)
    del state["figures"]
    torch.save(state, path)
    resumed, whole = train(path, 12, total=12), train(tmp_path / "whole.pt", 12, total=12)
    for a, b in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert torch.equal(a, b)


def test_muon_on_a_kernel_equals_muon_on_its_matrix() -> None:
    torch.manual_seed(0)
    kernel = nn.Parameter(torch.randn(6, 4, 3, 3))
    matrix = nn.Parameter(kernel.detach().flatten(1).clone())
    gradient = torch.randn(6, 4, 3, 3)
    kernel.grad, matrix.grad = gradient, gradient.flatten(1)
    FlattenedMuon([kernel], lr=0.1, weight_decay=0.01).step()
    torch.optim.Muon([matrix], lr=0.1, weight_decay=0.01, adjust_lr_fn="match_rms_adamw").step()
    torch.testing.assert_close(kernel.detach().flatten(1), matrix.detach())
