import os

import numpy as np
from PIL import Image

from ltx2.conditions import Keyframe
from ltx2.inputs import Inputs
from ltx2.media.decode import read_media
from ltx2.serving.kept_inputs import FRESH_S, MAX_AGE_S, sweep
from tests.unit.serving.stand_ins import REQUEST, a_queue

NOW = 1e9


def a_file(folder, name, age_s, size=10):
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_bytes(bytes(size))
    os.utime(path, (NOW - age_s, NOW - age_s))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_old_files_go_unless_a_job_needs_them(tmp_path):
    for name, age_s in (("old", MAX_AGE_S + 1), ("needed", MAX_AGE_S + 1), ("new", 1.0)):
        a_file(tmp_path / "inputs", name, age_s)
    sweep(tmp_path / "inputs", {"needed"}, now=NOW)
    assert names(tmp_path / "inputs") == ["needed", "new"]


def test_of_too_many_the_oldest_go_until_the_rest_fit(tmp_path):
    for age in (4, 3, 2):
        a_file(tmp_path / "inputs", f"age-{age}", age * FRESH_S)
    a_file(tmp_path / "inputs", "just-given", 1.0)
    sweep(tmp_path / "inputs", {"age-4"}, max_bytes=30, now=NOW)
    assert names(tmp_path / "inputs") == ["age-2", "age-4", "just-given"]
    sweep(tmp_path / "inputs", {"age-4"}, max_bytes=1, now=NOW)
    assert names(tmp_path / "inputs") == ["age-4", "just-given"]
    sweep(tmp_path / "nowhere", (), now=NOW)


def test_the_queue_keeps_what_its_jobs_are_made_from(tmp_path):
    queue = a_queue(tmp_path)
    inputs = Inputs(queue.inputs_folder, read=read_media)
    files = []
    for level in (0, 255):
        picture = tmp_path / f"{level}.png"
        Image.fromarray(np.full((64, 64, 3), level, np.uint8)).save(picture)
        files.append(inputs.add(picture))
    shown = (Keyframe(image=files[0]),)
    job = queue.submit("ann", REQUEST.model_copy(update={"keyframes": shown}))
    for path in queue.inputs_folder.iterdir():
        os.utime(path, (1.0, 1.0))
    queue.purge()
    assert names(queue.inputs_folder) == [files[0].sha256]
    queue.cancel("ann", job.id)
    queue.purge()
    assert names(queue.inputs_folder) == []
    queue.close()
    queue.store.close()
