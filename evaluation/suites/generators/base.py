"""What all that makes clips of items has in common."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from evaluation.suites.given import Given
from evaluation.suites.schema import Item
from ltx2 import Request
from ltx2.progress import OnProgress, ShouldCancel


class Source(Protocol):
    """Where clips come from.

    Attributes:
        name: as reports call it ("puppet", "veo-3.1-generate-preview").
    """

    name: str

    def version(self) -> str:
        """Whatever changes when the same request would give another clip, as a digest."""

    def describe(self) -> Mapping[str, Any]:
        """What a record should know about it, JSON values only."""

    def takes(self, given: Given) -> bool:
        """Whether it makes clips from such files."""
        return False

    def leaves_out(self, item: Item, request: Request) -> str:
        """Why it does not even try, which is no failure, as a sentence; empty where it does."""
        if item.given is None or self.takes(item.given):
            return ""
        return f"{self.name} takes no such files: {', '.join(item.given.files)}."

    def cost_usd(self, request: Request) -> float:
        """Estimated price of one clip in US dollars; 0 where none is charged."""
        return 0.0


class Generator(Source, Protocol):
    """Makes clips, one after another."""

    def __call__(
        self,
        item: Item,
        request: Request,
        output: Path,
        *,
        on_progress: OnProgress,
        should_cancel: ShouldCancel,
    ) -> None:
        """Writes the clip to `output`, an MP4 file that is not there yet.

        Raises:
            LTX2Error: it cannot be made.
            GenerationCancelled: `should_cancel` said so.
        """
