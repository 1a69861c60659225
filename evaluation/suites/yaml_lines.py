"""YAML read together with the line on which everything stands."""

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ltx2.errors import RequestError

MAX_BYTES = 4_000_000
"""A file larger than this is no file that people write."""

Place = tuple[str | int, ...]
"""Keys and indices that lead from the top of a file to a value."""


class _Loader(yaml.SafeLoader):
    """YAML whose words stay words: "yes", "no" and "on" are said in prompts."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        # An alias can be nested so that a few lines stand for gigabytes.
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(problem="an alias is used", problem_mark=mark)
        return super().compose_node(parent, index)


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if not tag.endswith((":bool", ":timestamp", ":merge", ":value"))
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class Lines:
    """Where in a file everything stands.

    Attributes:
        file: as it is called in errors.
    """

    def __init__(self, file: str, line_of: Mapping[Place, int]) -> None:
        self.file = file
        self._line_of = line_of

    def error(self, place: Sequence[str | int], message: str, next_step: str) -> RequestError:
        """An error that names the file, the line and the field.

        Args:
            place: of the field; what is not in the file is looked for further up.
            message: what is wrong with it, a sentence.
            next_step: what to do about it.
        """
        known = tuple(place)
        while known not in self._line_of:
            known = known[:-1]
        field = ".".join(str(part) for part in place)
        return RequestError(
            f"{self.file}:{self._line_of[known]}: {field + ': ' if field else ''}{message}",
            next_step=next_step,
        )


def read_yaml(path: Path) -> tuple[Any, Lines]:
    """What a file says, and on which lines.

    Raises:
        RequestError: it cannot be read, is no YAML, or says a key twice.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise RequestError(
                f"{path} has more than {MAX_BYTES:,} bytes.", next_step="Divide it into files."
            )
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(
            f"{path} cannot be read: {error}.", next_step="Give a text file in UTF-8."
        ) from error
    line_of: dict[Place, int] = {(): 1}
    lines = Lines(path.name, line_of)
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None, lines
        _note(node, (), line_of, lines)
        return loader.construct_document(node), lines
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error) or type(error).__name__
        raise RequestError(
            f"{path.name}{where}: this is no YAML: {problem}.", next_step="Correct this line."
        ) from error
    finally:
        loader.dispose()


def _note(node: yaml.Node, place: Place, line_of: dict[Place, int], lines: Lines) -> None:
    line_of[place] = node.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode):
        for index, child in enumerate(node.value):
            _note(child, (*place, index), line_of, lines)
    elif isinstance(node, yaml.MappingNode):
        seen: set[Hashable] = set()
        for key, child in node.value:
            here = (*place, str(key.value))
            line_of[here] = key.start_mark.line + 1
            if key.value in seen:
                raise lines.error(here, "this is said twice.", "Keep one of them.")
            seen.add(key.value)
            _note(child, here, line_of, lines)
            line_of[here] = key.start_mark.line + 1
