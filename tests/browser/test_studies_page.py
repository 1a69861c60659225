"""The owner's way through a study in a real browser, a rater's, and what a stranger sees."""

import re

import pytest

from tests.browser.barriers import barriers, in_every_look, needs_axe, open_tab
from tests.browser.rate_app import PROMPTS, made_up_clip
from tests.browser.served import served_page
from tests.browser.test_rate_page import answer, begin, hear_both, press

pytestmark = pytest.mark.browser

PASSWORD = "correct horse"
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 900}
SLOW_MS = 120_000
"""On a busy machine."""


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    for model in range(2):
        (folder / f"model-{model}").mkdir()
        for index, prompt in enumerate(PROMPTS):
            made_up_clip(2 * index + model).save(folder / f"model-{model}" / f"{prompt}.mp4")
    return folder


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("studies")
    arguments = ["-m", "tests.browser.studies_app", str(folder / "data")]
    with served_page(arguments, folder, LTX2_OWNER_PASSWORD=PASSWORD) as url:
        yield url


@pytest.fixture
def visit(browser, address):
    """Opens the page on the tab of this name, as somebody new."""
    contexts = []

    def open_on(name, viewport=DESK, **options):
        options = {"locale": "en-GB", "viewport": viewport, "accept_downloads": True, **options}
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(SLOW_MS)
        page.goto(address)
        page.get_by_role("tab", name="Generate").wait_for()
        open_tab(page, name)
        return page

    yield open_on
    for context in contexts:
        context.close()


def enter(page):
    page.locator("#owner-password input").fill(PASSWORD)
    page.locator("#owner-enter").click()
    page.locator("#study-create").wait_for()


def ask_for(page, clips, name="From the page", models=2):
    """Fills in the form."""
    page.locator("#study-name textarea, #study-name input").fill(name)
    lines = "\n".join(f"model-{m} = {clips / f'model-{m}'}" for m in range(models))
    page.locator("#study-folders textarea").fill(lines)
    counts = {"raters": 12, "pairs": 2, "training": 1, "attention": 0, "repeats": 0}
    for field, count in counts.items():
        page.locator(f"#study-{field} input").fill(str(count))


@pytest.mark.exhaustive
def test_a_study_from_the_form_to_the_report(visit, clips, browser, address, tmp_path):
    page = visit("Studies")
    enter(page)
    ask_for(page, clips)
    page.locator("#study-check").click()
    page.get_by_text("Ready to be opened").wait_for()
    page.locator("#study-create").click()
    page.locator("#study-card").get_by_text("From the page").wait_for()
    assert "draft" in page.locator("#study-card").inner_text()
    page.locator("#study-open").click()
    page.locator("#study-pause").wait_for()
    link = page.locator("#study-link textarea, #study-link input").input_value()
    assert re.fullmatch(rf"{address}/rate/[0-9a-f]{{16}}", link)

    rater = browser.new_context(locale="en-GB", viewport=DESK).new_page()
    rater.set_default_timeout(SLOW_MS)
    rater.goto(link)
    begin(rater)
    for pair in (1, 2, 3):
        rater.get_by_text(f"Pair {pair} of 3").wait_for()
        hear_both(rater)
        answer(rater, "12135")
        rater.keyboard.press("Enter")
    rater.get_by_text("Who made this clip?").first.wait_for()
    assert "model-" not in rater.content().split("Who made this clip?")[0]
    press(rater, "Go on")
    rater.get_by_role("heading", name="Thank you").wait_for()
    rater.context.close()

    page.get_by_role("tab", name="Results").click()
    results = page.locator("#results")
    results.get_by_text("All votes are of one rater").wait_for()
    text = results.inner_text()
    assert "2 of 24" in text
    assert "model-0 / model-1" in text
    with page.expect_download() as download:
        page.locator("#take-report-html").click()
    report = tmp_path / "report.html"
    download.value.save_as(report)
    html = report.read_text()
    assert "<script" not in html
    assert "From the page" in html
    with page.expect_download() as download:
        page.locator("#take-votes-csv").click()
    votes = tmp_path / "votes.csv"
    download.value.save_as(votes)
    # Its prompts have no texts, so nobody is asked which clip follows them.
    assert len(votes.read_text().splitlines()) == 1 + 3 * 4

    page.get_by_role("tab", name="Studies").click()
    page.locator("#study-pause").click()
    page.locator("#study-resume").wait_for()
    page.locator("#study-close").click()
    page.get_by_text("takes no more votes, for good").wait_for()
    page.get_by_label("Yes, close it").check()
    page.locator("#study-close").click()
    page.locator("#study-card").get_by_text("closed").wait_for()


