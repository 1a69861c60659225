import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest

from ltx2.errors import GenerationError, RequestError
from ltx2.media.decode import read_recipe
from ltx2.request import Recipe, Request
from ltx2.runtime.memory import MARGIN, Place, needed_memory
from ltx2.serving.jobs import Choice, ChosenLora, Done, Failed, Queued
from ltx2.serving.worker import Limits
from ltx2.ui.api import GENERATE_VIDEO_PARAMETERS
from ltx2.ui.form import MAX_COPIES
from ltx2.ui.generate import NOTHING, RESTORED, Shown, build_generate
from ltx2.ui.modes import DIALOGUE, TEXT
from ltx2.ui.result import render_recipe
from ltx2.ui.visitors import checked
from tests.builders import a_clip
from tests.fakes.model import PROFILE, FakeModel
from tests.unit.serving.stand_ins import SMALL, WAIT_S, Maker
from tests.unit.ui.stand_ins import (
    ASKED,
    GIVEN,
    OTHER,
    POLLING,
    VISITOR,
    a_recipe,
    an_offer,
    by_name,
    handlers,
    is_kept,
    made,
    submitted,
    values,
)


def show(queue, job, owner=VISITOR):
    """What a page shows that just turned to a job."""
    return by_name(handlers(queue).on_show(owner, job.id))


def poll(queue, shown, owner=VISITOR):
    """What changes at the next tick, in a page that shows something."""
    page = handlers(queue)
    polled = by_name(page.on_poll(owner, shown), POLLING)
    if is_kept(polled["turn"]):
        return polled
    assert all(is_kept(polled[name]) for name in POLLING[:-1])
    return by_name(page.on_turn(owner, shown))


@pytest.fixture
def gate():
    gate = threading.Semaphore(0)
    yield gate
    gate.release(1_000)


@pytest.fixture
def slow(gate):
    """A model whose steps wait for the gate."""
    return Maker(gate)


@pytest.fixture
def slow_queue(open_queue, slow):
    queue = open_queue(an_offer(slow))
    queue.start()
    return queue


# What is asked.


def test_the_form_becomes_a_job(open_queue):
    queue = open_queue(an_offer(loras={"paper": Path("paper.safetensors")}))
    job = submitted(queue, lora="paper", lora_strength=0.5)
    assert job.state == Queued(0)
    assert job.request == ASKED.to_request(PROFILE, seed=7)
    assert job.choice == Choice("stand-in", (ChosenLora("paper", 0.5),))


def test_copies_have_seeds_that_follow(queue):
    page = handlers(queue)
    owner, first, seed = page.on_submit(VISITOR, 3, False, TEXT, {}, *values(), *GIVEN)
    jobs = queue.store.search(VISITOR).jobs[::-1]
    assert [job.request.seed for job in jobs] == [7, 8, 9]
    assert (owner, jobs[0].id, seed) == (VISITOR, first, 7)


def test_copies_of_which_the_best_is_kept_are_one_job(open_queue):
    queue = open_queue(score=lambda clip: 0.0)
    page = handlers(queue)
    _, job_id, _ = page.on_submit(VISITOR, 3, True, TEXT, {}, *values(), *GIVEN)
    (job,) = queue.store.search(VISITOR).jobs
    assert (job.id, job.choice.best_of) == (job_id, 3)


@pytest.mark.parametrize(("score", "is_seen"), [(None, False), (len, True)])
def test_the_best_can_be_asked_for_where_something_tells_which_it_is(open_queue, score, is_seen):
    with gr.Blocks():
        form = build_generate(open_queue(score=score)).form
    assert form.keep_best.visible is is_seen


def test_a_dialogue_is_made_as_its_fields_say_before_the_prompt_has_followed(queue):
    draft = {"speakers": [{"looks": "a cat"}], "lines": [{"text": "Miaow."}], "leads": True}
    page = handlers(queue)
    _, composed, _ = page.on_submit(VISITOR, 1, False, DIALOGUE, draft, *values(), *GIVEN)
    _, typed, _ = page.on_submit(
        VISITOR, 1, False, DIALOGUE, {**draft, "leads": False}, *values(), *GIVEN
    )
    _, other, _ = page.on_submit(VISITOR, 1, False, TEXT, draft, *values(), *GIVEN)
    prompts = [queue.find(VISITOR, job).request.prompt for job in (composed, typed, other)]
    assert "Miaow." in prompts[0]
    assert prompts[1:] == [ASKED.prompt] * 2


