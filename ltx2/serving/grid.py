"""Grids: every combination of prompts, seeds and settings, as one group of jobs.

A grid is written as lines of settings, in a form, as JSON lines or as a table (CSV):

    {"prompt": "A red ball.", "seed": [1, 2, 3], "steps": [4, 8]}

    prompt,seed,steps
    A red ball.,1|2|3,4|8

Each line stands for all combinations of its values, six clips here.
"""

import csv
import io
import itertools
import json
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from ltx2.errors import LTX2Error, RequestError
from ltx2.request import MAX_PROMPT_CHARACTERS, Guidance, Request
from ltx2.serving.jobs import Cancelled, Choice, ChosenLora, Done, End, Failed, Queued, Running
from ltx2.serving.models import Models
from ltx2.serving.store import Grouped, Member
from ltx2.serving.worker import JobQueue
from ltx2.spreadsheet import as_cell

MAX_CELLS = 256
"""Clips of one grid; a table of more is no longer looked at."""

MAX_LINES = 256

MAX_TEXT_BYTES = 2**20
"""Size of a file of lines."""

SEPARATOR = "|"
"""Between the values of one cell of a CSV table; not in prompts, which may hold it."""


def _several(value: Any) -> Any:
    """One value as a list of one; nothing as an empty one."""
    if value is None or value == "":
        return ()
    return tuple(value) if isinstance(value, list | tuple) else (value,)


Several = BeforeValidator(_several)
_Text = Annotated[str, Field(min_length=1, max_length=MAX_PROMPT_CHARACTERS)]
_Name = Annotated[str, Field(min_length=1, max_length=200)]
_Scale = Annotated[float, Field(ge=1.0, le=30.0)]
_Strength = Annotated[float, Field(ge=-4.0, le=4.0)]


class Line(BaseModel):
    """Settings of which every combination is a clip; what is left out is the model's usual.

    Attributes:
        guidance: scale toward the prompt of the picture; `sound_guidance` of the sound.
        lora: names, as the model offers them; "none" for the model as it is.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    prompt: Annotated[tuple[_Text, ...], Several] = Field(min_length=1)
    seed: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**63)], ...], Several] = (1,)
    negative_prompt: Annotated[tuple[_Text, ...], Several] = ()
    seconds: Annotated[tuple[Annotated[float, Field(gt=0.0, le=3_600.0)], ...], Several] = ()
    steps: Annotated[tuple[Annotated[int, Field(ge=1, le=200)], ...], Several] = ()
    guidance: Annotated[tuple[_Scale, ...], Several] = ()
    sound_guidance: Annotated[tuple[_Scale, ...], Several] = ()
    model: Annotated[tuple[_Name, ...], Several] = ()
    lora: Annotated[tuple[_Name, ...], Several] = ()
    lora_strength: Annotated[tuple[_Strength, ...], Several] = ()

    @property
    def num_cells(self) -> int:
        """Clips that it stands for."""
        return math.prod(max(1, len(values)) for _, values in self)

    def cells(self) -> Iterable[dict[str, Any]]:
        """Settings of each clip, by column; seeds change fastest, so that they stand together."""
        columns = sorted(type(self).model_fields, key=lambda name: name == "seed")
        for values in itertools.product(*(getattr(self, name) or (None,) for name in columns)):
            yield {n: v for n, v in zip(columns, values, strict=True) if v is not None}

    @classmethod
    def of(cls, number: int, values: Any) -> Self:
        """A line of a file.

        Args:
            number: of the line, for messages; counted from 1.
            values: by name.

        Raises:
            RequestError: a value cannot be used; says the line and the field.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            field = str(first["loc"][0])[:60] if first["loc"] else "the line"
            known = ", ".join(cls.model_fields)
            advice = f"The fields are {known}." if first["type"] == "extra_forbidden" else None
            raise _refused(number, f"{field}: {first['msg']}", advice) from error


COLUMNS = tuple(Line.model_fields)
"""Fields of a line, which are the columns of a table."""


