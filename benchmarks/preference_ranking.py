"""A million votes of 20 models: ours with every interval, beside evalica's point estimate.

evalica (Bradley-Terry in Rust, ties as half a win) gives strengths alone. Ours reads the file and
gives strengths, two-way clustered and naive intervals, 200 bootstrap resamples, rank intervals, the
win matrix, agreement and screening.

    python -m benchmarks.preference_ranking
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from evaluation.preference.coverage import World, simulate
from evaluation.preference.ranking import rank_votes
from evaluation.preference.votes import read_votes


def main() -> None:
    """Write votes, rank them twice and print seconds and memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--votes", type=int, default=1_000_000)
    parser.add_argument("--models", type=int, default=20)
    count = parser.parse_args()
    world = World(
        raters=count.votes // 50,
        votes_each=50,
        prompts=500,
        strengths=tuple(np.linspace(1, -1, count.models)),
    )
    table = simulate(world, np.random.default_rng(0))
    names = np.array(table.models)
    frame = pd.DataFrame(
        {
            "rater": table.rater.codes,
            "prompt": table.prompt.codes,
            "left": names[table.left],
            "right": names[table.right],
            "answer": np.array(["right", "tie", "left"])[table.outcome + 1],
        }
    )
    path = Path(tempfile.mkdtemp()) / "votes.csv"
    frame.to_csv(path, index=False)
    del table, frame
    started = time.monotonic()
    votes = read_votes(path)
    read_s = time.monotonic() - started
    board = rank_votes(votes)
    all_s = time.monotonic() - started
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{len(votes)} votes of {len(votes.models)} models by {len(votes.rater)} raters")
    print(f"ours: read {read_s:.1f} s, read and rank with all intervals {all_s:.1f} s")
    print(f"most memory, making the votes included: {memory:.2f} GiB")
    evalica_s, first = _by_evalica(votes.models, votes.left, votes.right, votes.outcome)
    print(f"evalica: strengths alone, read already, {evalica_s:.1f} s")
    print(f"strongest: {board.overall.models[0].name} (ours), {first} (evalica)")


def _by_evalica(
    models: tuple[str, ...], left: np.ndarray, right: np.ndarray, outcome: np.ndarray
) -> tuple[float, str]:
    import evalica

    names = np.array(models)
    winners = [(evalica.Winner.Y, evalica.Winner.Draw, evalica.Winner.X)[y + 1] for y in outcome]
    started = time.monotonic()
    found = evalica.bradley_terry(names[left].tolist(), names[right].tolist(), winners)
    return time.monotonic() - started, str(found.scores.idxmax())


if __name__ == "__main__":
    main()