def test_no_more_copies_than_the_slider_holds(queue):
    handlers(queue).on_submit(VISITOR, 1_000, False, TEXT, {}, *values(), *GIVEN)
    assert queue.store.num_queued() == MAX_COPIES


def test_a_new_seed_is_drawn_shown_and_used(queue):
    page = handlers(queue)
    answers = [
        page.on_submit(VISITOR, 1, False, TEXT, {}, *values(randomize_seed=True), *GIVEN)
        for _ in range(3)
    ]
    seeds = [seed for _, _, seed in answers]
    assert len(set(seeds)) == 3
    assert [queue.find(VISITOR, job_id).request.seed for _, job_id, _ in answers] == seeds


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"prompt": "   "}, "prompt is empty"),
        ({"prompt": "word " * 10_000}, "Shorten"),
        ({"duration": 60.0}, "at most 4 s"),
        ({"height": 4_000}, "Choose 64 to 128 px"),
        ({"seed": -1}, "seed"),
        ({"seed": None}, "seed"),
        ({"model": "none"}, "Choose one of stand-in"),
        ({"lora": "none"}, "no LoRA 'none'"),
    ],
)
def test_bad_input_is_answered_with_a_next_step_and_no_job(queue, changes, words):
    with pytest.raises(gr.Error) as shown:
        submitted(queue, **changes)
    assert words in shown.value.message
    assert "Something broke" not in shown.value.message
    assert queue.store.num_queued() == 0


def test_a_visitor_who_is_quicker_than_the_page_gets_a_number_with_the_first_clip(queue):
    owner, job_id, _ = handlers(queue).on_submit("", 1, False, TEXT, {}, *values(), *GIVEN)
    assert checked(owner) == owner
    assert queue.find(owner, job_id).state == Queued(0)


def test_a_clip_that_does_not_fit_is_refused_with_the_change_that_makes_it_fit(
    open_queue, monkeypatch
):
    queue = open_queue(an_offer(anatomy=SMALL))
    page = handlers(queue)
    short = values(height=96, width=96, duration=2.0)
    long = values(height=96, width=96, duration=4.0)
    needed = needed_memory(
        Request(prompt="a ball", duration_s=2.0).resolve(PROFILE), SMALL, Place(False, 0)
    )
    free = Place(False, int(needed * MARGIN) + 1)
    monkeypatch.setattr("ltx2.serving.worker.look", lambda device: free)
    with pytest.raises(gr.Error, match=r"not enough memory .* Shorten it to \d\.\d s\."):
        page.on_submit(VISITOR, 1, False, TEXT, {}, *long, *GIVEN)
    assert queue.store.num_queued() == 0
    assert "Does not fit" in page.on_change(*long)
    assert "Fits" in page.on_change(*short)
    page.on_submit(VISITOR, 1, False, TEXT, {}, *short, *GIVEN)
    assert queue.store.num_queued() == 1


@pytest.mark.parametrize("changes", [{"duration": 60.0}, {"height": 4_000}, {"seed": None}])
def test_while_fields_are_filled_in_nobody_is_told_off(queue, changes):
    assert handlers(queue).on_change(*values(prompt="", **changes)) == ""


def test_how_long_it_takes_is_learnt_from_clips_that_were_made(queue):
    assert handlers(queue).on_change(*values()) == ""
    made(queue)
    assert re.search(r"About \d+ s\.", handlers(queue).on_change(*values()))


def test_too_many_waiting_clips_are_refused(open_queue):
    queue = open_queue(limits=Limits(per_owner=2))
    submitted(queue)
    submitted(queue)
    with pytest.raises(gr.Error, match="2 of your clips wait already"):
        submitted(queue)
    submitted(queue, OTHER)


