from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from evaluation.expectation import Expectation
from evaluation.measurement import Measured
from evaluation.metrics import face_identity
from evaluation.metrics.drift_people import METRICS
from ltx2 import Clip
from ltx2.errors import ResourceError

IDENTITY = next(metric for metric in METRICS if metric.name == "drift.identity")


def shot(data_folder, name):
    """Three seconds of a speaker of GRID, one picture of four."""
    clip = Clip.load(data_folder / "grid" / f"{name}.mpg")
    return replace(clip, frames=clip.frames[::4], frame_rate=clip.frame_rate / 4)


def joined(shots):
    frames = np.concatenate([part.frames for part in shots])
    return replace(shots[0], frames=frames, waveform=np.zeros((2, 0), np.float32))


def test_the_same_person_stays_and_another_one_is_told_apart(data_folder):
    pytest.importorskip("dlib")
    first, other = shot(data_folder, "lbax4n"), shot(data_folder, "lrwp9a")
    outcome = IDENTITY.measure(joined([first, first, other, other]), Expectation())
    assert isinstance(outcome, Measured)
    distances = outcome.evidence[0].y
    assert distances[0] < 0.3
    assert distances[-1] > face_identity.ANOTHER_PERSON
    assert outcome.details["start_end_contrast"] > 0.4


@pytest.mark.parametrize(
    ("module", "package"),
    [("dlib", "dlib-bin"), ("face_recognition_models", "face_recognition_models")],
)
def test_without_a_package_it_says_which_one_brings_it(monkeypatch, module, package):
    face_identity._network.cache_clear()
    there = SimpleNamespace(origin="folder/__init__.py")
    monkeypatch.setattr(face_identity, "find_spec", lambda name: None if name == module else there)
    with pytest.raises(ResourceError, match=f"the package {package} is missing") as error:
        face_identity.face_vector(np.zeros((8, 8, 3), np.uint8), np.zeros((468, 2)))
    assert "pip install" in error.value.next_step
