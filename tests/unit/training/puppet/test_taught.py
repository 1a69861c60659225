import shutil

import pytest
from safetensors import safe_open
from safetensors.torch import load_file

from ltx2.checkpoint.catalog import find_model
from ltx2.prompting.dialogue import read
from ltx2.prompting.script import Dialogue
from ltx2.prompting.vocabulary import words_outside_quotes
from ltx2.request import ModelProfile
from ltx2.training.puppet.prompts import TEN_PROMPTS
from ltx2.training.puppet.taught import puppet_vocabulary, write_vocabulary


@pytest.fixture(scope="module")
def vocabulary():
    return puppet_vocabulary()


def test_every_word_of_the_fixed_prompts_is_known(vocabulary):
    words = {word for prompt in TEN_PROMPTS for word in words_outside_quotes(prompt)}
    assert words - set(vocabulary.words) == set()


def test_english_is_the_language_that_captions_do_not_name(vocabulary):
    assert vocabulary.languages[0] == next(iter(vocabulary.sayings)) == "en"


def test_more_scenes_teach_no_other_word(vocabulary):
    assert puppet_vocabulary(3_000).words == vocabulary.words


def test_a_caption_is_read_as_a_dialogue(vocabulary):
    prompt = 'A red puppet on a white background says "hello" in a high voice.'
    assert isinstance(read(prompt, vocabulary), Dialogue)


def test_headers_learn_the_vocabulary_and_weights_stay(puppet_folder, tmp_path, vocabulary):
    for name in ("model.safetensors", "distilled.safetensors", "autoencoders.safetensors"):
        shutil.copy(puppet_folder / name, tmp_path / name)
    before = {path: load_file(path) for path in tmp_path.iterdir()}
    written = write_vocabulary(tmp_path)
    assert [path.name for path in written] == ["model.safetensors", "distilled.safetensors"]
    for path, tensors in before.items():
        after = load_file(path)
        assert after.keys() == tensors.keys()
        assert all(after[name].equal(tensor) for name, tensor in tensors.items())
    for path in written:
        with safe_open(path, "pt") as file, safe_open(puppet_folder / path.name, "pt") as old:
            now, then = file.metadata(), old.metadata()
        assert {k: v for k, v in now.items() if k != "profile"} == {
            k: v for k, v in then.items() if k != "profile"
        }
        profile = ModelProfile.model_validate_json(now["profile"])
        assert profile.vocabulary == vocabulary
    assert find_model(tmp_path).profile.vocabulary == vocabulary


def test_headers_without_a_vocabulary_are_read(vocabulary):
    old = {"width": 64, "height": 64, "duration_s": 1, "frame_rate": 25, "num_steps": 4}
    assert ModelProfile.model_validate(old).vocabulary is None