def test_the_fields_follow_the_model(open_queue):
    quick = PROFILE.model_copy(update={"num_steps": 2, "sigmas": (1.0, 0.5, 0.0)})
    queue = open_queue(an_offer(name="quick", profile=quick), an_offer())
    steps = [
        update["value"]
        for name in ("stand-in", "quick")
        for update in handlers(queue).on_model(name, TEXT)
        if update.get("info") in ("Fixed by this model", "More take longer and add detail")
    ]
    assert steps == [10, 2]


def test_a_shape_fills_in_height_and_width(queue):
    assert handlers(queue).on_shape("Wide", None) == (64, 128)


# What is shown.


def test_an_empty_page_shows_nothing_and_asks_no_more(queue):
    page = handlers(queue)
    loaded = page.on_load(VISITOR, None)
    assert all(map(is_kept, loaded))
    polled = poll(queue, NOTHING)
    assert not polled["timer"].active


@pytest.mark.parametrize("job_id", ["unknown", "../../etc/passwd", "<b>"])
def test_a_link_to_no_clip_is_answered_in_words(queue, job_id):
    shown = by_name(handlers(queue).on_show(VISITOR, job_id))
    assert "There is no such clip." in shown["status"]
    assert not shown["timer"].active
    assert shown["shown"] == NOTHING


def test_a_job_that_waits_is_watched_and_can_be_stopped(queue):
    submitted(queue, OTHER)
    job = submitted(queue)
    shown = show(queue, job)
    assert "Waiting: 1 clip before yours." in shown["status"]
    assert shown["timer"].active
    assert shown["stop"]["visible"]
    assert shown["stop"]["interactive"]
    assert shown["video"]["visible"], "the clip before it stays in sight"
    assert is_kept(shown["details"])
    handlers(queue).on_stop(VISITOR, shown["shown"])
    stopped = poll(queue, shown["shown"])
    assert "Stopped." in stopped["status"]
    assert not stopped["timer"].active
    assert not stopped["stop"]["visible"]


def test_a_job_that_runs_shows_its_step_and_each_preview_once(slow_queue, slow, gate):
    job = submitted(slow_queue)
    assert slow.begun.wait(WAIT_S)
    first = show(slow_queue, job)
    assert "Making picture and sound: step 0 of 2" in first["status"]
    assert not first["preview"]["visible"]
    gate.release()
    while slow_queue.sketch(job) is None:
        threading.Event().wait(0.01)
    second = poll(slow_queue, first["shown"])
    assert second["preview"]["visible"]
    assert "data:image/jpeg" in second["preview"]["value"]
    assert "data:audio/wav" in second["preview"]["value"]
    assert not second["video"]["visible"]
    third = poll(slow_queue, second["shown"])
    assert third["shown"] == second["shown"]
    assert all(is_kept(third[name]) for name in ("status", "preview", "turn")), "nothing is new"
    gate.release()
    slow_queue.wait(job, WAIT_S)
    last = poll(slow_queue, third["shown"])
    assert not last["preview"]["visible"]
    assert last["video"]["visible"]
    assert not last["timer"].active


def test_a_job_that_stops_says_so_until_its_step_has_ended(slow_queue, slow, gate):
    job = submitted(slow_queue)
    assert slow.begun.wait(WAIT_S)
    pressed = handlers(slow_queue).on_stop(VISITOR, Shown(job.id))
    assert (pressed["value"], pressed["interactive"]) == ("Stopping…", False)
    stopping = show(slow_queue, job)
    assert "Stopping after this step." in stopping["status"]
    assert (stopping["stop"]["value"], stopping["stop"]["interactive"]) == ("Stopping…", False)
    gate.release()
    slow_queue.wait(job, WAIT_S)
    assert "Stopped." in poll(slow_queue, stopping["shown"])["status"]


def test_a_job_that_is_done_shows_its_clip_and_how_it_was_made(queue):
    job = made(queue)
    shown = show(queue, job)
    assert shown["status"].startswith('<div class="status " role="status"><p>Made in ')
    clip = Path(shown["video"]["value"])
    assert clip.samefile(queue.path(job))
    assert queue.folder not in clip.parents, "the library itself is not served"
    assert shown["details"]["visible"]
    assert "64 × 96 px · 0.36 s · 25 frames/s · 2 steps · seed 7" in shown["summary"]
    assert Recipe.model_validate_json(shown["recipe"]) == read_recipe(clip)
    assert not shown["stop"]["visible"]
    assert not shown["timer"].active


