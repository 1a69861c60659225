from dataclasses import replace

import pytest

from ltx2.errors import RequestError
from ltx2.request import ModelProfile, Request
from ltx2.runtime.anatomy import Visits
from ltx2.runtime.memory import (
    MARGIN,
    ON_DEVICE,
    Place,
    Placement,
    choose_placement,
    needed_memory,
    placements,
    total_main_memory,
)
from ltx2.runtime.visitors import Offload
from tests.unit.serving.stand_ins import SMALL

PROFILE = ModelProfile(width=768, height=512, duration_s=121 / 24, frame_rate=24.0, num_steps=8)
REQUEST = Request(prompt="a ball").resolve(PROFILE)
NONE, CPU, DISK = Offload
LARGE = replace(
    SMALL,
    num_values=21_500_000_000,
    num_sound_values=100_000_000,
    num_text_values=12_000_000_000,
    dtype="bfloat16",
    num_transformer_values=18_900_000_000,
    visits=Visits(21_200_000_000, 18_700_000_000, 390_000_000, 720_000_000, 1_000_000_000),
)
"""About the published model."""


def chosen(free_gb, main_gb=1000, *, is_cuda=True, offload="auto", anatomy=LARGE):
    place = Place(is_cuda, int(free_gb * 1e9), free_main=int(main_gb * 1e9))
    return choose_placement(offload, REQUEST, anatomy, place)


@pytest.mark.parametrize(
    ("free_gb", "main_gb", "expected"),
    [
        (139, 100, ON_DEVICE),
        (80, 100, ON_DEVICE),
        (60, 100, Placement(NONE, CPU)),
        (60, 8, Placement(NONE, DISK)),
        (24, 100, Placement(CPU, CPU)),
        (24, 60, Placement(CPU, DISK)),
        (24, 16, Placement(DISK, DISK)),
        (2, 100, Placement(DISK, DISK)),
    ],
)
def test_weights_go_no_further_away_than_they_must(free_gb, main_gb, expected):
    assert chosen(free_gb, main_gb) == expected


def test_a_cpu_has_one_memory_so_weights_stay_in_their_files_or_nowhere():
    assert chosen(139, is_cuda=False) == ON_DEVICE
    assert chosen(16, is_cuda=False) == Placement(DISK, DISK)


def test_what_was_asked_for_is_taken_whether_it_fits_or_not():
    assert chosen(1, offload="none") == ON_DEVICE
    assert chosen(1000, offload="disk") == Placement(DISK, DISK)
    with pytest.raises(RequestError, match="auto, none, cpu, disk"):
        placements("tape", is_cuda=True)


def test_what_is_not_known_stays_on_the_device():
    assert choose_placement("auto", REQUEST, None, Place(True, 1)) == ON_DEVICE
    assert choose_placement("auto", REQUEST, LARGE, None) == ON_DEVICE
    assert chosen(1, anatomy=replace(LARGE, visits=None)) == ON_DEVICE


def test_each_step_away_needs_less_memory_and_the_last_one_fits_a_small_card():
    place = Place(True, 0)
    needed = [
        needed_memory(REQUEST, LARGE, place, placement)
        for placement in (ON_DEVICE, Placement(NONE, CPU), Placement(CPU, CPU))
    ]
    assert needed == sorted(needed, reverse=True)
    assert needed[-1] * MARGIN < 16e9


def test_no_more_is_free_than_there_is_however_large_the_model_that_leaves():
    card = Place(True, 10, total=24)
    assert card.with_freed(8).free == 18
    assert card.with_freed(43).free == 24
    assert Place(True, 10).with_freed(43).free == 53


def test_processes_of_one_machine_share_its_main_memory_and_no_card():
    card = Place(True, 24, free_main=64, total=32).shared_by(4)
    assert (card.free, card.free_main, card.total) == (24, 16, 32)
    cpu = Place(False, 64, total=128).shared_by(2)
    assert (cpu.free, cpu.total) == (32, 64)
    assert Place(True, 24).shared_by(4) == Place(True, 24)


def test_a_containers_limit_is_all_there_is(tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 8000 kB\nMemAvailable:  5000 kB\n")
    assert total_main_memory(tmp_path) == 8000 * 1024
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/memory.max").write_text("max\n")
    assert total_main_memory(tmp_path) == 8000 * 1024
    (tmp_path / "sys/fs/cgroup/memory.max").write_text("3000\n")
    assert total_main_memory(tmp_path) == 3000
    assert total_main_memory(tmp_path / "nowhere") is None
