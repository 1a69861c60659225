import time

import pytest

from ltx2.prompting.dialogue import Dialogue, Line, Speaker, write
from ltx2.prompting.hints import Hint, count_words, estimate_speech_s, hints
from tests.unit.prompting.sentences import SENTENCES

SCENE = "A woman in a red coat stands in a busy market and looks at the camera. It is a sunny day. "


def of_kind(found, kind):
    return [hint for hint in found if hint.kind == kind]


def one(found, kind):
    (hint,) = of_kind(found, kind)
    return hint


def test_an_empty_prompt_has_no_hints():
    assert hints(" \n") == ()


@pytest.mark.parametrize(
    ("prompt", "severity"), [("A dog.", "warning"), (SCENE * 3, "info"), (SCENE * 20, "warning")]
)
def test_the_length_is_compared_with_what_the_model_was_trained_on(prompt, severity):
    hint = one(hints(prompt), "length")
    assert hint.severity == severity
    assert hint.text.startswith(f"{len(prompt.split())} words")


def test_words_of_languages_without_spaces_are_counted_by_their_characters():
    assert count_words("我们应该待在家里 now") == 5
    assert count_words("It's a well-known dog") == 4


def test_a_quotation_mark_without_a_partner_is_pointed_at():
    hint = one(hints(f'{SCENE} She says "yes.'), "quotes")
    assert hint.severity == "warning"
    assert f'{SCENE} She says "yes.'[slice(*hint.span)] == '"'


def test_speech_longer_than_the_clip_is_a_warning():
    prompt = f'{SCENE} She says "{"one two three " * 6}".'
    assert one(hints(prompt, duration_s=10.0), "speech").severity == "info"
    hint = one(hints(prompt, duration_s=5.0), "speech")
    assert hint.severity == "warning"
    assert "about 6.0 s of speech, but the clip lasts 5 s" in hint.text


def test_two_lines_have_a_pause_between_them():
    prompt = 'The man says "one two three". The woman says "one two three".'
    assert "2 quoted lines, about 2.3 s" in one(hints(prompt), "speech").text


def test_the_speed_of_speech_depends_on_the_language():
    assert estimate_speech_s("eins zwei drei", "de") == pytest.approx(3 / 2.4)
    assert estimate_speech_s("早上好您好吗", "zh") == pytest.approx(6 / 3.4)
    assert estimate_speech_s("one two three", "unknown") > estimate_speech_s("one two three", "en")


def test_the_languages_of_prompt_and_lines_are_named():
    line = SENTENCES["fr"][0]
    prompt = f'{SCENE} She says: "{line}"'
    found = hints(prompt)
    assert one(found, "language").text == "Written in English."
    hint = one(found, "line language")
    assert (hint.text, hint.severity) == ("Spoken in French.", "info")
    assert prompt[slice(*hint.span)] == f'"{line}"'


def test_a_line_in_another_language_than_announced_is_a_warning():
    hint = one(hints(f'{SCENE} She says in German: "{SENTENCES["fr"][0]}"'), "line language")
    assert hint.severity == "warning"
    assert hint.text == "Announced as German, but it reads like French."


def test_several_lines_need_to_say_whose_they_are():
    prompt = f'{SCENE} "Hello there." "How are you?"'
    hint = one(hints(prompt), "attribution")
    assert prompt[slice(*hint.span)] == '"Hello there."'
    assert not of_kind(hints(f'{SCENE} A sign with "OPEN" on it.'), "attribution")


def test_what_the_composer_writes_gives_no_warning():
    prompt = write(
        Dialogue(
            "A quiet kitchen at dawn",
            (
                Speaker("Anna", "a woman with red hair", "left", "low"),
                Speaker("", "an old man", "right"),
                Speaker("", "a boy with a ball"),
            ),
            (
                Line(0, "Where were you?", "en", "quietly"),
                Line(1, "Je ne sais pas.", "fr"),
                Line(2, "He was with me!", "en"),
            ),
        )
    )
    assert [hint for hint in hints(prompt, duration_s=10.0) if hint.severity == "warning"] == []


def test_a_small_model_points_at_words_it_does_not_know_and_names_the_nearest(puppet):
    prompt = 'A green pupet with a crown on a black background says "bananna" in a high voice.'
    found = hints(prompt, vocabulary=puppet)
    word, line = one(found, "unknown word"), one(found, "unknown line")
    assert word.text == "The model does not know “pupet”. Perhaps “puppet”?"
    assert prompt[slice(*word.span)] == "pupet"
    assert line.text == "The model never heard “bananna”. Perhaps “banana”?"
    assert prompt[slice(*line.span)] == '"bananna"'


def test_a_caption_of_the_small_model_has_no_warning(puppet):
    prompt = (
        "A green puppet with a crown on the left and a blue puppet on the right on a white "
        'background. The one on the left says "banana" in a high voice, then the one on the right '
        '"hola" in Spanish in a low voice. It rains.'
    )
    found = hints(prompt, duration_s=2.0, vocabulary=puppet)
    assert [hint for hint in found if hint.severity == "warning"] == []
    languages = [hint.text for hint in of_kind(found, "line language")]
    assert languages == ["Spoken in English.", "Spoken in Spanish."]


def test_a_small_model_says_which_languages_it_reads(puppet):
    hint = one(hints(" ".join(SENTENCES["pt"]), vocabulary=puppet), "language")
    assert hint == Hint(
        "language",
        "Written in Portuguese; this model reads English, Spanish, German, French and Italian.",
        severity="warning",
    )


def test_many_unknown_words_are_counted(puppet):
    prompt = " ".join(f"wug{chr(97 + index)}" for index in range(12))
    found = of_kind(hints(prompt, vocabulary=puppet), "unknown word")
    assert len(found) == 9
    assert found[-1].text == "4 more words are unknown."


@pytest.mark.parametrize(
    "unit", [SCENE + 'She says "Hello, my friend." ', "“", '"a" ', "x ", "On the left is "]
)
def test_hints_keep_up_with_typing(unit, puppet):
    prompt = (unit * 2000)[:2000]
    for vocabulary in (None, puppet):
        hints(prompt, vocabulary=vocabulary)
        times = []
        for _ in range(5):
            start = time.thread_time()
            hints(prompt, duration_s=5.0, vocabulary=vocabulary)
            times.append(time.thread_time() - start)
        # Measured: 2 ms of computing for ordinary text, at most 5; the rest is for slow machines.
        assert min(times) < 0.02, f"{1000 * min(times):.1f} ms"