def parse_lines(text: str, *, is_table: bool) -> tuple[Line, ...]:
    """Lines of a file.

    Args:
        text: of the file.
        is_table: CSV with a header, else JSON lines.

    Raises:
        RequestError: a line cannot be used, or there are none or too many.
    """
    if len(text.encode(errors="replace")) > MAX_TEXT_BYTES:
        raise RequestError(
            f"The file has more than {MAX_TEXT_BYTES // 2**20} MiB.", next_step="Split it."
        )
    rows = _table_rows(text) if is_table else _json_rows(text)
    lines: list[Line] = []
    for number, values in rows:
        if len(lines) == MAX_LINES:
            raise RequestError(f"The file has more than {MAX_LINES} lines.", next_step="Split it.")
        lines.append(Line.of(number, values))
    if not lines:
        raise RequestError("The file has no lines.", next_step=f"Write one: {_EXAMPLE}")
    return tuple(lines)


def read_lines(path: Path) -> tuple[Line, ...]:
    """Lines of a file: a table if it is called so, else JSON lines.

    Raises:
        RequestError: it cannot be read, or a line cannot be used.
    """
    try:
        if path.stat().st_size > MAX_TEXT_BYTES:
            raise RequestError(
                f"The file has more than {MAX_TEXT_BYTES // 2**20} MiB.", next_step="Split it."
            )
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(
            "The file is not text in UTF-8.",
            next_step="Save it as JSONL or CSV in UTF-8.",
        ) from error
    return parse_lines(text, is_table=path.suffix.lower() == ".csv")


_EXAMPLE = '{"prompt": "A red ball.", "seed": [1, 2]}'


def _json_rows(text: str) -> Iterable[tuple[int, Any]]:
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except (ValueError, RecursionError) as error:
            raise _refused(
                number, "this is not JSON", f"Write one object a line: {_EXAMPLE}"
            ) from error


def _table_rows(text: str) -> Iterable[tuple[int, Any]]:
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    try:
        for row in reader:
            if None in row or None in row.values():
                raise _refused(
                    reader.line_num,
                    "it has not as many cells as the header",
                    "Put texts with commas in quotes.",
                )
            yield (
                reader.line_num,
                {
                    name.strip(): cell
                    if name.strip().endswith("prompt")
                    else [part.strip() for part in cell.split(SEPARATOR) if part.strip()]
                    for name, cell in row.items()
                },
            )
    except csv.Error as error:
        raise _refused(reader.line_num, str(error), "Save the table as CSV again.") from error


def _refused(number: int, what: str, next_step: str | None = None) -> RequestError:
    return RequestError(f"Line {number}: {what}.", next_step=next_step or "Change it.")


def numbers(text: str, kind: Callable[[str], Any], name: str) -> list[Any]:
    """Numbers of a field of the form: "1, 4, 7", whole ones also as "1-4".

    Raises:
        RequestError: it holds something else.
    """
    found: list[Any] = []
    for part in text.replace(";", ",").split(","):
        part = part.strip()
        if not part:
            continue
        first, dash, last = part.partition("-")
        try:
            if dash and kind is int:
                low, high = int(first), int(last)
                if not low <= high < low + MAX_CELLS:
                    raise ValueError
                found += range(low, high + 1)
            else:
                found.append(kind(part))
        except ValueError as error:
            raise RequestError(
                f"{name}: {part[:60]!r} is no number.", next_step='Write them like "1, 4, 7".'
            ) from error
    return found


def expand(lines: Sequence[Line], models: Models) -> tuple[Member, ...]:
    """Every clip of a grid, with what tells it from the others; none twice.

    Raises:
        RequestError: there are too many, or the model cannot make one; says which line.
    """
    count = sum(line.num_cells for line in lines)
    if count > MAX_CELLS:
        raise RequestError(
            f"The grid has {count:,} clips.", next_step=f"Ask for at most {MAX_CELLS} at once."
        )
    members: dict[tuple[Request, Choice], Member] = {}
    for number, line in enumerate(lines, start=1):
        for cell in line.cells():
            try:
                member = _member(cell, models)
            except LTX2Error as error:
                raise _refused(number, error.message.rstrip("."), error.next_step) from error
            members.setdefault((member.request, member.choice), member)
    return tuple(members.values())


