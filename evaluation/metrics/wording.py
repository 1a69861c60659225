"""Texts made comparable, and how far one is from another.

Spelling is no error of speech: "Place white in J3, please." is "place white in j three please".
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

BY_CHARACTER = frozenset({"ja", "ko", "zh", "yue", "th"})
"""Languages written without spaces, or whose spaces are a matter of taste: compared by character,
which makes a word error rate a character error rate."""


def base_language(tag: str) -> str:
    """First part of a BCP 47 tag: "pt" of "pt-BR"."""
    return tag.replace("_", "-").split("-")[0].lower()


def tokens(text: str, language: str) -> list[str]:
    """Words, or characters in `BY_CHARACTER`, without case, punctuation and digits.

    Args:
        text: as written or as recognised.
        language: BCP 47 tag; numbers are written out in it.
    """
    language = base_language(language)
    plain = unicodedata.normalize("NFKC", text).casefold()
    plain = re.sub(r"(?<=\d)[,.](?=\d{3}\b)", "", plain) if language == "en" else plain
    plain = re.sub(r"\d+", lambda found: f" {_in_words(found[0], language)} ", plain)
    # An apostrophe joins what it stands between in English and parts an article in French.
    plain = re.sub(r"['\u2019]", "" if language == "en" else " ", plain)
    kept = "".join(
        character if unicodedata.category(character)[0] in "LMN" else " " for character in plain
    )
    if language in BY_CHARACTER:
        return [character for character in kept if not character.isspace()]
    return kept.split()


@dataclass(frozen=True)
class EditCount:
    """Smallest number of edits from what was asked to what was heard.

    Attributes:
        substitutions, deletions, insertions: of tokens.
        num_asked: tokens asked.
    """

    substitutions: int
    deletions: int
    insertions: int
    num_asked: int

    @property
    def rate(self) -> float:
        """Edits a token asked; may exceed 1."""
        return (self.substitutions + self.deletions + self.insertions) / max(1, self.num_asked)


Pair = tuple[int | None, int | None]
"""Index of a token asked and of the one heard in its place; None on the side that has none."""


def align(asked: Sequence[str], heard: Sequence[str]) -> list[Pair]:
    """Cheapest alignment of two token lists, in order (Needleman and Wunsch, 1970)."""
    rows, columns = len(asked), len(heard)
    costs = [[i + j for j in range(columns + 1)] for i in range(rows + 1)]
    for i in range(1, rows + 1):
        for j in range(1, columns + 1):
            same = asked[i - 1] == heard[j - 1]
            costs[i][j] = min(
                costs[i - 1][j - 1] + (not same), costs[i - 1][j] + 1, costs[i][j - 1] + 1
            )
    pairs: list[Pair] = []
    i, j = rows, columns
    while i or j:
        if i and j and costs[i][j] == costs[i - 1][j - 1] + (asked[i - 1] != heard[j - 1]):
            i, j = i - 1, j - 1
            pairs.append((i, j))
        elif i and costs[i][j] == costs[i - 1][j] + 1:
            i -= 1
            pairs.append((i, None))
        else:
            j -= 1
            pairs.append((None, j))
    return pairs[::-1]


def count_edits(asked: Sequence[str], heard: Sequence[str]) -> EditCount:
    """Edits between two token lists."""
    pairs = align(asked, heard)
    return EditCount(
        substitutions=sum(
            i is not None and j is not None and asked[i] != heard[j] for i, j in pairs
        ),
        deletions=sum(j is None for _, j in pairs),
        insertions=sum(i is None for i, _ in pairs),
        num_asked=len(asked),
    )


@cache
def _in_words(digits: str, language: str) -> str:
    """A number written out; its digits where the language or the package is not there."""
    if find_spec("num2words") is None:
        return digits
    from num2words import num2words

    try:
        return str(num2words(int(digits), lang=language))
    except (NotImplementedError, OverflowError):
        return digits
