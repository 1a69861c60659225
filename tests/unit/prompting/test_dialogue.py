import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ltx2.errors import RequestError
from ltx2.prompting.dialogue import (
    Dialogue,
    Line,
    NotReadable,
    Speaker,
    normalise,
    read,
    write,
)
from ltx2.prompting.languages import LANGUAGES
from ltx2.prompting.quotes import ALL_MARKS
from ltx2.prompting.script import PLACES
from ltx2.prompting.vocabulary import Vocabulary
from ltx2.training.puppet import captions, scenes

ANNA = Speaker("Anna", "a woman with short red hair in a green coat", "left", "low, warm")
BEN = Speaker("", "an old man with a grey beard", "right")
CHAT = Dialogue(
    "A quiet kitchen at dawn, rain on the windows",
    (ANNA, BEN),
    (Line(0, "Bonjour, toi.", "fr", "quietly"), Line(1, "Good morning", "en", "laughing")),
)

LOOKS = st.sampled_from(
    [
        "a woman with red hair",
        "a woman with red hair, in a coat",
        "the tall man. He wears a hat",
        "Napoleon",
        "someone",
        "两个孩子",
        "رجل عجوز",
        "an owl 🦉",
        "a man in view is he",
        "a woman who is named after a saint, in a voice",
    ]
)
LINES = st.sampled_from(
    [
        'He said "no" to me',
        "“Curly” and 'single'",
        "مرحبا، كيف حالك؟",
        "こんにちは。",
        "Really?! 🙂👩‍👩‍👧 says: ",
        "Then the woman says in French: stop. Meanwhile the others stay silent.",
        "«Hein?»",
    ]
)
characters = st.characters(exclude_categories=["Cc", "Cs"])
words = st.text(characters.filter(lambda c: c not in ALL_MARKS), max_size=12)
speech = st.text(characters, min_size=1, max_size=30).filter(lambda t: len(ALL_MARKS & set(t)) < 3)


@st.composite
def dialogues(draw):
    """Dialogues of one to four speakers, in the form in which prose says them."""
    looks = LOOKS | words
    speakers = draw(
        st.lists(
            st.builds(
                Speaker,
                name=words,
                looks=looks,
                place=st.sampled_from([None, *PLACES]),
                voice=words,
            ),
            min_size=1,
            max_size=4,
        )
    )
    line = st.builds(
        Line,
        speaker=st.integers(0, len(speakers) - 1),
        text=LINES | speech,
        language=st.sampled_from(["", *LANGUAGES]),
        delivery=words | st.just("softly, with a smile"),
    )
    lines = draw(st.lists(line, min_size=1, max_size=4))
    try:
        return normalise(Dialogue(draw(words), tuple(speakers), tuple(lines)))
    except RequestError:
        assume(False)


@settings(max_examples=150, deadline=None)
@given(dialogues())
def test_prose_is_read_back_exactly(dialogue):
    assert read(write(dialogue)) == dialogue
    assert normalise(dialogue) == dialogue


def test_prose_is_one_paragraph_that_says_who_speaks_how_and_who_is_silent():
    assert write(CHAT) == (
        "A quiet kitchen at dawn, rain on the windows. On the left is a woman with short red hair "
        "in a green coat, named Anna, speaking with a low, warm voice. On the right is an old man "
        "with a grey beard. First, Anna, the woman with short red hair in a green coat on the "
        'left, says in French, quietly: "Bonjour, toi." Meanwhile the old man with a grey beard '
        "on the right stays silent. Then the old man with a grey beard on the right says in "
        'English, laughing: "Good morning". Meanwhile Anna, the woman with short red hair in a '
        "green coat on the left, stays silent."
    )


def test_a_single_speaker_has_no_turns_and_nobody_is_silent():
    prompt = write(Dialogue("", (BEN,), (Line(0, "Yes!", "en"),)))
    assert prompt == (
        "On the right is an old man with a grey beard. The old man with a grey beard on the right "
        'says in English: "Yes!"'
    )