def _member(cell: dict[str, Any], models: Models) -> Member:
    loras: tuple[ChosenLora, ...] = ()
    if (lora := cell.get("lora", "none")) != "none":
        loras = (ChosenLora(lora, cell.get("lora_strength", 1.0)),)
    choice = models.named(Choice(cell.get("model"), loras))
    profile = models.offer(choice.model).profile
    request = Request(
        prompt=cell["prompt"],
        negative_prompt=cell.get("negative_prompt"),
        seed=cell["seed"],
        duration_s=cell.get("seconds"),
        num_steps=cell.get("steps"),
        video_guidance=_scaled(profile.video_guidance, cell.get("guidance")),
        audio_guidance=_scaled(profile.audio_guidance, cell.get("sound_guidance")),
    )
    request.resolve(profile)  # refused here, where the line is known
    labels = {name: _label(cell[name]) for name in COLUMNS if name in cell}
    return Member(request, choice, labels)


def _scaled(usual: Guidance, scale: float | None) -> Guidance | None:
    return None if scale is None else usual.model_copy(update={"cfg_scale": scale})


def _label(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def expected_s(members: Iterable[Member], queue: JobQueue) -> float | None:
    """Seconds that all clips take one after the other; None while nothing is known."""
    known: dict[tuple[Request, Choice], float | None] = {}
    total = 0.0
    for member in members:
        # Neither words nor seeds change how long a clip takes.
        alike = member.request.model_copy(update={"prompt": "?", "seed": 0}), member.choice
        if alike not in known:
            forecast = queue.preflight(*alike).forecast
            known[alike] = None if forecast is None else forecast.seconds
        seconds = known[alike]
        if seconds is None:
            return None
        total += seconds
    return total


def seconds_left(cells: Sequence[Grouped], queue: JobQueue) -> float | None:
    """Until the last clip of a grid is made; None while nothing is known, 0 once it is."""
    waiting = [
        Member(cell.job.request, cell.job.choice, cell.labels)
        for cell in cells
        if isinstance(cell.job.state, Queued)
    ]
    running = [cell.job.state for cell in cells if isinstance(cell.job.state, Running)]
    left = [state.seconds_left for state in running]
    later = expected_s(waiting, queue)
    if later is None or None in left:
        return None
    return later + sum(seconds or 0.0 for seconds in left)


def num_ended(cells: Sequence[Grouped]) -> int:
    """Cells that have ended, with a clip or without."""
    return sum(isinstance(cell.job.state, End) for cell in cells)


def table_of(cells: Sequence[Grouped]) -> list[dict[str, str]]:
    """A row for each cell: its labels, where it stands, and its clip's name in the archive."""
    columns = [name for name in COLUMNS if any(name in cell.labels for cell in cells)]
    return [
        {
            "number": str(number),
            **{name: cell.labels.get(name, "") for name in columns},
            "state": type(cell.job.state).__name__.lower(),
            "made_in_s": f"{cell.job.state.seconds:.2f}"
            if isinstance(cell.job.state, Done)
            else "",
            "file": file_name(number, cell) if isinstance(cell.job.state, Done) else "",
            "reason": reason_of(cell),
        }
        for number, cell in enumerate(cells, start=1)
    ]


def file_name(number: int, cell: Grouped) -> str:
    """What the clip of a cell is called in the archive."""
    return f"{number:03d}-seed-{cell.job.request.seed}.mp4"


def reason_of(cell: Grouped) -> str:
    """Why a cell has no clip and gets none; empty where that is not so."""
    match cell.job.state:
        case Failed(message, next_step):
            return f"{message} {next_step}"
        case Cancelled():
            return "Stopped."
        case _:
            return ""


def render_csv(rows: Sequence[dict[str, str]]) -> str:
    """A table for spreadsheets, in which no cell is a formula."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows({name: as_cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def render_jsonl(rows: Sequence[dict[str, str]]) -> str:
    """One JSON object a line."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
