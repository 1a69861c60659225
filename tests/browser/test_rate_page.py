"""A rater's whole session in a real browser, by keyboard, on a desktop and on a phone."""

import sqlite3

import pytest

from tests.browser.barriers import barriers, in_every_look, needs_axe
from tests.browser.rate_app import HOSTILE
from tests.browser.served import served_page

pytestmark = pytest.mark.browser

HEARD_S = 30_000
"""Milliseconds within which both clips of 1.5 s have been played on a busy machine."""


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The folder of a served study, and the address that raters are sent."""
    folder = tmp_path_factory.mktemp("rating")
    data = folder / "data"
    data.mkdir()
    with served_page(["-m", "tests.browser.rate_app", str(data)], folder) as address:
        yield data, f"{address}/rate/{(data / 'study').read_text()}"


@pytest.fixture
def page(browser, study):
    context = browser.new_context(locale="en-GB", viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(study[1])
    yield page
    context.close()


def press(page, name):
    page.get_by_role("button", name=name, exact=True).click()


def begin(page):
    """Through consent and checks, the number of beeps taken from what is really played."""
    page.get_by_role("button", name="I agree to take part").wait_for()
    # The sides are drawn at random in the page: all on the left are easy to count.
    page.evaluate("() => { Math.random = () => 0.1; }")
    press(page, "I agree to take part")
    press(page, "Play the beeps")
    field = page.get_by_role("spinbutton")
    page.wait_for_function("() => !document.querySelector('input[type=number]').disabled")
    field.fill("6")
    press(page, "Go on")
    page.get_by_role("heading", name="Which clip is better?").wait_for()


def hear_both(page):
    """Each from its start to its end; switching in the middle would go on from there."""
    for key, side in (("a", 1), ("b", 2)):
        page.keyboard.press(key)
        page.wait_for_function(
            """(side) => parseInt(document.querySelectorAll('.bar i')[side - 1].style.width) >= 95
                && document.querySelectorAll('video')[side - 1].ended""",
            arg=side,
            timeout=HEARD_S,
        )


def answer(page, digits):
    for digit in digits:
        page.keyboard.press(digit)


def votes(study):
    with sqlite3.connect(study[0] / "studies.db") as database:
        return database.execute("select count(*) from entries where kind = 'vote'").fetchone()[0]


def test_a_wrong_number_of_beeps_does_not_pass(page):
    press(page, "I agree to take part")
    page.evaluate("() => { Math.random = () => 0.1; }")
    press(page, "Play the beeps")
    page.wait_for_function("() => !document.querySelector('input[type=number]').disabled")
    page.get_by_role("spinbutton").fill("3")
    press(page, "Go on")
    page.get_by_text("That was not the number on the left.").wait_for()


def views(page):
    """The names of a session's views, each once it is seen, from first to last by keyboard."""
    page.get_by_role("button", name="I agree to take part").wait_for()
    yield "consent"
    begin(page)
    yield "a pair before it is heard"
    for pair in (1, 2, 3):
        if pair == 3:
            page.get_by_role("heading", name="Time for a break").wait_for()
            yield "the break"
            page.keyboard.press("Tab")
            page.keyboard.press("Enter")
        page.get_by_text(f"Pair {pair} of 3").wait_for()
        assert page.get_by_role("radio").first.is_disabled()
        hear_both(page)
        answer(page, "12135")
        if pair == 1:
            yield "a pair with its answers"
        page.keyboard.press("Enter")
    page.get_by_text("Who made this clip?").first.wait_for()
    yield "the questions at the end"
    press(page, "Go on")
    page.get_by_role("heading", name="Thank you").wait_for()
    yield "the thanks"


def test_a_session_from_first_to_last_by_keyboard(page, study):
    before = votes(study)
    assert len(list(views(page))) == 6
    assert votes(study) == before + 3


@needs_axe
def test_no_check_before_a_session_has_a_serious_barrier(page):
    page.get_by_role("button", name="I agree to take part").wait_for()
    assert barriers(page) == [], "consent"
    press(page, "I agree to take part")
    press(page, "Play the beeps")
    page.wait_for_function("() => !document.querySelector('input[type=number]').disabled")
    page.get_by_role("spinbutton").fill("9")
    press(page, "Go on")
    page.get_by_text("That was not the number on the left.").wait_for()
    assert barriers(page) == [], "checks"


