"""Files that clips were made from: kept for a while, so that a clip can be made again."""

import logging
import time
from collections.abc import Collection
from pathlib import Path

logger = logging.getLogger(__name__)

MAX_AGE_S = 7 * 24 * 3600.0
"""How long a file is kept after it was last given: as long as a deleted clip."""

MAX_BYTES = 20 * 2**30
"""Of all files together; the oldest go first."""

FRESH_S = 3600.0
"""A file that was just given may belong to a job that is about to be put into the queue."""


def sweep(
    folder: Path,
    needed: Collection[str],
    *,
    max_age_s: float = MAX_AGE_S,
    max_bytes: int = MAX_BYTES,
    now: float | None = None,
) -> None:
    """Old files go, and the oldest of too many; never one that a job still needs.

    Args:
        folder: holds files under their digests; may be missing.
        needed: digests of files that stay.
        max_age_s: since a file was last given.
        max_bytes: that stay, but for what is needed or fresh.
        now: seconds since 1970.
    """
    now = time.time() if now is None else now
    try:
        found = [(path.stat(), path) for path in folder.iterdir() if path.is_file()]
    except FileNotFoundError:
        return
    except OSError as error:
        logger.warning("the files that clips are made from cannot be listed: %s", error.strerror)
        return
    total = sum(stat.st_size for stat, _ in found)
    for stat, path in sorted(found, key=lambda item: item[0].st_mtime):
        age_s = now - stat.st_mtime
        is_due = age_s > max_age_s or (total > max_bytes and age_s > FRESH_S)
        if not is_due or path.name in needed:
            continue
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("a file that clips are made from stays: %s", error.strerror)
        else:
            total -= stat.st_size
