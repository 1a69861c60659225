"""Machines that plans are made for: what their makers say of them, and what this one measures."""

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ltx2.errors import RequestError
from ltx2.runtime.memory import Place, look

EFFICIENCY = 0.445
"""Share of a GPU's dense bfloat16 peak that a whole step is assumed to reach: what the 1.22 s per
step that are reported for 121 frames of 1280 x 704 on an H100 make of its 537 TFLOP."""

USUAL_DISK = 3e9
"""Bytes per second that a fast solid-state disk gives."""

THIS_MACHINE = "this machine"

MEASURED_S = 1.0
"""Seconds that each measurement takes, about."""


@dataclass(frozen=True)
class Device:
    """A machine with one accelerator, or none.

    Attributes:
        name: as plans show it.
        memory: bytes of the device.
        is_cuda: whether that memory is its own, beside the main one.
        linear, attention: operations per second that products with weights, and of tokens with
            tokens, really reach in bfloat16.
        link: bytes per second from main memory to the device.
        disk: bytes per second that files are read with.
        main_memory: bytes; None where it is whatever the machine around the card has.
        source: where the numbers are from.
    """

    name: str
    memory: int
    is_cuda: bool
    linear: float
    attention: float
    link: float
    disk: float = USUAL_DISK
    main_memory: int | None = None
    source: str = "maker's data sheet, with the efficiency stated"

    @property
    def place(self) -> Place:
        """Its memory before anything is loaded."""
        return Place(self.is_cuda, self.memory, free_main=self.main_memory)


def _gpu(name: str, gigabytes: float, peak_tflops: float, link_gigabytes: float) -> Device:
    attained = peak_tflops * 1e12 * EFFICIENCY
    memory, link = int(gigabytes * 2**30), link_gigabytes * 1e9
    return Device(name, memory, True, attained, attained, link)


_KNOWN = (
    _gpu("RTX 4090", 24, 165.2, 25),
    _gpu("RTX 5090", 32, 209.5, 50),
    _gpu("H100", 80, 989.4, 50),
    _gpu("H200", 141, 989.4, 50),
    _gpu("L40S", 48, 362.1, 25),
    # An RTX PRO 6000 Blackwell; "large" is half of one.
    _gpu("ZeroGPU large", 48, 251.9, 50),
    _gpu("ZeroGPU xlarge", 96, 503.8, 50),
)
DEVICES = {device.name.lower().replace(" ", "-"): device for device in _KNOWN}
"""By the names of the command line. Dense bfloat16 with sums in float32; PCIe 4 or 5, measured
copies reach about four fifths of its peak."""


def find_device(name: str) -> Device:
    """A known device, or "this machine", which is measured.

    Raises:
        RequestError: it is neither.
    """
    key = name.lower().strip().replace(" ", "-")
    if key == THIS_MACHINE.replace(" ", "-"):
        return measure_this_machine()
    if key not in DEVICES:
        raise RequestError(
            f"The device {name!r} is unknown.",
            next_step=f"Choose {', '.join(DEVICES)} or this-machine.",
        )
    return DEVICES[key]


def measure_this_machine() -> Device:
    """This machine as it is now, with whatever else runs on it; takes a few seconds.

    Products with weights are timed as [2048, 4096] times [4096, 4096], attention among 2,048
    tokens of 16 heads, both in bfloat16; reading on a file of 256 MB that was not read before.
    """
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    place = look(str(device))

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, device=device).bfloat16()

    def rate(run: Callable[[], object], work: float) -> float:
        """Work per second; the first run, which sets things up, does not count."""
        run()
        count, started = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - started) < MEASURED_S or count < 2:
            run()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            count += 1
        return work * count / elapsed

    x, weight = random(2048, 4096), random(4096, 4096)
    heads = random(1, 16, 2048, 128)
    host = torch.zeros(2**26, dtype=torch.uint8, pin_memory=device.type == "cuda")
    with torch.inference_mode():
        linear = rate(lambda: x @ weight, 2 * 2048 * 4096**2)
        attention = rate(
            lambda: scaled_dot_product_attention(heads, heads, heads), 4 * 2048**2 * 16 * 128
        )
        link = rate(lambda: host.clone() if device.type == "cpu" else host.to(device), host.nbytes)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    return Device(
        f"{THIS_MACHINE} ({name}, {torch.get_num_threads()} threads)",
        0 if place is None else place.free,
        device.type == "cuda",
        linear,
        attention,
        link,
        _disk_speed(),
        None if place is None else place.free_main,
        source="measured now; memory is what is free now",
    )


def _disk_speed() -> float:
    """Bytes per second of reading a new file of 256 MB; the usual speed where there is no room."""
    piece = os.urandom(2**24)
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "measured"
            with path.open("wb") as file:
                for _ in range(16):
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
                if hasattr(os, "posix_fadvise"):  # so that it comes from the disk
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            buffer = memoryview(bytearray(len(piece)))
            started = time.perf_counter()
            with path.open("rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass
            return 16 * len(piece) / (time.perf_counter() - started)
    except OSError:
        return USUAL_DISK
