import pytest
import torch

from ltx2.errors import RequestError, ResourceError
from ltx2.runtime.placement import choose_device, choose_dtype, memory_explained


def test_auto_takes_a_device_that_works():
    torch.zeros(1, device=choose_device("auto"))
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("device", ["gpu", "", "cuda:99", "cpu:cpu", "meta"])
def test_devices_that_cannot_compute_are_refused(device):
    with pytest.raises(RequestError, match="cannot be used"):
        choose_device(device)


def test_small_models_are_float32_and_large_ones_bfloat16_unless_said_otherwise():
    assert choose_dtype("auto", num_parameters=10_000_000) == torch.float32
    assert choose_dtype("auto", num_parameters=19_000_000_000) == torch.bfloat16
    assert choose_dtype("float16", num_parameters=1) == torch.float16
    with pytest.raises(RequestError, match="Choose auto, float32"):
        choose_dtype("fp32", num_parameters=1)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
    ],
)
def test_every_way_of_running_out_of_memory_becomes_advice(error):
    with (
        pytest.raises(ResourceError, match=r"not enough memory.*Shorten it\."),
        memory_explained("Shorten it."),
    ):
        raise error


def test_a_real_allocation_that_is_too_large_is_recognised():
    with pytest.raises(ResourceError), memory_explained("Shorten it."):
        torch.empty(2**60)


def test_other_errors_pass_unchanged():
    with (
        pytest.raises(RuntimeError, match="shapes cannot be multiplied"),
        memory_explained("Shorten it."),
    ):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
