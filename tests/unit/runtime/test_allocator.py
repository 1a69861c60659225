import subprocess
import sys

import pytest
import torch

from ltx2.runtime.allocator import memory_reused

FAULTS = """
import resource, sys, torch
from ltx2.runtime.allocator import memory_reused

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def work():
    x = torch.ones(64 << 20, dtype=torch.uint8)
    for _ in range(8):
        x = x.clone()

torch.set_num_threads(1)
work()
before = faults()
work()
usual = faults() - before
with memory_reused(torch.device("cpu")):
    work()
    work()  # where blocks come to lie is a matter of chance until there are enough of them
    before = faults()
    work()
    reused = faults() - before
resident = [line for line in open("/proc/self/status") if line.startswith("VmRSS")]
print(usual, reused, resident[0].split()[1])
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc is of Linux")
def test_what_is_freed_is_used_again_and_given_back_at_the_end():
    ran = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, check=True, text=True)
    usual, reused, resident_kib = map(int, ran.stdout.split())
    assert usual > 50_000  # eight times 64 MiB in pages of 4 KiB, and then some
    assert reused < usual / 10
    assert resident_kib < 640 * 1024


def test_other_devices_have_memory_of_their_own():
    with memory_reused(torch.device("meta")):
        pass
