"""Anybody's file of votes: which of its columns are what, and its ranking."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ltx2.errors import RequestError

NAMES = {
    "rater": ("rater", "worker", "user", "judge", "annotator", "participant", "voter"),
    "prompt": ("prompt", "item", "question", "instruction", "unit", "task"),
    "left": ("left", "model_a", "first", "model1", "system_a", "a"),
    "right": ("right", "model_b", "second", "model2", "system_b", "b"),
    "answer": ("answer", "winner", "vote", "preference", "choice", "label", "result"),
    "axis": ("axis", "dimension", "criterion", "aspect"),
}
"""What columns are often called, best first; also found inside longer names such as rater_id."""

SLICES = ("language", "suite", "category", "length")

SUFFIXES = [".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"]


@dataclass(frozen=True)
class Columns:
    """Which column plays which role; empty where none does."""

    names: tuple[str, ...]
    rater: str = ""
    prompt: str = ""
    left: str = ""
    right: str = ""
    answer: str = ""
    axis: str = ""
    slices: tuple[str, ...] = ()


def read_columns(path: Path) -> Columns:
    """The columns of a file, and a guess what they are.

    Raises:
        RequestError: it cannot be read.
    """
    try:
        names = _names(path)
    except (OSError, ValueError, ImportError) as error:
        raise RequestError(
            f"{path.name} cannot be read as votes.",
            next_step="Give a .csv, .tsv, .jsonl or .parquet file with a vote a row.",
        ) from error
    guessed: dict[str, str] = {}
    for role, wanted in NAMES.items():
        guessed[role] = _best(names, wanted, set(guessed.values()))
    return Columns(names, **guessed, slices=tuple(n for n in names if n.lower() in SLICES))


def _names(path: Path) -> tuple[str, ...]:
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        import pandas as pd

        return tuple(map(str, pd.read_parquet(path).columns))
    with path.open(encoding="utf-8-sig") as file:
        line = file.readline()
    if suffix in (".jsonl", ".ndjson"):
        row = json.loads(line)
        if not isinstance(row, dict):
            raise ValueError("no object")
        return tuple(row)
    import csv

    return tuple(next(csv.reader([line], delimiter="\t" if suffix == ".tsv" else ","), []))


def _best(names: Sequence[str], wanted: Sequence[str], taken: set[str]) -> str:
    free = [name for name in names if name not in taken]
    for word in wanted:
        for name in free:
            if name.lower() == word:
                return name
    for word in wanted:
        for name in free:
            if len(word) > 1 and word in name.lower():
                return name
    return ""
