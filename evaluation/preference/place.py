"""Where studies are kept."""

from pathlib import Path

from ltx2.settings import Settings


def studies_folder(settings: Settings) -> Path:
    """Folder of the clips that studies show, and of their database unless another is named."""
    return settings.data / "studies"


def database_url(settings: Settings) -> str:
    """The database that is set, or a SQLite file in the studies' folder, which is made.

    Raises:
        ResourceError: the folder cannot be made.
    """
    from evaluation.preference.store import sqlite_url

    return settings.database_url or sqlite_url(studies_folder(settings) / "studies.db")
