import numpy as np

from ltx2.clip import Clip
from tests.builders import a_clip, a_recipe, smooth_frames


def test_the_duration_is_that_of_the_pictures():
    assert a_clip(smooth_frames(num_frames=48), frame_rate=24.0).duration_s == 2.0


def test_a_clip_loads_as_it_was_saved(tmp_path):
    saved = a_clip(recipe=a_recipe(seed=5))
    path = saved.save(str(tmp_path / "clip.mp4"))
    loaded = Clip.load(path)
    assert type(loaded) is Clip
    assert loaded.frames.shape == saved.frames.shape
    assert loaded.waveform.shape == saved.waveform.shape
    assert (loaded.frame_rate, loaded.sample_rate) == (24.0, 16_000)
    assert loaded.recipe == saved.recipe
    assert np.abs(loaded.frames.astype(int) - saved.frames).mean() < 3
