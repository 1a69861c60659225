"""Two processes give what one gives; state files do not depend on how many there were."""

import json
import os
import subprocess
import sys

import pytest
import torch

from ltx2.errors import RequestError
from ltx2.training.distributed import Processes, ProcessGroup, gathered, local, spread_like
from ltx2.training.trainer import STATE_FILE, train
from tests.conftest import ROOT
from tests.tiny_checkpoint import write_tiny_model
from tests.tiny_training import TinyExamples, tiny_run


def together(tmp_path, *configs):
    """Runs configurations one after another in the same two processes."""
    paths = []
    for index, config in enumerate(configs):
        paths.append(tmp_path / f"config_{index}.yaml")
        paths[-1].write_text(config.model_dump_json())
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    ran = subprocess.run(
        [*launcher, "--nproc-per-node=2", "-m", "tests.tiny_training", *map(str, paths)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]


def weights(config):
    state = torch.load(config.output / STATE_FILE, weights_only=True)
    return {name: tensor for name, tensor in state["module"].items() if tensor.numel()}


def distance(first, second):
    a, b = (torch.cat([t.flatten().double() for t in w.values()]) for w in (first, second))
    return float((a - b).norm() / b.norm())


def losses(config):
    log = config.output / STATE_FILE.replace(".pt", ".jsonl")
    return [json.loads(line)["loss"] for line in log.read_text().splitlines()]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.mark.slow
def test_two_processes_equal_one_and_hand_over_to_one(model, tmp_path):
    def run(name, **settings):
        return tiny_run(model, tmp_path / name, batch_size=4, accumulation=2, **settings)

    kinds = {
        "lora": {"train": {"kind": "lora", "rank": 4}},
        "full": {"train": {"kind": "full", "connectors": True}, "ema_decay": 0.9},
    }
    spread = {
        (kind, engine): run(f"{kind}_{engine}", engine=engine, steps=3, **settings)
        for kind, settings in kinds.items()
        for engine in ("ddp", "fsdp")
    }
    together(tmp_path, *spread.values())
    for kind, settings in kinds.items():
        alone = run(f"{kind}_alone", steps=3, **settings)
        train(alone, examples=TinyExamples())
        start = run(f"{kind}_start", steps=1, optimizer={"learning_rate": 1e-12}, **settings)
        train(start, examples=TinyExamples())
        moved = distance(weights(start), weights(alone))
        for engine in ("ddp", "fsdp"):
            config = spread[kind, engine]
            assert distance(weights(config), weights(alone)) < 1e-5, (kind, engine)
            assert moved > 1e-3
            assert losses(config) == pytest.approx(losses(alone), rel=1e-4)
        # The state of two processes that shared the weights goes on in one.
        longer = spread[kind, "fsdp"].model_copy(update={"steps": 5})
        train(longer, examples=TinyExamples())
        train(alone.model_copy(update={"steps": 5}), examples=TinyExamples())
        assert distance(weights(longer), weights(alone)) < 1e-5


def test_one_process_takes_everything_and_averages_nothing():
    alone = Processes(torch.device("cpu"))
    assert alone.rows(3) == slice(0, 3)
    assert alone.mean({"loss": 2.0}) == {"loss": 2.0}
    assert alone.any(True, False) == (True, False)
    assert alone.made_once(lambda: 7) == 7
    tensor = torch.ones(2)
    assert gathered({"a": [tensor]})["a"][0] is tensor
    assert local(tensor) is tensor
    assert spread_like(tensor, torch.zeros(2)) is tensor


def test_a_batch_that_does_not_divide_names_a_size_that_does():
    group = ProcessGroup.__new__(ProcessGroup)
    group.rank, group.world_size = 1, 4
    assert group.rows(8) == slice(2, 4)
    with pytest.raises(RequestError, match="multiple of 4"):
        group.rows(6)
