"""Files that are whole or not there."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replaced(path: str | Path) -> Iterator[Path]:
    """Path to write to, beside `path`, which it replaces once everything went well.

    Until then `path` is as it was; after an exception nothing is left of the new file.

    Raises:
        OSError: it cannot take its place.
    """
    path = Path(path)
    part = path.with_name(f"{path.name}.part")
    try:
        yield part
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def linked(source: Path, target: Path) -> None:
    """Makes `target` the same file as `source`, or a copy of it where that is on another disk.

    Nobody sees half a copy, and several may make the same target at once.

    Raises:
        OSError: neither can be made.
    """
    part = target.with_name(f"{target.name}.{secrets.token_hex(8)}.part")
    try:
        try:
            os.link(source, part)
        except OSError:
            shutil.copyfile(source, part)
        part.replace(target)
    finally:
        # Renaming one name of a file to another of its names leaves both.
        part.unlink(missing_ok=True)
