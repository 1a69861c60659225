import re

import pytest

from ltx2.errors import RequestError
from ltx2.prompting.dialogue import read, write
from ltx2.serving.models import Models
from ltx2.training.puppet.taught import puppet_vocabulary
from ltx2.ui.composer import (
    MAX_LINES,
    STATIC,
    WORDS,
    Draft,
    DraftLine,
    DraftSpeaker,
    Question,
    answer,
    build_composer,
    describe_taught,
    written,
)
from tests.fakes.model import PROFILE
from tests.unit.ui.stand_ins import an_offer

WOMAN = DraftSpeaker(looks="A woman with red hair", place="left")
TOM = DraftSpeaker(name="Tom", looks="A tall man")
ASKS = DraftLine(speaker=0, text="Where is it?", language="en")
ANSWERS = DraftLine(speaker=1, text="Here.", delivery="quietly")


def a_draft(*, speakers=(WOMAN, TOM), lines=(ASKS, ANSWERS), **values):
    """As a browser sends it after a change in its fields."""
    values = {"setting": "A quiet kitchen", "leads": True, **values}
    return Draft(speakers=speakers, lines=lines, **values).model_dump(mode="json")


def ask(draft, prompt, **values):
    """The draft, the prompt and the remark that the server answers."""
    question = Question.model_validate({"draft": draft, "prompt": prompt, **values})
    return tuple(answer(question, lambda name: an_offer()).values())


@pytest.fixture
def models():
    return Models([an_offer()])


@pytest.fixture(scope="module")
def vocabulary():
    return puppet_vocabulary(2_000)


def test_fields_become_a_prompt_that_is_read_back_as_the_same_fields():
    draft, prompt, remark = ask(a_draft(), "")
    assert (draft, remark) == (a_draft(), "")
    assert '"Where is it?"' in prompt
    again, _, remark = ask({}, prompt)
    assert remark == ""
    assert [line["text"] for line in again["lines"]] == ["Where is it?", "Here."]
    assert [speaker["name"] for speaker in again["speakers"]] == ["", "Tom"]
    assert ask({**again, "leads": True}, "")[1] == prompt


def test_a_prompt_that_the_fields_wrote_leaves_what_is_not_complete():
    begun = a_draft(lines=(ASKS, ANSWERS, DraftLine(speaker=0, delivery="loudly")))
    _, prompt, _ = ask(begun, "")
    begun["leads"] = False
    assert ask(begun, prompt) == (begun, prompt, "")


def test_a_prompt_in_own_words_that_says_the_same_stays():
    own = 'A quiet kitchen. A tall man says, "Here."'
    draft, _, _ = ask({}, own)
    assert ask({**draft, "leads": True}, own)[1] == own


def test_who_has_no_line_is_silent_and_a_blank_speaker_is_nobody():
    silent = DraftSpeaker(looks="A green robot", place="right")
    draft = Draft(speakers=(DraftSpeaker(), silent, WOMAN), lines=(DraftLine(speaker=2, text="A"),))
    dialogue = draft.to_dialogue()
    assert [speaker.looks for speaker in dialogue.speakers] == [silent.looks, WOMAN.looks]
    assert dialogue.lines[0].speaker == 1
    assert "green robot" in write(dialogue)


@pytest.mark.parametrize("speaker", [0, 5])
def test_a_line_of_nobody_is_refused_and_the_prompt_stays(speaker):
    lines = (DraftLine(speaker=speaker, text="<b>"),)
    draft = a_draft(speakers=(DraftSpeaker(),), lines=lines)
    with pytest.raises(RequestError, match="Nobody says line 1"):
        written(Draft.of(draft), "kept", None)
    kept, prompt, remark = ask(draft, "kept")
    assert (kept, prompt) == (draft, "kept")
    assert "Nobody says line 1" in remark


def test_while_nothing_is_said_the_prompt_stays():
    assert ask(a_draft(lines=()), "kept")[1:] == ("kept", "")


def test_fields_that_were_not_changed_last_do_not_write():
    assert ask(a_draft(leads=False), "kept")[1] == "kept"


def test_what_is_no_dialogue_leaves_the_fields_and_says_why():
    kept, _, remark = ask(a_draft(leads=False), "A ball.")
    assert kept == a_draft(leads=False)
    assert "quotation marks" in remark


def test_a_scene_without_words_becomes_what_is_around_them():
    draft, _, remark = ask({}, "A quiet kitchen at night.")
    assert (draft["setting"], remark) == ("A quiet kitchen at night.", "")


def test_more_than_the_fields_hold_is_left_as_text():
    prompt = " ".join(f'The man says "{number}".' for number in range(MAX_LINES + 1))
    kept, _, remark = ask(a_draft(leads=False), prompt)
    assert kept == a_draft(leads=False)
    assert "edit it as text" in remark


def test_a_model_that_is_not_there_is_a_remark(models):
    _, prompt, remark = answer(Question(prompt="kept", model="gone"), models.offer).values()
    assert prompt == "kept"
    assert "There is no model" in remark


@pytest.mark.parametrize("asked", [None, "text", [], {"draft": 3}, {"prompt": "x" * 100_000}])
def test_what_no_browser_of_ours_asks_is_not_answered(models, asked):
    assert build_composer(models).follow(asked) is None


@pytest.mark.parametrize("sent", [None, "text", {"lines": 3}, {"speakers": [{"place": "up"}]}])
def test_what_no_browser_of_ours_sends_is_an_empty_draft(sent):
    assert Draft.of(sent) == Draft()


def test_what_a_small_model_was_taught_is_found_by_its_place_among_all(vocabulary):
    taught = describe_taught(vocabulary)
    for part in (taught["looks"], taught["setting"]):
        place = len(part["all"]) - 2
        digits = []
        for group in reversed(part["groups"]):
            place, digit = divmod(place, len(group))
            digits.append(group[digit])
        assert all(chosen in part["all"][-2] for chosen in digits)
    assert describe_taught(PROFILE.vocabulary) is None


def test_choices_of_a_small_model_write_its_own_captions(vocabulary):
    taught = describe_taught(vocabulary)
    said = taught["sayings"]["de"][0]
    speaker = DraftSpeaker(looks=taught["looks"]["all"][5], voice=taught["voices"][0])
    draft = Draft(
        setting=taught["setting"]["all"][3],
        speakers=(speaker,),
        lines=(DraftLine(text=said),),
    )
    prompt = written(draft, "", vocabulary)
    assert f'"{said}" in German' in prompt
    assert read(prompt, vocabulary).lines[0].text == said


def test_every_word_of_the_fields_can_be_translated():
    script = (STATIC / "composer.js").read_text("utf-8")
    assert set(re.findall(r'say\("([^"]+)"', script)) <= set(WORDS)
