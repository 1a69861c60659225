"""Word error rate of a conversation when nobody says which voice is whose."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from evaluation.metrics.wording import EditCount, count_edits


def cp_edits(
    asked: Mapping[str, Sequence[str]], heard: Mapping[str, Sequence[str]]
) -> tuple[EditCount, dict[str, str]]:
    """Edits under the best match of speakers with voices, and that match (cpWER).

    Each speaker's words are concatenated, and every assignment of voices to speakers is allowed
    (Watanabe et al., CHiME-6, 2020); a speaker or voice too many counts with all its words.

    Args:
        asked: tokens by speaker, in the order asked.
        heard: tokens by voice or face, in the order heard.
    """
    speakers, voices = list(asked), list(heard)
    size = max(len(speakers), len(voices))
    table = [
        [
            count_edits(
                asked[speakers[i]] if i < len(speakers) else (),
                heard[voices[j]] if j < len(voices) else (),
            )
            for j in range(size)
        ]
        for i in range(size)
    ]
    costs = [[e.substitutions + e.deletions + e.insertions for e in row] for row in table]
    rows, columns = linear_sum_assignment(np.array(costs).reshape(size, size))
    chosen = [table[i][j] for i, j in zip(rows, columns, strict=True)]
    total = EditCount(
        sum(e.substitutions for e in chosen),
        sum(e.deletions for e in chosen),
        sum(e.insertions for e in chosen),
        sum(e.num_asked for e in chosen),
    )
    match = {
        speakers[i]: voices[j]
        for i, j in zip(rows, columns, strict=True)
        if i < len(speakers) and j < len(voices)
    }
    return total, match
