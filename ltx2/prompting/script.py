"""A dialogue as data: who is there, who says what, in which order."""

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

from ltx2.errors import RequestError
from ltx2.prompting.quotes import ALL_MARKS

Place = Literal["left", "centre", "right"]
PLACES: tuple[Place, ...] = ("left", "centre", "right")


@dataclass(frozen=True)
class Speaker:
    """Somebody who can be seen.

    Attributes:
        name: optional; the picture does not show it.
        looks: how to tell this speaker from the others, "a woman with short red hair".
        place: where in the picture; None leaves it open.
        voice: adjectives, "low, warm"; empty leaves it open.
    """

    name: str = ""
    looks: str = ""
    place: Place | None = None
    voice: str = ""


@dataclass(frozen=True)
class Line:
    """What one speaker says at one time.

    Attributes:
        speaker: index among the dialogue's speakers.
        text: the words, without quotation marks around them.
        language: code of one of `languages.LANGUAGES`; empty names none.
        delivery: how it is said, "quietly, with a smile"; empty leaves it open.
    """

    speaker: int
    text: str
    language: str = ""
    delivery: str = ""


@dataclass(frozen=True)
class Dialogue:
    """A scene in which people speak in turn.

    Attributes:
        setting: what is seen and heard around the speakers; sentences without the last full stop.
        speakers: at least one.
        lines: at least one, in the order in which they are said.
    """

    setting: str
    speakers: tuple[Speaker, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class NotReadable:
    """A prompt in which no dialogue was found.

    Attributes:
        reason: one sentence.
        span: where the problem is, in characters; None if it is no single place.
    """

    reason: str
    span: tuple[int, int] | None = None


def check_shape(dialogue: Dialogue) -> None:
    """Refuses a dialogue without speakers or lines, or with a line of nobody.

    Raises:
        RequestError: it is one.
    """
    if not dialogue.speakers:
        raise RequestError("The dialogue has no speaker.", next_step="Add one.")
    if not dialogue.lines:
        raise RequestError("Nobody says anything.", next_step="Add a line.")
    for number, line in enumerate(dialogue.lines, start=1):
        if not 0 <= line.speaker < len(dialogue.speakers):
            raise RequestError(
                f"Line {number} belongs to no speaker.", next_step="Choose who says it."
            )
    for speaker in dialogue.speakers:
        if speaker.place not in (None, *PLACES):
            raise RequestError(
                f"A speaker cannot be at {speaker.place!r}.",
                next_step=f"Choose one of {', '.join(PLACES)}.",
            )


def spoken(text: str, number: int) -> str:
    """What line `number` says, with every run of white space made one space.

    Raises:
        RequestError: it is empty or holds a control character.
    """
    words = " ".join(text.split())
    if not words:
        raise RequestError(f"Line {number} is empty.", next_step="Write what is said.")
    return _printable(words, f"Line {number}")


def described(text: str, what: str) -> str:
    """A description with every run of white space made one space, without trailing punctuation.

    Raises:
        RequestError: it holds a quotation mark, which is only for what is said, or a control
            character.
    """
    words = re.sub(r"^[\s.,:;]+|[\s.,:;]+$", "", " ".join(text.split()))
    if ALL_MARKS & set(words):
        raise RequestError(
            f"{what} holds a quotation mark.",
            next_step="Leave it out; quotation marks are for what is said.",
        )
    return _printable(words, what)


def _printable(text: str, what: str) -> str:
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
        raise RequestError(
            f"{what} holds a character that cannot be printed.", next_step="Type it again."
        )
    return text


def capitalised(text: str) -> str:
    """`text` with a capital first letter."""
    return text[:1].upper() + text[1:]


def article(noun: str) -> str:
    """The indefinite article in front of `noun`, judged by its first letter."""
    return "an" if noun[:1].lower() in tuple("aeiou") else "a"
