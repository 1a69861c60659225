"""What was asked of a clip, as far as a measurement can check it."""

from dataclasses import dataclass
from typing import Literal

Place = Literal["left", "centre", "right", "off-screen"]


@dataclass(frozen=True)
class ExpectedLine:
    """One line of dialogue.

    Attributes:
        text: the words, as written in the prompt.
        language: BCP 47 tag ("en", "pt-BR").
        speaker: name of who says it, unique within the clip; None where nobody was named.
        place: where that speaker stands at their first appearance; None where it was not said.
    """

    text: str
    language: str
    speaker: str | None = None
    place: Place | None = None


@dataclass(frozen=True)
class Expectation:
    """What was asked; an empty one asks nothing and leaves what can be measured without it.

    Attributes:
        lines: dialogue in the order asked.
        duration_s: length asked, in seconds.
        frame_rate: pictures per second asked.
        is_cartoon: faces are those of the puppet world, which need a detector of their own.
    """

    lines: tuple[ExpectedLine, ...] = ()
    duration_s: float | None = None
    frame_rate: float | None = None
    is_cartoon: bool = False