def test_a_failed_job_says_why_and_keeps_the_clip_before_it(open_queue):
    error = GenerationError("It <b>overflowed</b>.", next_step="Try another seed.")
    queue = open_queue(an_offer(FakeModel(error=error)))
    job = made(queue)
    shown = show(queue, job)
    assert "It &lt;b&gt;overflowed&lt;/b&gt;. Try another seed." in shown["status"]
    assert "value" not in shown["video"]
    assert is_kept(shown["details"])
    assert not shown["timer"].active
    assert queue.find(VISITOR, job.id).request.seed == 7


def test_a_deleted_job_is_gone_for_whoever_watches_it(queue):
    job = made(queue)
    queue.delete(VISITOR, job.id)
    shown = poll(queue, Shown(job.id))
    assert "There is no such clip." in shown["status"]
    assert not shown["timer"].active


def test_a_link_shows_another_visitors_job_which_only_its_owner_can_stop(queue):
    job = submitted(queue)
    shown = show(queue, job, OTHER)
    assert "Waiting" in shown["status"]
    assert shown["timer"].active
    assert not shown["stop"]["visible"]
    with pytest.raises(gr.Error, match="no such clip"):
        handlers(queue).on_stop(OTHER, shown["shown"])
    assert queue.find(VISITOR, job.id).state == Queued(0)


def test_a_page_opened_with_a_link_shows_its_job(queue):
    job = made(queue)
    visit = SimpleNamespace(query_params={"job": job.id})
    loaded = by_name(handlers(queue).on_load("", visit))
    assert loaded["video"]["value"]
    assert loaded["shown"] == Shown(job.id)


def test_a_clip_whose_file_is_gone_is_said_and_no_other_is_shown(queue):
    job = made(queue)
    queue.path(job).unlink()
    shown = show(queue, job)
    assert "file is gone. Generate it again." in shown["status"]
    assert shown["video"]["value"] is None
    assert not shown["details"]["visible"]


def test_a_clip_without_a_recipe_is_shown_without_details(queue):
    job = made(queue)
    queue.path(job).unlink()
    a_clip(recipe=None).save(queue.path(job))
    shown = show(queue, job)
    assert shown["video"]["value"]
    assert not shown["details"]["visible"]


def test_again_is_the_same_clip_with_another_seed_for_whoever_asks(queue):
    job = made(queue)
    again = queue.find(OTHER, handlers(queue).on_again(OTHER, Shown(job.id)))
    assert again.request.seed != 7
    assert again.request.model_copy(update={"seed": 7}) == job.request
    assert again.choice == job.choice


# Clips that come back.


def restored(updates):
    return {
        name: update["value"]
        for name, update in zip(RESTORED, updates, strict=True)
        if "value" in update
    }


def test_a_clip_that_is_dropped_on_the_page_fills_in_every_field(queue):
    job = made(queue, prompt="a cat", negative_prompt="a dog")
    page = handlers(queue)
    fields = restored(page.on_clip(str(queue.path(job))))
    assert fields["prompt"] == "a cat"
    assert fields["negative_prompt"] == "a dog"
    assert (fields["seed"], fields["randomize_seed"]) == (7, False)
    assert (fields["width"], fields["height"], fields["duration"]) == (64, 96, 0.4)
    assert (fields["video_cfg_scale"], fields["audio_cfg_scale"]) == (3.0, 4.0)
    again = made(queue, **{name: value for name, value in fields.items() if name != "shape"})
    assert read_recipe(queue.path(again)) == read_recipe(queue.path(job))


def test_the_clip_that_is_shown_fills_in_the_same_fields(queue):
    job = made(queue)
    page = handlers(queue)
    assert page.on_use(show(queue, job)["recipe"]) == page.on_clip(str(queue.path(job)))


def test_a_file_without_a_recipe_is_refused_with_a_next_step(queue, tmp_path):
    strange = a_clip(recipe=None).save(tmp_path / "strange.mp4")
    with pytest.raises(gr.Error, match=r"This file has no recipe\. Drop a clip that was made here"):
        handlers(queue).on_clip(str(strange))


