"""Every text of the page is wrapped, and has all its translations; none is left over."""

import ast
import json
import re
from string import Formatter

import pytest

from ltx2.ui.language import LANGUAGES, RETOLD
from tests.conftest import ROOT

PACKAGES = ["ltx2", "evaluation"]

WRAPPERS = {"label", "say", "phrase"}

SHOWN = {"label", "info", "placeholder", "title", "description"}
"""Properties of components that people read."""

FIRST = {"Button", "Markdown", "Tab", "Accordion", "HTML", "DownloadButton", "Info", "Warning"}
"""What shows its first value."""

UNTRANSLATED = {"Label", "State", "BrowserState", "Image"}


def trees(package, folder="ui"):
    for path in sorted((ROOT / package / folder).rglob("*.py")):
        yield path, ast.parse(path.read_text())


def calls(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def texts_of(package):
    """Texts that are wrapped, with the files that say them."""
    found = {}
    for path, tree in trees(package):
        for call in calls(tree):
            is_wrapper = isinstance(call.func, ast.Name) and call.func.id in WRAPPERS
            if is_wrapper and call.args and isinstance(call.args[0], ast.Constant):
                found.setdefault(call.args[0].value, path.name)
    return found


def tables_of(package):
    return {
        path.name: json.loads(path.read_text("utf-8"))
        for path in sorted((ROOT / package / "ui" / "phrases").glob("*.json"))
    }


def placeholders(text):
    return sorted(name for _, name, _, _ in Formatter().parse(text) if name is not None)


def is_words(node):
    """Whether it is text with letters in it that people would read."""
    if isinstance(node, ast.JoinedStr):
        return any(is_words(value) for value in node.values if isinstance(value, ast.Constant))
    if not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
        return False
    return bool(re.search(r"[A-Za-z]{3}", re.sub(r"<[^>]*>|&\w+;", "", node.value)))


@pytest.mark.parametrize("package", PACKAGES)
def test_every_text_has_its_translations_with_the_same_values(package):
    for name, table in tables_of(package).items():
        for text, said in table.items():
            assert set(said) == set(LANGUAGES), (name, text)
            for language, words in said.items():
                assert words.strip(), (name, text, language)
                assert placeholders(words) == placeholders(text), (name, text, language)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_text_is_missing_in_the_tables_or_left_over(package):
    tables = tables_of(package)
    known = {text for table in tables.values() for text in table}
    if package != "ltx2":  # it stands on the page, and may say what the page says
        known |= {text for table in tables_of("ltx2").values() for text in table}
    said = texts_of(package)
    assert {text: name for text, name in said.items() if text not in known} == {}
    own = {text for name, table in tables.items() if name != RETOLD for text in table}
    assert own - set(said) == set()


@pytest.mark.parametrize("package", PACKAGES)
def test_no_text_has_two_entries_that_differ(package):
    seen = {}
    for table in tables_of(package).values():
        for text, said in table.items():
            assert seen.setdefault(text, said) == said, text


@pytest.mark.parametrize("package", PACKAGES)
def test_no_component_is_given_bare_words(package):
    bare = []
    for path, tree in trees(package):
        for call in calls(tree):
            function = call.func
            if not (isinstance(function, ast.Attribute) and ast.unparse(function.value) == "gr"):
                continue
            shown = [k.value for k in call.keywords if k.arg in SHOWN]
            if function.attr in FIRST:
                shown += [*call.args[:1], *(k.value for k in call.keywords if k.arg == "value")]
            if function.attr == "update":
                shown += [k.value for k in call.keywords if k.arg == "value"]
            if function.attr not in UNTRANSLATED:
                bare += [f"{path.name}:{value.lineno}" for value in shown if is_words(value)]
    assert bare == []


@pytest.mark.parametrize("package", PACKAGES)
def test_what_is_retold_is_said_somewhere(package):
    """By its words, as sentences are put together of parts and values."""
    said = set()
    for path in (ROOT / package).rglob("*.py"):
        tree = ast.parse(path.read_text())
        said |= {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)}
    words = {word for text in said if isinstance(text, str) for word in re.findall(r"\w+", text)}
    for text in tables_of(package)[RETOLD]:
        missing = set(re.findall(r"[A-Za-z]\w+", re.sub(r"\{\w+\}", "", text))) - words
        assert not missing, (text, missing)
