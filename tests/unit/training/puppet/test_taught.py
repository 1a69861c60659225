import pytest

from ltx2.checkpoint.catalog import find_model
from ltx2.prompting.dialogue import read
from ltx2.prompting.script import Dialogue
from ltx2.prompting.vocabulary import words_outside_quotes
from ltx2.request import ModelProfile
from ltx2.training.puppet.prompts import TEN_PROMPTS
from ltx2.training.puppet.taught import puppet_vocabulary


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


def test_the_shipped_models_know_their_vocabulary(vocabulary):
    for name in ("puppet", "puppet-distilled"):
        assert find_model(name).profile.vocabulary == vocabulary


def test_headers_without_a_vocabulary_are_read(vocabulary):
    old = {"width": 64, "height": 64, "duration_s": 1, "frame_rate": 25, "num_steps": 4}
    assert ModelProfile.model_validate(old).vocabulary is None
