"""How often intervals hold the truth, by simulation: raters and prompts with tastes of their own.

    python -m evaluation.preference.coverage

A rater's and a prompt's liking of each model varies about the model's strength with a normal
distribution. The truth is what the fit finds in a million votes, each by a new rater on a new
prompt: averaging over tastes draws strengths toward each other.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from evaluation.preference.davidson import Cells, DavidsonFit, fit_davidson, probabilities
from evaluation.preference.intervals import (
    Covariance,
    naive_covariance,
    strength_rows,
    two_way_covariance,
)
from evaluation.preference.stopping import log_e_of_means, log_e_of_votes, stopping_place
from evaluation.preference.votes import Factor, VoteTable

MANY = 1_000_000


@dataclass(frozen=True)
class World:
    """What is simulated.

    Attributes:
        raters, votes_each, prompts: how many; each rater sees a prompt at most once.
        strengths: of the models.
        rater_sd, prompt_sd: of their liking of each model.
        nu, gamma: tie parameter and side effect.
    """

    raters: int = 60
    votes_each: int = 20
    prompts: int = 100
    strengths: tuple[float, ...] = (0.6, 0.2, -0.2, -0.6)
    rater_sd: float = 0.5
    prompt_sd: float = 0.6
    nu: float = 0.8
    gamma: float = 0.1


def simulate(world: World, rng: np.random.Generator) -> VoteTable:
    """Votes of one study."""
    rater = np.repeat(np.arange(world.raters), world.votes_each)
    order = np.argsort(rng.random((world.raters, world.prompts)), axis=1)
    prompt = order[:, : world.votes_each].ravel()
    models = len(world.strengths)
    taste = rng.normal(0, world.rater_sd, (world.raters, models))
    content = rng.normal(0, world.prompt_sd, (world.prompts, models))
    return _vote(world, rng, rater, prompt, taste[rater] + content[prompt])


@cache
def truth(world: World) -> np.ndarray:
    """[M] strengths that endless votes would give."""
    rng = np.random.default_rng(1)
    spread = float(np.hypot(world.rater_sd, world.prompt_sd))
    liking = rng.normal(0, spread, (MANY, len(world.strengths)))
    everyone = np.zeros(MANY, dtype=np.int64)
    votes = _vote(world, rng, everyone, everyone, liking)
    return fit_davidson(Cells.of(votes)[0]).theta


def _vote(
    world: World,
    rng: np.random.Generator,
    rater: np.ndarray,
    prompt: np.ndarray,
    liking: np.ndarray,
) -> VoteTable:
    count, models = len(rater), len(world.strengths)
    left = rng.integers(models, size=count)
    right = (left + rng.integers(1, models, size=count)) % models
    value = np.array(world.strengths) + liking
    rows = np.arange(count)
    d = value[rows, left] - value[rows, right] + world.gamma
    p_left, p_tie, _ = probabilities(d, float(np.log(world.nu)))
    drawn = rng.random(count)
    outcome = np.where(drawn < p_left, 1, np.where(drawn < p_left + p_tie, 0, -1))
    return VoteTable(
        rater=_numbered(rater),
        prompt=_numbered(prompt),
        models=tuple(f"m{i}" for i in range(models)),
        left=left,
        right=right,
        preference=outcome,
        both_bad=np.zeros(count, dtype=bool),
    )


def _numbered(codes: np.ndarray) -> Factor:
    used, codes = np.unique(codes, return_inverse=True)
    return Factor(codes, tuple(map(str, used)))


Method = Callable[[DavidsonFit, VoteTable, np.ndarray], Covariance]

METHODS: dict[str, Method] = {
    "naive": lambda fit, votes, cell: naive_covariance(fit),
    "two-way": two_way_covariance,
}


@dataclass(frozen=True)
class Coverage:
    """Of one method.

    Attributes:
        share: of nominal 95 % intervals of single strengths that hold the truth.
        mean_se: mean standard error of a strength.
        true_sd: standard deviation of the estimates themselves.
    """

    share: float
    mean_se: float
    true_sd: float


def coverage(world: World, *, studies: int, seed: int = 0) -> dict[str, Coverage]:
    """Coverage of each method over simulated studies."""
    rng, target = np.random.default_rng(seed), truth(world)
    held: dict[str, list[np.ndarray]] = {name: [] for name in METHODS}
    errors: dict[str, list[np.ndarray]] = {name: [] for name in METHODS}
    estimates = []
    for _ in range(studies):
        votes = simulate(world, rng)
        cells, cell = Cells.of(votes)
        fit = fit_davidson(cells)
        estimates.append(fit.theta)
        rows = strength_rows(fit)
        for name, method in METHODS.items():
            found = method(fit, votes, cell)
            error = np.sqrt(np.einsum("ip,pq,iq->i", rows, found.matrix, rows))
            held[name].append(np.abs(fit.theta - target) <= found.quantile() * error)
            errors[name].append(error)
    true_sd = float(np.std(estimates, axis=0).mean())
    return {
        name: Coverage(float(np.mean(held[name])), float(np.mean(errors[name])), true_sd)
        for name in METHODS
    }


@dataclass(frozen=True)
class Stops:
    """Shares of studies that are stopped for a difference; false ones, if models are equal.

    Attributes:
        by_votes: betting on every vote as if it were independent.
        by_means: betting on each rater's mean, in the order in which raters finish.
    """

    by_votes: float
    by_means: float


def stops_early(
    *,
    studies: int,
    raters: int = 80,
    votes_each: int = 25,
    taste: float = 1.0,
    difference: float = 0.0,
    seed: int = 0,
) -> Stops:
    """How often a study stops where one looks after every vote, or every rater.

    Args:
        studies, raters, votes_each: how many.
        taste: standard deviation of raters' own preferences, ln of odds; at 0 votes are
            independent.
        difference: mean preference, ln of odds.
        seed: of everything drawn.
    """
    rng = np.random.default_rng(seed)
    n = np.arange(1, raters * votes_each + 1)
    by_votes = by_means = 0
    for _ in range(studies):
        chance = 1 / (1 + np.exp(-rng.normal(difference, taste, raters)))
        wins = rng.random((raters, votes_each)) < chance[:, None]
        by_votes += stopping_place(log_e_of_votes(wins.ravel().cumsum(), n)) is not None
        by_means += stopping_place(log_e_of_means(wins.mean(axis=1))) is not None
    return Stops(by_votes / studies, by_means / studies)


def main() -> None:
    """Print the tables of the package's README."""
    print("| raters x votes, prompts | method | coverage of 95 % | mean SE | true sd |")  # noqa: T201
    print("|---|---|---|---|---|")  # noqa: T201
    for world in (World(), World(raters=24, votes_each=40), World(raters=15, votes_each=20)):
        for name, found in coverage(world, studies=2000).items():
            size = f"{world.raters} x {world.votes_each}, {world.prompts}"
            row = f"{found.share:.3f} | {found.mean_se:.3f} | {found.true_sd:.3f}"
            print(f"| {size} | {name} | {row} |")  # noqa: T201
    print("| difference | raters' tastes | stops by votes | by raters' means |")  # noqa: T201
    print("|---|---|---|---|")  # noqa: T201
    for difference, taste in ((0.0, 0.0), (0.0, 1.0), (0.45, 0.5), (0.45, 1.0)):
        stops = stops_early(studies=2000, taste=taste, difference=difference)
        by = f"{stops.by_votes:.3f} | {stops.by_means:.3f}"
        print(f"| {difference:g} | {taste:g} | {by} |")  # noqa: T201


if __name__ == "__main__":
    main()
