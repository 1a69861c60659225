"""Clips that somebody else made, in a folder: named by item, or by item and seed."""

import hashlib
import shutil
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from evaluation.canonical import digest
from evaluation.suites.generators.base import Generator
from evaluation.suites.schema import Item
from ltx2 import Request
from ltx2.errors import RequestError
from ltx2.progress import OnProgress, ShouldCancel

SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi")


class FolderGenerator(Generator):
    """Takes `ITEM-SEED.mp4`, or `ITEM.mp4` for every seed, from a folder.

    Args:
        folder: with the clips, in any of `SUFFIXES`.
        name: of whatever made them; the folder's name if not said.

    Raises:
        RequestError: there is no such folder.
    """

    def __init__(self, folder: Path, name: str | None = None) -> None:
        if not folder.is_dir():
            raise RequestError(
                f"There is no folder {folder}.", next_step="Give the folder of the clips."
            )
        self.name = name or folder.resolve().name
        self._clips = {
            path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES
        }

    def version(self) -> str:
        """Digest of the files' names and contents."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        digests = {}
        for name, path in self._clips.items():
            with path.open("rb") as file:
                digests[name] = hashlib.file_digest(file, "sha256").hexdigest()
        return digest(digests)

    def describe(self) -> Mapping[str, Any]:
        """How many clips there are."""
        return {"kind": "folder", "num_clips": len(self._clips)}

    def leaves_out(self, item: Item, request: Request) -> str:
        """Items without a clip; whoever made the others knew what to make them from."""
        if self._found(item, request) is None:
            return f"The folder has neither {item.id}-{request.seed} nor {item.id}."
        return ""

    def __call__(
        self,
        item: Item,
        request: Request,
        output: Path,
        *,
        on_progress: OnProgress,
        should_cancel: ShouldCancel,
    ) -> None:
        """Copies the clip."""
        found = self._found(item, request)
        assert found is not None, "such items are left out"
        shutil.copyfile(found, output)

    def _found(self, item: Item, request: Request) -> Path | None:
        return self._clips.get(f"{item.id}-{request.seed}") or self._clips.get(item.id)
