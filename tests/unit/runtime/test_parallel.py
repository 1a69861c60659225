import json
import os
import subprocess
import sys

import pytest
import torch

import ltx2
from ltx2.errors import RequestError
from ltx2.media.decode import read_recipe
from ltx2.model.config import TransformerConfig
from ltx2.model.transformer import Transformer
from ltx2.runtime.parallel import ALONE, Team, joined, own_device, processes_here, share_tokens
from tests.conftest import ROOT
from tests.tiny_checkpoint import tiny_config, write_tiny_model
from tests.two_processes import REQUEST, brightness


@pytest.mark.slow
def test_two_processes_make_what_one_makes(tmp_path):
    folder, output = write_tiny_model(tmp_path / "tiny"), tmp_path / "clip.mp4"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    ran = subprocess.run(
        [*launcher, "-m", "tests.two_processes", str(folder), str(output)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    # One process tells of the file, which the command makes with both.
    assert ran.stdout.count("clip.mp4: ") == 1
    assert read_recipe(output).request.prompt == "a ball"
    scores = {}
    pipeline = ltx2.load(folder)
    for seed in range(REQUEST.seed, REQUEST.seed + 3):
        scores[seed] = brightness(pipeline(REQUEST.model_copy(update={"seed": seed})))
    for found in json.loads(output.with_suffix(".json").read_text()):
        assert found["tokens"] % 2 == 1
        assert found["video"] < 1e-5
        assert found["audio"] < 1e-5
        assert found["waveform"] < 1e-4
        assert found["frames"] <= 1
        assert found["best"] == max(scores, key=scores.get)


def test_heads_have_to_be_divisible():
    with torch.device("meta"):
        transformer = Transformer(TransformerConfig.from_metadata(tiny_config()))
    with pytest.raises(RequestError, match="2 heads of attention cannot be divided among 3"):
        share_tokens(transformer, Team(0, 3))


def test_a_process_that_was_started_alone_works_alone():
    with joined("cpu") as team:
        assert team == ALONE
    assert team.all_of(3) == [3]
    assert team.told_by(0, "x") == "x"
    assert own_device("cpu") == "cpu"
    assert processes_here() == 1
    assert own_device("auto") == "auto"
