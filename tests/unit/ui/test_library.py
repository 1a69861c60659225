import zipfile
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest
from PIL import Image

from ltx2.errors import GenerationError
from ltx2.media.decode import read_recipe
from ltx2.serving.jobs import Cancelled
from ltx2.ui.library import MAX_CAPTION, PAGE, LibraryHandlers, render_caption
from tests.fakes.model import FakeModel
from tests.unit.ui.stand_ins import OTHER, VISITOR, an_offer, made, submitted

CHOOSING = ("chosen", "status", "video", "prompt", "favourite", "delete", "restore", "job")


def library(queue):
    return LibraryHandlers(queue, queue.folder.parent / "cache")


def listed(queue, owner=VISITOR, text="", which="All"):
    """Captions and ids of the cards, and whether there are more."""
    gallery, ids, more, nothing = library(queue).on_list(owner, text, which)
    assert nothing["visible"] == (not ids)
    assert gallery["visible"] == bool(ids)
    assert len(gallery["value"]) == len(ids)
    return [caption for _, caption in gallery["value"]], ids, more["visible"]


def captions(queue, **search):
    return listed(queue, **search)[0]


def pictures(queue):
    return [path for path, _ in library(queue).on_list(VISITOR, "", "All")[0]["value"]]


def chosen(updates):
    return dict(zip(CHOOSING, updates, strict=True))


def choose(queue, job, owner=VISITOR):
    _, ids, _ = listed(queue, owner)
    click = SimpleNamespace(index=ids.index(job.id))
    return chosen(library(queue).on_choose(owner, ids, click))


def test_a_visitor_without_clips_is_told_so(queue):
    assert listed(queue) == ([], (), False)


def test_the_newest_clip_comes_first(queue):
    for prompt in ("one", "two", "three"):
        submitted(queue, prompt=prompt)
    assert captions(queue) == ["three", "two", "one"]


def test_clips_are_found_by_words_of_their_prompts(queue):
    for prompt in ("A red ball", "A red puppet", "A blue ball"):
        submitted(queue, prompt=prompt)
    assert captions(queue, text="BALL red") == ["A red ball"]
    assert captions(queue, text="%") == []


def test_older_clips_come_with_more(open_queue):
    queue = open_queue()
    for number in range(PAGE + 2):
        job = submitted(queue, prompt=f"clip {number}")
        queue.cancel(VISITOR, job.id)
    first, ids, has_more = listed(queue)
    assert (len(first), has_more) == (PAGE, True)
    gallery, all_ids, more, _ = library(queue).on_more(VISITOR, "", "All", ids)
    assert len(gallery["value"]) == PAGE + 2
    assert all_ids[:PAGE] == ids
    assert not more["visible"]


def test_favourites_have_a_star_and_a_list_of_their_own(queue):
    job, _ = submitted(queue, prompt="one"), submitted(queue, prompt="two")
    marked = chosen(library(queue).on_favourite(VISITOR, job.id))
    assert marked["favourite"]["value"] == "Not a favourite"
    assert captions(queue) == ["two", "★ one"]
    assert captions(queue, which="Favourites") == ["★ one"]
    library(queue).on_favourite(VISITOR, job.id)
    assert captions(queue, which="Favourites") == []


def test_a_deleted_clip_can_be_brought_back(queue):
    job = made(queue, prompt="one")
    gone = chosen(library(queue).on_delete(VISITOR, job.id))
    assert (gone["delete"]["visible"], gone["restore"]["visible"]) == (False, True)
    assert captions(queue) == []
    assert captions(queue, which="Deleted") == ["one"]
    back = chosen(library(queue).on_restore(VISITOR, job.id))
    assert (back["delete"]["visible"], back["restore"]["visible"]) == (True, False)
    assert captions(queue) == ["one"]
    assert queue.path(job).is_file()


def test_deleting_a_clip_that_waits_stops_it(queue):
    job = submitted(queue)
    gone = chosen(library(queue).on_delete(VISITOR, job.id))
    assert "Stopped." in gone["status"]
    assert queue.find(VISITOR, job.id).state == Cancelled()


