"""A job: who asked for which clip, made with what, and where it stands."""

import secrets
from dataclasses import dataclass

from ltx2.errors import RequestError
from ltx2.request import Request

ID_BYTES = 24
"""Random bytes of a job's id: 192 bits, 32 characters that a URL can hold."""


@dataclass(frozen=True)
class ChosenLora:
    """A LoRA that a visitor wants.

    Attributes:
        name: as the model's offer lists it.
        strength: factor of its change; 1 is as it was trained.
        audio_strength: factor of what it changes of the sound; None as of the picture.
    """

    name: str
    strength: float = 1.0
    audio_strength: float | None = None

    @property
    def changes_nothing(self) -> bool:
        """Whether it could as well be left out."""
        return self.strength == 0.0 and self.audio_strength in (None, 0.0)


@dataclass(frozen=True)
class Choice:
    """What a visitor wants clips made with.

    Attributes:
        model: name of an offer; None for the usual one.
        loras: of that model.
        best_of: clips that are made, with seeds that follow, of which the best is kept.
        quantization: how large weights are kept, as settings say it; None as the server does.
    """

    model: str | None = None
    loras: tuple[ChosenLora, ...] = ()
    best_of: int = 1
    quantization: str | None = None


USUAL = Choice()
"""The usual model as it is."""


@dataclass(frozen=True)
class Queued:
    """Waits for its turn.

    Attributes:
        position: jobs that start before it, 0 for the next one.
    """

    position: int


@dataclass(frozen=True)
class Running:
    """Is being made.

    Attributes:
        stage: what is being done now: "start", "load", those of the pipeline ("denoise"),
            "save"; or "stop", after a wish to cancel, until its step has ended.
        step: finished steps of this stage, 0..total.
        total: steps of this stage, at least 1.
        started_at: when work on it began, seconds since 1970.
        seconds_left: until it is done; None while nothing is known about that.
        clip: which of `clips` is being made, of which one is kept; counted from 1.
    """

    stage: str
    step: int
    total: int
    started_at: float
    seconds_left: float | None = None
    clip: int = 1
    clips: int = 1


@dataclass(frozen=True)
class Done:
    """Has its clip.

    Attributes:
        file: name of the clip in the folder of clips.
        seed: that it was made with.
        seconds: that making it took, loading the model included.
        size: of the file in bytes.
    """

    file: str
    seed: int
    seconds: float
    size: int


@dataclass(frozen=True)
class Failed:
    """Ended without a clip; what was asked is kept.

    Attributes:
        message: what happened.
        next_step: what the visitor can do about it.
    """

    message: str
    next_step: str


@dataclass(frozen=True)
class Cancelled:
    """Was stopped by its visitor."""


INTERRUPTED = Failed("The server stopped while it was made.", next_step="Generate it again.")
"""What becomes of a job whose server stops."""

End = Done | Failed | Cancelled
"""States that last."""

State = Queued | Running | End
"""Where a job stands: exactly one of these."""


@dataclass(frozen=True)
class Job:
    """One clip that a visitor asked for.

    Attributes:
        id: cannot be guessed and can stand in a URL; who knows it may see the clip.
        owner: opaque id of the visitor.
        request: what was asked, as it was asked.
        choice: what to make it with; its model is named.
        created_at: when it was asked, seconds since 1970.
        state: where it stands.
        is_favourite: the visitor marked it.
        deleted_at: when the visitor deleted it, which can be undone until it is purged.
    """

    id: str
    owner: str
    request: Request
    choice: Choice
    created_at: float
    state: State
    is_favourite: bool = False
    deleted_at: float | None = None


class UnknownJobError(RequestError):
    """No such job, or it is somebody else's: a visitor cannot tell which."""

    @classmethod
    def new(cls) -> "UnknownJobError":
        """The error, in the same words for both."""
        return cls(
            "There is no such clip.",
            next_step="It may have been deleted, or belong to another browser. Make it again.",
        )


class QueueFullError(RequestError):
    """Too many jobs wait already."""


def new_id() -> str:
    """An id that nobody can guess."""
    return secrets.token_urlsafe(ID_BYTES)
