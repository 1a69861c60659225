"""Files that are whole or not there."""

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
