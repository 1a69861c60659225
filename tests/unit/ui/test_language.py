import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from gradio.context import LocalContext

from ltx2.errors import LTX2Error
from ltx2.media.guarded import read_recipe_guarded
from ltx2.prompting.hints import hints
from ltx2.request import Request
from ltx2.serving.access import Door
from ltx2.serving.jobs import INTERRUPTED
from ltx2.serving.preflight import Change, Fits, Preflight, TooLarge
from ltx2.serving.timing import Forecast
from ltx2.serving.worker import BROKEN
from ltx2.settings import Settings
from ltx2.ui import language
from ltx2.ui.language import label, preferred, retold, say, translations


@pytest.fixture
def asked_in():
    """Sets the language that the request which is answered at the moment prefers."""
    tokens = []

    def set_language(accepted):
        request = SimpleNamespace(headers={"accept-language": accepted})
        tokens.append(LocalContext.request.set(request))

    yield set_language
    for token in reversed(tokens):
        LocalContext.request.reset(token)


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Makes tables known for the length of a test, and no others."""
    monkeypatch.setattr(language, "_phrases", {})
    monkeypatch.setattr(language, "_retold", set())

    def add(name="more.json", **phrases):
        (tmp_path / name).write_text(json.dumps(phrases), "utf-8")
        language.add_phrases(tmp_path)

    yield add
    monkeypatch.undo()
    language._patterns.cache_clear()
    language.said.cache_clear()


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        ("de", "de"),
        ("pt-BR,pt;q=0.9,en;q=0.8", "pt"),
        ("zh-Hant-TW", "zh"),
        ("pl,de;q=0.9", "en"),  # the labels are English then, so the rest is
        ("", "en"),
        ("*;q=0.5", "en"),
    ],
)
def test_the_first_language_of_a_browser_counts(accepted, chosen):
    assert preferred(accepted) == chosen


def test_a_text_is_said_in_the_language_of_the_request(asked_in, table):
    table(**{"{count} hats": {"de": "{count} Hüte"}})
    assert say("{count} hats", count=3) == "3 hats"  # nobody asks
    asked_in("de-AT")
    assert say("{count} hats", count=3) == "3 Hüte"
    asked_in("fr")
    assert say("{count} hats", count=3) == "3 hats"  # not translated


def test_values_are_not_read_as_placeholders(asked_in):
    asked_in("de")
    assert say("{prompt} is new", prompt="{count} {}") == "{count} {} is new"


def test_a_label_is_handed_to_the_browser_in_every_language(table):
    table(**{"{count} hats": {"de": "{count} Hüte"}})
    built = label("{count} hats", count=7)
    assert built == "7 hats"
    handed = translations().translations_dict
    assert set(handed) == {"en", *language.LANGUAGES}
    assert (handed["de"][built.key], handed["fr"][built.key]) == ("7 Hüte", "7 hats")
    assert built.key != "7 hats"  # a choice of that name is not to be translated


def test_a_sentence_from_below_is_found_by_its_pattern_with_values(asked_in, table):
    table(
        "retold.json",
        **{
            "It needs {size}. {advice}": {"de": "Es braucht {size}. {advice}"},
            "Shorten it to {time} s.": {"de": "Kürzen Sie auf {time} s."},
            "Try {word}.": {"de": "Probieren Sie {word}."},
        },
    )
    english = "It needs 3.1 GB. Shorten it to 2.4 s."
    assert retold(english) == english
    asked_in("de")
    assert retold(english) == "Es braucht 3.1 GB. Kürzen Sie auf 2.4 s."
    assert retold("Try hats. Try (a+b)*.") == "Probieren Sie hats. Probieren Sie (a+b)*."


def test_a_sentence_that_no_table_has_stays_whole(asked_in, table):
    table("retold.json", **{"Try {word}.": {"de": "Probieren Sie {word}."}})
    asked_in("de")
    assert retold("The sky fell. Try hats.") == "The sky fell. Try hats."


def test_of_a_list_each_line_is_found_by_itself(asked_in, table):
    table(
        "retold.json",
        **{
            "{count} hats are lost:": {"de": "{count} Hüte fehlen:"},
            "{name}: the hat is red.": {"de": "{name}: Der Hut ist rot."},
            "Look again.": {"de": "Suchen Sie noch einmal."},
        },
    )
    asked_in("de")
    english = "2 hats are lost:\n- v1.5 Pro: the hat is red.\n- B: it is another.\n Look again."
    told = "2 Hüte fehlen:\n- v1.5 Pro: Der Hut ist rot.\n- B: it is another.\n Suchen Sie"
    assert retold(english).startswith(told)


def test_what_the_page_says_itself_is_no_pattern_for_others(asked_in, table):
    table("page.json", **{"{anything} left": {"de": "noch {anything}"}})
    asked_in("de")
    assert retold("two left") == "two left"


def error_of(call, *values, **named):
    with pytest.raises(LTX2Error) as caught:
        call(*values, **named)
    return str(caught.value)


def asked_too_often():
    door = Door(Settings(visitor_rate=1))
    door.admit("a", None)
    door.admit("a", None)


def met_by_visitors(folder: Path):
    """Sentences of lower floors as they come up, made by what makes them."""
    yield error_of(Request, prompt=" ")
    yield error_of(Request, prompt="x" * 100_000)
    yield error_of(asked_too_often)
    (folder / "a.mp4").write_bytes(b"no video")
    yield error_of(read_recipe_guarded, folder / "a.mp4")
    (folder / "b.mp4").write_bytes(b"")
    yield error_of(read_recipe_guarded, folder / "b.mp4")
    too_large = TooLarge(3 * 10**9, 10**9, Change(None, None, "Shorten it to 2.4 s."))
    yield Preflight(Fits(1, 2), Forecast(1.0, 1.0, 5.0, 1.0, 6.0, 9.0)).sentence
    yield Preflight(too_large, None).sentence
    for failed in (INTERRUPTED, BROKEN):
        yield f"{failed.message} {failed.next_step}"
    for prompt in (
        'A man says "Bonjour, comment allez-vous ce matin".',
        "Ein Hund läuft im Garten",
    ):
        for hint in hints(prompt, duration_s=0.2):
            yield hint.text


def test_what_visitors_commonly_meet_is_translated_with_its_values(asked_in, tmp_path):
    found = list(met_by_visitors(tmp_path))
    assert len(found) > 12
    asked_in("de")
    for sentence in found:
        told = retold(sentence)
        assert told != sentence, sentence
        assert re.findall(r"\d+", told) == re.findall(r"\d+", sentence), told
