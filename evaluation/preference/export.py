"""Votes as tables, as rankings read them, and what screening and the blinding index need."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluation.preference.store import Entry, Store, pair_name, verified
from evaluation.preference.study import OVERALL, SIGNS, Study
from ltx2.errors import RequestError, ResourceError
from ltx2.files import replaced
from ltx2.spreadsheet import as_cell

if TYPE_CHECKING:
    from evaluation.preference.blinding import Guess
    from evaluation.preference.screening import RaterEvidence


def last_votes(store: Store, study_id: str) -> list[Entry]:
    """The vote that counts of each pair: the changed one, where it was changed."""
    return _last(store.entries(study_id))


def rows(store: Store, study_id: str, *, every_kind: bool = False) -> list[dict[str, Any]]:
    """One row per vote and axis.

    Columns: rater, prompt, left, right, answer (left, tie, right, both_bad; on five points also
    left_much and right_much: numbers would not tell which scale they are on while all of them are
    low), axis, language, suite, and what is known about the vote; `d_` columns are covariates,
    left minus right.

    Args:
        every_kind: also training, attention and repeat pairs, which rankings leave out.
    """
    stimuli = store.all_stimuli(study_id)

    def differences(vote: Mapping[str, Any]) -> dict[str, float]:
        name = pair_name(vote["prompt"], vote["left"], vote["right"], vote["late_side"])
        return _differences(stimuli[name].covariates, vote["left"] <= vote["right"])

    votes = last_votes(store, study_id)
    return _rows(store.study(study_id).plan, votes, differences, every_kind=every_kind)


def rows_of_log(path: Path, *, every_kind: bool = False) -> list[dict[str, Any]]:
    """The same, without covariates, of a copy of the log: where the server that wrote it is gone.

    Raises:
        RequestError: the file cannot be read, or is no log.
        LogBrokenError: it was changed, or lines are missing before its end.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        entries = [Entry(**json.loads(line)) for line in lines]
        plan = Study.model_validate(entries[0].content["plan"])
    except (OSError, ValueError, TypeError, KeyError, IndexError) as error:
        raise RequestError(
            f"{path} is no log of a study.",
            next_step="Give a file STUDY.jsonl of the dataset that votes are committed to.",
        ) from error
    verified(entries)
    return _rows(plan, _last(entries), lambda vote: {}, every_kind=every_kind)


def _last(entries: Iterable[Entry]) -> list[Entry]:
    last = {}
    for entry in entries:
        if entry.kind == "vote" and entry.trial is not None:
            last[entry.trial] = entry
    return list(last.values())


def _rows(
    plan: Study,
    votes: Iterable[Entry],
    differences: Callable[[Mapping[str, Any]], dict[str, float]],
    *,
    every_kind: bool,
) -> list[dict[str, Any]]:
    return [
        _row(plan, entry, axis, answer, differences(entry.content))
        for entry in votes
        if every_kind or entry.content["kind"] == "test"
        for axis, answer in entry.content["answers"].items()
    ]


def write_rows(table: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """The CSV, JSON lines or Parquet file just written, told apart by the ending.

    Raises:
        RequestError: the ending is none of those, or there are no votes.
        ResourceError: it cannot be written.
    """
    if not table:
        raise RequestError("There are no votes yet.", next_step="Collect votes first.")
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".jsonl", ".parquet"):
        raise RequestError(
            f"{path.name} has an ending that is not known.",
            next_step="Name a .csv, .jsonl or .parquet file.",
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced(path) as part:
            if suffix == ".parquet":
                import pandas as pd

                pd.DataFrame(table).to_parquet(part, index=False)
            else:
                part.write_text(as_text(table, suffix[1:]), encoding="utf-8")
    except OSError as error:
        raise ResourceError(
            f"{path} cannot be written: {error.strerror}.",
            next_step="Free disk space, or choose another folder.",
        ) from error
    return path


def as_text(table: Sequence[Mapping[str, Any]], form: str) -> str:
    """The rows as "csv" or "jsonl"."""
    if form == "jsonl":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in table)
    file = io.StringIO()
    if table:
        writer = csv.DictWriter(file, list(table[0]), lineterminator="\n")
        writer.writeheader()
        for row in table:
            writer.writerow(
                {name: as_cell(v) if isinstance(v, str) else v for name, v in row.items()}
            )
    return file.getvalue()


