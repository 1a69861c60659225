"""What a suite of prompts says, in files that people write.

A file lists items, or scenes that stand for many items: a scene's `vary` holds tables, one item is
made of every combination of their rows, and `{name}` in any text of the scene is replaced by the
row's value of that name. A value may itself hold names. A row may give a list of texts instead of
one; it then stands for as many rows, counted by `{n}` ("01", "02", ...).
"""

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic import model_validator as checked_after

from evaluation.expectation import Expectation, ExpectedLine, Place
from evaluation.suites.given import Given
from evaluation.suites.yaml_lines import Lines, read_yaml
from ltx2 import Request
from ltx2.errors import RequestError
from ltx2.inputs import Inputs

MAX_ITEMS = 10_000
MAX_NESTED_NAMES = 8
"""Values that hold names whose values hold names, and so on."""

Model = TypeVar("Model", bound=BaseModel)

_NAME = re.compile(r"\{(\w+)\}")
_LANGUAGE = r"^[a-z]{2,3}(-[A-Za-z0-9]{1,8})*$"

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=8_000)]
Identifier = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)
]
Language = Annotated[str, StringConstraints(pattern=_LANGUAGE)]
Word = Annotated[str, StringConstraints(max_length=8_000)]
Cell = Word | Annotated[tuple[Word, ...], Field(min_length=1)]
"""A value of a row, or values that make as many rows."""