def test_a_card_shows_the_clips_first_picture(queue):
    made(queue)
    (path,) = pictures(queue)
    red, green, blue = Image.open(path).convert("RGB").getpixel((4, 38))
    assert red > 200, "the square of the stand-in starts at the left"
    assert blue < 120
    assert green > 150


def test_every_state_has_a_card_of_its_own(open_queue):
    error = GenerationError("It broke.", next_step="Try again.")
    queue = open_queue(an_offer(), an_offer(FakeModel(error=error), name="broken"))
    submitted(queue)
    waiting = pictures(queue)
    (job,) = queue.store.search(VISITOR).jobs
    made_job = queue.make_now(job, queue.models[0])
    done = pictures(queue)
    made(queue, model="broken")
    failed = pictures(queue)[:1]
    queue.cancel(VISITOR, submitted(queue).id)
    stopped = pictures(queue)[:1]
    shown = [Path(path).read_bytes() for path in (*waiting, *done, *failed, *stopped)]
    assert len(set(shown)) == 4
    assert made_job.id in done[0]


def test_a_clip_whose_file_is_gone_keeps_its_card_and_says_so(queue):
    job = made(queue)
    queue.path(job).unlink()
    assert len(pictures(queue)) == 1
    shown = choose(queue, job)
    assert "file is gone" in shown["status"]
    assert not shown["video"]["visible"]


def test_the_chosen_clip_is_shown_with_its_whole_prompt_as_text(queue):
    job = made(queue, prompt="A <b>ball</b> & *stars*\nand a line " + "x" * 100)
    shown = choose(queue, job)
    assert Path(shown["video"]["value"]).samefile(queue.path(job))
    assert shown["prompt"].startswith("<p>A &lt;b&gt;ball&lt;/b&gt; &amp; *stars*\nand")
    assert shown["prompt"].endswith("xxx</p>")
    assert "Made in" in shown["status"]
    assert shown["job"] == job.id


def test_a_caption_is_one_short_line(queue):
    job = submitted(queue, prompt="a\n  b " + "c" * 100)
    caption = render_caption(job)
    assert caption.startswith("a b ccc")
    assert caption.endswith("c…")
    assert len(caption) == MAX_CAPTION


def test_another_visitor_sees_and_changes_nothing(queue):
    job = made(queue)
    assert listed(queue, OTHER) == ([], (), False)
    page = library(queue)
    click = SimpleNamespace(index=0)
    for attempt in (
        lambda: page.on_choose(OTHER, (job.id,), click),
        lambda: page.on_favourite(OTHER, job.id),
        lambda: page.on_delete(OTHER, job.id),
        lambda: page.on_restore(OTHER, job.id),
        lambda: page.on_archive(OTHER, "", "All"),
    ):
        with pytest.raises(gr.Error):
            attempt()
    assert queue.find(VISITOR, job.id) == job


def test_a_zip_holds_the_clips_that_the_search_finds(queue):
    jobs = [made(queue, prompt=f"a ball {seed}", seed=seed) for seed in (1, 2)]
    made(queue, prompt="a cat", seed=3)
    submitted(queue, prompt="a ball that waits")
    gone = made(queue, prompt="a ball whose file is gone")
    queue.path(gone).unlink()
    archive = library(queue).on_archive(VISITOR, "ball", "All")
    with zipfile.ZipFile(archive) as file:
        names = file.namelist()
        assert names == ["001-seed-2.mp4", "002-seed-1.mp4"]
        target = Path(file.extract(names[1], Path(archive).parent))
    assert read_recipe(target) == read_recipe(queue.path(jobs[0]))


def test_without_a_finished_clip_there_is_no_zip(queue):
    submitted(queue)
    with pytest.raises(gr.Error, match="No clip here is finished"):
        library(queue).on_archive(VISITOR, "", "All")


@pytest.mark.parametrize("owner", ["", None, "short"])
def test_who_is_quicker_than_the_page_sees_that_there_is_nothing(queue, owner):
    made(queue)
    assert listed(queue, owner) == ([], (), False)
