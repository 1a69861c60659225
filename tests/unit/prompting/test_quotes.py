import pytest

from ltx2.errors import RequestError
from ltx2.prompting.quotes import find_quotes, quoted, without_quotes


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ('He says "yes".', ["yes"]),
        ("Sie sagt: „Guten Tag“ und „Tschüss”.", ["Guten Tag", "Tschüss"]),
        ("Elle dit « bonjour ».", [" bonjour "]),
        ("彼は「はい」と言う。", ["はい"]),
        ('She says “he said "no" to me”.', ['he said "no" to me']),
        ("It's the dog's bone.", []),
        ('""', [""]),
    ],
)
def test_quoted_lines_are_found_with_any_marks(text, lines):
    found = find_quotes(text)
    assert [quote.text for quote in found.quotes] == lines
    assert found.unbalanced == ()


@pytest.mark.parametrize(("text", "position"), [('a "b', 2), ("a” b", 1), ("“a” “b", 4)])
def test_a_mark_without_a_partner_is_reported_where_it_stands(text, position):
    assert find_quotes(text).unbalanced == (position,)


def test_a_line_is_put_between_marks_it_does_not_contain():
    assert quoted("yes") == '"yes"'
    assert quoted('"no"') == '“"no"”'
    assert quoted('"“«「') == '『"“«「』'
    with pytest.raises(RequestError, match="every kind of quotation mark"):
        quoted('"“«「『„')


def test_quoted_lines_are_blanked_in_place():
    text = 'He says "yes" now'
    assert without_quotes(text, find_quotes(text).quotes) == "He says       now"