def test_sloppy_fields_are_put_right():
    sloppy = Dialogue(
        " the   sea. ",
        (Speaker(" Ann. ", "Woman in\nred", None, "A hoarse voice"), Speaker("", "old man")),
        (Line(1, "  Hello\n there  ", "en", " softly: "),),
    )
    assert normalise(sloppy) == Dialogue(
        "The sea",
        (Speaker("Ann", "Woman in red", None, "hoarse"), Speaker("", "an old man")),
        (Line(1, "Hello there", "en", "softly"),),
    )


@pytest.mark.parametrize(
    ("dialogue", "complaint"),
    [
        (Dialogue("", (), (Line(0, "a"),)), "no speaker"),
        (Dialogue("", (BEN,), ()), "Nobody says"),
        (Dialogue("", (BEN,), (Line(1, "a"),)), "no speaker"),
        (Dialogue("", (BEN,), (Line(0, " \n"),)), "empty"),
        (Dialogue("", (BEN,), (Line(0, "a\x00b"),)), "cannot be printed"),
        (Dialogue("", (BEN,), (Line(0, '"“«「『„'),)), "every kind of quotation mark"),
        (Dialogue("", (BEN,), (Line(0, "a", "xx"),)), "'xx'"),
        (Dialogue("", (BEN, BEN), (Line(0, "a"),)), "told apart"),
        (Dialogue("", (Speaker(),), (Line(0, "a"),)), "neither looks nor a name"),
        (Dialogue("", (Speaker("", "a man", "above"),), (Line(0, "a"),)), "above"),
        (Dialogue('The "Ritz"', (BEN,), (Line(0, "a"),)), "setting holds a quotation mark"),
        (Dialogue("", (BEN,), (Line(0, "a", "en", 'as "x"'),)), "delivery of line 1"),
        (Dialogue("", (Speaker("", "a man, named Bo"),), (Line(0, "a"),)), "repeats the words"),
        (Dialogue("x" * 8000, (BEN,), (Line(0, "a"),)), "characters"),
        (
            Dialogue("", tuple(Speaker(str(n)) for n in range(9)), (Line(0, "a"),)),
            "9 speakers",
        ),
    ],
)
def test_what_cannot_be_said_is_refused_with_the_reason(dialogue, complaint):
    with pytest.raises(RequestError, match=complaint):
        write(dialogue)


def test_a_setting_may_sound_like_an_introduction():
    dialogue = Dialogue("A room. On the left is a lamp", (BEN,), (Line(0, "Dark", "en"),))
    assert read(write(dialogue)) == dialogue


@pytest.mark.parametrize(
    ("prompt", "speakers", "lines"),
    [
        (
            'A man in a blue suit walks into a kitchen. He says: "Hello there." Then the woman on '
            'the left replies in French, softly: "Bonjour."',
            (Speaker("", "a man in a blue suit"), Speaker("", "a woman", "left")),
            (Line(0, "Hello there.", "en"), Line(1, "Bonjour.", "fr", "softly")),
        ),
        (
            '"Hi there," says Tom. "Hello," says Anna, smiling.',
            (Speaker("Tom"), Speaker("Anna")),
            (Line(0, "Hi there,", "en"), Line(1, "Hello,", "en", "smiling")),
        ),
        (
            'A girl by the sea. She shouts "Wait for me!" "Please!" she whispers.',
            (Speaker("", "a girl"),),
            (Line(0, "Wait for me!", "en", ""), Line(0, "Please!", "en", "")),
        ),
        (
            'Anna, the woman in red, says in a hoarse voice: "I am here," and Bob on the right '
            'answers "Good."',
            (Speaker("Anna", "a woman in red", None, "hoarse"), Speaker("Bob", "", "right")),
            (Line(0, "I am here,", "en"), Line(1, "Good.", "en")),
        ),
        (
            'The man says "Come here." Then the man on the left says "Come to me."',
            (Speaker("", "a man", "left"),),
            (Line(0, "Come here.", "en"), Line(0, "Come to me.", "en")),
        ),
        (
            'The old man mutters "I told you," then, after a pause, "I told you so."',
            (Speaker("", "an old man"),),
            (Line(0, "I told you,", "en"), Line(0, "I told you so.", "en")),
        ),
    ],
)
def test_prompts_that_people_wrote_are_read_as_well_as_possible(prompt, speakers, lines):
    found = read(prompt)
    assert isinstance(found, Dialogue), found
    assert (found.speakers, found.lines) == (speakers, lines)


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        ("A dog runs.", "Nothing stands in quotation marks."),
        ('He says "yes', "Nothing stands in quotation marks."),
        ('He says "yes" and “no', "A quotation mark has no partner."),
        ('A sign with "OPEN" on it.', "It is not clear who says “OPEN”."),
    ],
)
def test_a_prompt_without_a_dialogue_says_why(prompt, reason):
    found = read(prompt)
    assert isinstance(found, NotReadable)
    assert found.reason == reason


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200) | st.lists(st.sampled_from(write(CHAT).split(" "))).map(" ".join))
def test_whatever_is_read_can_be_written(prompt):
    found = read(prompt)
    if isinstance(found, Dialogue):
        assert normalise(found) == found


