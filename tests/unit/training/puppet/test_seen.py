"""What is told from pixels: attributes one by one, camera moves, weather, mouths and strokes."""

import itertools

import numpy as np
import pytest

from ltx2.training.puppet import ball, face, surroundings, xylophone
from ltx2.training.puppet.drawing import Canvas
from ltx2.training.puppet.palette import backdrop
from ltx2.training.puppet.scenes import (
    AMBIENCES,
    BACKGROUNDS,
    BALL_COLOURS,
    CAMERAS,
    HAIRS,
    HATS,
    MATERIALS,
    POSITIONS,
    SKINS,
    TAUGHT_CAMERA,
    BouncingBall,
    Puppet,
    Surroundings,
    Xylophone,
)
from ltx2.training.puppet.seen import SeenBall, SeenXylophone, look
from ltx2.training.puppet.world import render

NUM_FRAMES = 25
OPENING = np.clip(np.sin(np.arange(NUM_FRAMES) / 2), 0, 1) * (np.arange(NUM_FRAMES) > 8)


def scenery(around: Surroundings, seed: int = 3) -> tuple[Canvas, Canvas]:
    """A canvas with background and weather, and the same as the camera sees it."""
    canvas = backdrop(around.background, height=96, width=96, num_frames=NUM_FRAMES)
    gusts = surroundings.travel(around.ambience, np.arange(NUM_FRAMES) / 24, seed)
    surroundings.paint_ambience(canvas, around.ambience, gusts, seed)
    return canvas, surroundings.moved(canvas, around.camera, NUM_FRAMES, 24.0)


def show(puppets: list[Puppet], around: Surroundings) -> np.ndarray:
    """Frames in which the first puppet's mouth moves; nothing has to be spoken for that."""
    canvas, view = scenery(around)
    for number, puppet in enumerate(puppets):
        opening = OPENING if number == 0 else np.zeros(NUM_FRAMES)
        place = face.stage(view, puppet, alone=len(puppets) == 1)
        face.paint_puppet(place, puppet, opening, frame_rate=24.0, variation=number)
    return canvas.frames()


@pytest.mark.slow
@pytest.mark.parametrize("skin", SKINS)
def test_skin_hair_hat_and_position_are_told_apart_on_every_background(skin: str) -> None:
    looks = itertools.product(HAIRS, HATS)
    for (hair, hat), background, position in zip(
        looks, itertools.cycle(BACKGROUNDS), itertools.cycle(POSITIONS), strict=False
    ):
        puppet = Puppet(skin, hair, hat, "low", position)
        seen = look(show([puppet], Surroundings(background)), 24.0)
        assert seen.background == background
        assert isinstance(seen.subject, tuple)
        (found,) = seen.subject
        assert (found.skin, found.hair, found.hat) == (skin, hair, hat)
        assert found.position == position


def test_two_puppets_are_read_each_by_itself() -> None:
    left, right = (
        Puppet("orange", "white", "none", "low", "left"),
        Puppet("yellow", "none", "crown", "low", "right"),
    )
    seen = look(show([left, right], Surroundings("pink")), 24.0)
    assert isinstance(seen.subject, tuple)
    assert [(p.skin, p.hair, p.hat) for p in seen.subject] == [
        ("orange", "white", "none"),
        ("yellow", "none", "crown"),
    ]
    assert np.corrcoef(seen.subject[0].opening, OPENING)[0, 1] > 0.97
    assert np.ptp(seen.subject[1].opening) < 0.15


def test_a_blink_does_not_open_the_mouth() -> None:
    canvas = backdrop("white", height=96, width=96, num_frames=97)
    puppet = Puppet("yellow", "none", "none", "low", "centre")
    face.paint_puppet(canvas, puppet, np.zeros(97), frame_rate=24.0, variation=3)
    frames = canvas.frames()
    eyes = frames[:, 30:56].astype(int)
    assert np.abs(eyes - eyes[0]).max() > 100  # it blinks
    seen = look(frames, 24.0)
    assert isinstance(seen.subject, tuple)
    assert np.ptp(seen.subject[0].opening) < 0.001


@pytest.mark.parametrize("camera", [*CAMERAS, TAUGHT_CAMERA])
@pytest.mark.parametrize("ambience", AMBIENCES)
def test_the_cameras_move_is_seen_in_any_weather_and_the_mouth_read_in_spite_of_it(
    camera: str, ambience: str
) -> None:
    puppet = Puppet("green", "none", "top hat", "low", "left")
    seen = look(show([puppet], Surroundings("cyan", ambience, camera)), 24.0)
    assert (seen.camera, seen.ambience) == (camera, ambience)
    assert isinstance(seen.subject, tuple)
    assert np.corrcoef(seen.subject[0].opening, OPENING)[0, 1] > 0.95


@pytest.mark.slow
@pytest.mark.parametrize("material", MATERIALS)
@pytest.mark.parametrize("ambience", AMBIENCES)
def test_the_ball_its_floor_and_its_first_contact_are_seen(material: str, ambience: str) -> None:
    for colour, position, camera in zip(
        BALL_COLOURS, itertools.cycle(POSITIONS), itertools.cycle(CAMERAS), strict=False
    ):
        around = Surroundings("grey", ambience, camera)
        clip = render(BouncingBall(colour, material, position, around, 0.42, 5))
        seen = look(clip.frames, clip.frame_rate)
        assert isinstance(seen.subject, SeenBall)
        assert (seen.camera, seen.ambience) == (camera, ambience)
        assert (seen.subject.colour, seen.subject.material) == (colour, material)
        assert seen.subject.position == position
        assert clip.truth.ball is not None
        first = clip.truth.ball.impact_times_s[0] * clip.frame_rate
        assert seen.subject.contact_frames[0] == pytest.approx(first, abs=1)


def test_the_keys_are_seen_in_the_order_and_on_the_frames_in_which_they_light_up() -> None:
    scene = Xylophone(
        ("yellow", "yellow", "blue"), Surroundings("white", "rain", "pan left"), 0.2, 1
    )
    seen = look(render(scene).frames, 24.0)
    notes = xylophone.plan_notes(scene, 49, 24.0)
    assert isinstance(seen.subject, SeenXylophone)
    assert seen.subject.keys == ("yellow", "yellow", "blue")
    assert seen.subject.frames == tuple(note.frame for note in notes)


def test_a_floor_without_a_ball_is_nothing_known() -> None:
    canvas, view = scenery(Surroundings("white"))
    ball.FLOOR_PAINTERS["wood"](view)
    assert look(canvas.frames(), 24.0).subject is None
