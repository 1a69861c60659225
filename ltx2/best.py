"""Best of several: clips of different seeds, of which a measurement keeps one."""

from collections.abc import Callable

from ltx2.clip import Clip
from ltx2.errors import RequestError
from ltx2.inputs import Inputs
from ltx2.pipeline import Pipeline
from ltx2.progress import OnProgress, Progress, ShouldCancel, ignore_progress, never_cancel
from ltx2.request import Request
from ltx2.runtime.parallel import ALONE, Team

MAX_CLIPS = 64

NOTHING = (float("-inf"), MAX_CLIPS)
"""What a process has found that made no clip: later than any, and no better."""

Score = Callable[[Clip], float | None]
"""How good a clip is, more is better; None where that cannot be measured."""


def best_of(
    pipeline: Pipeline,
    request: Request,
    count: int,
    score: Score | None,
    *,
    inputs: Inputs | None = None,
    on_progress: OnProgress = ignore_progress,
    should_cancel: ShouldCancel = never_cancel,
    team: Team = ALONE,
) -> Clip:
    """The best of `count` clips, whose seeds follow that of the request.

    The first one wins among equals, and where none can be measured.

    Args:
        pipeline: makes them.
        request: what to make.
        count: of clips; with one there is nothing to measure.
        score: how good one is; needed for more than one.
        inputs, on_progress, should_cancel: as of a pipeline.
        team: whose processes share the clips, if there are several; all get the best one.

    Raises:
        RequestError: there is no score, or the number is out of range; or as of a pipeline.
        GenerationCancelled: `should_cancel` said so.
    """
    if not 1 <= count <= MAX_CLIPS:
        raise RequestError(
            f"The best of {count} clips was asked for.",
            next_step=f"Choose a number from 1 to {MAX_CLIPS}.",
        )
    if count > 1 and score is None:
        raise RequestError("Nothing says which clip is the best.", next_step="Give a measurement.")
    best: tuple[float, int, Clip] | None = None
    # One clip is made by all together.
    mine = range(count) if count == 1 else range(team.rank, count, team.size)
    for index in mine:

        def tell(progress: Progress, number: int = index + 1) -> None:
            stage = progress.stage if count == 1 else f"{progress.stage} ({number} of {count})"
            on_progress(Progress(stage, progress.step, progress.total))

        clip = pipeline(
            request.model_copy(update={"seed": request.seed + index}),
            inputs=inputs,
            on_progress=tell,
            should_cancel=should_cancel,
        )
        value = None if score is None or count == 1 else score(clip)
        rank = float("-inf") if value is None else value
        if best is None or rank > best[0]:
            best = rank, index, clip
    if count == 1:
        assert best is not None
        return best[2]
    ranks = [found or NOTHING for found in team.all_of(None if best is None else best[:2])]
    winner = max(range(team.size), key=lambda number: (ranks[number][0], -ranks[number][1]))
    made = team.told_by(winner, None if best is None else best[2])
    assert made is not None
    return made
