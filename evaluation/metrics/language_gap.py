"""How much worse a model speaks other languages than English, beyond what the recogniser adds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

DRAWS = 4000
HALF_WRONG = 0.5


@dataclass(frozen=True)
class Score:
    """Error rate of one clip.

    Attributes:
        language: BCP 47 tag.
        prompt: identifies the line; clips of one prompt with several seeds are no independent
            evidence.
        error_rate: of words or characters; 1 for unintelligible speech.
    """

    language: str
    prompt: str
    error_rate: float


@dataclass(frozen=True)
class LanguageGap:
    """Errors in one language beside those in English.

    Attributes:
        language: which.
        num_clips: measured.
        mean, median: error rate, each clip's at most 1.
        half_wrong: share of clips with more than half of the words wrong.
        excess: mean less what the same recogniser gets wrong in real speech of the language;
            None where nobody measured that.
        gap, low, high: excess less that of English with its 95 % interval; None without excess.
        p_value: that the gap is 0, after Holm's correction over the languages.
    """

    language: str
    num_clips: int
    mean: float
    median: float
    half_wrong: float
    excess: float | None
    gap: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None


def language_gaps(
    scores: Sequence[Score],
    floor: Mapping[str, float],
    *,
    reference: str = "en",
    seed: int = 0,
) -> tuple[LanguageGap, ...]:
    """One row a language, in alphabetical order.

    The interval is a bootstrap that draws prompts, the same ones in all languages; the floors are
    taken as known.

    Args:
        scores: of clips that could be measured.
        floor: the recogniser's own error rate by language, on real speech.
        reference: the language that the others are compared with.
        seed: of the draws.
    """
    languages = sorted({score.language for score in scores})
    rows = {language: _row(language, scores, floor) for language in languages}
    compared = [name for name in languages if name != reference and name in floor]
    if reference not in rows or reference not in floor:
        return tuple(rows.values())
    draws = _drawn_means(scores, languages, np.random.default_rng(seed))
    p_values = {}
    for language in compared:
        offset = floor[reference] - floor[language]
        gap = rows[language].mean - rows[reference].mean + offset
        drawn = draws[language] - draws[reference] + offset
        drawn = drawn[np.isfinite(drawn)]
        low, high = np.percentile(drawn, [2.5, 97.5])
        rows[language] = replace(rows[language], gap=gap, low=float(low), high=float(high))
        beyond = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
        p_values[language] = min(1.0, 2 * (beyond + 1) / (drawn.size + 1))
    for language, p_value in holm(p_values).items():
        rows[language] = replace(rows[language], p_value=p_value)
    return tuple(rows.values())


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """P-values that hold for the whole family (Holm, 1979)."""
    adjusted: dict[str, float] = {}
    largest = 0.0
    for rank, (name, p_value) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_value))
        adjusted[name] = largest
    return adjusted


def _row(language: str, scores: Sequence[Score], floor: Mapping[str, float]) -> LanguageGap:
    """What is known of a language by itself."""
    rates = np.array([min(1.0, s.error_rate) for s in scores if s.language == language])
    mean = float(rates.mean())
    return LanguageGap(
        language=language,
        num_clips=len(rates),
        mean=mean,
        median=float(np.median(rates)),
        half_wrong=float((rates > HALF_WRONG).mean()),
        excess=mean - floor[language] if language in floor else None,
    )


def _drawn_means(
    scores: Sequence[Score], languages: Sequence[str], generator: np.random.Generator
) -> dict[str, np.ndarray]:
    """Mean error rate by language for every draw of prompts [draws]; NaN where none was drawn."""
    prompts = sorted({score.prompt for score in scores})
    counts = np.zeros((len(prompts), len(languages)))
    sums = np.zeros_like(counts)
    for score in scores:
        place = prompts.index(score.prompt), languages.index(score.language)
        counts[place] += 1
        sums[place] += min(1.0, score.error_rate)
    drawn = generator.multinomial(len(prompts), np.full(len(prompts), 1 / len(prompts)), DRAWS)
    with np.errstate(invalid="ignore"):
        means = (drawn @ sums) / (drawn @ counts)
    return dict(zip(languages, means.T, strict=True))
