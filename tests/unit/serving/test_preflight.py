from dataclasses import replace

import pytest

from ltx2.request import ModelProfile, Request
from ltx2.runtime.anatomy import Visits
from ltx2.runtime.memory import MARGIN, Place, Placement, free_main_memory, look, needed_memory
from ltx2.runtime.visitors import Offload
from ltx2.serving.preflight import CannotTell, Fits, TooLarge, check, in_words
from ltx2.serving.timing import Forecast
from tests.unit.serving.stand_ins import SMALL

PROFILE = ModelProfile(
    width=768, height=512, duration_s=121 / 24, frame_rate=24.0, num_steps=8, min_size=256
)
BIG = replace(
    SMALL,
    num_values=19_000_000_000,
    num_sound_values=100_000_000,
    num_text_values=12_000_000_000,
    dtype="bfloat16",
    num_transformer_values=18_000_000_000,
)
"""About the published model."""

FORECAST = Forecast(0.0, 1.0, 38.0, 1.0, low_s=30.0, high_s=55.0)
REQUEST = Request(prompt="a ball", width=1280, height=704, duration_s=20.0)


def verdict(request, free, *, anatomy=SMALL, is_loaded=False, is_cuda=False):
    return check(request, PROFILE, anatomy, Place(is_cuda, free, is_loaded), None).verdict


def needed(request, anatomy=SMALL, **place):
    place = {"is_cuda": False, "free": 0, **place}
    return needed_memory(request.resolve(PROFILE), anatomy, Place(**place))


def test_a_clip_fits_exactly_where_there_is_as_much_as_it_needs_and_a_margin():
    enough = int(needed(REQUEST) * MARGIN) + 1
    assert verdict(REQUEST, enough) == Fits(needed(REQUEST), enough)
    assert isinstance(verdict(REQUEST, enough - 10), TooLarge)


def test_what_is_loaded_already_is_not_needed_again():
    assert needed(REQUEST, is_loaded=True) < needed(REQUEST) - SMALL.weights
    tiny = REQUEST.model_copy(update={"width": 256, "height": 256, "duration_s": 0.5})
    assert needed(tiny, is_cuda=True) > needed(tiny)


def test_the_text_encoder_of_a_large_model_counts_beside_the_weights_not_beside_the_rest():
    small_clip = Request(prompt="a ball", width=256, height=256, num_frames=9)
    assert needed(small_clip, BIG) == pytest.approx(38.4e9 + 24e9 + 0.42e9, rel=0.01)
    assert needed(small_clip, BIG, is_loaded=True) == BIG.text_encoder


@pytest.mark.parametrize("share", [0.95, 0.7, 0.5])
def test_of_a_shorter_and_a_smaller_clip_the_one_that_keeps_more_is_offered(share):
    free = int(needed(REQUEST, is_loaded=True) * share * MARGIN)
    shorter = [{"duration_s": None, "num_frames": frames} for frames in range(9, 481, 8)]
    smaller = [
        {"height": side, "width": round(1280 * side / 704 / 32) * 32}
        for side in range(256, 704, 32)
    ]
    resolved = [
        REQUEST.model_copy(update=change).resolve(PROFILE)
        for change in shorter + smaller
        if isinstance(verdict(REQUEST.model_copy(update=change), free, is_loaded=True), Fits)
    ]
    found = verdict(REQUEST, free, is_loaded=True).change.request.resolve(PROFILE)
    assert volume(found) == max(map(volume, resolved))


def volume(resolved):
    return resolved.num_frames * resolved.height * resolved.width


@pytest.mark.parametrize("share", [0.9, 0.6, 0.4])
def test_the_change_that_is_offered_fits_and_hardly_a_larger_one_would(share):
    free = int(needed(REQUEST, is_loaded=True) * share * MARGIN)
    found = verdict(REQUEST, free, is_loaded=True)
    changed = found.change.request
    assert isinstance(verdict(changed, free, is_loaded=True), Fits)
    assert changed.prompt == "a ball"
    resolved = changed.resolve(PROFILE)
    if resolved.num_frames != REQUEST.resolve(PROFILE).num_frames:
        more = changed.model_copy(update={"num_frames": resolved.num_frames + 8})
        assert f"{resolved.num_frames / 24:.1f} s" in found.change.sentence
    else:
        more = changed.model_copy(update={"height": resolved.height + 64, "width": 1280})
        assert f"{resolved.width} x {resolved.height}" in found.change.sentence
    assert isinstance(verdict(more, free, is_loaded=True), TooLarge)


