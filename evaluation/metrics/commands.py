"""The command `python -m evaluation calibrate`; heavy imports wait until it runs."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ltx2.errors import RequestError

if TYPE_CHECKING:
    from evaluation.metrics.calibrate import Calibration, PlantedRow

USUAL_SHIFTS = "-400,-200,-80,0,80,200,400"
CALIBRATED = ("lip-sync",)


def calibrate(
    metric: Annotated[str, typer.Argument(help="What to calibrate: lip-sync.")],
    folder: Annotated[Path, typer.Argument(help="Clips that are known to be in step.")],
    shifts: Annotated[
        str, typer.Option(help="Milliseconds by which the sound is made early; late where < 0.")
    ] = USUAL_SHIFTS,
    estimator: Annotated[str, typer.Option(help="landmarks, syncnet or closure.")] = "landmarks",
    cartoon: Annotated[
        bool, typer.Option("--cartoon", help="Puppets, however little they look like it.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, last line.")] = False,
) -> None:
    """Shift the sound of good clips and compare what is planted with what is measured.

    Positive means that the sound is early. The sound of every other clip of the folder is tried
    too: what is measurable then is a false accept.
    """
    from evaluation.metrics.calibrate import calibrate as run
    from evaluation.metrics.lip_sync.estimators import ESTIMATORS

    if metric not in CALIBRATED:
        raise RequestError(
            f"{metric!r} cannot be calibrated.", next_step=f"Name {', '.join(CALIBRATED)}."
        )
    if estimator not in ESTIMATORS:
        raise RequestError(
            f"There is no estimator {estimator!r}.", next_step=f"Name {', '.join(ESTIMATORS)}."
        )
    result = run(folder, ESTIMATORS[estimator], _milliseconds(shifts), is_cartoon=cartoon)
    if as_json:
        typer.echo(json.dumps(asdict(result)))
        return
    for row in result.rows:
        typer.echo(_line(row))
    typer.echo("\n".join(_summary(result)))


def _milliseconds(listed: str) -> list[float]:
    try:
        return [float(number) for number in listed.split(",") if number.strip()]
    except ValueError as error:
        raise RequestError(
            f"--shifts {listed!r} is not a list of numbers.", next_step=f"Write {USUAL_SHIFTS}."
        ) from error


def _line(row: "PlantedRow") -> str:
    planted = "another's" if row.planted_ms is None else f"{row.planted_ms:+.0f} ms"
    read = row.reason if row.measured_ms is None else f"{row.measured_ms:+.0f} ms"
    sure = "" if row.confidence is None else f"  confidence {row.confidence:.2f}"
    sound = "" if row.sound == row.clip else f"  sound of {row.sound}"
    return f"{row.clip:<24} {planted:>10} -> {read}{sure}{sound}"


def _summary(result: "Calibration") -> list[str]:
    error, measurable = result.mean_abs_error_ms, result.measurable_share
    lines = [
        f"mean absolute error   {'nothing was measurable' if error is None else f'{error:.0f} ms'}",
        f"measurable            {0.0 if measurable is None else measurable:.0%}",
    ]
    if result.false_accept_share is not None:
        lines.append(f"accepted with another's sound  {result.false_accept_share:.0%}")
    return lines
