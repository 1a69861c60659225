"""Errors that reach a user: each says what happened and what to do next."""

from collections.abc import Callable


class LTX2Error(Exception):
    """Base of all errors raised on purpose.

    Args:
        message: what happened, with the offending values.
        next_step: what the user can do about it.
    """

    def __init__(self, message: str, *, next_step: str) -> None:
        super().__init__(message, next_step)
        self.message = message
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.message} {self.next_step}"

    def __reduce__(self) -> "tuple[Callable[..., LTX2Error], tuple[type[LTX2Error], str, str]]":
        # Errors cross process borders, and exceptions pickle positional arguments only.
        return _rebuild, (type(self), self.message, self.next_step)


class RequestError(LTX2Error):
    """What was asked cannot be made; the caller can change it."""


class MediaError(LTX2Error):
    """A media file could not be read or written."""


class CheckpointError(LTX2Error):
    """A checkpoint is missing, damaged, or does not fit the code."""


class ResourceError(LTX2Error):
    """The machine lacks something: memory, disk space, a program."""


class GenerationError(LTX2Error):
    """The network produced something that is not a clip."""


class GenerationCancelled(Exception):  # noqa: N818 - control flow, not a failure
    """The caller asked to stop; nothing is wrong."""


def _rebuild(kind: type[LTX2Error], message: str, next_step: str) -> LTX2Error:
    return kind(message, next_step=next_step)
