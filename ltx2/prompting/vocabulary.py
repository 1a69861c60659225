"""What a small model knows: the words of its captions and the lines it has heard.

It is data of the model's profile, so that nothing has to ask which model it is.
"""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from itertools import product
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from ltx2.prompting.quotes import find_quotes, without_quotes
from ltx2.prompting.script import article

WORD = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*")
"""Letters, and apostrophes or hyphens between them."""


class TalkWording(BaseModel):
    """What can be said about those who speak, one in the picture or a left and a right one.

    Looks are "a {kind} {noun}" and, after "with", at most one of each of the features.

    Attributes:
        noun: what a speaker is, "puppet".
        kinds: adjectives in front of it, of which one is needed.
        features: groups of which each speaker has at most one member, in this order.
        voices: adjectives of "voice", of which one is needed.
        settings: what a speaker stands "on a", of which one is needed.
        endings: groups of sentences without full stop, of which at most one each follows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    noun: str = Field(min_length=1)
    kinds: tuple[str, ...] = Field(min_length=1)
    features: tuple[tuple[str, ...], ...] = ()
    voices: tuple[str, ...] = Field(min_length=1)
    settings: tuple[str, ...] = Field(min_length=1)
    endings: tuple[tuple[str, ...], ...] = ()

    def all_looks(self) -> tuple[str, ...]:
        """Everything that a speaker can look like, "a red puppet with a crown"."""
        looks = []
        for kind, *features in product(self.kinds, *(("", *group) for group in self.features)):
            worn = " and ".join(feature for feature in features if feature)
            noun = f"{article(kind)} {kind} {self.noun}"
            looks.append(f"{noun} with {worn}" if worn else noun)
        return tuple(looks)

    def all_settings(self) -> tuple[str, ...]:
        """Everything that can be around the speakers, "white background. It rains"."""
        return tuple(
            ". ".join(part for part in parts if part)
            for parts in product(self.settings, *(("", *group) for group in self.endings))
        )


class Vocabulary(BaseModel):
    """All that a model was taught to read.

    Attributes:
        languages: codes of the languages of its captions, the best known first.
        words: every word outside quotation marks, in lower case.
        sayings: the quoted lines it has heard, by the code of their language; the first
            language is the one that captions do not name.
        min_words, max_words: length of its captions.
        talk: how its captions tell who says what; None if nobody speaks.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    languages: tuple[str, ...] = Field(min_length=1)
    words: tuple[str, ...] = Field(min_length=1)
    sayings: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    min_words: int = Field(ge=1)
    max_words: int = Field(ge=1)
    talk: TalkWording | None = None


def vocabulary_of(
    captions: Iterable[str],
    *,
    languages: tuple[str, ...],
    sayings: Mapping[str, tuple[str, ...]],
    talk: TalkWording | None,
) -> Vocabulary:
    """The vocabulary of a model that was trained on `captions`."""
    known: set[str] = set()
    lengths: set[int] = set()
    for caption in captions:
        known.update(words_outside_quotes(caption))
        lengths.add(len(WORD.findall(caption)))
    return Vocabulary(
        languages=languages,
        words=tuple(sorted(known)),
        sayings=sayings,
        min_words=min(lengths),
        max_words=max(lengths),
        talk=talk,
    )


def words_outside_quotes(text: str) -> list[str]:
    """Words of `text` in lower case, those of quoted lines left out."""
    return [word.lower() for word in WORD.findall(without_quotes(text, find_quotes(text).quotes))]


def nearest(wanted: str, known: Iterable[str]) -> str | None:
    """The member of `known` that is spelt most like `wanted`, if one is like it at all."""
    by_lower = {word.lower(): word for word in known}
    matches = get_close_matches(wanted.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[matches[0]] if matches else None