@needs_axe
@pytest.mark.exhaustive
@in_every_look
def test_no_view_of_a_session_has_a_serious_barrier(browser, study, colors, size):
    context = browser.new_context(locale="en-GB", color_scheme=colors, viewport=size)
    page = context.new_page()
    page.goto(study[1])
    for name in views(page):
        assert barriers(page) == [], name
    context.close()


def test_the_prompt_is_text_and_names_no_model(page):
    begin(page)
    assert page.locator("blockquote").inner_text() == HOSTILE
    assert "model-" not in page.content()
    assert page.title() == "Which clip is better?"


def test_only_one_side_is_heard_and_both_run_in_step(page):
    begin(page)
    page.keyboard.press("b")
    page.wait_for_function("() => document.querySelectorAll('video')[1].currentTime > 0.4")
    left, right = page.evaluate(
        "() => [...document.querySelectorAll('video')].map((v) => [v.muted, v.currentTime])"
    )
    assert (left[0], right[0]) == (True, False)
    assert abs(left[1] - right[1]) < 0.25


@pytest.mark.slow
def test_the_same_link_goes_on_after_a_reload_and_in_another_browser(page, browser):
    begin(page)
    hear_both(page)
    answer(page, "22223")
    press(page, "Send and go on")
    page.get_by_text("Pair 2 of 3").wait_for()
    page.reload()
    page.get_by_text("Pair 2 of 3").wait_for()
    other = browser.new_context(viewport={"width": 390, "height": 800}, locale="ar")
    phone = other.new_page()
    phone.goto(page.url)
    phone.get_by_text("الزوج 2 من 3").wait_for()
    assert phone.evaluate("() => document.documentElement.dir") == "rtl"
    assert phone.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    other.close()


@pytest.mark.slow
def test_going_back_shows_the_pair_before_with_its_answers(page):
    begin(page)
    hear_both(page)
    answer(page, "12326")
    page.get_by_label("The picture", exact=True).check()
    press(page, "Send and go on")
    page.get_by_text("Pair 2 of 3").wait_for()
    press(page, "Back to the pair before")
    page.get_by_text("Pair 1 of 3").wait_for()
    assert page.locator("input[type=radio]:checked").count() == 5
    assert page.locator("input[type=checkbox]:checked").count() == 1
    assert page.locator("input[value=both_bad]").is_checked()


def test_the_server_refuses_a_vote_that_the_page_lets_through_too_early(page, study):
    before = votes(study)
    begin(page)
    answer = page.evaluate(
        """async () => {
            const headers = {
                "Content-Type": "application/json",
                Authorization: `Bearer ${decodeURIComponent(location.hash.slice(1))}`,
            };
            const state = await (await fetch("/rating/session", { headers })).json();
            const answers = Object.fromEntries(state.axes.map((axis) => [axis.key, "tie"]));
            const { trial, vote_token } = state;
            const body = JSON.stringify({ trial, vote_token, answers, request_key: "x" });
            return (await fetch("/rating/session/vote", { method: "POST", headers, body })).status;
        }"""
    )
    assert answer == 409
    assert votes(study) == before


def test_a_refusal_is_told_in_the_raters_language(browser, study):
    context = browser.new_context(locale="de-DE")
    page = context.new_page()
    page.goto(f"{study[1]}#nobodys-token")
    page.get_by_text("Dieser Link öffnet keine Sitzung.").wait_for()
    context.close()


def test_raters_are_told_where_answers_are_not_kept(browser, study):
    context = browser.new_context(locale="fr-FR")
    page = context.new_page()
    not_kept = {"state": "consent", "study": "s", "instructions": {}, "pairs": 3, "kept": False}
    page.route(
        "**/rating/studies/*/sessions",
        lambda route: route.fulfill(json={"token": "t", "state": not_kept}),
    )
    page.goto(study[1])
    page.get_by_text("les réponses ne sont pas conservées").wait_for()
    context.close()