# --- the wording of a small model ----------------------------------------------------------------


def test_captions_of_a_small_model_are_written_and_read_as_it_was_trained(puppet):
    rng = np.random.default_rng(2)
    talks = [
        s for s in (scenes.sample_scene(rng) for _ in range(400)) if isinstance(s, scenes.Talk)
    ]
    for talk in talks:
        caption = captions.caption(talk)
        dialogue = read(caption, puppet)
        assert isinstance(dialogue, Dialogue), (caption, dialogue)
        assert write(dialogue, puppet) == caption
        assert [line.text for line in dialogue.lines] == [line.word for line in talk.lines]
        assert [s.place for s in dialogue.speakers] == [p.position for p in talk.puppets]
        assert read(caption, Vocabulary.model_validate_json(puppet.model_dump_json())) == dialogue


def test_free_words_become_those_of_the_small_model(puppet):
    dialogue = Dialogue(
        "black background. it rains.",
        (
            Speaker("Bo", "Blue puppet", "right", "low"),
            Speaker("Al", "the red puppet with a crown", "left"),
        ),
        (Line(0, "Banana!"), Line(1, "hola", "es")),
    )
    assert write(dialogue, puppet) == (
        "A red puppet with a crown on the left and a blue puppet on the right on a black "
        'background. The one on the right says "banana" in a low voice, then the one on the left '
        '"hola" in Spanish in a high voice. It rains.'
    )
    assert read(write(dialogue, puppet), puppet) == normalise(dialogue, puppet)


def test_the_voice_of_a_puppet_that_says_nothing_is_left_out(puppet):
    said = read(write(change(lines=(Line(1, "yes"),)), puppet), puppet)
    assert [speaker.voice for speaker in said.speakers] == ["", "high"]


def change(**changes):
    fields = {
        "setting": "white background",
        "speakers": (
            Speaker("", "a red puppet", "left", "low"),
            Speaker("", "a blue puppet", "right"),
        ),
        "lines": (Line(0, "hello"), Line(1, "yes")),
    }
    return Dialogue(**{**fields, **changes})


@pytest.mark.parametrize(
    ("dialogue", "complaint"),
    [
        (change(setting="a kitchen"), "setting"),
        (
            change(speakers=(Speaker("", "a red muppet"), Speaker("", "a blue puppet"))),
            "red puppet",
        ),
        (
            change(speakers=(Speaker("", "a red puppet", voice="husky"),), lines=(Line(0, "yes"),)),
            "high, low",
        ),
        (change(lines=(Line(0, "bananas"),)), "banana"),
        (change(lines=(Line(0, "hola", "pt"),)), "does not speak Portuguese"),
        (change(lines=(Line(0, "hello", "en", "softly"),)), "how it is said"),
        (change(lines=(Line(0, "hello"), Line(0, "yes"))), "two lines"),
        (
            change(
                speakers=(
                    Speaker("", "a red puppet", "centre"),
                    Speaker("", "a blue puppet", "right"),
                )
            ),
            "one on the left and one on the right",
        ),
    ],
)
def test_a_small_model_refuses_what_it_was_not_taught_and_names_what_it_was(
    puppet, dialogue, complaint
):
    with pytest.raises(RequestError, match=complaint):
        write(dialogue, puppet)


def test_the_wording_follows_the_data_of_the_model_alone(puppet):
    silent = puppet.model_copy(update={"talk": None})
    assert write(CHAT, silent) == write(CHAT)
