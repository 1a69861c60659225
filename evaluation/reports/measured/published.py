"""What others published, each source by itself."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from evaluation.reports.parts import Cell, Notes, Section, Table
from evaluation.suites.yaml_lines import read_yaml

FILE = Path(__file__).parents[1] / "data" / "published.yaml"
READ = {"primary": "read in the source", "secondary": "read in a text that quotes it"}


def published() -> Section:
    """One table a source, in the order of the file; nothing is ranked across tables."""
    data = _data()
    return Section(
        "Published by others",
        [
            Notes(
                [
                    "Prompts, clips, recognisers and versions differ between sources: no row may "
                    "be compared with a row of another table, nor with the runs above.",
                    "The same LTX-2 has a SyncNet confidence of 6.109, 4.671 and 6.89 in three of "
                    "them.",
                    f"Compiled {data['compiled']} from the sources named; nothing of it was "
                    "measured here. A dash was not published.",
                ]
            ),
            *map(_table, data["sources"]),
        ],
    )


def _table(source: Mapping[str, Any]) -> Table:
    origin = (
        f"{source['title']} ({source['where']}, {source['date']}; prompts: {source['prompts']}; "
        f"{READ[source['read']]})"
    )
    heads = ["Model", *(_head(column) for column in source["columns"])]
    rows = []
    for line in source["rows"].strip().splitlines():
        name, *cells = (cell.strip() for cell in line.split("|"))
        hints = [f"{head}: {origin}" for head in heads[1:]]
        rows.append([name, *(Cell(c, hint=h) for c, h in zip(cells, hints, strict=True))])
    note = f" {source['note']}" if source["note"] else ""
    return Table(f"{origin}.{note}", heads, rows, tuple(range(1, len(heads))))


def _head(column: Mapping[str, str]) -> str:
    return f"{column['name']} {'↓' if column['better'] == 'lower' else '↑'}"


@cache
def _data() -> Mapping[str, Any]:
    data: Mapping[str, Any] = read_yaml(FILE)[0]
    return data