def log_lines(store: Store, study_id: str) -> str:
    """The whole log as JSON lines, hashes included, so that anybody can check the chain."""
    return "".join(
        json.dumps(asdict(entry), ensure_ascii=False) + "\n" for entry in store.entries(study_id)
    )


def evidence(store: Store, study_id: str) -> "list[RaterEvidence]":
    """What the sessions saw of each rater, for screening."""
    by_rater: dict[str, list[Entry]] = {}
    for entry in last_votes(store, study_id):
        by_rater.setdefault(entry.content["rater"], []).append(entry)
    return [_evidence_of(rater, votes) for rater, votes in sorted(by_rater.items())]


def guesses(store: Store, study_id: str) -> "list[Guess]":
    """Answers to "who made this clip?", for the blinding index."""
    from evaluation.preference.blinding import Guess

    return [
        Guess(guess["model"], guess["guessed"])
        for entry in store.entries(study_id)
        if entry.kind == "guessed"
        for guess in entry.content["guesses"]
    ]


def _row(
    plan: Study, entry: Entry, axis: str, answer: str, differences: Mapping[str, float]
) -> dict[str, Any]:
    vote = entry.content
    prompt = plan.prompt_of(vote["prompt"])
    played = vote["played"]
    return {
        "rater": vote["rater"],
        "prompt": vote["prompt"],
        "left": vote["left"],
        "right": vote["right"],
        "answer": answer,
        "axis": axis,
        "kind": vote["kind"],
        "language": prompt.language,
        "suite": prompt.suite,
        "position": vote["position"],
        "propensity": vote.get("propensity"),
        "unblinded": "yes" if _recognisable(plan) & {vote["left"], vote["right"]} else "no",
        "revision": entry.revision,
        "reasons": " ".join(vote["reasons"]),
        "trial_s": vote["trial_s"],
        "duration_s": vote["duration_s"],
        **{
            f"{side}_{what}": played.get(side, {}).get(what, 0)
            for side in ("left", "right")
            for what in ("played_s", "starts")
        },
        "at": entry.at,
        "entry": entry.number,
        "hash": entry.hash,
        **differences,
    }


def _recognisable(plan: Study) -> set[str]:
    return {model.name for model in plan.models if model.recognisable}


def _differences(
    covariates: tuple[Mapping[str, float], Mapping[str, float]], left_is_first: bool
) -> dict[str, float]:
    left, right = covariates if left_is_first else covariates[::-1]
    return {f"d_{name}": left[name] - right[name] for name in sorted(left)}


def _evidence_of(rater: str, votes: Sequence[Entry]) -> "RaterEvidence":
    # The statistics behind it take as long to import as the rest of a server that only exports.
    from evaluation.preference.screening import RaterEvidence

    contents = [vote.content for vote in votes]
    attention = [vote for vote in contents if vote["kind"].startswith("attention")]
    tests = {vote["position"]: vote for vote in contents if vote["kind"] == "test"}
    repeats = [vote for vote in contents if vote["kind"] == "repeat" and vote["repeats"] in tests]
    # The sides were swapped, so the same judgement has the other sign.
    same = sum(_sign(vote) == -_sign(tests[vote["repeats"]]) for vote in repeats)
    timed = list(tests.values())
    return RaterEvidence(
        rater=rater,
        attention_passed=sum(map(_passed, attention)),
        attention_shown=len(attention),
        repeats_same=same,
        repeats_shown=len(repeats),
        median_trial_s=_median([vote["trial_s"] for vote in timed]),
        median_clip_s=_median([vote["duration_s"] for vote in timed]),
    )


def _sign(vote: Mapping[str, Any], axis: str = OVERALL) -> int:
    return SIGNS[vote["answers"][axis]]


def _passed(vote: Mapping[str, Any]) -> bool:
    """The same clip twice is a tie; the side whose sound is late loses, overall or in sync."""
    if vote["kind"] == "attention_same":
        return _sign(vote) == 0
    right = -1 if vote["late_side"] == "left" else 1
    asked = [axis for axis in (OVERALL, "sync") if axis in vote["answers"]]
    return any(_sign(vote, axis) == right for axis in asked)


def _median(values: list[float]) -> float | None:
    ordered = sorted(values)
    return ordered[len(ordered) // 2] if ordered else None
