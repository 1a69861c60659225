"""Best of several: clips of different seeds, of which a measurement keeps one."""

from collections.abc import Callable

from ltx2.clip import Clip
from ltx2.errors import RequestError
from ltx2.inputs import Inputs
from ltx2.pipeline import Pipeline
from ltx2.progress import OnProgress, Progress, ShouldCancel, ignore_progress, never_cancel
from ltx2.request import Request

MAX_CLIPS = 64

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
) -> Clip:
    """The best of `count` clips, whose seeds follow that of the request.

    The first one wins among equals, and where none can be measured.

    Args:
        pipeline: makes them.
        request: what to make.
        count: of clips; with one there is nothing to measure.
        score: how good one is; needed for more than one.
        inputs, on_progress, should_cancel: as of a pipeline.

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
    best: tuple[float, Clip] | None = None
    for index in range(count):

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
            best = rank, clip
    assert best is not None
    return best[1]
