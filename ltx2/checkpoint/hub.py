"""Weights from the Hugging Face Hub: asked for, resumed, counted, checked.

The Hub's metadata name the size and the checksum of every file. A file is written beside its
place, goes on where it was cut off, and takes its place once its checksum is right. HF_TOKEN says
who asks, HF_ENDPOINT where the Hub is.
"""

import errno
import hashlib
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote

from huggingface_hub import HfApi, get_session
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

from ltx2.checkpoint.catalog import Source
from ltx2.errors import CheckpointError, GenerationCancelled, ResourceError
from ltx2.progress import ShouldCancel

SITE = "https://huggingface.co"

CHUNK_BYTES = 1 << 20

TRIES = 5
"""How often in a row a transfer that was cut off is taken up again without a byte gained."""

PAUSE_S = 1.0
"""Before the second try; twice as long before each further one."""

TIMEOUT_S = 30.0
"""Without a byte a transfer counts as cut off."""

RATE_WINDOW_S = 10.0
"""The rate is that of the last seconds, as it changes with the hour and the neighbours."""

SPARE_BYTES = 1 << 30
"""Left free on the disk, so that clips can still be written."""


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository at one commit.

    Attributes:
        repo: "owner/name".
        revision: hash of the commit.
        name: path in the repository.
        size: in bytes.
        digest: "sha256:..." of the content of large files, "git:..." of small ones, which is
            SHA-1 over Git's header and the content.
    """

    repo: str
    revision: str
    name: str
    size: int
    digest: str

    def path(self, folder: Path) -> Path:
        """Where it lies once it is whole."""
        return folder / self.name

    def part(self, folder: Path) -> Path:
        """Where it grows; of another content it has another name."""
        path = self.path(folder)
        return path.with_name(f".{path.name}.{self.digest.partition(':')[2][:16]}.part")


@dataclass(frozen=True)
class Transfer:
    """How far files have come.

    Attributes:
        done, total: bytes, with those that were there before.
        rate: bytes per second lately; None at first.
        is_checking: the checksum of what was there before is being computed.
    """

    done: int
    total: int
    rate: float | None = None
    is_checking: bool = False

    @property
    def seconds_left(self) -> float | None:
        """Until everything is here; None while nobody knows."""
        return (self.total - self.done) / self.rate if self.rate else None


OnTransfer = Callable[[Transfer], None]


def list_files(source: Source) -> tuple[RemoteFile, ...]:
    """Files that a source names, as they are now; this visitor may read them.

    Raises:
        CheckpointError: there is no such repository or file, or its terms were not accepted.
        ResourceError: the Hub does not answer.
    """
    with _reached(), _explained(source.repo):
        api = HfApi()
        info = api.model_info(source.repo, files_metadata=True)
        api.auth_check(source.repo)
    siblings = [
        sibling
        for sibling in info.siblings or ()
        if any(fnmatch(sibling.rfilename, pattern) for pattern in source.patterns)
    ]
    if not siblings:
        raise CheckpointError(
            f"The repository {source.repo} holds no file {' or '.join(source.patterns)} any more.",
            next_step=f"Look at {SITE}/{source.repo} for what replaced it.",
        )
    return tuple(_remote(source.repo, str(info.sha), sibling) for sibling in siblings)


def fetch(
    files: Sequence[RemoteFile],
    folder: Path,
    *,
    on_transfer: OnTransfer,
    should_cancel: ShouldCancel,
) -> tuple[Path, ...]:
    """Paths of the files, once all are here and their checksums are right.

    What came before a failure or a wish to stop stays, and the next call goes on from there.

    Args:
        files: as `list_files` tells them.
        folder: that they are put into, under their own names.
        on_transfer: told about once for each MiB.
        should_cancel: asked as often.

    Raises:
        GenerationCancelled: it was asked to stop.
        CheckpointError: a file is not what the Hub says, or its terms are not accepted.
        ResourceError: the disk has no room, or the Hub does not answer.
    """
    meter = _Meter(sum(file.size for file in files), on_transfer)
    missing = [file for file in files if not _is_here(file, folder)]
    check_room(missing, folder)
    meter.add(sum(file.size for file in files) - sum(file.size for file in missing), is_new=False)
    for file in missing:
        _fetch(file, folder, meter, should_cancel)
    return tuple(file.path(folder) for file in files)


def num_bytes_here(files: Sequence[RemoteFile], folder: Path) -> int:
    """Bytes of the files that are on the disk, whole or in part."""
    return sum(file.size if _is_here(file, folder) else _size(file.part(folder)) for file in files)


def check_room(files: Sequence[RemoteFile], folder: Path) -> None:
    """Refuses files that the disk has no room for.

    Raises:
        ResourceError: it has none, or the folder cannot be made.
    """
    needed = sum(file.size - _size(file.part(folder)) for file in files)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        _refuse_folder(folder, error)
    if needed and needed + SPARE_BYTES > free:
        raise ResourceError(
            f"There is no room: {_gigabytes(needed)} are to come, and {_gigabytes(free)} are free "
            f"in {folder}, of which {_gigabytes(SPARE_BYTES)} stay free for clips.",
            next_step=f"Free {_gigabytes(needed + SPARE_BYTES - free)}, or choose another folder "
            "as LTX2_DATA.",
        )


def _fetch(file: RemoteFile, folder: Path, meter: "_Meter", should_cancel: ShouldCancel) -> None:
    part = file.part(folder)
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        hasher = _hash_of_part(file, part, meter, should_cancel)
        tries = 0
        while (size := _size(part)) < file.size:
            try:
                with _explained(file.repo):
                    _receive(file, part, size, hasher, meter, should_cancel)
            except _CutOffError as error:
                # A transfer that brought something was worth its try.
                tries = 1 if _size(part) > size else tries + 1
                if tries >= TRIES:
                    raise ResourceError(
                        f"The transfer of {file.name} was cut off {TRIES} times.",
                        next_step="Check the network and start again; it goes on where it was.",
                    ) from error
                _pause(PAUSE_S * 2 ** (tries - 1), should_cancel)
        if hasher.hexdigest() != file.digest.partition(":")[2]:
            part.unlink()
            raise CheckpointError(
                f"{file.name} arrived damaged: its checksum is not the one that the Hub names.",
                next_step="Start the download again. If it happens twice, look for a proxy or an "
                "antivirus program that changes downloads.",
            )
        part.replace(file.path(folder))
    except OSError as error:
        _refuse_folder(folder, error)


def _receive(
    file: RemoteFile,
    part: Path,
    start: int,
    hasher: Any,
    meter: "_Meter",
    should_cancel: ShouldCancel,
) -> None:
    headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    url = f"{HfApi().endpoint}/{file.repo}/resolve/{file.revision}/{quote(file.name)}"
    with (
        get_session().stream(
            "GET", url, headers=headers, follow_redirects=True, timeout=TIMEOUT_S
        ) as answer,
        part.open("ab") as target,
    ):
        hf_raise_for_status(answer)
        if start and answer.status_code != 206:
            part.unlink()
            raise CheckpointError(
                f"The server sends {file.name} only as a whole, so it begins anew.",
                next_step="Start the download again.",
            )
        for chunk in answer.iter_bytes(CHUNK_BYTES):
            if should_cancel():
                raise GenerationCancelled
            target.write(chunk)
            hasher.update(chunk)
            meter.add(len(chunk))
    if _size(part) > file.size:
        part.unlink()
        raise CheckpointError(
            f"{file.name} is longer than the Hub says.", next_step="Start the download again."
        )


def _hash_of_part(
    file: RemoteFile, part: Path, meter: "_Meter", should_cancel: ShouldCancel
) -> Any:
    """Hash of what is there already."""
    kind = file.digest.partition(":")[0]
    hasher = hashlib.sha256() if kind == "sha256" else hashlib.sha1(usedforsecurity=False)
    if kind == "git":
        hasher.update(f"blob {file.size}\0".encode())
    if _size(part) > file.size:
        part.unlink()
    if part.exists():
        with part.open("rb") as source:
            while chunk := source.read(CHUNK_BYTES):
                if should_cancel():
                    raise GenerationCancelled
                hasher.update(chunk)
                meter.add(len(chunk), is_new=False)
    return hasher


class _Meter:
    """Counts bytes and says how fast they come."""

    def __init__(self, total: int, tell: OnTransfer) -> None:
        self._total, self._tell = total, tell
        self._done = 0
        self._seen: deque[tuple[float, int]] = deque()

    def add(self, count: int, *, is_new: bool = True) -> None:
        """Bytes are here; new ones came over the network."""
        self._done += count
        rate = self._rate(count) if is_new else None
        self._tell(Transfer(self._done, self._total, rate, is_checking=not is_new))

    def _rate(self, count: int) -> float | None:
        now = time.monotonic()
        self._seen.append((now, count))
        while now - self._seen[0][0] > RATE_WINDOW_S:
            self._seen.popleft()
        start, first = self._seen[0]
        elapsed = now - start
        # The first chunk was on its way before the window began.
        return (sum(n for _, n in self._seen) - first) / elapsed if elapsed > 0.5 else None


class _CutOffError(Exception):
    """The transfer ended early; what came is kept."""


@contextmanager
def _explained(repo: str) -> Iterator[None]:
    """What the Hub reports, as one of our errors; `_CutOffError` where trying again may help."""
    page = f"{SITE}/{repo}"
    try:
        yield
    except GatedRepoError as error:
        raise CheckpointError(
            f"The terms of {repo} have to be accepted before its files can be downloaded.",
            next_step=f"Open {page}, log in, accept the terms, and start the server with a token "
            "of that account as HF_TOKEN.",
        ) from error
    except RepositoryNotFoundError as error:
        raise CheckpointError(
            f"There is no repository {repo}, or it is private.",
            next_step=f"Open {page}; if you can see it there, give a token as HF_TOKEN.",
        ) from error
    except OfflineModeIsEnabled as error:
        raise ResourceError(
            "HF_HUB_OFFLINE forbids downloads.", next_step="Unset it, and start the server again."
        ) from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status >= 500 or status == 429:
            raise _CutOffError(str(status)) from error
        raise CheckpointError(
            f"The Hub refuses {repo} (HTTP {status}).",
            next_step=f"Look at {page}; a wrong HF_TOKEN is refused as well.",
        ) from error
    except HTTPError as error:
        raise _CutOffError(type(error).__name__) from error


@contextmanager
def _reached() -> Iterator[None]:
    """An answer that did not come, as advice."""
    try:
        yield
    except _CutOffError as error:
        raise ResourceError(
            f"The Hub does not answer ({error}).",
            next_step="Check the network, and the address in HF_ENDPOINT if you set one.",
        ) from error


def _remote(repo: str, revision: str, sibling: Any) -> RemoteFile:
    name = sibling.rfilename
    if name.startswith("/") or any(mark in name for mark in "\\:\0") or ".." in name.split("/"):
        raise CheckpointError(
            f"The repository {repo} holds a file with the name {name[:120]!r}.",
            next_step="Download it by hand, if you trust it.",
        )
    digest = f"sha256:{sibling.lfs.sha256}" if sibling.lfs else f"git:{sibling.blob_id}"
    return RemoteFile(repo, revision, name, int(sibling.size), digest)


def _is_here(file: RemoteFile, folder: Path) -> bool:
    """Files get their name when their checksum is right, so the size is enough."""
    path = file.path(folder)
    return path.is_file() and _size(path) == file.size


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _pause(seconds: float, should_cancel: ShouldCancel) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if should_cancel():
            raise GenerationCancelled
        time.sleep(min(0.1, seconds))


def _refuse_folder(folder: Path, error: OSError) -> NoReturn:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        raise ResourceError(
            f"The disk is full: the download into {folder} stopped.",
            next_step="Free some space and start again; it goes on where it was.",
        ) from error
    raise ResourceError(
        f"The folder {folder} cannot be written ({error.strerror}).",
        next_step="Let the server write to it, or choose another one as LTX2_DATA.",
    ) from error


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