def test_a_file_that_is_no_video_is_refused(queue, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    with pytest.raises(gr.Error) as shown:
        handlers(queue).on_clip(str(broken))
    assert "Something broke" not in shown.value.message


def test_the_recipe_beside_a_clip_brings_its_settings_back(queue, tmp_path):
    beside = tmp_path / "recipe.json"
    beside.write_text(render_recipe(a_recipe(prompt="a \u732b", seed=9)), "utf-8")
    back = restored(handlers(queue).on_clip(str(beside)))
    assert (back["prompt"], back["seed"]) == ("a \u732b", 9)
    beside.write_bytes(b"\xff{")
    with pytest.raises(gr.Error, match="no recipe"):
        handlers(queue).on_clip(str(beside))


def test_what_does_not_come_back_is_said(queue, capsys):
    page = handlers(queue)
    page.on_use(a_recipe(num_frames=49).model_dump_json())
    assert capsys.readouterr().out == ""
    page.on_use(a_recipe(num_frames=49, schedule="tokens").model_dump_json())
    assert "no field for the clip's" in capsys.readouterr().out
    fields = restored(page.on_use(a_recipe(model="<b>other</b>").model_dump_json()))
    said = capsys.readouterr().out
    assert "made with &lt;b&gt;other&lt;/b&gt;, which is not here" in said
    assert (fields["model"], fields["prompt"], fields["seed"]) == ("stand-in", "a ball", 3)


# What programs do.


def generate_video(queue, seen=None, **changes):
    def progress(share, desc):
        if seen is not None:
            seen.append((share, desc))

    of_pages = [n for n in GENERATE_VIDEO_PARAMETERS if n not in ("image", "enhance_prompt")]
    fields = dict(zip(of_pages, values(**changes), strict=True))
    return handlers(queue).generate_video(**fields, progress=progress)


def test_a_program_waits_for_its_clip(open_queue):
    model = FakeModel()
    queue = open_queue(an_offer(model))
    queue.start()
    video, seed = generate_video(queue)
    assert seed == 7
    assert read_recipe(video).request == ASKED.to_request(PROFILE, seed=7).resolve(PROFILE)
    assert [asked.seed for asked in model.requests] == [7]


def test_a_program_sees_how_far_its_clip_is(slow_queue, slow, gate):
    seen = []
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(generate_video, slow_queue, seen)
        assert slow.begun.wait(WAIT_S)
        while not seen:
            threading.Event().wait(0.01)
        gate.release(2)
        answer.result(WAIT_S)
    assert seen[0] == ((0, 2), "denoise")


def test_a_program_is_told_why_there_is_no_clip(open_queue):
    error = GenerationError("It overflowed.", next_step="Try another seed.")
    queue = open_queue(an_offer(FakeModel(error=error)))
    queue.start()
    with pytest.raises(gr.Error, match=r"It overflowed\. Try another seed\."):
        generate_video(queue)


def test_a_program_whose_clip_is_stopped_is_told_so(slow_queue, slow, gate):
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(generate_video, slow_queue)
        assert slow.begun.wait(WAIT_S)
        (making,) = slow_queue._making.values()
        slow_queue.cancel(making.job.owner, making.job.id)
        gate.release()
        with pytest.raises(gr.Error, match="was stopped"):
            answer.result(WAIT_S)


def test_programs_do_not_share_an_owner(open_queue):
    queue = open_queue(limits=Limits(per_owner=1))
    queue.start()
    videos = {generate_video(queue)[0] for _ in range(2)}
    assert len(videos) == 2
    assert queue.store.search(VISITOR).jobs == ()


def test_only_a_finished_clip_is_given_away(queue):
    page, job = handlers(queue), submitted(queue)
    for state, words in [
        (job.state, "not made yet"),
        (Failed("It broke.", "Try again."), "It broke. Try again."),
        (Done("none.mp4", 7, 1.0, 1), "file is gone"),
    ]:
        with pytest.raises(RequestError, match=words):
            page._lent(replace(job, state=state))
