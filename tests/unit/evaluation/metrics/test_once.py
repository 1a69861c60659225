"""What is worked out once for every clip."""

import gc
import weakref

import numpy as np
import pytest

from evaluation.metrics.once import OncePerClip
from ltx2 import Clip


def a_clip():
    return Clip(np.zeros((2, 4, 4, 3), np.uint8), np.zeros((2, 8), np.float32), 24.0, 16_000)


def counted():
    asked = []

    @OncePerClip
    def answer(clip, *, language=None):
        asked.append((id(clip), language))
        return len(asked)

    return answer, asked


def test_a_clip_is_asked_once_for_each_choice():
    answer, asked = counted()
    clip = a_clip()
    assert [answer(clip, language=code) for code in ("en", "de", "en")] == [1, 2, 1]
    assert [language for _, language in asked] == ["en", "de"]


def test_another_clip_of_the_same_content_is_asked_for_itself():
    answer, _ = counted()
    first, second = a_clip(), a_clip()
    assert (answer(first), answer(second)) == (1, 2)


def test_clips_that_share_answers_are_asked_once():
    answer, _ = counted()
    first, second = a_clip(), a_clip()
    answer.share(first, second)
    assert answer(first) == answer(second) == 1


@pytest.mark.slow
def test_a_clip_is_let_go_with_its_answers():
    answer, _ = counted()
    clip = a_clip()
    answer(clip)
    gone = weakref.ref(clip)
    del clip
    gc.collect()
    assert gone() is None
