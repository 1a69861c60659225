import numpy as np
import pytest
import torch

import ltx2
from ltx2.errors import RequestError
from tests.tiny_checkpoint import write_tiny_model

REQUEST = ltx2.Request(prompt="a ball", width=64, height=64, num_frames=9, num_steps=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def usual(folder):
    return ltx2.load(folder)(REQUEST)


def assert_close(made, expected):
    assert np.abs(made.frames.astype(int) - expected.frames).max() <= 1
    assert np.abs(made.waveform - expected.waveform).max() < 1e-4


@pytest.mark.parametrize("attention", ["math", "flash"])
def test_a_kernel_of_attention_can_be_chosen(folder, usual, attention, monkeypatch):
    from ltx2.runtime import kernels

    used = []
    chosen = kernels.sdpa_kernel
    monkeypatch.setattr(kernels, "sdpa_kernel", lambda kind: used.append(kind) or chosen(kind))
    assert_close(ltx2.load(folder, attention=attention)(REQUEST), usual)
    assert set(used) == {kernels._KERNELS[attention]}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, which may have the kernel")
def test_a_kernel_that_this_device_lacks_is_refused(folder):
    with pytest.raises(RequestError, match="--attention auto"):
        ltx2.load(folder, attention="cudnn")(REQUEST)


def test_large_attentions_on_cpus_have_the_named_kernel_too():
    from ltx2.runtime import kernels

    query = torch.randn(1, 1, 400, 8)
    with torch.inference_mode(), pytest.raises(RequestError, match="'cudnn' cannot be computed"):
        kernels._attend_by("cudnn", query, query, query, None)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"attention": "quick"}, "auto, flash, cudnn, efficient, math"),
        ({"compilation": "all"}, "none, blocks, graphs"),
        ({"compilation": "blocks", "offload": "cpu"}, "--offload none"),
        ({"compilation": "graphs", "device": "cpu"}, "need a CUDA device"),
    ],
)
def test_what_cannot_be_is_refused(folder, options, said):
    with pytest.raises(RequestError, match=said):
        ltx2.load(folder, **options)


@pytest.mark.slow
def test_all_blocks_and_steps_share_one_compiled_program(monkeypatch):
    from torch._dynamo.testing import CompileCounter

    programs = CompileCounter()
    compiled = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, mode: compiled(f, backend=programs))
    pipeline = ltx2.load("puppet", compilation="blocks")
    assert len(pipeline.networks.transformer.transformer_blocks) > 2
    for _ in range(2):  # the second time, what the text answers is kept
        pipeline(REQUEST)
    assert programs.frame_count == 1


@pytest.mark.exhaustive
def test_compiled_blocks_compute_the_same(folder, usual):
    assert_close(ltx2.load(folder, compilation="blocks")(REQUEST), usual)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("compilation", ["blocks", "graphs"])
def test_on_a_gpu_compiled_blocks_and_graphs_compute_the_same(folder, compilation):
    expected = ltx2.load(folder, device="cuda")(REQUEST)
    pipeline = ltx2.load(folder, device="cuda", compilation=compilation)
    for _ in range(3):
        made = pipeline(REQUEST)
        assert np.abs(made.frames.astype(int) - expected.frames).max() <= 2


@pytest.mark.skipif(not torch.backends.mps.is_available(), reason="needs an Apple GPU")
def test_on_an_apple_gpu_a_clip_is_nearly_that_of_the_cpu(folder, usual):
    made = ltx2.load(folder, device="mps")(REQUEST)
    assert np.abs(made.frames.astype(int) - usual.frames).mean() < 2
