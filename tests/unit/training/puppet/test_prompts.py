from ltx2.training.puppet.captions import caption
from ltx2.training.puppet.prompts import TEN_PROMPTS, TEN_SCENES
from ltx2.training.puppet.scenes import POSITIONS, VOICES, BouncingBall, TalkingFace, is_held_out


def test_the_ten_prompts_tell_ten_scenes_that_training_never_sees() -> None:
    assert len(set(TEN_PROMPTS)) == 10
    assert tuple(caption(scene) for scene in TEN_SCENES) == TEN_PROMPTS
    assert all(is_held_out(scene) for scene in TEN_SCENES)


def test_the_ten_scenes_are_six_faces_with_different_words_and_four_balls() -> None:
    faces = [scene for scene in TEN_SCENES if isinstance(scene, TalkingFace)]
    balls = [scene for scene in TEN_SCENES if isinstance(scene, BouncingBall)]
    assert (len(faces), len(balls)) == (6, 4)
    assert len({face.word for face in faces}) == 6
    assert {face.voice for face in faces} == set(VOICES)
    for scenes in (faces, balls):
        assert {scene.position for scene in scenes} == set(POSITIONS)
