"""Repositories of the Hugging Face Hub on this machine, in the cache that its own library keeps.

`models--OWNER--NAME/snapshots/COMMIT/` holds files and `refs/main` names the newest commit, so that
other programs find what was downloaded here, and this one what they did. Looking into it needs no
network and imports nothing heavy.
"""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ltx2.checkpoint.keymaps import FOLDERS
from ltx2.checkpoint.sources import DIFFUSERS_INDEX, SHARDS_INDEX, SUFFIX
from ltx2.errors import CheckpointError, RequestError, ResourceError
from ltx2.progress import ShouldCancel

if TYPE_CHECKING:
    from ltx2.checkpoint.hub import OnTransfer, RemoteFile

_ID = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(?:/(?P<file>.+))?")

OF_DIFFUSERS = (*FOLDERS, "scheduler", "text_encoder", "tokenizer")
"""Folders of a diffusers model."""

ENDINGS = (SUFFIX, ".json", ".model", ".txt", ".jinja")
"""Of files that a model needs; nothing else is downloaded."""

SHOWN = 12
"""Names in a message."""


def parse_id(name: str) -> tuple[str, str | None] | None:
    """Repository, and perhaps a file in it, of "OWNER/NAME" or "OWNER/NAME/FILE"; else None."""
    match = _ID.fullmatch(name)
    if match is None or ".." in name or any(part in ("", ".") for part in name.split("/")):
        return None
    is_path = match["repo"].endswith(SUFFIX) or match["repo"].startswith((".", "-"))
    return None if is_path else (match["repo"], match["file"])


def cache_root() -> Path:
    """Folder of the Hub's cache, as HF_HOME and HF_HUB_CACHE say."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE)


def snapshot_folder(repo: str, revision: str) -> Path:
    """Where the files of a repository at one commit lie."""
    return cache_root() / f"models--{repo.replace('/', '--')}" / "snapshots" / revision


def cached(repo: str) -> Path | None:
    """The newest snapshot of a repository in the cache; None if there is none."""
    folder = cache_root() / f"models--{repo.replace('/', '--')}"
    try:
        revision = (folder / "refs" / "main").read_text().strip()
    except (OSError, ValueError):
        return None
    snapshot = folder / "snapshots" / revision
    return snapshot if re.fullmatch(r"[\w.-]+", revision) and snapshot.is_dir() else None


def find_cached(name: str) -> Path | None:
    """What a name like "OWNER/NAME" or "OWNER/NAME/FILE" means in the cache; None if it is no name.

    Raises:
        CheckpointError: it was not downloaded, or has to say which file.
    """
    parsed = parse_id(name)
    if parsed is None:
        return None
    repo, file = parsed
    snapshot = cached(repo)
    command = f"`python -m ltx2 download {name}`"
    advice = f"Download it with {command}."
    if snapshot is None:
        raise CheckpointError(
            f"There is no model {name[:120]!r} here, neither at that path nor in the Hub's cache.",
            next_step=f"Check the path, or download it from the Hub with {command}.",
        )
    if file is not None:
        if not (snapshot / file).exists():
            raise CheckpointError(f"{repo} is here without its file {file}.", next_step=advice)
        return snapshot / file
    if (snapshot / DIFFUSERS_INDEX).is_file() or (snapshot / "config.json").is_file():
        return snapshot
    files = sorted(snapshot.glob(f"*{SUFFIX}")) + sorted(snapshot.glob(f"*{SHARDS_INDEX}"))
    if len(files) != 1:
        names = ", ".join(path.name for path in files[:SHOWN]) or "none"
        raise CheckpointError(
            f"{repo} is here with several models or none ({names}).",
            next_step=f"Write which, as in {repo}/{files[0].name if files else 'FILE'}.",
        )
    return files[0]


def choose_files(files: "Sequence[RemoteFile]", wanted: str | None) -> "list[RemoteFile]":
    """Those files of a repository that a model is made of.

    Args:
        files: all of them.
        wanted: a file or a folder of them; None for the only model there is.

    Raises:
        RequestError: there is none, or more than one.
    """
    useful = [file for file in files if file.name.endswith(ENDINGS)]
    if wanted is not None:
        chosen = [f for f in useful if f.name == wanted or f.name.startswith(f"{wanted}/")]
        if not chosen:
            raise RequestError(
                f"The repository holds no file {wanted}.", next_step=f"Choose {_listed(useful)}."
            )
        return chosen
    names = {file.name for file in useful}
    if DIFFUSERS_INDEX in names:
        return [
            file
            for file in useful
            if file.name == DIFFUSERS_INDEX or PurePosixPath(file.name).parts[0] in OF_DIFFUSERS
        ]
    top = [file for file in useful if "/" not in file.name]
    models = [file for file in top if file.name.endswith(SUFFIX)]
    if len(models) == 1 or "config.json" in names:
        return top
    raise RequestError(
        "The repository holds several models or none.", next_step=f"Choose {_listed(models)}."
    )


def download(name: str, *, on_transfer: "OnTransfer", should_cancel: ShouldCancel) -> Path:
    """Folder with the files of "OWNER/NAME" or "OWNER/NAME/FILE", resumed and with checksums.

    Raises:
        RequestError: the name is none, or does not say which of several models.
        CheckpointError: there is no such repository, or its terms were not accepted.
        ResourceError: the Hub does not answer, or the disk has no room.
        GenerationCancelled: it was asked to stop; what came stays.
    """
    from ltx2.checkpoint.catalog import Source
    from ltx2.checkpoint.hub import fetch, list_files

    parsed = parse_id(name)
    if parsed is None:
        raise RequestError(
            f"{name!r} is not the name of a repository.", next_step="Write OWNER/NAME[/FILE]."
        )
    repo, wanted = parsed
    files = choose_files(list_files(Source(repo, ("*",), "", "unknown", 0)), wanted)
    folder = snapshot_folder(repo, files[0].revision)
    fetch(files, folder, on_transfer=on_transfer, should_cancel=should_cancel)
    newest = folder.parents[1] / "refs" / "main"
    try:
        newest.parent.mkdir(parents=True, exist_ok=True)
        newest.write_text(files[0].revision)
    except OSError as error:
        raise ResourceError(
            f"{newest} cannot be written ({error.strerror}).",
            next_step="Let this program write to the Hub's cache, or choose another as HF_HOME.",
        ) from error
    return folder


def _listed(files: "Sequence[RemoteFile]") -> str:
    names = [file.name for file in files[:SHOWN]]
    rest = len(files) - len(names)
    return ", ".join(names) + (f" or one of {rest} more" if rest > 0 else "")
