import gradio as gr
import pytest

from ltx2.errors import RequestError
from ltx2.prompting.dialogue import read, write
from ltx2.ui.composer import (
    DIALOGUE_MODE,
    MAX_ROWS,
    TEXT_MODE,
    ComposerHandlers,
    Row,
    to_dialogue,
    to_rows,
)
from tests.unit.ui.stand_ins import an_offer

WOMAN = Row(looks="A woman with red hair", place="left", text="Where is it?", language="en")
MAN = Row(name="Tom", looks="A tall man", text="Here.", delivery="quietly")


def flat(rows, setting="A quiet kitchen"):
    """Fields as Gradio hands them over."""
    padded = [*rows, *[Row()] * (MAX_ROWS - len(rows))]
    return [len(rows), setting, *(value for row in padded for value in vars(row).values())]


@pytest.fixture
def handlers():
    return ComposerHandlers(lambda name: an_offer())


def test_rows_become_a_prompt_that_is_read_back_as_the_same_rows(handlers):
    prompt, message = handlers.on_write(DIALOGUE_MODE, None, "", *flat([WOMAN, MAN]))
    assert message == ""
    assert '"Where is it?"' in prompt
    again = handlers.on_read(DIALOGUE_MODE, None, prompt, *flat([Row()]))
    count, setting, *rest = again
    assert (count, setting) == (2, "A quiet kitchen")
    assert rest[: len(vars(Row()))][4] == "Where is it?"
    assert handlers.on_write(DIALOGUE_MODE, None, "", *again[: 2 + 7 * MAX_ROWS])[0] == prompt


def test_rows_of_one_name_are_lines_of_one_speaker():
    dialogue = to_dialogue("", [MAN, WOMAN, Row(name="tom", text="Take it.")])
    assert [line.speaker for line in dialogue.lines] == [0, 1, 0]
    assert len(dialogue.speakers) == 2


def test_who_has_no_line_is_silent_and_keeps_a_row():
    silent = Row(looks="A green robot", place="right")
    dialogue = to_dialogue("", [WOMAN, silent])
    assert len(dialogue.speakers) == 2
    assert [row.looks for row in to_rows(read(write(dialogue)))][1].lower() == "a green robot"


def test_a_line_of_nobody_is_refused_and_the_prompt_stays(handlers):
    with pytest.raises(RequestError, match="Nobody says line 1"):
        to_dialogue("", [Row(text="Hello.")])
    prompt, message = handlers.on_write(DIALOGUE_MODE, None, "kept", *flat([Row(text="<b>")]))
    assert prompt == "kept"
    assert "Nobody says line 1" in message


def test_while_nothing_is_said_the_prompt_stays(handlers):
    assert handlers.on_write(DIALOGUE_MODE, None, "kept", *flat([Row()])) == ("kept", "")


def test_without_dialogue_neither_prompt_nor_rows_change(handlers):
    assert handlers.on_write(TEXT_MODE, None, "kept", *flat([WOMAN])) == ("kept", "")
    answers = handlers.on_read(TEXT_MODE, None, 'He says "no".', *flat([Row()]))
    assert all(answer in (gr.skip(), "") for answer in answers)


def test_what_is_no_dialogue_leaves_the_rows_and_says_why(handlers):
    *rows, message = handlers.on_read(DIALOGUE_MODE, None, "A ball.", *flat([WOMAN]))
    assert all(answer == gr.skip() for answer in rows)
    assert "quotation marks" in message


def test_rows_come_and_go_between_one_and_six(handlers):
    rows = [WOMAN]
    for number in range(2, MAX_ROWS + 3):
        answers = handlers.on_add(*flat(rows))
        assert answers[0] == min(number, MAX_ROWS)
        rows = [*rows, Row()][:MAX_ROWS]
    assert answers[-2]["interactive"] is False
    assert handlers.on_remove(0, *flat([WOMAN, MAN]))[:4] == [
        1,
        "A quiet kitchen",
        "Tom",
        MAN.looks,
    ]
    assert handlers.on_remove(0, *flat([WOMAN]))[0] == 1
