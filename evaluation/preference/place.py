"""Where studies are kept."""

from collections.abc import Mapping
from pathlib import Path

from ltx2.settings import Settings


def studies_folder(settings: Settings) -> Path:
    """Folder of the clips that studies show, and of their database unless another is named."""
    return settings.data / "studies"


def database_url(settings: Settings, environment: Mapping[str, str]) -> str:
    """LTX2_DATABASE_URL, or a SQLite file in the studies' folder, which is made.

    Raises:
        ResourceError: the folder cannot be made.
    """
    from evaluation.preference.store import sqlite_url

    named = environment.get("LTX2_DATABASE_URL")
    return named or sqlite_url(studies_folder(settings) / "studies.db")