class _Written(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Shape(_Written):
    """How large and how long clips are; what is None is left to whoever makes them.

    Attributes:
        duration_s: seconds.
        width, height: pixels.
        frame_rate: pictures per second.
        window_s: longest part made at once by our pipeline, which makes longer clips of parts that
            overlap; None leaves the whole to one pass.
    """

    duration_s: float | None = Field(default=None, gt=0, le=3_600)
    width: int | None = Field(default=None, ge=1, le=16_384)
    height: int | None = Field(default=None, ge=1, le=16_384)
    frame_rate: float | None = Field(default=None, ge=1, le=120)
    window_s: float | None = Field(default=None, gt=0, le=3_600)


class Speaker(_Written):
    """Somebody in the scene, silent or not.

    Attributes:
        name: for the lines to refer to; prompts need not say it.
        place: where this speaker is at the first appearance; None where the prompt does not say.
    """

    name: Text
    place: Place | None = None


class SpokenLine(_Written):
    """One line of dialogue.

    Attributes:
        text: the words, exactly as in the prompt.
        speaker: name of one of the item's speakers; None where nobody is named.
        language: BCP 47 tag, where it is not the item's.
    """

    text: Text
    speaker: Text | None = None
    language: Language | None = None


class Event(_Written):
    """Something to hear that is not speech.

    Attributes:
        kind: "impact" has an onset that can be seen, "sound" goes on, "music" has notes.
        what: a few words.
        count: how often, where the prompt says so.
    """

    kind: Literal["impact", "sound", "music", "silence"]
    what: Text
    count: int | None = Field(default=None, ge=1, le=1_000)


class Item(_Written):
    """One clip to make and what has to be in it.

    Attributes:
        id: unique within the suite.
        prompt: as the model gets it.
        language: BCP 47 tag of what is spoken; "zxx" where nothing is.
        speakers: everybody in the scene.
        lines: dialogue in the order asked.
        events: what else is heard.
        given: files that the clip is made from, found from the suite's folder; None for text alone.
        shape: overrides the suite's.
        tags: words to choose items by.
        group: items of one group differ in nothing but `variant`; None stands alone.
        variant: value of each counterbalanced factor ("position": "swapped").
    """

    id: Identifier
    prompt: Text
    language: Language = "zxx"
    speakers: tuple[Speaker, ...] = ()
    lines: tuple[SpokenLine, ...] = ()
    events: tuple[Event, ...] = ()
    given: Given | None = None
    shape: Shape = Shape()
    tags: tuple[Identifier, ...] = ()
    group: Identifier | None = None
    variant: Mapping[str, str] = Field(default_factory=dict)

    @checked_after(mode="after")
    def _check(self) -> Self:
        names = [speaker.name for speaker in self.speakers]
        if len(set(names)) < len(names):
            raise ValueError("two speakers have the same name")
        for number, line in enumerate(self.lines, start=1):
            if line.speaker is not None and line.speaker not in names:
                raise ValueError(f"line {number} is said by {line.speaker!r}, who is no speaker")
            if line.text not in self.prompt:
                raise ValueError(f"line {number} is not in the prompt")
        if self.lines and self.language == "zxx" and any(not li.language for li in self.lines):
            raise ValueError("somebody speaks, but no language is said")
        if self.variant and self.group is None:
            raise ValueError("it is a variant of no group")
        return self

    @property
    def mode(self) -> str:
        """What the model is asked for: "text", or what is done with the files given."""
        return "text" if self.given is None else self.given.mode


class Scene(_Written):
    """Many items that differ in a few words.

    Attributes:
        item: fields of `Item`, with `{name}` where rows differ.
        vary: tables; every combination of their rows makes an item.
    """

    item: dict[str, Any]
    vary: Annotated[
        tuple[Annotated[tuple[dict[str, Cell], ...], Field(min_length=1)], ...],
        Field(min_length=1),
    ]


class SuiteFile(_Written):
    """A file as people write it.

    Attributes:
        name: short, unique; runs are called by it.
        title, description: for people.
        licence: SPDX identifier of the texts.
        world: "puppet" suites can be made by the small embedded model, whose faces are drawn.
        defaults: shape of items that do not say their own.
        items: written out.
        scenes: that stand for many.
    """

    schema_version: Literal[1]
    name: Identifier
    title: Text
    description: Text
    licence: Text
    world: Literal["filmed", "puppet"] = "filmed"
    defaults: Shape = Shape()
    items: tuple[Item, ...] = ()
    scenes: tuple[Scene, ...] = ()


class Suite(_Written):
    """All items of a file, scenes made into theirs and shapes filled in; fields as of the file."""

    name: str
    title: str
    description: str
    licence: str
    world: Literal["filmed", "puppet"]
    items: tuple[Item, ...]

    def expectation(self, item: Item) -> Expectation:
        """What a measurement can check a clip of `item` against."""
        places = {speaker.name: speaker.place for speaker in item.speakers}
        return Expectation(
            lines=tuple(
                ExpectedLine(
                    text=line.text,
                    language=line.language or item.language,
                    speaker=line.speaker,
                    place=places[line.speaker] if line.speaker is not None else None,
                )
                for line in item.lines
            ),
            duration_s=item.shape.duration_s,
            frame_rate=item.shape.frame_rate,
            is_cartoon=self.world == "puppet",
        )

    def chosen(self, tags: Sequence[str] = (), ids: Sequence[str] = ()) -> Self:
        """The suite with only the items that have all of `tags` and one of `ids`, if any.

        Raises:
            RequestError: none is left.
        """
        items = tuple(
            item
            for item in self.items
            if set(tags) <= set(item.tags) and (not ids or item.id in ids)
        )
        if not items:
            known = sorted({tag for item in self.items for tag in item.tags})
            raise RequestError(
                f"No item of {self.name} has all of {', '.join((*tags, *ids))}.",
                next_step=f"Its tags are {', '.join(known)}.",
            )
        return self.model_copy(update={"items": items})


def given_fields(item: Item, inputs: Inputs) -> dict[str, Any]:
    """Fields of the requests of an item that name its files, which `inputs` then finds.

    Raises:
        MediaError: a file cannot be read.
    """
    return {} if item.given is None else item.given.to_request(inputs)


def request_of(
    item: Item,
    seed: int,
    settings: Mapping[str, Any] | None = None,
    given: Mapping[str, Any] | None = None,
) -> Request:
    """The request of one clip.

    Args:
        item: what to show.
        seed: of the noise.
        settings: fields of `Request` that go before the item's own.
        given: `given_fields` of the item, where it has files.

    Raises:
        RequestError: a setting is none, or cannot be used.
    """
    shape = item.shape.model_dump(exclude_none=True)
    settings = dict(settings or {})
    if "num_frames" in settings:
        shape.pop("duration_s", None)
    fields = {"prompt": item.prompt, **shape, **dict(given or {}), **settings}
    return Request(**{**fields, "seed": seed})


def load_suite(path: str | Path) -> Suite:
    """The suite of a YAML file.

    Raises:
        RequestError: the file is not there, is no suite, or two items have one id; it names the
            file, the line, the item and the field.
    """
    data, lines = read_yaml(Path(path))
    if not isinstance(data, dict):
        raise lines.error((), "this is no suite.", "Start with schema_version and name.")
    written = _validated(SuiteFile, data, lines, ())
    items: list[tuple[tuple[str | int, ...], Item]] = [
        (("items", index), item) for index, item in enumerate(written.items)
    ]
    for index, scene in enumerate(written.scenes):
        for fields in _expanded(scene, lines, ("scenes", index)):
            place = ("scenes", index, "item")
            items.append((place, _validated(Item, fields, lines, place)))
            if len(items) > MAX_ITEMS:
                raise lines.error(place, f"more than {MAX_ITEMS:,} items.", "Shorten the tables.")
    items = [(place, _with_files(item, Path(path).parent, lines, place)) for place, item in items]
    _check_unique(items, lines)
    return Suite(
        **written.model_dump(include={"name", "title", "description", "licence", "world"}),
        items=tuple(_shaped(item, written.defaults) for _, item in items),
    )


def json_schema() -> dict[str, Any]:
    """JSON schema of suite files, for editors."""
    schema = SuiteFile.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def json_schema_text() -> str:
    """`json_schema` as it is kept beside the suites."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


# --- from scenes to items ----------------------------------------------------------------------


def _expanded(scene: Scene, lines: Lines, place: tuple[str | int, ...]) -> Iterator[dict[str, Any]]:
    tables = [
        [
            row
            for number, cells in enumerate(table)
            for row in _rows(cells, lines, (*place, "vary", index, number))
        ]
        for index, table in enumerate(scene.vary)
    ]
    for rows in itertools.product(*tables):
        values: dict[str, str] = {}
        for row in rows:
            for name, value in row.items():
                if name in values and name != "n":
                    raise lines.error(
                        (*place, "vary"), f"two tables have {name!r}.", "Rename one of them."
                    )
                # Counters of several lists in one item say which of each.
                values[name] = f"{values[name]}-{value}" if name in values else value
        yield {
            key: _filled(value, values, lines, (*place, "item", key))
            for key, value in scene.item.items()
        }


def _rows(
    cells: Mapping[str, str | tuple[str, ...]], lines: Lines, place: tuple[str | int, ...]
) -> list[dict[str, str]]:
    lists = {name: cell for name, cell in cells.items() if not isinstance(cell, str)}
    if "n" in cells:
        raise lines.error((*place, "n"), "this name counts lists.", "Choose another name.")
    if not lists:
        return [{name: str(cell) for name, cell in cells.items()}]
    counts = {len(cell) for cell in lists.values()}
    if len(counts) > 1:
        raise lines.error(place, "its lists are not equally long.", "Make them so.")
    return [
        {
            **{
                name: cell if isinstance(cell, str) else cell[number]
                for name, cell in cells.items()
            },
            "n": f"{number + 1:02}",
        }
        for number in range(counts.pop())
    ]


def _filled(
    value: Any, values: Mapping[str, str], lines: Lines, place: tuple[str | int, ...]
) -> Any:
    if isinstance(value, dict):
        return {key: _filled(part, values, lines, (*place, key)) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(part, values, lines, (*place, i)) for i, part in enumerate(value)]
    if not isinstance(value, str):
        return value
    for _ in range(MAX_NESTED_NAMES):
        unknown = [name for name in _NAME.findall(value) if name not in values]
        if unknown:
            raise lines.error(
                place,
                f"no table has {unknown[0]!r}.",
                f"The tables have {', '.join(sorted(values))}.",
            )
        if not _NAME.search(value):
            return value
        value = _NAME.sub(lambda found: values[found[1]], value)
    raise lines.error(place, "its names lead in a circle.", "Break it.")


def _shaped(item: Item, defaults: Shape) -> Item:
    own = item.shape.model_dump(exclude_none=True)
    return item.model_copy(update={"shape": defaults.model_copy(update=own)})


def _with_files(item: Item, folder: Path, lines: Lines, place: tuple[str | int, ...]) -> Item:
    """The item with its files found from the suite's folder."""
    if item.given is None:
        return item
    given = item.given.within(folder)
    for path in given.missing():
        message = f"item {item.id}: the file {path.name} is not there."
        raise lines.error(place, message, "Put it beside the suite, or correct its name.")
    return item.model_copy(update={"given": given})


def _check_unique(items: Sequence[tuple[tuple[str | int, ...], Item]], lines: Lines) -> None:
    if not items:
        raise lines.error((), "the suite has no item.", "Add items or scenes.")
    seen: set[str] = set()
    asked: dict[tuple[str, Shape, Given | None], str] = {}
    for place, item in items:
        if item.id.lower() in seen:
            raise lines.error(place, f"two items have the id {item.id!r}.", "Rename one of them.")
        seen.add(item.id.lower())
        # They would be one clip, which only one of them would find.
        twin = asked.setdefault((item.prompt, item.shape, item.given), item.id)
        if twin != item.id:
            message = f"the items {twin} and {item.id} ask for the same clip."
            raise lines.error(place, message, "Remove one of them, or word it otherwise.")


def _validated(model: type[Model], data: Any, lines: Lines, place: tuple[str | int, ...]) -> Model:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = tuple(part for part in first["loc"] if part not in ("str", "tuple"))
        name = _item_name(data, (*where,)) or (data.get("id") if model is Item else None)
        subject = f"item {name}: " if name else ""
        message = first["msg"].removeprefix("Value error, ")
        step = {
            "extra_forbidden": "Remove it or check its spelling.",
            "missing": "Add it.",
            "string_type": "Put it in quotation marks.",
        }.get(first["type"], "Change it and check again.")
        raise lines.error(
            (*place, *where), f"{subject}{message[:1].lower()}{message[1:]}.", step
        ) from error


def _item_name(data: Any, where: tuple[Any, ...]) -> str | None:
    if len(where) >= 2 and where[0] == "items":
        item = data["items"][where[1]]
        return str(item.get("id", "")) if isinstance(item, dict) else None
    return None
