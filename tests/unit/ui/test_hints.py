from ltx2.ui.hints import render_hints


def test_nothing_is_said_of_an_empty_prompt():
    assert render_hints("  ", duration_s=2.0) == ""


def test_facts_are_in_one_line_and_warnings_are_marked_with_a_word():
    shown = render_hints('He says "' + "one two three " * 9 + '"', duration_s=1.0)
    assert "1 quoted line" in shown
    assert '<p class="warning"><b>Note:</b>' in shown


def test_what_was_typed_is_shown_as_text():
    shown = render_hints('He says "<script>alert(1)</script>', duration_s=None)
    assert "<script>" not in shown


def test_few_warnings_are_shown_and_the_others_counted():
    shown = render_hints('“ „x « 「 『 " ' * 2, duration_s=None)
    assert shown.count('class="warning"') <= 4
