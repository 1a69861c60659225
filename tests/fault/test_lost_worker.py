"""Runs on a cluster of two workers, one of which is killed while it makes a clip."""

import hashlib
import os
import secrets
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from evaluation.suites.cluster import on_workers
from evaluation.suites.object_store import fetch_run, open_run
from evaluation.suites.records import RunFolder
from evaluation.suites.runner import Counts, run_suite
from ltx2.errors import GenerationCancelled, GenerationError
from tests.conftest import ROOT
from tests.unit.evaluation.suites.makers import Maker, suite_of

ray = pytest.importorskip("ray", reason="pip install -r requirements-cluster.txt")
pytestmark = pytest.mark.exhaustive


@pytest.fixture(scope="module")
def address():
    """Of a cluster with two CPUs, to which this process is connected."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYTHONPATH", str(ROOT))
        # Otherwise Ray makes a token and leaves it in the home of whoever runs the tests.
        environment.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        context = ray.init(
            "local",
            num_cpus=2,
            num_gpus=0,
            object_store_memory=100 * 2**20,
            include_dashboard=False,
            log_to_driver=False,
        )
        try:
            yield context.address_info["gcs_address"]
        finally:
            ray.shutdown()


class Doomed(Maker):
    """Its process is killed over `item-1`, as often as `deaths` says; notes what it makes."""

    def __init__(self, notes, deaths=0, **options):
        super().__init__(**options)
        self.notes, self.deaths = notes, deaths

    def __call__(self, item, request, output, **options):
        with (self.notes / item.id).open("a") as note:
            note.write(f"{os.getpid()}\n")
        if item.id == "item-1" and len(tries(self.notes, item.id)) <= self.deaths:
            output.write_bytes(b"half a clip")
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(item, request, output, **options)


def tries(notes, item):
    """Processes that were given the item, in order."""
    return (notes / item).read_text().splitlines()


@pytest.fixture
def notes(tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    return folder


def digests(run):
    return {
        path.stem: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in run.path.glob("clips/*.mp4")
    }


def test_a_run_whose_worker_is_killed_ends_as_one_on_this_machine(address, notes, tmp_path):
    here, there = RunFolder(tmp_path / "here"), RunFolder(tmp_path / "there")
    run_suite(suite_of(8), Maker(), here)
    with on_workers(partial(Doomed, notes, deaths=1)) as generator:
        assert run_suite(suite_of(8), generator, there) == Counts(made=8)
    first, second = tries(notes, "item-1")
    assert first != second
    others = [tries(notes, f"item-{number}") for number in range(8) if number != 1]
    assert all(len(pids) == 1 for pids in others)
    assert len({pid for pids in [[first, second], *others] for pid in pids}) >= 3
    assert there.read_run().keys == here.read_run().keys
    assert digests(there) == digests(here)
    assert len(digests(there)) == 8
    assert all(there.read_item(key).status == "ok" for key in there.read_run().keys)
    assert there.read_run().generator["workers"] == 2
    assert not [*there.path.glob("work-*"), *there.path.glob("*/*.part")]
    # What is made here is not made there again, and the other way round.
    with on_workers(partial(Doomed, notes)) as generator:
        assert run_suite(suite_of(8), generator, here) == Counts(kept=8)


def test_an_item_that_kills_every_worker_fails_alone_in_a_store(address, notes, tmp_path):
    store = f"memory://{tmp_path.name}/run"
    fails = {"item-2": GenerationError("All noise.", next_step="Try another seed.")}
    with on_workers(partial(Doomed, notes, 99, fails=fails, skips={"item-3"})) as generator:
        counts = run_suite(suite_of(6), generator, open_run(store))
    assert counts == Counts(made=3, failed=2, skipped=1)
    keys = open_run(store).read_run().keys
    reasons = [open_run(store).read_item(key).reason for key in keys]
    assert reasons[1].startswith("3 workers were lost while they made it: ")
    assert reasons[2:4] == ["All noise. Try another seed.", "it was told to"]
    assert len(tries(notes, "item-1")) == 3
    folder = RunFolder(tmp_path / "fetched")
    assert fetch_run(open_run(store), folder) == 3
    with on_workers(partial(Doomed, notes)) as generator:
        assert run_suite(suite_of(6), generator, folder) == Counts(made=3, kept=3)


def test_a_stopped_run_ends_its_workers_and_keeps_what_was_made(address, notes, tmp_path):
    folder = RunFolder(tmp_path / "run")
    with on_workers(partial(Doomed, notes)) as generator, pytest.raises(GenerationCancelled):
        run_suite(
            suite_of(8),
            generator,
            folder,
            should_cancel=lambda: len(list(folder.path.glob("clips/*.mp4"))) >= 2,
        )
    made = len(digests(folder))
    assert 2 <= made < 8
    with on_workers(partial(Doomed, notes)) as generator:
        assert run_suite(suite_of(8), generator, folder) == Counts(made=8 - made, kept=made)


def test_the_embedded_model_makes_the_same_clips_on_a_cluster(address, puppet_folder, tmp_path):
    suite = ROOT / "prompts" / "puppet-foley.yaml"
    small = tmp_path / "three.yaml"
    small.write_text(three_items(suite))
    command = [sys.executable, "-m", "evaluation", "run", small, "--model", "puppet-distilled"]
    # One thread, as workers have: sums in another order are other clips.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for name, options in (("here", []), ("there", ["--ray", address])):
        done = subprocess.run(
            [*command, "--out", tmp_path / name, *options],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert "3 made, 0 kept, 0 failed" in done.stdout
    here, there = (digests(RunFolder(tmp_path / name)) for name in ("here", "there"))
    assert len(here) == 3
    assert here == there


def three_items(path: Path) -> str:
    """A suite of the first three items of one."""
    import yaml

    from evaluation.suites.schema import load_suite

    prompts = [item.prompt for item in load_suite(path).items[:3]]
    return yaml.safe_dump(
        {
            "schema_version": 1,
            "name": "three",
            "title": "Three",
            "description": "Three.",
            "licence": "CC0-1.0",
            "world": "puppet",
            "items": [{"id": f"item-{n}", "prompt": text} for n, text in enumerate(prompts)],
        }
    )
