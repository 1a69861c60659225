"""Files that clips are made from: what a request says of them, and where they lie."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from ltx2.clip import Clip
from ltx2.conditions import InputFile, Kind
from ltx2.errors import MediaError, RequestError
from ltx2.files import linked
from ltx2.media.guarded import read_media_guarded

Read = Callable[[Path], tuple[Kind, Clip]]
"""What a file holds, and its content as a clip."""


class Inputs:
    """Files by the digest of their bytes.

    Args:
        folder: keeps a copy of every file, under its digest, and finds those of earlier times;
            without it the files stay where they are.
        read: reads a file of any kind; by default in a guarded process, as for files of strangers.
    """

    def __init__(self, folder: Path | None = None, *, read: Read = read_media_guarded) -> None:
        self.folder = folder
        self._read = read
        self._paths: dict[str, Path] = {}

    def add(self, path: str | Path, *, name: str | None = None) -> InputFile:
        """What a request says of a file, which from now on is found.

        The file is decoded once, so that a bad one is an error now.

        Args:
            path: of a picture, video or sound.
            name: what people call it, if not as in the path.

        Raises:
            MediaError: it cannot be read.
        """
        path = Path(path)
        kind, clip = self._read(path)
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            self._paths[digest] = path if self.folder is None else self._keep(path, digest)
        except OSError as error:
            raise MediaError(
                f"The file {path.name} cannot be kept ({error.strerror}).",
                next_step="Make room on the disk, or choose it again.",
            ) from error
        has_pictures = kind != "sound"
        sound_s = clip.waveform.shape[1] / clip.sample_rate
        return InputFile(
            name=(name or path.name)[-255:],
            sha256=digest,
            kind=kind,
            width=clip.frames.shape[2] if has_pictures else 0,
            height=clip.frames.shape[1] if has_pictures else 0,
            duration_s={"image": 0.0, "sound": sound_s, "video": clip.duration_s}[kind],
            frame_rate=clip.frame_rate if kind == "video" else 0.0,
            has_sound=sound_s > 0.0,
        )

    def read(self, file: InputFile) -> Clip:
        """The content of a file: a clip, one without pictures, or one of a single picture.

        Raises:
            RequestError: nobody gave this file.
            MediaError: it cannot be read.
        """
        kind, clip = self._read(self.path(file))
        if kind != file.kind:
            raise MediaError(
                f"{file.name} is not the {file.kind} that it was.",
                next_step="Choose the file again.",
            )
        return clip

    def path(self, file: InputFile) -> Path:
        """Where a file lies.

        Raises:
            RequestError: nobody gave this file.
        """
        kept = None if self.folder is None else self.folder / file.sha256
        for path in (self._paths.get(file.sha256), kept):
            if path is not None and path.is_file():
                return path
        raise RequestError(
            f"The file {file.name} that the clip is made from is not here.",
            next_step=f"Give it again; its SHA-256 digest begins with {file.sha256[:12]}.",
        )

    def _keep(self, path: Path, digest: str) -> Path:
        assert self.folder is not None
        kept = self.folder / digest
        if not kept.is_file():
            self.folder.mkdir(parents=True, exist_ok=True)
            linked(path, kept)
        os.utime(kept)  # when it was last given: who sweeps the folder begins with the oldest
        return kept
