"""The device and number type to compute with, and what to say when memory runs out."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ltx2.errors import RequestError, ResourceError
from ltx2.model.quantized import EightBits
from ltx2.runtime.small import usual_dtype
from ltx2.settings import QUANTIZATIONS

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


def choose_device(device: str) -> torch.device:
    """The device of that name; "auto" takes CUDA, else Apple's GPU, else the CPU.

    Raises:
        RequestError: there is no such device.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen).tolist()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise RequestError(
            f"The device {device!r} cannot be used here.",
            next_step='Choose "cpu", or "auto" to take what is there.',
        ) from error
    return chosen


def choose_dtype(dtype: str, *, num_parameters: int) -> torch.dtype:
    """The number type of that name; "auto" takes float32 for small models, else bfloat16.

    Raises:
        RequestError: there is no such type.
    """
    if dtype == "auto":
        return _DTYPES[usual_dtype(num_parameters)]
    if dtype not in _DTYPES:
        raise RequestError(
            f"The dtype {dtype!r} is unknown.", next_step=f"Choose auto, {', '.join(_DTYPES)}."
        )
    return _DTYPES[dtype]


def choose_quantization(quantization: str, *, device: torch.device) -> EightBits | None:
    """How large weights are kept; None as in their files.

    Raises:
        RequestError: it is unknown, or the device has no such numbers.
    """
    if quantization == "fp8" and device.type == "mps":
        raise RequestError(
            "Apple's GPUs have no 8 bits of floating point.", next_step="Choose int8."
        )
    kinds: dict[str, EightBits | None] = {"none": None, "int8": "int8", "fp8": "fp8"}
    if quantization in kinds:
        return kinds[quantization]
    raise RequestError(
        f"The quantization {quantization!r} is unknown.",
        next_step=f"Choose {', '.join(QUANTIZATIONS)}.",
    )


@contextmanager
def memory_explained(next_step: str) -> Iterator[None]:
    """Turns running out of memory, which PyTorch reports in several ways, into advice.

    Raises:
        ResourceError: what ran inside needed more memory than there is.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        is_memory = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if not is_memory and not any(words in str(error) for words in _NO_MEMORY):
            raise
        raise ResourceError("There is not enough memory.", next_step=next_step) from error
