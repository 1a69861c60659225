import numpy as np
import pytest

from evaluation.metrics.language_gap import Score, holm, language_gaps


def scores_of(language, rate, num_prompts=20, seeds=2, spread=0.1, start=0):
    rng = np.random.default_rng(start)
    return [
        Score(language, f"line {prompt}", float(np.clip(rate + spread * rng.normal(), 0, 1)))
        for prompt in range(num_prompts)
        for _ in range(seeds)
    ]


def test_a_gap_beyond_the_recognisers_own_is_found():
    scores = [*scores_of("en", 0.2), *scores_of("de", 0.6, start=1)]
    german, english = language_gaps(scores, {"en": 0.1, "de": 0.2})
    assert german.gap == pytest.approx(0.3, abs=0.05)
    assert german.low > 0.2
    assert german.p_value < 0.01
    assert english.gap is None
    assert english.excess == pytest.approx(0.1, abs=0.05)


def test_what_the_recogniser_adds_is_no_gap():
    scores = [*scores_of("en", 0.2), *scores_of("pt", 0.5, start=1)]
    portuguese = language_gaps(scores, {"en": 0.1, "pt": 0.4})[1]
    assert portuguese.low < 0 < portuguese.high
    assert portuguese.p_value > 0.05


def test_without_a_floor_there_is_no_gap():
    scores = [*scores_of("en", 0.2), *scores_of("ja", 0.6)]
    japanese = language_gaps(scores, {"en": 0.1})[1]
    assert japanese.excess is None
    assert japanese.gap is None
    assert japanese.mean == pytest.approx(0.6, abs=0.05)


def test_seeds_of_one_prompt_are_no_further_evidence():
    few = [*scores_of("en", 0.2, seeds=1), *scores_of("de", 0.4, seeds=1, start=1)]
    width = [
        row.high - row.low
        for rows in (
            language_gaps(few, {"en": 0, "de": 0}),
            language_gaps(5 * few, {"en": 0, "de": 0}),
        )
        for row in rows
        if row.language == "de"
    ]
    assert width[1] == pytest.approx(width[0], rel=0.1)


def test_a_clip_counts_as_wrong_once_at_most():
    (row,) = language_gaps([Score("en", "a", 21.0), Score("en", "b", 0.0)], {})
    assert (row.mean, row.half_wrong) == (0.5, 0.5)


def test_holm_corrects_for_the_number_of_languages():
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx(
        {"a": 0.03, "c": 0.06, "b": 0.06}
    )
