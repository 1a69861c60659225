import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltx2.conditions import InputFile, Source, Span
from ltx2.timeline import FreeParts, free_parts, plan_windows


def a_file(kind="video", duration_s=4.0, has_sound=True, **changes):
    size = {} if kind == "sound" else {"width": 64, "height": 48}
    return InputFile(
        name="a",
        sha256="0" * 64,
        kind=kind,
        duration_s=duration_s,
        has_sound=has_sound,
        frame_rate=8.0,
        **{**size, **changes},
    )


def span(start, end):
    return Span(start_s=start, end_s=end)


@pytest.mark.parametrize(
    ("source", "video", "audio"),
    [
        (Source(file=a_file("sound")), [(0, 6)], [(4, 6)]),
        (Source(file=a_file(), use_audio=False), [(4, 6)], [(0, 6)]),
        (Source(file=a_file(has_sound=False)), [(4, 6)], [(0, 6)]),
        (Source(file=a_file(), at_s=1.0), [(0, 1), (5, 6)], [(0, 1), (5, 6)]),
        (Source(file=a_file(), at_s=-1.0), [(3, 6)], [(3, 6)]),
        (Source(file=a_file(duration_s=6), remake_video=(span(1, 2),)), [(1, 2)], []),
        (Source(file=a_file(duration_s=6), remake_audio=(span(5, 9),)), [], [(5, 6)]),
        # Less than a latent is missing at the end.
        (Source(file=a_file(duration_s=5.5)), [], []),
        (Source(file=a_file(duration_s=6), mask=a_file("image")), [(0, 6)], []),
    ],
)
def test_what_a_source_does_not_give_is_generated(source, video, audio):
    parts = free_parts([source], 6.0, rest_s=1.0)
    assert parts == FreeParts(tuple(video), tuple(audio))


def test_two_clips_leave_the_gap_between_them():
    sources = [Source(file=a_file(duration_s=2)), Source(file=a_file(duration_s=2), at_s=5.0)]
    assert free_parts(sources, 7.0, rest_s=1.0) == FreeParts(((2, 5),), ((2, 5),))


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(3, 20), st.integers(1, 9))
def test_windows_cover_what_is_generated_and_see_what_is_known(is_free, window, overlap):
    overlap = min(overlap, window - 1)
    known = [not free for free in is_free]
    pieces = plan_windows(is_free, window=window, overlap=overlap)
    for start, stop in pieces:
        assert 0 <= start < stop <= len(is_free)
        assert stop - start <= window
        if any(known):  # it grows from what is known
            assert any(known[start:stop])
        known[start:stop] = [True] * (stop - start)
    if len(is_free) > window:
        assert all(known)
    else:
        assert pieces == ((0, len(is_free)),)


def test_a_long_clip_is_made_in_parts_that_overlap():
    assert plan_windows([True] * 20, window=8, overlap=2) == ((0, 8), (6, 14), (12, 20))


def test_what_lies_before_a_clip_is_made_backward():
    assert plan_windows([True] * 10 + [False] * 10, window=8, overlap=2) == ((4, 12), (0, 8))


def test_a_retake_has_its_surroundings_on_both_sides():
    is_free = [10 <= index < 12 for index in range(30)]
    assert plan_windows(is_free, window=8, overlap=2) == ((7, 15),)
