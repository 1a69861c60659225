"""Runs that are kept where no disk is shared: s3://, gs://, hf:// and whatever else fsspec knows.

Such stores show a file only once it is whole, so that nothing has to be renamed. They cannot be
locked: two programs that make the same run at once do the same work twice, and no harm.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from evaluation.suites.records import CLIPS, RunFolder, RunStore, clip_name
from ltx2.errors import RequestError, ResourceError


def open_run(place: str) -> RunStore:
    """The run of a folder, or of an address that fsspec knows.

    Raises:
        RequestError: nothing is known of such addresses.
        ResourceError: the package for such addresses is not installed.
    """
    if place.startswith("file://"):
        return RunFolder(place.removeprefix("file://"))
    return StoredRun(place) if "://" in place else RunFolder(place)


def fetch_run(source: RunStore, target: RunFolder) -> int:
    """Copies the clips and records of a run that are not in the folder; how many clips it copied.

    Raises:
        RequestError: the source holds no run, or somebody else is writing to the folder.
    """
    run = source.read_run()
    if run is None:
        raise RequestError(f"{source.place} holds no run.", next_step="Give the --out of a run.")
    target.create()
    copied = 0
    with target.writing() as work:
        target.write_run(run)
        for key in run.keys:
            record = source.read_item(key)
            if record is not None:
                target.write_item(record)
            if source.has_clip(key) and not target.has_clip(key):
                part = work / key
                source.copy_clip(key, part)
                target.keep_clip(key, part)
                copied += 1
    return copied


class StoredRun(RunStore):
    """Files of one run in an object store.

    Args:
        address: with its protocol, as in "s3://bucket/run".

    Raises:
        RequestError: there is no such protocol.
        ResourceError: the package for it is not installed.
    """

    def __init__(self, address: str) -> None:
        from fsspec.core import url_to_fs

        self.place = address.rstrip("/")
        try:
            # Listings are not remembered, as others may have written since.
            self._files, self._root = url_to_fs(self.place, use_listings_cache=False)
        except ImportError as error:
            raise ResourceError(
                f"{address} needs a package that is not installed: {error}.",
                next_step="Install it on this machine; workers do not need it.",
            ) from error
        except ValueError as error:
            raise RequestError(
                f"{address} cannot be used: {error}.",
                next_step="Give a folder, or an address as s3://BUCKET/RUN.",
            ) from error

    def create(self) -> None:
        """Asks once what is there, so that a wrong address or key is known before work begins."""
        self._clips  # noqa: B018 - asked for the errors it raises

    @contextmanager
    def writing(self) -> Iterator[Path]:
        """A folder on this machine; nothing keeps others from writing."""
        with tempfile.TemporaryDirectory() as work:
            yield Path(work)

    @cached_property
    def _clips(self) -> set[str]:
        """Names of the clips that are there."""
        try:
            found = self._files.ls(f"{self._root}/{CLIPS}", detail=False)
        except FileNotFoundError:
            return set()
        except Exception as error:
            # Every store has errors of its own for keys, buckets and networks.
            raise ResourceError(
                f"{self.place} cannot be read: {type(error).__name__}: {error}.",
                next_step="Check the address and the keys that its package reads.",
            ) from error
        return {f"{CLIPS}/{str(path).rsplit('/', 1)[-1]}" for path in found}

    def has_clip(self, key: str) -> bool:
        """Whether the clip was there when this was first asked, or has been kept since."""
        return clip_name(key) in self._clips

    def keep_clip(self, key: str, made: Path) -> None:
        """Uploads a clip."""
        self._write(clip_name(key), made.read_bytes())
        self._clips.add(clip_name(key))

    def copy_clip(self, key: str, target: Path) -> None:
        """Downloads a clip."""
        target.write_bytes(self._read(clip_name(key)))

    def _read(self, name: str) -> bytes:
        contents: bytes = self._files.cat_file(f"{self._root}/{name}")
        return contents

    def _write(self, name: str, contents: bytes) -> None:
        try:
            self._files.pipe_file(f"{self._root}/{name}", contents)
        except OSError:
            raise
        except Exception as error:
            raise OSError(f"{self.place} cannot be written: {error}") from error
