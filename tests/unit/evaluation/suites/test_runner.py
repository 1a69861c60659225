import json

import pytest

from evaluation.suites.records import RunFolder
from evaluation.suites.runner import Counts, plan_run, run_suite
from ltx2 import Clip
from ltx2.errors import GenerationCancelled, GenerationError, RequestError
from tests.unit.evaluation.suites.makers import Maker, suite_of


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "run")


def statuses(folder):
    records = [folder.read_item(key) for key in folder.read_run().keys]
    return [record.status if record else None for record in records]


def test_every_item_is_made_once_with_every_seed_and_its_record_says_so(folder):
    maker = Maker()
    seen = []
    counts = run_suite(suite_of(), maker, folder, seeds=(1, 2), on_progress=seen.append)
    assert counts == Counts(made=6)
    assert len(maker.made) == 6
    run = folder.read_run()
    assert run.seeds == (1, 2)
    assert run.environment["numpy"]
    record = folder.read_item(run.keys[4])
    assert (record.item, record.seed, record.status) == ("item-1", 2, "ok")
    assert record.seconds >= 0
    assert record.expected.lines[0].text == "number 1"
    assert Clip.load(folder.clip(run.keys[4])).frames.shape[1:3] == (64, 64)
    assert [(p.step, p.total) for p in seen] == [(n, 6) for n in range(7)]


def test_what_is_there_is_never_made_again(folder):
    run_suite(suite_of(), Maker(), folder)
    before = {path: path.stat().st_mtime_ns for path in folder.path.rglob("clips/*")}
    again = Maker()
    assert run_suite(suite_of(4), again, folder) == Counts(made=1, kept=3)
    assert again.made == [("item-3", 1)]
    assert all(path.stat().st_mtime_ns == then for path, then in before.items())


@pytest.mark.parametrize(
    "change", [{"settings": {"num_steps": 3}}, {"seeds": (9,)}, {"maker": Maker(number="2")}]
)
def test_other_settings_seeds_or_weights_are_other_clips(folder, change):
    run_suite(suite_of(), Maker(), folder)
    maker = change.pop("maker", Maker())
    assert run_suite(suite_of(), maker, folder, **change) == Counts(made=3)
    assert len(list(folder.path.glob("clips/*.mp4"))) == 6


def test_a_failing_item_keeps_its_reason_and_is_tried_again(folder):
    fails = {
        "item-0": GenerationError("The clip is all noise.", next_step="Try another seed."),
        "item-1": ZeroDivisionError("by zero"),
    }
    counts = run_suite(suite_of(), Maker(fails=fails, skips={"item-2"}), folder)
    assert counts == Counts(failed=2, skipped=1)
    reasons = [folder.read_item(key).reason for key in folder.read_run().keys]
    assert reasons == [
        "The clip is all noise. Try another seed.",
        "ZeroDivisionError: by zero",
        "it was told to",
    ]
    assert list(folder.path.glob("clips/*")) == []
    assert run_suite(suite_of(), Maker(), folder) == Counts(made=3)
    assert statuses(folder) == ["ok"] * 3


def test_a_generator_that_writes_no_video_fails_its_item(folder):
    class Liar(Maker):
        def __call__(self, item, request, output, **_):
            if item.id != "item-0":
                output.write_text("no video")

    assert run_suite(suite_of(), Liar(), folder) == Counts(failed=3)
    assert list(folder.path.glob("clips/*")) == []


@pytest.mark.parametrize("error", [GenerationCancelled(), KeyboardInterrupt()])
def test_a_stopped_run_goes_on_where_it_was(folder, error):
    with pytest.raises(type(error)):
        run_suite(suite_of(), Maker(fails={"item-1": error}), folder)
    assert statuses(folder) == ["ok", None, None]
    assert list(folder.path.glob("work-*")) == []
    assert run_suite(suite_of(), Maker(), folder) == Counts(made=2, kept=1)


def test_a_run_is_stopped_between_items(folder):
    maker = Maker()
    with pytest.raises(GenerationCancelled):
        run_suite(suite_of(), maker, folder, should_cancel=lambda: len(maker.made) == 2)
    assert statuses(folder) == ["ok", "ok", None]


def test_a_clip_whose_record_was_lost_is_kept_and_recorded(folder):
    run_suite(suite_of(1), Maker(), folder)
    (record,) = folder.path.glob("items/*.json")
    record.write_text('{"half":')
    assert run_suite(suite_of(1), Maker(), folder) == Counts(kept=1)
    assert statuses(folder) == ["ok"]


def test_a_folder_keeps_one_suite_and_one_generator(folder):
    run_suite(suite_of(1), Maker(), folder)
    with pytest.raises(RequestError, match="with the suite small, not other"):
        run_suite(suite_of(1, name="other"), Maker(), folder)
    with pytest.raises(RequestError, match="with the generator maker, not rival"):
        run_suite(suite_of(1), Maker(name="rival"), folder)


def test_two_programs_do_not_write_to_one_folder(folder):
    refused = []

    class Nosy(Maker):
        def __call__(self, item, request, output, **options):
            with pytest.raises(RequestError, match="Another program is writing"):
                run_suite(suite_of(1), Maker(), folder)
            refused.append(item.id)
            return super().__call__(item, request, output, **options)

    assert run_suite(suite_of(1), Nosy(), folder) == Counts(made=1)
    assert refused == ["item-0"]


def test_a_plan_says_what_is_missing_and_its_price_and_writes_nothing(folder):
    plan = plan_run(suite_of(), Maker(price=2.0), folder, seeds=(1, 2, 1))
    assert (len(plan.tasks), len(plan.missing), plan.cost_usd) == (6, 6, 12.0)
    assert not folder.path.exists()
    run_suite(suite_of(), Maker(), folder)
    assert plan_run(suite_of(), Maker(price=2.0), folder, seeds=(1, 2)).cost_usd == 6.0


def test_a_damaged_record_of_a_run_is_refused(folder):
    run_suite(suite_of(1), Maker(), folder)
    (folder.path / "run.json").write_text(json.dumps({"suite": "x"}))
    with pytest.raises(RequestError, match="is no record of a run"):
        run_suite(suite_of(1), Maker(), folder)
