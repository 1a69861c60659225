"""Dialogue, composed in rows: who says what; the rows write the prompt, and are read back of it.

The page has no rows yet.
"""

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from html import escape
from typing import Any

import gradio as gr

from ltx2.errors import LTX2Error, RequestError
from ltx2.prompting.dialogue import read, write
from ltx2.prompting.script import PLACES, Dialogue, Line, NotReadable, Speaker
from ltx2.prompting.vocabulary import Vocabulary
from ltx2.serving.models import Offer

MAX_ROWS = 6
"""Lines of one dialogue; a clip of the longest kind holds no more."""

ANYWHERE = "anywhere"
"""A speaker whose place the prompt leaves open."""

TOO_MANY = f"The prompt has more than {MAX_ROWS} lines, so the rows are left as they were."

TEXT_MODE, DIALOGUE_MODE = "Text", "Dialogue"
"""Ways to write a prompt."""


@dataclass(frozen=True)
class Row:
    """One line and who says it; values of a row's fields, in their order on the page."""

    name: str = ""
    looks: str = ""
    place: str = ANYWHERE
    voice: str = ""
    text: str = ""
    language: str = ""
    delivery: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether nothing was written yet."""
        return not any((self.name, self.looks, self.text))


@dataclass(frozen=True)
class ComposerHandlers:
    """What happens when the rows or the prompt change; values in, values out.

    Attributes:
        offer: the offer of a model's name.
    """

    offer: Callable[[str | None], Offer]

    def on_write(self, mode: str, model: str | None, prompt: str, *values: Any) -> tuple[str, str]:
        """The prompt that the rows make and a message; the old prompt where they make none."""
        if mode != DIALOGUE_MODE:
            return prompt, ""
        setting, rows = _rows(values)
        vocabulary = self._vocabulary(model)
        try:
            dialogue = to_dialogue(setting, rows, vocabulary)
            # A prompt that says the same in the visitor's own words stays as it is.
            if dialogue is None or (prompt.strip() and read(prompt, vocabulary) == dialogue):
                return prompt, ""
            return write(dialogue, vocabulary), ""
        except LTX2Error as error:
            return prompt, _message(str(error))

    def on_read(self, mode: str, model: str | None, prompt: str, *values: Any) -> list[Any]:
        """The rows of a prompt; where it holds no dialogue they stay, and why is said."""
        unchanged = [gr.skip() for _ in range(len(values) + MAX_ROWS + 1)]
        if mode != DIALOGUE_MODE or not prompt.strip():
            return [*unchanged, ""]
        found = read(prompt, self._vocabulary(model))
        if isinstance(found, NotReadable):
            return [*unchanged, _message(found.reason)]
        rows = to_rows(found)
        if len(rows) > MAX_ROWS:
            return [*unchanged, _message(TOO_MANY)]
        return self._shown(found.setting, rows)

    def on_add(self, *values: Any) -> list[Any]:
        """One more row."""
        setting, rows = _rows(values)
        return self._shown(setting, [*rows, Row(voice=rows[0].voice)][:MAX_ROWS])

    def on_remove(self, number: int, *values: Any) -> list[Any]:
        """Row `number` is gone; the last one is emptied instead."""
        setting, rows = _rows(values)
        kept = [row for index, row in enumerate(rows) if index != number]
        return self._shown(setting, kept or [Row(voice=rows[0].voice)])

    def _vocabulary(self, model: str | None) -> Vocabulary | None:
        return self.offer(model).profile.vocabulary

    def _shown(self, setting: str, rows: Sequence[Row]) -> list[Any]:
        """Count of rows, setting, fields of all rows, their boxes, "one more", and the message."""
        empty = [Row(voice=rows[0].voice)] * (MAX_ROWS - len(rows))
        fields = [value for row in [*rows, *empty] for value in astuple(row)]
        boxes = [gr.update(visible=index < len(rows)) for index in range(MAX_ROWS)]
        add = gr.update(interactive=len(rows) < MAX_ROWS)
        return [len(rows), setting, *fields, *boxes, add, ""]


def to_dialogue(
    setting: str, rows: Sequence[Row], vocabulary: Vocabulary | None = None
) -> Dialogue | None:
    """The dialogue of the rows; None while nobody says anything.

    Rows of one name, or without names of the same looks and place, are lines of one speaker. Of a
    speaker the first row that says something about it counts. Who has no line is silent.

    Raises:
        RequestError: a line has nobody to say it.
    """
    speakers: dict[tuple[str, ...], Speaker] = {}
    lines: list[Line] = []
    for number, row in enumerate((row for row in rows if not row.is_empty), start=1):
        name, looks = row.name.strip(), row.looks.strip()
        if not (name or looks):
            raise RequestError(
                f"Nobody says line {number}.", next_step="Write the speaker's looks or name."
            )
        key = (name.lower(),) if name else (looks.lower(), row.place)
        place = row.place if row.place in PLACES else None
        known = speakers.get(key, Speaker())
        speakers[key] = Speaker(
            known.name or name, known.looks or looks, known.place or place, known.voice or row.voice
        )
        if row.text.strip():
            language = row.language or _heard_in(row.text, vocabulary)
            lines.append(Line([*speakers].index(key), row.text, language, row.delivery))
    if not lines:
        return None
    return Dialogue(setting, tuple(speakers.values()), tuple(lines))


def to_rows(dialogue: Dialogue) -> list[Row]:
    """One row for each line, and one for each speaker who is silent."""
    rows = [_row(dialogue.speakers[line.speaker], line) for line in dialogue.lines]
    speaking = {line.speaker for line in dialogue.lines}
    silent = [s for index, s in enumerate(dialogue.speakers) if index not in speaking]
    return rows + [_row(speaker, Line(0, "")) for speaker in silent]


def _row(speaker: Speaker, line: Line) -> Row:
    return Row(
        name=speaker.name,
        looks=speaker.looks,
        place=speaker.place or ANYWHERE,
        voice=speaker.voice,
        text=line.text,
        language=line.language,
        delivery=line.delivery,
    )


def _heard_in(text: str, vocabulary: Vocabulary | None) -> str:
    """The language in which a small model heard a line; empty if it is one of many, or none."""
    sayings = {} if vocabulary is None else vocabulary.sayings
    return next((code for code, said in sayings.items() if text in said), "")


def _rows(values: Sequence[Any]) -> tuple[str, list[Row]]:
    count, setting, *rest = values
    size = len(astuple(Row()))
    rows = [
        Row(*(str(value or "") for value in rest[start : start + size]))
        for start in range(0, len(rest), size)
    ]
    return str(setting or ""), rows[: max(1, min(int(count), MAX_ROWS))]


def _message(text: str) -> str:
    return f'<p class="note" role="status">{escape(text)}</p>'
