"""The commands `python -m evaluation rank` and `plan`; heavy imports wait until they run."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ltx2.errors import RequestError

if TYPE_CHECKING:
    from evaluation.preference.ranking import Leaderboard, Ranking

USUAL_COLUMNS = "rater,prompt,left,right,answer"


def rank(
    votes: Annotated[Path, typer.Argument(help="CSV, TSV, JSON lines or Parquet, a vote a row.")],
    columns: Annotated[
        str, typer.Option(help="Your names of these columns, in this order.")
    ] = USUAL_COLUMNS,
    axis: Annotated[
        str | None, typer.Option(help="Column that says which question was answered.")
    ] = None,
    covariates: Annotated[
        str, typer.Option(help="Columns of numbers, left minus right, to correct for.")
    ] = "",
    slices: Annotated[str, typer.Option(help="Columns to rank by value of, as language.")] = "",
    propensity: Annotated[
        str | None,
        typer.Option(help="Column of the probability with which the pair was chosen, if it was."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
) -> None:
    """Rank models by anybody's votes, with intervals that know of raters and prompts.

    Answers are left, tie, right, or A, B, both bad (fitted as a tie, counted apart), or numbers
    from left to right: 1 to 5, or -2 to 2.
    """
    from evaluation.preference.ranking import Options, rank_votes
    from evaluation.preference.votes import ROLES, read_votes

    names = _listed(columns)
    if len(names) != len(ROLES):
        raise RequestError(
            f"--columns names {len(names)} columns.", next_step=f"Name 5, as {USUAL_COLUMNS}."
        )
    table = read_votes(
        votes,
        dict(zip(ROLES, names, strict=True)),
        axis=axis,
        covariates=_listed(covariates),
        slices=_listed(slices),
        propensity=propensity,
    )
    board = rank_votes(table, options=Options(seed=seed))
    typer.echo(json.dumps(board.as_json(), indent=2) if as_json else "\n".join(lines_of(board)))


def plan(
    win_rate: Annotated[float, typer.Option(help="Among votes that are no ties.")],
    ties: Annotated[float, typer.Option(help="Share of ties.")] = 0.0,
    design_effect: Annotated[
        float, typer.Option(help="2.5 where raters vote often; 1 for independent votes.")
    ] = 1.0,
    power: Annotated[float, typer.Option(help="Chance to show the difference.")] = 0.8,
    votes: Annotated[
        int | None, typer.Option(help="Tell as well what this many votes a pair would show.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Tell how many votes a pair of models needs to show a win rate (5 % level, two-sided)."""
    from evaluation.preference.planning import Circumstances, detectable_win_rate, votes_needed

    circumstances = Circumstances(ties, design_effect, power)
    needed = votes_needed(win_rate, circumstances)
    shown = None if votes is None else detectable_win_rate(votes, circumstances)
    if as_json:
        typer.echo(json.dumps({"votes_per_pair": needed, "detectable_win_rate": shown}))
        return
    typer.echo(f"{needed} votes per pair of models")
    if shown is not None:
        typer.echo(f"{votes} votes per pair show a win rate of {shown:.3f}")


def _listed(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def lines_of(board: "Leaderboard") -> list[str]:
    """The leaderboard for people."""
    from evaluation.preference.ranking import NotRanked

    lines = ranking_lines(f"All raters{f', {board.axis}' if board.axis else ''}", board.overall)
    if board.exclusions:
        lines += ["", f"{len(board.exclusions)} rater(s) fail screening:"]
        lines += [f"  {out.rater}: {'; '.join(out.reasons)}" for out in board.exclusions]
        if isinstance(board.screened, NotRanked):
            lines += ["", f"Without them: {board.screened.reason}"]
        else:
            lines += ["", *ranking_lines("Without them", board.screened)]
    parts = [
        *((f"Axis {name}", found) for name, found in board.axes.items() if name != board.axis),
        *((f"{c} = {n}", found) for c, by in board.slices.items() for n, found in by.items()),
    ]
    for title, found in parts:
        if isinstance(found, NotRanked):
            lines += ["", f"{title}: {found.reason}"]
        else:
            lines += ["", *ranking_lines(title, found)]
    return lines


def ranking_lines(title: str, found: "Ranking") -> list[str]:
    """One ranking for people."""
    width = max(len("model"), *(len(row.name) for row in found.models))
    lines = [
        f"{title}: {found.votes} votes of {found.raters} raters on {found.prompts} prompts",
        f"{'rank':>7}  {'model':<{width}}  {'votes':>7}  {'Elo':>5}  {'95 % interval':>15}"
        f"  {'if independent':>15}",
    ]
    for row in found.models:
        ranks = f"{row.best_rank}-{row.worst_rank}"
        if row.best_rank == row.worst_rank:
            ranks = str(row.best_rank)
        wide = f"{row.elo.low:.0f} to {row.elo.high:.0f}"
        narrow = f"{row.naive_elo.low:.0f} to {row.naive_elo.high:.0f}"
        lines.append(
            f"{ranks:>7}  {row.name:<{width}}  {row.votes:>7}  {row.elo.value:>5.0f}  {wide:>15}"
            f"  {narrow:>15}"
        )
    side, agreed = found.side, found.agreement
    lines.append(
        f"Side effect {side.value:+.3f} ({side.low:+.3f} to {side.high:+.3f}); ties "
        f"{found.tie_rate:.1%}, both bad {found.both_bad_rate:.1%}; design effect "
        f"{found.design_effect:.2f}; this many votes show a win rate of {found.detectable:.2f}"
    )
    lines += [
        f"Style {name}: {effect.value:+.3f} per standard deviation "
        f"({effect.low:+.3f} to {effect.high:+.3f})"
        for name, effect in found.style.items()
    ]
    if agreed.alpha is not None and agreed.percent is not None:
        lines.append(
            f"Raters agree in {agreed.percent:.0%}; Krippendorff's alpha {agreed.alpha.value:.2f} "
            f"({agreed.alpha.low:.2f} to {agreed.alpha.high:.2f}) over {agreed.units} pairs"
        )
    return [*lines, *found.notes]
