"""Dialogues into prompts and back.

A model without a vocabulary gets prose; one that knows only the wording of its own captions gets
that wording.
"""

from typing import Protocol

from ltx2.errors import RequestError
from ltx2.prompting.captions import Captions
from ltx2.prompting.free import read_freely
from ltx2.prompting.prose import Prose
from ltx2.prompting.script import Dialogue, Line, NotReadable, Place, Speaker
from ltx2.prompting.vocabulary import Vocabulary
from ltx2.request import MAX_PROMPT_CHARACTERS

__all__ = ["Dialogue", "Line", "NotReadable", "Place", "Speaker", "normalise", "read", "write"]


class Style(Protocol):
    """One way to word a dialogue."""

    def normalise(self, dialogue: Dialogue) -> Dialogue:
        """The same dialogue as this style can write it; RequestError where it cannot."""

    def compose(self, dialogue: Dialogue) -> str:
        """The prompt of a normalised dialogue."""

    def parse(self, prompt: str) -> Dialogue | None:
        """The dialogue that `compose` makes `prompt` of, or None."""


def style_for(vocabulary: Vocabulary | None) -> Style:
    """The wording that a model was trained on."""
    if vocabulary is None or vocabulary.talk is None:
        return Prose()
    return Captions(vocabulary.talk, vocabulary.sayings)


def normalise(dialogue: Dialogue, vocabulary: Vocabulary | None = None) -> Dialogue:
    """The same dialogue as a prompt can say it: white space, articles, punctuation put right.

    Args:
        dialogue: what to say.
        vocabulary: what the model knows; None for one that reads any text.

    Raises:
        RequestError: something in it cannot be written, or not in this vocabulary.
    """
    return style_for(vocabulary).normalise(dialogue)


def write(dialogue: Dialogue, vocabulary: Vocabulary | None = None) -> str:
    """The prompt of a dialogue; `read` gives back `normalise(dialogue)`.

    Raises:
        RequestError: something in it cannot be written, or not in this vocabulary.
    """
    style = style_for(vocabulary)
    dialogue = style.normalise(dialogue)
    prompt = style.compose(dialogue)
    if len(prompt) > MAX_PROMPT_CHARACTERS:
        raise RequestError(
            f"The dialogue makes a prompt of {len(prompt):,} characters.",
            next_step=f"Shorten it to at most {MAX_PROMPT_CHARACTERS:,}.",
        )
    if style.parse(prompt) != dialogue:
        raise RequestError(
            "A description repeats the words that stand around it in the prompt.",
            next_step="Reword it, without phrases such as “On the left is” or “, named”.",
        )
    return prompt


def read(prompt: str, vocabulary: Vocabulary | None = None) -> Dialogue | NotReadable:
    """The dialogue of a prompt.

    What `write` made is read exactly. Of any other prompt the quoted lines and who says them are
    found as well as possible; `write` of the result is then another wording than `prompt`.
    """
    style = style_for(vocabulary)
    exact = style.parse(prompt)
    if exact is not None:
        return exact
    found = read_freely(prompt)
    if isinstance(found, NotReadable):
        return found
    try:
        return style.normalise(found)
    except RequestError as error:
        return NotReadable(error.message)
