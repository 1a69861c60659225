"""Votes copied to where they outlive the server.

A Space's disk is gone when it restarts. With a token, the log is committed to a dataset repository
every few minutes; without one, raters are told that votes are not kept.
"""

import json
import logging
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from evaluation.preference.store import Entry

if TYPE_CHECKING:
    from huggingface_hub import CommitScheduler

logger = logging.getLogger(__name__)

EVERY_MIN = 2.0
"""Minutes between commits."""


class Keeper:
    """Copies the log's entries to files, one per study, and the files to a repository.

    Args:
        folder: of the copies; None copies nothing.
        scheduler: commits the folder (huggingface_hub's `CommitScheduler`); None leaves it there.
        keeps: whether votes outlive the server as things stand.
    """

    def __init__(
        self,
        folder: Path | None = None,
        scheduler: "CommitScheduler | None" = None,
        *,
        keeps: bool = True,
    ) -> None:
        self._folder = folder
        self._scheduler = scheduler
        self.keeps = keeps

    @classmethod
    def on_a_space(cls, folder: Path, repository: str | None, token: str | None) -> "Keeper":
        """Commits to a private dataset repository, or says that nothing is kept."""
        if not (repository and token):
            logger.warning("Votes are not kept: set HF_TOKEN and LTX2_VOTES_REPO.")
            return cls(keeps=False)
        from huggingface_hub import CommitScheduler

        folder.mkdir(parents=True, exist_ok=True)
        scheduler = CommitScheduler(
            repo_id=repository,
            repo_type="dataset",
            folder_path=folder,
            path_in_repo="votes",
            every=EVERY_MIN,
            private=True,
            token=token,
        )
        return cls(folder, scheduler)

    def keep(self, entry: Entry) -> None:
        """Appends the entry to its study's file; what fails here is in the database still."""
        if self._folder is None:
            return
        line = json.dumps(asdict(entry), ensure_ascii=False) + "\n"
        try:
            if self._scheduler is None:
                self._append(entry.study, line)
            else:
                with self._scheduler.lock:
                    self._append(entry.study, line)
        except OSError:
            logger.exception("An entry was not copied; it is in the database.")

    def rewrite(self, study_id: str, entries: Iterable[Entry]) -> None:
        """Writes the file of a study anew from the database, after a restart."""
        if self._folder is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{study_id}.jsonl"
        lines = (json.dumps(asdict(entry), ensure_ascii=False) + "\n" for entry in entries)
        path.write_text("".join(lines), encoding="utf-8")

    def _append(self, study_id: str, line: str) -> None:
        assert self._folder is not None
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / f"{study_id}.jsonl").open("a", encoding="utf-8") as file:
            file.write(line)
