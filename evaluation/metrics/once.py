"""What several metrics need of a clip, worked out once."""

from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from ltx2 import Clip

Answer = TypeVar("Answer")


class OncePerClip(Generic[Answer]):
    """A function of a clip that remembers its answers as long as the clip lives.

    Args:
        function: takes a clip, and keywords that can be hashed.
    """

    def __init__(self, function: Callable[..., Answer]) -> None:
        self._function = function
        self._known: WeakKeyDictionary[Clip, dict[Hashable, Answer]] = WeakKeyDictionary()
        self.__doc__ = function.__doc__

    def __call__(self, clip: Clip, **chosen: Any) -> Answer:
        """The answer for a clip and these keywords."""
        known = self._known.setdefault(clip, {})
        key = tuple(sorted(chosen.items()))
        if key not in known:
            known[key] = self._function(clip, **chosen)
        return known[key]

    def remember(self, clip: Clip, answer: Answer, **chosen: Any) -> None:
        """Takes an answer that is known from elsewhere."""
        self._known.setdefault(clip, {})[tuple(sorted(chosen.items()))] = answer

    def share(self, clip: Clip, other: Clip) -> None:
        """Lets another clip, of which the same is true, have the same answers."""
        self._known[other] = self._known.setdefault(clip, {})
