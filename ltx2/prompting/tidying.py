"""What can be put right in a prompt without a language model."""

import re
from dataclasses import dataclass

from ltx2.prompting.script import capitalised
from ltx2.prompting.vocabulary import WORD, Vocabulary, nearest

_PLACEHOLDER = re.compile(r"(\[LINE [0-9]{1,4}\])")
_ENDS = (".", "!", "?", "…", "。")


@dataclass(frozen=True)
class Tidying:
    """An `enhance.Enhancer` that keeps to what was written: spaces, capital letter, full stop.

    Attributes:
        vocabulary: words that it does not have become the one of it that is spelt most alike;
            None for a model that reads any text, which keeps every word.
    """

    vocabulary: Vocabulary | None = None

    def __call__(self, prompt: str) -> str:
        """The prompt with these things put right; placeholders stay."""
        parts = _PLACEHOLDER.split(prompt)
        if self.vocabulary is not None:
            parts[::2] = [WORD.sub(self._known, part) for part in parts[::2]]
        text = capitalised(" ".join("".join(parts).split()))
        return text if not text or text.endswith(_ENDS) else f"{text}."

    def _known(self, found: re.Match[str]) -> str:
        word = found.group()
        assert self.vocabulary is not None
        if word.lower() in self.vocabulary.words:
            return word
        like = nearest(word, self.vocabulary.words)
        if like is None:
            return word
        return capitalised(like) if word[0].isupper() else like
