"""Votes copied to where they outlive the server.

A Space's disk is gone when it restarts. With a token, the log is committed to a dataset repository
every few minutes; without one, raters are told that votes are not kept.
"""

import json
import logging
import threading
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from evaluation.preference.store import Entry, Store
from ltx2.errors import LTX2Error

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
        self._lock = threading.Lock()
        self._copied: dict[str, int] = {}
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

    def follow(self, store: Store) -> None:
        """From now on every entry of the store's logs is copied; those that are there, at once."""
        if self._folder is None:
            return
        for study in store.studies():
            self._copy(store, study.id)
        store.on_entry(lambda study_id: self._copy(store, study_id))

    def _copy(self, store: Store, study_id: str) -> None:
        """Adds what the file lacks; what fails here is in the database still."""
        try:
            with self._lock if self._scheduler is None else self._scheduler.lock:
                self._append(study_id, store.entries(study_id, after=self._copied.get(study_id, 0)))
        except (OSError, LTX2Error):
            logger.exception("An entry was not copied; it is in the database.")

    def _append(self, study_id: str, entries: Iterable[Entry]) -> None:
        assert self._folder is not None
        self._folder.mkdir(parents=True, exist_ok=True)
        # The first time all of it: what an earlier server left may end in half a line.
        mode = "a" if study_id in self._copied else "w"
        with (self._folder / f"{study_id}.jsonl").open(mode, encoding="utf-8") as file:
            for entry in entries:
                file.write(json.dumps(asdict(entry), ensure_ascii=False) + "\n")
                self._copied[study_id] = entry.number
