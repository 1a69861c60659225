"""Models fitted to data whose answers were published or follow from theory."""

import numpy as np
import pytest
from scipy.optimize import minimize

from evaluation.preference.davidson import Cells, fit_davidson, fit_rao_kupper, probabilities

TEAMS = ("Milwaukee", "Detroit", "Toronto", "New York", "Boston", "Cleveland", "Baltimore")
BASEBALL = """
-   4-3 4-2 4-3 6-1 4-2 6-0
3-3 -   4-2 4-3 6-0 6-1 4-3
2-5 4-3 -   2-4 4-3 4-2 6-0
3-3 5-1 2-5 -   4-3 4-2 6-1
5-1 2-5 3-3 4-2 -   5-2 6-0
2-5 3-3 3-4 4-3 4-2 -   2-4
2-5 1-5 1-6 2-4 1-6 3-4 -
"""
"""Won and lost at home, season of 1987: row at home, column away (Agresti 2002, table 10.10)."""

SPRINGALL = """
2-7-16 0-1-21 5-10-10 2-7-15 0-2-22 12-9-3 13-5-9 10-3-12
6-5-11 17-7-2 9-8-6 8-6-12 24-0-2 16-5-3 15-7-2
22-4-2 14-5-4 11-7-4 24-3-1 22-3-0 17-6-2
3-9-14 2-4-18 12-5-6 10-6-6 8-11-9
5-9-11 20-2-0 15-5-2 13-9-5
27-0-1 19-5-1 18-2-2
2-8-13 2-5-21
6-8-8
"""
"""Nine flavours: how often the later was stronger, neither, the earlier (Springall 1973)."""


def cells_of(models, rows, *, with_side):
    """Of (left, right, outcome, votes)."""
    left, right, outcome, weight = (np.array(column) for column in zip(*rows, strict=True))
    used = weight > 0
    return Cells(
        models,
        left[used],
        right[used],
        outcome[used],
        weight[used].astype(float),
        np.zeros((int(used.sum()), 0)),
        with_side=with_side,
    )


@pytest.fixture(scope="module")
def flavours():
    rows = []
    for first, second, counts in zip(*np.triu_indices(9, 1), SPRINGALL.split(), strict=True):
        three = map(int, counts.split("-"))
        rows += [(second, first, out, n) for out, n in zip((1, 0, -1), three, strict=True)]
    return cells_of(tuple("123456789"), rows, with_side=False)


def test_playing_at_home_is_worth_what_is_published_for_baseball():
    rows = [
        (home, away, outcome, int(games))
        for home, line in enumerate(BASEBALL.split("\n")[1:-1])
        for away, score in enumerate(line.split())
        if score != "-"
        for outcome, games in zip((1, -1), score.split("-"), strict=True)
    ]
    fit = fit_davidson(cells_of(TEAMS, rows, with_side=True), ridge=1e-9)
    error = np.sqrt(np.linalg.inv(fit.information)[-1, -1])
    assert (fit.gamma, error) == pytest.approx((0.3023, 0.1309), abs=1e-4)
    published = [1.6196, 1.4754, 1.3271, 1.2813, 1.1438, 0.7047, 0.0]
    assert np.allclose(fit.theta - fit.theta[-1], published, atol=1e-4)


def test_ties_of_flavours_are_as_many_as_the_model_expects(flavours):
    """At the maximum, expected ties and expected points of every flavour are those observed."""
    fit = fit_davidson(flavours, ridge=1e-9)
    pairs = {(left, right) for left, right in zip(flavours.left, flavours.right, strict=True)}
    left, right = np.array(sorted(pairs)).T
    tasted = np.zeros((9, 9))
    np.add.at(tasted, (flavours.left, flavours.right), flavours.weight)
    p_left, p_tie, p_right = probabilities(fit.theta[left] - fit.theta[right], fit.log_nu)
    count = tasted[left, right]
    assert count @ p_tie == pytest.approx(
        sum(int(counts.split("-")[1]) for counts in SPRINGALL.split()), abs=1e-3
    )
    points = np.bincount(left, count * (p_left + p_tie / 2), 9)
    points += np.bincount(right, count * (p_right + p_tie / 2), 9)
    seen = np.bincount(flavours.left, flavours.weight * (1 + flavours.outcome) / 2, 9)
    seen += np.bincount(flavours.right, flavours.weight * (1 - flavours.outcome) / 2, 9)
    assert np.allclose(points, seen, atol=1e-3)


def test_a_general_optimiser_finds_the_same_ties_and_strengths_of_flavours(flavours):
    def loss(values):
        worth, nu = np.exp(np.append(values[:8], 0.0)), np.exp(values[8])
        one, other = worth[flavours.left], worth[flavours.right]
        tie = nu * np.sqrt(one * other)
        share = np.choose(flavours.outcome + 1, [other, tie, one]) / (one + other + tie)
        return -flavours.weight @ np.log(share)

    found = minimize(loss, np.zeros(9), method="BFGS")
    fit = fit_davidson(flavours, ridge=1e-9)
    assert np.allclose(fit.theta - fit.theta[-1], np.append(found.x[:8], 0.0), atol=1e-3)
    assert fit.nu == pytest.approx(np.exp(found.x[8]), abs=1e-3)
    assert fit.loss == pytest.approx(found.fun, abs=1e-5)
    other = fit_rao_kupper(flavours, ridge=1e-9)
    assert np.corrcoef(other.theta, fit.theta)[0, 1] > 0.999
