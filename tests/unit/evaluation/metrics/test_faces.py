import gc
from pathlib import Path

import numpy as np
import pytest

from evaluation.metrics.cartoon_faces import cartoon_openings
from evaluation.metrics.face_models import overlaps
from evaluation.metrics.face_tracks import find_cuts, track
from evaluation.metrics.faces import find_faces, shows_puppets
from ltx2 import Clip
from ltx2.training.puppet.scenes import Line, Puppet, Surroundings, Talk
from ltx2.training.puppet.world import RenderedClip, render


def _talk(*skins: str) -> RenderedClip:
    places = ("centre",) if len(skins) == 1 else ("left", "right")
    puppets = tuple(
        Puppet(skin, "none", "none", "high", place)
        for skin, place in zip(skins, places, strict=True)
    )
    lines = tuple(Line(number, "banana") for number in range(len(skins)))
    return render(
        Talk(
            surroundings=Surroundings("grey"),
            variation=3,
            puppets=puppets,
            lines=lines,
            start_s=0.2,
        ),
        num_frames=41,
        height=96,
        width=128,
    )


def _clip(rendered: RenderedClip) -> Clip:
    return Clip(rendered.frames, rendered.waveform, rendered.frame_rate, rendered.sample_rate)


@pytest.mark.parametrize("skins", [("yellow",), ("red", "blue")])
def test_puppets_are_found_where_they_are_and_their_mouths_are_read(skins: tuple[str, ...]) -> None:
    rendered = _talk(*skins)
    faces = find_faces(_clip(rendered))
    assert faces.is_cartoon
    assert len(faces.tracks) == len(skins)
    for face, truth in zip(
        sorted(faces.tracks, key=lambda face: face.centre_x), rendered.truth.puppets, strict=True
    ):
        assert np.abs(face.boxes - truth.head_boxes[face.frames]).max() < 5
        assert np.corrcoef(face.opening, truth.opening[face.frames])[0, 1] > 0.97


def test_a_mouth_is_read_through_flicker_and_a_shut_one_keeps_still() -> None:
    rendered = render(
        Talk(
            surroundings=Surroundings("grey"),
            variation=3,
            puppets=tuple(Puppet("red", "none", "none", "high", p) for p in ("left", "right")),
            lines=(Line(0, "banana"),),
            start_s=0.2,
        ),
        num_frames=41,
    )
    flicker = np.random.default_rng(0).normal(0, 40, rendered.frames.shape)
    frames = np.clip(rendered.frames + flicker, 0, 255).astype(np.uint8)
    speaks, listens = (
        cartoon_openings(frames, np.asarray(puppet.head_boxes, np.float32))
        for puppet in rendered.truth.puppets
    )
    assert np.corrcoef(speaks, rendered.truth.puppets[0].opening)[0, 1] > 0.99
    assert np.ptp(listens) < 0.4 * np.ptp(speaks)


def test_a_picture_without_faces_has_none() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (12, 96, 96, 3), dtype=np.uint8)
    clip = Clip(noise, np.zeros((2, 0), np.float32), 24.0, 48_000)
    assert not shows_puppets(clip)
    assert find_faces(clip, cartoon=True).tracks == ()
    assert find_faces(clip, cartoon=False).tracks == ()


def test_faces_are_remembered_as_long_as_the_clip_lives() -> None:
    clip = _clip(_talk("green"))
    assert find_faces(clip) is find_faces(clip, cartoon=True)
    del clip
    gc.collect()


def test_a_real_face_is_found_with_its_landmarks(data_folder: Path) -> None:
    clip = Clip.load(data_folder / "grid" / "lbbc2a.mpg")
    faces = find_faces(clip)
    assert not faces.is_cartoon
    (face,) = faces.tracks
    assert len(face.frames) == len(clip.frames)
    assert face.landmarks is not None
    # The recorded place of this face; the mouth opens and closes.
    assert np.abs(face.boxes.mean(axis=0) - [128, 125, 250, 264]).max() < 6
    assert np.isfinite(face.opening).all()
    assert 0.005 < face.opening.std() < 0.05


def test_a_change_of_scene_is_a_cut_and_a_slow_change_is_none() -> None:
    slow = np.linspace(0, 90, 40).astype(np.uint8)[:, None, None, None]
    frames = np.broadcast_to(slow, (40, 64, 64, 3)).copy()
    assert find_cuts(frames) == ()
    frames[20:] = [250, 30, 30]
    assert find_cuts(frames) == (20,)


def test_tracks_bridge_short_gaps_and_never_cross_cuts() -> None:
    box = np.array([[10, 10, 50, 50, 0.9]], np.float32)
    seen: list[np.ndarray | None] = [box + (n * 0.5) for n in range(40)]
    for gap in range(10, 16):
        seen[gap] = None
    (whole,) = track(seen, (), min_found=5)
    assert whole.frames.tolist() == list(range(40))
    assert not whole.found[12]
    assert whole.boxes[12] == pytest.approx(box[0, :4] + 6, abs=0.01)
    assert [t.frames[0] for t in track(seen, (25,), min_found=5)] == [0, 25]


def test_two_faces_at_a_time_become_two_tracks_and_a_glimpse_none() -> None:
    two = np.array([[0, 0, 20, 20], [60, 0, 80, 20]], np.float32)
    glimpse = np.array([[0, 60, 20, 80]], np.float32)
    seen = [np.concatenate([two, glimpse]) if n == 3 else two for n in range(12)]
    tracks = track(seen, (), min_found=5)
    assert sorted(float(t.boxes[0, 0]) for t in tracks) == [0, 60]


def test_overlap_is_intersection_over_union() -> None:
    box = np.array([0, 0, 2, 2], np.float32)
    others = np.array([[0, 0, 2, 2], [1, 0, 3, 2], [5, 5, 6, 6]], np.float32)
    assert overlaps(box, others) == pytest.approx([1, 1 / 3, 0])
