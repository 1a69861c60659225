"""Dialogue composed in a real browser: nothing that is typed is lost, and the prompt says it."""

import pytest

from tests.browser.barriers import barriers, in_every_look, needs_axe
from tests.browser.served import CLIP_S, served_page, stand_in

pytestmark = pytest.mark.browser

SIZES = {
    "desktop": {"viewport": {"width": 1280, "height": 860}},
    "phone": {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True},
}

SLOW_ANSWERS_JS = """
    const ask = window.fetch.bind(window);
    window.fetch = async (...asked) => {
        if (/\\/run\\/|component_server/.test(asked[0]?.url ?? asked[0])) {
            await new Promise((then) => setTimeout(then, 400 * Math.random()));
        }
        return ask(...asked);
    };
"""
"""A busy server, whose answers come late and in any order."""


@pytest.fixture(scope="module")
def address(browser, tmp_path_factory):
    folder = tmp_path_factory.mktemp("any text")
    with served_page(stand_in(folder), folder, STAND_IN_STEP_S="0") as url:
        yield url


@pytest.fixture
def crowned_page(browser, tmp_path):
    """A model of few words, asked for a puppet with a crown that says one of them."""
    with served_page(
        stand_in(tmp_path), tmp_path, STAND_IN_STEP_S="0", STAND_IN_VOCABULARY="1"
    ) as address:
        page = opened(browser, address)
        choose(page, "Dialogue")
        speaker(page, 1).get_by_label("Looks 3").select_option(label="a crown")
        line(page, 1).locator(".said select").select_option("sieben")
        yield page
        page.close()


@pytest.fixture(params=SIZES)
def page(browser, address, request):
    context = browser.new_context(**SIZES[request.param])
    yield opened(context, address)
    context.close()


def opened(context, address):
    page = context.new_page()
    page.set_default_timeout(CLIP_S)
    page.goto(address)
    page.locator("#generate").wait_for()
    return page


def choose(page, mode):
    page.locator("#mode").get_by_label(mode, exact=True).check()


def speaker(page, number):
    return page.get_by_role("group", name=f"Speaker {number}", exact=True)


def line(page, number):
    return page.get_by_role("group", name=f"Line {number}", exact=True)


def prompt_of(page):
    return page.locator("#prompt textarea").input_value()


def wait_for_prompt(page, *parts):
    page.wait_for_function(
        """(parts) => {
            const prompt = document.querySelector("#prompt textarea")?.value ?? "";
            return parts.every((part) => prompt.includes(part));
        }""",
        arg=list(parts),
    )


def fields_of(page):
    return page.evaluate(
        "[...document.querySelectorAll('#composer :is(input, select)')].map((f) => f.value)"
    )


def type_dialogue(page):
    """Two speakers and four lines, as fast as keys go, without waiting for anything."""
    page.get_by_label("Around them").press_sequentially("A quiet kitchen at night")
    first = speaker(page, 1)
    first.get_by_label("Looks").press_sequentially("a woman with red hair")
    first.get_by_label("Place").select_option("left")
    page.get_by_role("button", name="Add a speaker").click()
    page.keyboard.type("a tall man")  # the new fields have the focus
    speaker(page, 2).get_by_label("Name").press_sequentially("Tom")
    line(page, 1).get_by_label("Line", exact=True).press_sequentially("Where is it?")
    for said in ("Here.", "No, there!", "Ah."):
        page.keyboard.press("Enter")
        page.keyboard.type(said)
    line(page, 2).get_by_label("Delivery").press_sequentially("quietly")
    line(page, 3).get_by_label("Language").select_option("en")


SAID = (
    '"Where is it?"',
    'Tom, the tall man on the right, says, quietly: "Here."',
    'in English: "No, there!"',
    '"Ah."',
)


@pytest.mark.slow
def test_what_is_typed_quickly_into_several_rows_stays_and_is_the_prompt(page):
    choose(page, "Dialogue")
    type_dialogue(page)
    wait_for_prompt(page, *SAID, "A quiet kitchen at night", "On the left is a woman")
    written, fields = prompt_of(page), fields_of(page)
    positions = [written.index(said) for said in SAID]
    assert positions == sorted(positions)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    choose(page, "Text")
    assert not page.locator("#composer").is_visible()
    assert prompt_of(page) == written
    choose(page, "Dialogue")
    page.wait_for_timeout(500)
    assert (fields_of(page), prompt_of(page)) == (fields, written)
    page.reload()
    wait_for_prompt(page, *SAID)
    page.locator("#composer").wait_for()
    page.wait_for_timeout(500)
    assert (fields_of(page), prompt_of(page)) == (fields, written)