def test_where_one_change_is_not_enough_two_are_offered():
    tiny = REQUEST.model_copy(update={"width": 480, "height": 256, "duration_s": 0.6})
    free = int(needed(tiny, is_loaded=True) * MARGIN * 1.05)
    change = verdict(REQUEST, free, is_loaded=True).change
    assert "horten" in change.sentence
    assert "make the picture" in change.sentence
    assert isinstance(verdict(change.request, free, is_loaded=True), Fits)


def test_where_no_clip_fits_another_number_type_is_offered_if_it_helps():
    wide = replace(BIG, dtype="float32")
    free = int(needed(REQUEST, BIG) * MARGIN) + 1
    change = verdict(REQUEST, free, anatomy=wide).change
    assert (change.request, change.dtype) == (None, "bfloat16")
    assert "LTX2_DTYPE=bfloat16" in change.sentence
    assert verdict(REQUEST, 20_000_000_000, anatomy=BIG).change is None


def test_where_that_does_not_help_weights_in_8_bits_are_offered():
    narrow = replace(BIG, num_values=BIG.num_values // 2)
    free = int(needed(REQUEST, narrow) * MARGIN) + 1
    change = verdict(REQUEST, free, anatomy=replace(BIG, in_8_bits=narrow)).change
    assert (change.request, change.dtype) == (None, None)
    assert change.sentence == "Start the server with LTX2_QUANTIZATION=int8."


def test_8_bits_are_not_offered_where_only_weights_in_files_would_fit():
    """They stay as the files have them."""
    visits = Visits(18_900_000_000, 18_700_000_000, 390_000_000, 720_000_000, 1_000_000_000)
    whole = replace(BIG, visits=visits)
    narrow = replace(whole, visits=replace(visits, block=visits.block // 4))
    place, in_files = Place(False, 0), Placement(Offload.DISK, Offload.DISK)
    least = REQUEST.model_copy(
        update={"width": 256, "height": 256, "duration_s": None, "num_frames": 17}
    )
    free = int(needed_memory(least.resolve(PROFILE), narrow, place, in_files) * MARGIN) + 1
    anatomy = replace(whole, in_8_bits=narrow)
    assert verdict(least, free, anatomy=anatomy).change is None


@pytest.mark.parametrize(
    ("anatomy", "place"), [(None, Place(False, 1)), (SMALL, None)], ids=["model", "device"]
)
def test_what_cannot_be_told_is_said_with_a_reason(anatomy, place):
    found = check(REQUEST, PROFILE, anatomy, place, None)
    assert isinstance(found.verdict, CannotTell)
    assert found.verdict.reason
    assert found.sentence == ""


def test_everything_is_said_in_a_sentence():
    place = Place(False, 10**12)
    assert check(REQUEST, PROFILE, SMALL, place, FORECAST).sentence == "Fits, about 40 s."
    assert check(REQUEST, PROFILE, SMALL, place, None).sentence == "Fits."
    assert check(REQUEST, PROFILE, SMALL, None, FORECAST).sentence == "About 40 s."
    needs = f"{needed(REQUEST) / 1e9:.1f} GB"
    too_large = check(REQUEST, PROFILE, SMALL, Place(False, 100_000_000), FORECAST).sentence
    assert too_large == (
        f"Does not fit: it needs {needs}, 0.1 GB are free. No change of the clip helps."
    )


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (42.4, "42 s"), (150, "2 min"), (3599, "1 h 0 min"), (4800, "1 h 20 min")],
)
def test_times_are_said_as_people_say_them(seconds, words):
    assert in_words(seconds) == words


def write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return free_main_memory(root)


MEMINFO = {"proc/meminfo": "MemTotal: 8000 kB\nMemFree: 100 kB\nMemAvailable:  5000 kB\n"}
GROUP = "sys/fs/cgroup/memory"


def test_free_memory_is_what_is_available_within_the_containers_limit(tmp_path):
    assert write(tmp_path / "none", {}) is None
    assert write(tmp_path / "free", MEMINFO) == 5000 * 1024
    unlimited = {f"{GROUP}.max": "max\n", f"{GROUP}.current": "1000\n"}
    assert write(tmp_path / "unlimited", MEMINFO | unlimited) == 5000 * 1024
    limited = {f"{GROUP}.max": "3000\n", f"{GROUP}.current": "1000\n"}
    assert write(tmp_path / "limited", MEMINFO | limited) == 2000


def test_a_cpu_tells_its_memory_and_an_unknown_device_does_not():
    place = look("cpu")
    assert place is None or (place.free > 0 and not place.is_cuda)
    assert look("cuda:99") is None or look("cuda:99").is_cuda
