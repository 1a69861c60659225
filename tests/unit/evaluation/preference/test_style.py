"""Style is held equal where votes can tell it from the models, and only there."""

from dataclasses import replace

import numpy as np
import pytest

from evaluation.preference.coverage import World, simulate
from evaluation.preference.davidson import probabilities
from evaluation.preference.ranking import Ranking
from evaluation.preference.style import free_share, style_controlled
from evaluation.preference.votes import VoteTable

EQUAL = World(raters=60, votes_each=40, strengths=(0.0, 0.0), rater_sd=0.2, prompt_sd=0.2)


@pytest.fixture(scope="module")
def votes():
    """Equal models; the first is louder by 3 dB give or take 2, and raters like that."""
    rng = np.random.default_rng(0)
    table = simulate(EQUAL, rng)
    sign = np.where(table.left == 0, 1.0, -1.0)
    louder = sign * rng.normal(3.0, 2.0, len(table))
    larger = sign * 0.7
    p_left, p_tie, _ = probabilities(0.3 * louder, np.log(0.7))
    drawn = rng.random(len(table))
    preference = np.where(drawn < p_left, 1, np.where(drawn < p_left + p_tie, 0, -1))
    covariates = {"d_lufs": louder, "d_log_pixels": larger, "d_log_duration": 0 * larger}
    return VoteTable(**{**vars(table), "preference": preference, "covariates": covariates})


def test_loudness_that_varies_is_held_equal_and_size_that_is_the_models_own_is_not(votes):
    found = style_controlled(votes, "overall")
    assert (found.used, found.confounded) == (("d_lufs",), ("d_log_pixels",))
    assert isinstance(found.ranking, Ranking)
    strength = found.ranking.models[0].strength
    assert strength.low < 0 < strength.high
    assert found.ranking.style["d_lufs"].low > 0


def test_shares_left_free_by_the_models(votes):
    assert free_share(votes, "d_log_pixels") == pytest.approx(0, abs=1e-9)
    assert free_share(votes, "d_lufs") == pytest.approx(4 / 13, abs=0.03)
    assert free_share(votes, "d_log_duration") == 0


def test_nothing_is_held_equal_where_nothing_can_be(votes):
    bare = replace(votes, covariates={"d_log_pixels": votes.covariates["d_log_pixels"]})
    found = style_controlled(bare, "overall")
    assert (found.ranking, found.used, found.confounded) == (None, (), ("d_log_pixels",))
