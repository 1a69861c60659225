import av
import numpy as np
import pytest

from ltx2.errors import MediaError
from ltx2.media.decode import read_media, read_recipe
from ltx2.media.sound import write_sound
from tests.builders import a_clip, a_recipe


def test_a_sound_comes_back_with_its_recipe(tmp_path):
    clip = a_clip(recipe=a_recipe('Rain, and a voice says "über".'))
    path = write_sound(clip, tmp_path / "a.wav")
    kind, read = read_media(path)
    assert (kind, read.sample_rate) == ("sound", clip.sample_rate)
    assert read.waveform.shape == clip.waveform.shape
    assert np.abs(read.waveform - clip.waveform).max() < 1e-4
    assert read_recipe(path) == clip.recipe
    assert path.read_bytes().startswith(b"RIFF")
    with av.open(str(path)) as container:
        assert container.metadata["title"].startswith("AI-generated")


def test_without_a_recipe_there_is_none_and_without_a_sound_no_file(tmp_path):
    clip = a_clip(recipe=None)
    assert read_recipe(write_sound(clip, tmp_path / "a.wav")) is None
    silent = type(clip)(clip.frames, np.zeros((2, 0), np.float32), 24.0, 48_000)
    with pytest.raises(MediaError, match="no sound"):
        write_sound(silent, tmp_path / "b.wav")
    with pytest.raises(MediaError, match="cannot be written"):
        write_sound(clip, tmp_path / "nowhere" / "a.wav")
    assert [file.name for file in tmp_path.iterdir()] == ["a.wav"]
