"""The ten fixed prompts: unseen in training, and of every kind."""

from ltx2.training.puppet.captions import caption
from ltx2.training.puppet.prompts import TEN_PROMPTS, TEN_SCENES
from ltx2.training.puppet.scenes import BouncingBall, Talk, Xylophone, is_held_out


def test_the_ten_prompts_tell_ten_scenes_that_training_never_sees() -> None:
    assert len(set(TEN_PROMPTS)) == 10
    assert tuple(caption(scene) for scene in TEN_SCENES) == TEN_PROMPTS
    assert all(is_held_out(scene) for scene in TEN_SCENES)


def test_the_ten_scenes_show_every_kind_in_several_languages_weathers_and_camera_moves() -> None:
    talks = [scene for scene in TEN_SCENES if isinstance(scene, Talk)]
    assert [len(talk.puppets) for talk in talks] == [1, 1, 1, 1, 2, 2, 2]
    assert {len(talk.lines) for talk in talks if len(talk.puppets) == 2} == {1, 2}
    assert {line.language for talk in talks for line in talk.lines} >= {"en", "es", "de", "fr"}
    balls = [scene for scene in TEN_SCENES if isinstance(scene, BouncingBall)]
    assert [ball.material for ball in balls] == ["water", "metal"]
    assert sum(isinstance(scene, Xylophone) for scene in TEN_SCENES) == 1
    around = [scene.surroundings for scene in TEN_SCENES]
    assert {surroundings.ambience for surroundings in around} == {"none", "rain", "wind"}
    assert {surroundings.camera for surroundings in around} == {"still", "zoom in", "pan left"}
