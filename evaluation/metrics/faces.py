"""Faces of a clip: where each one is, its landmarks, and how far its mouth opens.

Real faces are found by BlazeFace and read by the face mesh; those of the puppet world by a
detector of their own. Letters: N frames of a track, F frames, H height, W width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter1d, median_filter

from evaluation.metrics.cartoon_faces import cartoon_openings, find_cartoon_faces
from evaluation.metrics.face_models import NUM_LANDMARKS, FaceModels, face_models
from evaluation.metrics.face_tracks import LARGEST_GAP, BoxTrack, find_cuts, track
from evaluation.metrics.once import OncePerClip
from ltx2 import Clip

Array = NDArray[np.float32]

FACE_MESH = "BlazeFace (256 px) and face mesh (468 points) of MediaPipe"
PUPPET_EYES = "puppet detector: correlation with drawn eyes"

DETECTION_STEP = 2
"""Every such frame is searched for faces."""
CARTOON_STEP_S = 0.125
CARTOON_SHARE = 0.5
"""Share of the frames looked at that show a puppet's eyes in a clip of puppets."""
CARTOON_SAMPLES = 8
SHORTEST_TRACK = 6
"""Detections, every second frame, that a face needs: more than ten frames."""
LEAST_MESH_SCORE = 0.5
BOX_SMOOTHING = 2.0
"""Standard deviation, in frames, by which boxes are smoothed before the mesh looks."""

UPPER_LIP, LOWER_LIP = (82, 13, 312), (87, 14, 317)
"""Landmarks of the inner lips: opposite each other."""
MOUTH_CORNERS = (78, 308)
FOREHEAD, CHIN = 10, 152
LEFT_EYE, RIGHT_EYE = (33, 133), (362, 263)
"""Corners of the eyes, as seen in the picture."""


@dataclass(frozen=True)
class FaceTrack:
    """One face through one shot.

    Attributes:
        frames: consecutive numbers of frames [N].
        boxes: left, top, right, bottom in pixels [N, 4]: brows to chin and ear to ear, or a
            puppet's head.
        found: whether the detector found it in that frame, not merely near it [N].
        landmarks: points of the face mesh in pixels [N, 468, 2]; None for cartoons. NaN where the
            mesh sees no face.
        opening: of the mouth [N]; distance of the inner lips as a share of the face's height, or
            about 0..1 for puppets. NaN where unknown.
    """

    frames: NDArray[np.int64]
    boxes: Array
    found: NDArray[np.bool_]
    landmarks: Array | None
    opening: Array

    @property
    def centre_x(self) -> float:
        """Middle of the box in pixels, over the first second or less."""
        boxes = self.boxes[: max(1, min(len(self.boxes), 25))]
        return float((boxes[:, 0] + boxes[:, 2]).mean() / 2)

    @property
    def area(self) -> float:
        """Mean area of the box in square pixels."""
        sides = self.boxes[:, 2:] - self.boxes[:, :2]
        return float(np.prod(sides, axis=1).mean())

    def opening_of(self, num_frames: int) -> Array:
        """Opening in every frame of the clip [F]; NaN where this face is not seen."""
        whole = np.full(num_frames, np.nan, np.float32)
        whole[self.frames] = self.opening
        return whole


@dataclass(frozen=True)
class Faces:
    """All faces of a clip.

    Attributes:
        tracks: the most visible first (area times length).
        cuts: first frame of every shot but the first.
        is_cartoon: whether they are the puppet world's.
        found_by: what found them, in words.
    """

    tracks: tuple[FaceTrack, ...]
    cuts: tuple[int, ...]
    is_cartoon: bool
    found_by: str


def find_faces(clip: Clip, *, cartoon: bool | None = None) -> Faces:
    """Faces of a clip; remembered as long as the clip lives.

    Args:
        clip: what to search.
        cartoon: look for puppets (True) or people (False); None decides by what is seen.

    Raises:
        ResourceError: people are looked for and a package is missing.
    """
    return _search(clip, is_cartoon=shows_puppets(clip) if cartoon is None else cartoon)


@OncePerClip
def _search(clip: Clip, *, is_cartoon: bool) -> Faces:
    if not len(clip.frames):
        return Faces((), (), is_cartoon, PUPPET_EYES if is_cartoon else FACE_MESH)
    cuts = find_cuts(clip.frames)
    tracks = _puppets(clip, cuts) if is_cartoon else _people(clip, cuts)
    ordered = sorted(tracks, key=lambda face: -face.area * len(face.frames))
    return Faces(tuple(ordered), cuts, is_cartoon, PUPPET_EYES if is_cartoon else FACE_MESH)


def share_faces(clip: Clip, other: Clip) -> None:
    """Lets a clip with the same pictures and another sound know the faces already found."""
    _search.share(clip, other)
    shows_puppets.share(clip, other)


def remember_faces(clip: Clip, faces: Faces) -> None:
    """Lets a clip know its faces, found elsewhere."""
    _search.remember(clip, faces, is_cartoon=faces.is_cartoon)
    shows_puppets.remember(clip, faces.is_cartoon)


