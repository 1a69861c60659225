"""Clips of a run as the folder of a study's model: `ITEM.mp4` and a manifest."""

import csv
import shutil
from pathlib import Path

from evaluation.suites.records import RunFolder
from ltx2.errors import RequestError, ResourceError

MANIFEST = "manifest.csv"


def export_clips(folder: RunFolder, target: Path, *, seed: int | None = None) -> int:
    """Number of clips just copied, byte for byte.

    Args:
        folder: of the run.
        target: a folder that is not there yet, or is empty.
        seed: only clips of this one; the first that was asked for if not said.

    Raises:
        RequestError: there is no run, no clip, or the target has files.
        ResourceError: the files cannot be written.
    """
    run = folder.read_run()
    if run is None:
        raise RequestError(f"{folder.path} holds no run.", next_step="Give the folder of a run.")
    wanted = run.seeds[0] if seed is None else seed
    records = [record for key in run.keys if (record := folder.read_item(key)) is not None]
    made = [record for record in records if record.status == "ok" and record.seed == wanted]
    if not made:
        raise RequestError(
            f"The run has no clip of seed {wanted}.",
            next_step=f"Its seeds are {', '.join(map(str, run.seeds))}.",
        )
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise RequestError(f"{target} is in use.", next_step="Name a folder that is not there yet.")
    try:
        target.mkdir(parents=True, exist_ok=True)
        for record in made:
            shutil.copyfile(folder.clip(record.key), target / f"{record.item}.mp4")
        with (target / MANIFEST).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("id", "prompt", "language", "suite"))
            writer.writerows((r.item, r.request.prompt, r.language, run.suite) for r in made)
    except OSError as error:
        raise ResourceError(
            f"{target} cannot be written: {error.strerror}.", next_step="Choose another folder."
        ) from error
    return len(made)