def test_late_answers_take_nothing_away(browser, address):
    with browser.new_context() as context:
        context.add_init_script(SLOW_ANSWERS_JS)
        page = opened(context, address)
        choose(page, "Dialogue")
        type_dialogue(page)
        wait_for_prompt(page, *SAID)
        page.wait_for_timeout(1_000)
        assert "a tall man" in fields_of(page)
        assert [line(page, n).get_by_label("Line", exact=True).input_value() for n in (1, 4)] == [
            "Where is it?",
            "Ah.",
        ]


def test_a_typed_prompt_is_read_back_and_its_fields_write_on(page):
    choose(page, "Dialogue")
    page.locator("#prompt textarea").fill('A market. A girl in blue says, "Apples!"')
    said = line(page, 1).get_by_label("Line", exact=True)
    page.wait_for_function(
        "() => [...document.querySelectorAll('#composer input')].some((f) => f.value === 'Apples!')"
    )
    assert speaker(page, 1).get_by_label("Looks").input_value() == "a girl in blue"
    said.fill("Pears!")
    wait_for_prompt(page, '"Pears!"', "A market")
    page.locator("#prompt textarea").fill("A ball.")
    page.locator("#composer [role=status]").get_by_text("quotation marks").wait_for()
    assert said.input_value() == "Pears!"


@pytest.mark.slow
def test_lines_and_speakers_come_and_go_by_keyboard(page):
    choose(page, "Dialogue")
    type_dialogue(page)
    page.get_by_role("button", name="Move line 4 up").press("Enter")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Move line 3 up"
    wait_for_prompt(page, "Ah.")
    page.wait_for_function(
        """() => {
            const prompt = document.querySelector("#prompt textarea").value;
            return prompt.indexOf('"Ah."') < prompt.indexOf('"No, there!"');
        }"""
    )
    page.get_by_role("button", name="Remove line 1").press("Enter")
    page.wait_for_function(
        "() => !document.querySelector('#prompt textarea').value.includes('Where is it?')"
    )
    page.get_by_role("button", name="Remove speaker 2").press("Enter")
    wait_for_prompt(page, "a woman with red hair")
    page.wait_for_function(
        "() => !document.querySelector('#prompt textarea').value.includes('Tom')"
    )
    assert page.get_by_role("button", name="Remove speaker 1").count() == 0


@pytest.mark.slow
def test_generate_makes_what_the_fields_say_at_that_moment(browser, address):
    with browser.new_context() as context:
        context.add_init_script(SLOW_ANSWERS_JS.replace("400 * Math.random()", "3000"))
        page = opened(context, address)
        choose(page, "Dialogue")
        speaker(page, 1).get_by_label("Looks").fill("a cat")
        line(page, 1).get_by_label("Line", exact=True).fill("Miaow.")
        assert prompt_of(page) == ""
        page.locator("#generate").click()
        page.locator("#summary p").wait_for()
        page.get_by_text("Recipe, also inside the file").click()
        page.locator("#recipe .cm-content").get_by_text("Miaow.").wait_for()


@pytest.mark.slow
def test_a_small_model_offers_what_it_was_taught(crowned_page):
    page = crowned_page
    wait_for_prompt(page, "A red puppet with a crown on a ", '"sieben" in German')
    page.get_by_role("button", name="Add a speaker").click()
    page.get_by_role("button", name="Add a line").click()
    line(page, 2).locator(".said select").select_option("banana")
    wait_for_prompt(page, "on the left and ", '"banana"')
    assert page.locator("#hints .warning").count() == 0
    assert page.get_by_role("button", name="Add a").count() == 0


def test_who_was_read_back_alone_makes_room_for_another(crowned_page):
    page = crowned_page
    wait_for_prompt(page, '"sieben" in German')
    alone = prompt_of(page)
    page.locator("#prompt textarea").fill(alone.replace("sieben", "morgen"))
    page.wait_for_function(
        "() => document.querySelector('#composer .said select').value === 'morgen'"
    )
    assert speaker(page, 1).get_by_label("Place").input_value() == "centre"
    page.get_by_role("button", name="Add a speaker").click()
    places = [speaker(page, n).get_by_label("Place").input_value() for n in (1, 2)]
    assert places == ["left", "right"]
    wait_for_prompt(page, "on the left and ", '"morgen"')


@pytest.mark.slow
@needs_axe
@in_every_look
def test_a_dialogue_has_no_serious_barrier(browser, address, colors, size):
    with browser.new_context(color_scheme=colors, viewport=size) as context:
        page = opened(context, address)
        choose(page, "Dialogue")
        speaker(page, 1).get_by_label("Looks").fill("a woman with red hair")
        page.get_by_role("button", name="Add a speaker").click()
        line(page, 1).get_by_label("Line", exact=True).fill("Where is it?")
        wait_for_prompt(page, '"Where is it?"')
        assert barriers(page) == []
