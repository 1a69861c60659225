"""What a program finds in a clip, told beside it once it is in sight."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from ltx2.errors import LTX2Error
from ltx2.request import ModelProfile, Request
from ltx2.serving.jobs import Done
from ltx2.serving.worker import JobQueue
from ltx2.ui.language import language_of_request, phrase, say
from ltx2.ui.result import Shown

logger = logging.getLogger(__name__)

Examine = Callable[[Path, Request], str]
"""HTML about the clip in a file and what was asked, in the language of who asks now.

It is handed to the page from outside, for what makes clips does not know what judges them.
"""

MAX_BYTES = 2 * 2**30
"""Of a clip's pictures, all of which are decoded at once."""

MAX_KEPT = 256
"""Answers kept for clips that are looked at again."""

TOO_LARGE = phrase("This clip is too large to be examined here.")


@dataclass(frozen=True)
class Examination:
    """Examines the clips that are shown, each of them once.

    Attributes:
        queue: knows the clips.
        examine: what is done with each.
    """

    queue: JobQueue
    examine: Examine
    _examined: Callable[[Path, Request, str], str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        def examined(clip: Path, request: Request, language: str) -> str:
            return self.examine(clip, request)

        object.__setattr__(self, "_examined", lru_cache(MAX_KEPT)(examined))

    def on_shown(self, shown: Shown) -> str:
        """What is found in the shown clip; nothing where there is none or it fails."""
        try:
            job = self.queue.store.open_link(shown.job)
            clip = self.queue.path(job)
            if not isinstance(job.state, Done) or clip is None:
                return ""
            profile = self.queue.models[0].offer(job.choice.model).profile
            if _num_bytes(job.request, profile) > MAX_BYTES:
                return f'<p role="status">{say(TOO_LARGE)}</p>'
            return self._examined(clip, job.request, language_of_request())
        except LTX2Error as error:
            logger.info("a clip was not examined: %s", error)
        except Exception:
            logger.exception("A clip could not be examined")  # the clip itself is there
        return ""


def _num_bytes(request: Request, profile: ModelProfile) -> int:
    """Size of a clip's decoded pictures."""
    asked = request.resolve(profile)
    return 3 * (asked.width or 0) * (asked.height or 0) * (asked.num_frames or 0)