def part_of(faces: Faces, first: int, last: int) -> Faces:
    """Faces of the frames from `first` to before `last`, counted anew from 0."""
    tracks = []
    for face in faces.tracks:
        inside = (face.frames >= first) & (face.frames < last)
        if inside.any():
            landmarks = None if face.landmarks is None else face.landmarks[inside]
            frames, boxes = face.frames[inside] - first, face.boxes[inside]
            tracks.append(
                FaceTrack(frames, boxes, face.found[inside], landmarks, face.opening[inside])
            )
    ordered = sorted(tracks, key=lambda face: -face.area * len(face.frames))
    cuts = tuple(cut - first for cut in faces.cuts if first < cut < last)
    return Faces(tuple(ordered), cuts, faces.is_cartoon, faces.found_by)


@OncePerClip
def shows_puppets(clip: Clip) -> bool:
    """Whether the faces of a clip are the puppet world's."""
    if not len(clip.frames):
        return False
    chosen = np.unique(np.linspace(0, len(clip.frames) - 1, CARTOON_SAMPLES).astype(int))
    seen = [len(find_cartoon_faces(Image.fromarray(clip.frames[n]))) > 0 for n in chosen]
    return sum(seen) >= CARTOON_SHARE * len(seen)


def _puppets(clip: Clip, cuts: Sequence[int]) -> list[FaceTrack]:
    step = max(1, round(CARTOON_STEP_S * clip.frame_rate))
    step = min(step, LARGEST_GAP)
    boxes = [
        find_cartoon_faces(Image.fromarray(frame)) if number % step == 0 else None
        for number, frame in enumerate(clip.frames)
    ]
    looked = len(range(0, len(boxes), step))
    return [
        _puppet(clip, found) for found in track(boxes, cuts, min_found=min(3, max(1, looked // 2)))
    ]


def _puppet(clip: Clip, found: BoxTrack) -> FaceTrack:
    # One box in all frames but for slow moves of the camera: a scale that jumps between two
    # sizes of the drawing would look like a moving mouth.
    reach = round(clip.frame_rate)
    still = median_filter(found.boxes, (2 * (reach // 2) + 1, 1), mode="nearest")
    boxes = gaussian_filter1d(still, reach / 4, axis=0, mode="nearest")
    opening = cartoon_openings(clip.frames[found.frames], boxes)
    return FaceTrack(found.frames, boxes, found.found, None, opening)


def _people(clip: Clip, cuts: Sequence[int]) -> list[FaceTrack]:
    models = face_models()
    boxes = [
        models.detect(Image.fromarray(frame)) if number % DETECTION_STEP == 0 else None
        for number, frame in enumerate(clip.frames)
    ]
    tracks = (
        _person(models, clip, found)
        for found in track(boxes, cuts, min_found=min(SHORTEST_TRACK, (len(boxes) + 1) // 2))
    )
    return [face for face in tracks if face is not None]


def _person(models: FaceModels, clip: Clip, found: BoxTrack) -> FaceTrack | None:
    """The face in a track of boxes; None where the mesh sees none in most of it."""
    around = gaussian_filter1d(found.boxes, BOX_SMOOTHING, axis=0, mode="nearest")
    landmarks = np.full((len(around), NUM_LANDMARKS, 2), np.nan, np.float32)
    tilt = 0.0
    for row, (number, box) in enumerate(zip(found.frames, around, strict=True)):
        points, score = models.landmarks(Image.fromarray(clip.frames[number]), box, tilt)
        if score >= LEAST_MESH_SCORE:
            landmarks[row] = points
            # The next picture is shown as upright as this one turned out to be.
            across = points[list(RIGHT_EYE)].mean(axis=0) - points[list(LEFT_EYE)].mean(axis=0)
            tilt = 0.7 * tilt + 0.3 * float(np.arctan2(across[1], across[0]))
    seen = np.isfinite(landmarks[:, 0, 0])
    if seen.mean() < 0.5:
        return None
    return FaceTrack(
        found.frames, _tight(landmarks, seen), found.found, landmarks, mouth_opening(landmarks)
    )


def _tight(landmarks: Array, seen: NDArray[np.bool_]) -> Array:
    """Box around all landmarks, interpolated where there are none [N, 4]."""
    known = np.flatnonzero(seen)
    points = landmarks[known]
    edges = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)
    rows = np.arange(len(landmarks))
    return np.stack([np.interp(rows, known, side) for side in edges.T], axis=1).astype(np.float32)


def mouth_opening(landmarks: Array) -> Array:
    """Distance of the inner lips as a share of the face's height [N], from landmarks."""
    height = np.linalg.norm(landmarks[:, FOREHEAD] - landmarks[:, CHIN], axis=-1)
    gap = landmarks[:, list(UPPER_LIP)] - landmarks[:, list(LOWER_LIP)]
    return (np.linalg.norm(gap, axis=-1).mean(axis=1) / height).astype(np.float32)
