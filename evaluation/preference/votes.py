"""The table that every statistic of votes reads: who preferred which side of which pair."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ltx2.errors import RequestError

ROLES = ("rater", "prompt", "left", "right", "answer")
"""Columns that a votes file must have, in the order in which they are named."""

WORDS = {
    **dict.fromkeys(("left_much", "left much", "a much better"), 2),
    **dict.fromkeys(("left", "a", "model_a"), 1),
    **dict.fromkeys(("right", "b", "model_b"), -1),
    **dict.fromkeys(("right_much", "right much", "b much better"), -2),
    **dict.fromkeys(("tie", "same", "both bad", "both_bad", "tie (bothbad)"), 0),
}
"""Answers in words, any case; positive prefers the left."""

BOTH_BAD = ("both bad", "both_bad", "tie (bothbad)")
ANSWERS_HELP = (
    "Write left, tie, right (or left_much, right_much, A, B, both bad), or a number from left to "
    "right: 1 to 5 or -2 to 2."
)


@dataclass(frozen=True)
class Factor:
    """A column of names, stored as numbers.

    Attributes:
        codes: [N] int, index into `names`.
        names: sorted, each once.
    """

    codes: np.ndarray
    names: tuple[str, ...]

    @classmethod
    def of(cls, values: Any) -> "Factor":
        """Names sorted, so that the order of rows changes nothing."""
        codes, names = pd.factorize(pd.Series(values).astype(str), sort=True)
        return cls(codes.astype(np.int64), tuple(str(name) for name in names))

    def __len__(self) -> int:
        return len(self.names)

    def where(self, kept: np.ndarray) -> "Factor":
        """Rows that are kept; names nobody uses any more are dropped."""
        used, codes = np.unique(self.codes[kept], return_inverse=True)
        return Factor(codes.astype(np.int64), tuple(self.names[i] for i in used))


@dataclass(frozen=True)
class VoteTable:
    """Votes, one a row.

    Attributes:
        rater, prompt: who voted, and on which prompt.
        models: names, sorted.
        left, right: [N] int, index into `models`, never the same in one row.
        preference: [N] int, 2 (left much better) to -2 (right much better), 0 is a tie; only
            -1, 0, 1 where the scale had three answers.
        both_bad: [N] bool, a tie said as "both bad": counted apart, fitted as a tie.
        axis: which question was answered; None where there was only one.
        covariates: name to [N] float, how much more of it the left clip has than the right.
        slices: name to the column that cuts the votes into groups (language, suite).
        propensity: [N], probability with which the pair was chosen; None where it was not chosen
            by what votes had left open.
    """

    rater: Factor
    prompt: Factor
    models: tuple[str, ...]
    left: np.ndarray
    right: np.ndarray
    preference: np.ndarray
    both_bad: np.ndarray
    axis: Factor | None = None
    covariates: Mapping[str, np.ndarray] = field(default_factory=dict)
    slices: Mapping[str, Factor] = field(default_factory=dict)
    propensity: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.left)

    @property
    def outcome(self) -> np.ndarray:
        """[N] int: 1 left preferred, 0 tie, -1 right preferred."""
        return np.sign(self.preference)

    def where(self, kept: np.ndarray) -> "VoteTable":
        """Rows that are kept ([N] bool); raters, prompts and models without votes are dropped."""
        both = np.concatenate([self.left[kept], self.right[kept]])
        used, codes = np.unique(both, return_inverse=True)
        half = len(both) // 2
        return replace(
            self,
            rater=self.rater.where(kept),
            prompt=self.prompt.where(kept),
            models=tuple(self.models[i] for i in used),
            left=codes[:half],
            right=codes[half:],
            preference=self.preference[kept],
            both_bad=self.both_bad[kept],
            axis=None if self.axis is None else self.axis.where(kept),
            covariates={name: values[kept] for name, values in self.covariates.items()},
            slices={name: factor.where(kept) for name, factor in self.slices.items()},
            propensity=None if self.propensity is None else self.propensity[kept],
        )

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        columns: Mapping[str, str] | None = None,
        *,
        axis: str | None = None,
        covariates: Sequence[str] = (),
        slices: Sequence[str] = (),
        propensity: str | None = None,
    ) -> "VoteTable":
        """Votes of a data frame.

        Args:
            frame: one vote a row.
            columns: role (see `ROLES`) to the column's name; roles left out have their own name.
            axis: column that says which question was answered.
            covariates: columns of numbers, left minus right.
            slices: columns to cut the votes by.
            propensity: column of the probability with which the pair was chosen.

        Raises:
            RequestError: a column is missing, or a row has no name, an unknown answer, twice the
                same model, or something that is no number.
        """
        named = {role: (columns or {}).get(role, role) for role in ROLES}
        others = [name for name in (axis, propensity) if name]
        _require_columns(frame, [*named.values(), *others, *covariates, *slices])
        if not len(frame):
            raise RequestError("The file holds no votes.", next_step="Collect votes first.")
        texts = {role: _names(frame, name) for role, name in named.items() if role != "answer"}
        both = Factor.of(np.concatenate([texts["left"], texts["right"]]))
        left, right = both.codes[: len(frame)], both.codes[len(frame) :]
        same = np.flatnonzero(left == right)
        if len(same):
            raise RequestError(
                f"Row {same[0] + 1}: {named['left']} and {named['right']} are both "
                f"{both.names[left[same[0]]]!r}.",
                next_step="Leave pairs of a model with itself (attention trials) out of the file.",
            )
        preference, both_bad = read_answers(frame[named["answer"]], named["answer"])
        return cls(
            rater=Factor.of(texts["rater"]),
            prompt=Factor.of(texts["prompt"]),
            models=both.names,
            left=left,
            right=right,
            preference=preference,
            both_bad=both_bad,
            axis=Factor.of(_names(frame, axis)) if axis else None,
            covariates={name: _numbers(frame, name) for name in covariates},
            slices={name: Factor.of(_names(frame, name)) for name in slices},
            propensity=_chances(frame, propensity) if propensity else None,
        )


def read_votes(
    path: Path,
    columns: Mapping[str, str] | None = None,
    *,
    axis: str | None = None,
    covariates: Sequence[str] = (),
    slices: Sequence[str] = (),
    propensity: str | None = None,
) -> VoteTable:
    """Votes of a CSV, TSV, JSON lines or Parquet file, told apart by the ending.

    Args:
        columns, axis, covariates, slices, propensity: as in `VoteTable.from_frame`.

    Raises:
        RequestError: the file cannot be read, or as in `VoteTable.from_frame`.
    """
    named = [(columns or {}).get(role, role) for role in ROLES]
    others = [name for name in (axis, propensity) if name]
    frame = _read_frame(path, {*named, *others, *covariates, *slices})
    return VoteTable.from_frame(
        frame, columns, axis=axis, covariates=covariates, slices=slices, propensity=propensity
    )


def read_answers(values: pd.Series, column: str = "answer") -> tuple[np.ndarray, np.ndarray]:
    """Preferences [N] (2 is left much better, -2 right much better) and "both bad" [N] of answers.

    Numbers run from left to right: 1 to 5 with 3 for a tie, or -2 to 2 with 0 for a tie. Which of
    the two is meant shows in the numbers of the whole column; where it does not, it is an error.

    Raises:
        RequestError: an answer is unknown, or the numbers fit both scales or neither.
    """
    codes, seen = pd.factorize(values)
    if (codes < 0).any():
        _refuse_answer(int(np.flatnonzero(codes < 0)[0]), "", column)
    words = [str(value).strip().lower() for value in seen]
    numbers = {word: _whole_number(word) for word in words if word not in WORDS}
    for place, word in enumerate(words):
        if word not in WORDS and (numbers[word] is None or abs(numbers[word] or 0) > 5):
            _refuse_answer(int(np.flatnonzero(codes == place)[0]), str(seen[place]), column)
    middle = _middle({n for n in numbers.values() if n is not None}, column)
    meaning = [WORDS[w] if w in WORDS else middle - (numbers[w] or 0) for w in words]
    bad = np.array([word in BOTH_BAD for word in words])
    return np.array(meaning, dtype=np.int64)[codes], bad[codes]


def _middle(numbers: set[int], column: str) -> int:
    """The number that means a tie."""
    if not numbers:
        return 0
    if min(numbers) >= 1 and max(numbers) >= 3:
        return 3
    if -2 <= min(numbers) < 0 and max(numbers) <= 2:
        return 0
    listed = ", ".join(str(number) for number in sorted(numbers))
    raise RequestError(
        f"The numbers of column {column!r} ({listed}) do not tell whether the scale is 1 to 5 or "
        "-2 to 2.",
        next_step="Write left, tie and right instead.",
    )


def _whole_number(word: str) -> int | None:
    try:
        number = float(word)
    except ValueError:
        return None
    return int(number) if number.is_integer() else None


def _refuse_answer(row: int, value: str, column: str) -> None:
    said = f"{value!r} is no answer" if value.strip() else "the answer is missing"
    raise RequestError(f"Row {row + 1}, column {column!r}: {said}.", next_step=ANSWERS_HELP)


def _require_columns(frame: pd.DataFrame, names: Sequence[str]) -> None:
    missing = [name for name in dict.fromkeys(names) if name not in frame.columns]
    if missing:
        raise RequestError(
            f"The votes have no column {', '.join(map(repr, missing))}; they have "
            f"{', '.join(map(repr, frame.columns)) or 'none'}.",
            next_step="Name the columns with --columns rater,prompt,left,right,answer (your names, "
            "this order). Without knowing who voted no honest interval can be given; where every "
            "vote is another person's, add a column that numbers the rows.",
        )


def _names(frame: pd.DataFrame, column: str) -> np.ndarray:
    """[N] of texts, none of them empty."""
    values = frame[column]
    texts = values.astype(str).str.strip()
    empty = np.flatnonzero((values.isna() | (texts == "")).to_numpy())
    if len(empty):
        raise RequestError(
            f"Row {empty[0] + 1}, column {column!r}: there is nothing.",
            next_step="Fill it in, or leave the row out.",
        )
    return texts.to_numpy(dtype=object)


def _numbers(frame: pd.DataFrame, column: str) -> np.ndarray:
    """[N] of finite numbers."""
    values = pd.to_numeric(frame[column], errors="coerce").to_numpy(dtype=float)
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        raise RequestError(
            f"Row {wrong[0] + 1}, column {column!r}: {frame[column].iloc[wrong[0]]!r} "
            "is no number.",
            next_step="Give left minus right as a number, or leave the row out.",
        )
    return values


def _chances(frame: pd.DataFrame, column: str) -> np.ndarray:
    """[N] of probabilities above 0."""
    values = _numbers(frame, column)
    wrong = np.flatnonzero((values <= 0) | (values > 1))
    if len(wrong):
        raise RequestError(
            f"Row {wrong[0] + 1}, column {column!r}: {values[wrong[0]]:g} is no probability.",
            next_step="Give the probability with which the pair was chosen, above 0 and up to 1.",
        )
    return values


def _read_frame(path: Path, wanted: set[str]) -> pd.DataFrame:
    suffix = path.suffix.lower()
    try:
        if suffix in (".csv", ".tsv"):
            separator = "\t" if suffix == ".tsv" else ","
            there = pd.read_csv(path, sep=separator, nrows=0, encoding="utf-8-sig").columns
            return pd.read_csv(
                path,
                sep=separator,
                dtype=str,
                keep_default_na=False,
                # Where one is missing, the others are named.
                usecols=sorted(wanted) if wanted <= set(there) else None,
                encoding="utf-8-sig",
            )
        if suffix in (".jsonl", ".ndjson"):
            return pd.read_json(path, lines=True, dtype=False)
        if suffix == ".parquet":
            return pd.read_parquet(path)
    except OSError as error:
        raise RequestError(
            f"{path} cannot be read: {error.strerror or error}.", next_step="Check the path."
        ) from error
    except (ValueError, pd.errors.ParserError) as error:
        raise RequestError(
            f"{path} is not a {suffix[1:]} file: {error}.", next_step="Export the votes again."
        ) from error
    raise RequestError(
        f"{path.name} has an ending that is not known.",
        next_step="Give a .csv, .tsv, .jsonl or .parquet file.",
    )