@pytest.mark.slow
def test_problems_of_clips_are_named_before_a_study_opens(visit, clips, tmp_path):
    import shutil

    broken = tmp_path / "clips"
    shutil.copytree(clips, broken)
    (broken / "model-1" / "two.mp4").unlink()
    (broken / "model-1" / "three.mp4").write_bytes(b"no clip")
    page = visit("Studies")
    enter(page)
    ask_for(page, broken, name="Broken")
    page.locator("#study-check").click()
    shown = page.locator("#study-answer")
    shown.get_by_text("model-1, prompt two: the clip is missing.").wait_for()
    assert "model-1, prompt three: unreadable" in shown.inner_text()


@pytest.mark.slow
def test_a_stranger_sees_neither_studies_nor_results_and_a_wrong_password_opens_nothing(visit):
    page = visit("Studies")
    page.locator("#owner-password input").fill("wrong")
    page.locator("#owner-enter").click()
    page.get_by_text("This is not the password.").wait_for()
    assert page.locator("#study-create").count() == 0
    assert "From the page" not in page.content()
    page.get_by_role("tab", name="Results").click()
    page.get_by_text("There is no study here that you may see").wait_for()
    assert page.locator("#take-report-html").count() == 0


@pytest.mark.exhaustive
def test_the_demo_is_prepared_on_a_click_and_fits_a_phone(visit):
    page = visit("Studies", PHONE)
    page.locator("#demo-start").click()
    page.locator("#demo-rate").wait_for()
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    with page.context.expect_page() as opened:
        page.locator("#demo-rate").click()
    opened.value.get_by_role("button", name="I agree to take part").wait_for()


@pytest.fixture(scope="module")
def votes_file(tmp_path_factory):
    """Votes of an arena that has its own names for things."""
    path = tmp_path_factory.mktemp("votes") / "arena.csv"
    rows = [
        f"{worker},{item},ours,theirs,{'tie' if (worker + item) % 5 == 0 else 'left'}"
        for worker in range(20)
        for item in range(6)
    ]
    path.write_text("\n".join(["worker_id,item,model_a,model_b,winner", *rows]))
    return path


def rank(page, votes_file):
    page.locator("#votes-file input[type=file]").set_input_files(votes_file)
    page.locator("#votes-rank").click()
    page.locator("#ranked").get_by_text("ours is preferred").wait_for()


@pytest.mark.slow
def test_any_file_of_votes_is_ranked_on_the_page(visit, votes_file):
    page = visit("Results", PHONE)
    rank(page, votes_file)
    assert "120" in page.locator("#ranked").inner_text()
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")


@needs_axe
@pytest.mark.exhaustive
@in_every_look
def test_neither_studies_nor_results_have_a_serious_barrier(visit, clips, votes_file, colors, size):
    page = visit("Studies", size, color_scheme=colors)
    enter(page)
    ask_for(page, clips, name=f"In {colors} on {size['width']}")
    page.locator("#study-create").click()
    page.locator("#study-card").get_by_text("Raters who joined").wait_for()
    assert barriers(page) == [], "a study"
    open_tab(page, "Results")
    rank(page, votes_file)
    assert barriers(page) == [], "results"
