import csv
import io
import json
import sqlite3

import pytest

from ltx2.errors import RequestError, ResourceError
from ltx2.serving import grid
from ltx2.serving.jobs import Cancelled, Choice, ChosenLora, Done, QueueFullError, UnknownJobError
from ltx2.serving.store import Store
from ltx2.serving.worker import Limits
from tests.conftest import ROOT
from tests.unit.serving.stand_ins import Maker, a_queue


@pytest.fixture
def queue(tmp_path):
    queue = a_queue(tmp_path, limits=Limits(per_owner=8))
    yield queue
    queue.close()
    queue.store.close()


def lines(text, *, is_table=False):
    return grid.parse_lines(text, is_table=is_table)


def expanded(queue, text, **options):
    return grid.expand(lines(text, **options), queue.models[0])


FOUR = '{"prompt": "A ball.", "seed": [1, 2], "steps": [3, 4]}'


def test_every_combination_is_a_clip_and_seeds_stand_together(queue):
    members = expanded(queue, FOUR)
    assert [(m.request.num_steps, m.request.seed) for m in members] == [
        (3, 1),
        (3, 2),
        (4, 1),
        (4, 2),
    ]
    assert members[0].labels == {"prompt": "A ball.", "seed": "1", "steps": "3"}


def test_a_table_and_json_lines_say_the_same(queue):
    table = 'prompt,seed,steps\n"A ball.",1|2,3|4\n'
    assert expanded(queue, table, is_table=True) == expanded(queue, FOUR)


def test_a_table_may_have_line_breaks_and_separators_in_its_prompts():
    (line,) = lines('\ufeffprompt,seed\n"A, or\nB|C",1\n', is_table=True)
    assert line.prompt == ("A, or\nB|C",)


def test_a_clip_that_two_lines_ask_for_is_made_once(queue):
    assert len(expanded(queue, f"{FOUR}\n\n{FOUR}")) == 4


def test_guidance_model_and_lora_reach_the_job(tmp_path):
    queue = a_queue(tmp_path, loras={"paper": tmp_path / "paper.safetensors"})
    text = '{"prompt": "x", "guidance": 2.5, "lora": ["none", "paper"], "lora_strength": 0.5}'
    bare, paper = expanded(queue, text)
    assert bare.request.video_guidance.cfg_scale == 2.5
    assert bare.choice == Choice("stand-in")
    assert paper.choice == Choice("stand-in", (ChosenLora("paper", 0.5),))
    queue.close()
    queue.store.close()


@pytest.mark.parametrize(
    ("text", "is_table", "says"),
    [
        ('{"prompt": "x"}\n{"prompt": "x", "steps": "many"}', False, "Line 2: steps"),
        ('{"prompt": "x"}\n\n{"prompt": 3', False, "Line 3: this is not JSON"),
        ('{"prompt": "x", "stepps": 3}', False, "Line 1: stepps"),
        ('{"seed": 3}', False, "Line 1: prompt"),
        ("[]", False, "Line 1"),
        ("[" * 100_000, False, "Line 1"),
        ("prompt,seed\nx,1\nx,two\n", True, "Line 3: seed"),
        ("prompt,seed\nx,1,4\n", True, "Line 2: it has not as many"),
        ('prompt,seed\n"x,1\n', True, "Line"),
        ("", False, "no lines"),
        ("prompt\n", True, "no lines"),
        ('{"prompt": "x"}\n' * 300, False, "more than 256 lines"),
        ('{"prompt": "x", "guidance": NaN}', False, "guidance"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_line_and_field(text, is_table, says):
    with pytest.raises(RequestError, match=says) as refused:
        lines(text, is_table=is_table)
    assert refused.value.next_step


def test_a_huge_product_is_refused_before_it_is_built(queue):
    seeds = json.dumps(list(range(100_000)))
    with pytest.raises(RequestError, match="clips"):
        expanded(queue, f'{{"prompt": "x", "seed": {seeds}, "steps": [1, 2, 3]}}')


def test_what_the_model_cannot_make_is_refused_with_its_line(queue):
    with pytest.raises(RequestError, match="Line 2: The clip would last"):
        expanded(queue, '{"prompt": "x"}\n{"prompt": "x", "seconds": 900}')
    with pytest.raises(RequestError, match="Line 1"):
        expanded(queue, '{"prompt": "x", "model": "unheard"}')


def test_numbers_are_written_one_by_one_or_as_a_range():
    assert grid.numbers("1, 4-6; 9", int, "Seeds") == [1, 4, 5, 6, 9]
    assert grid.numbers("1.5,2", float, "Guidance") == [1.5, 2.0]
    assert grid.numbers(" ", int, "Seeds") == []
    for wrong in ("x", "3-1", "1-99999999", "1--2"):
        with pytest.raises(RequestError, match="Seeds"):
            grid.numbers(wrong, int, "Seeds")


def test_a_grid_is_made_and_tells_how_far_it_is(queue):
    group = queue.submit_group("ann", expanded(queue, FOUR))
    assert grid.num_ended(queue.group("ann", group)) == 0
    queue.start()
    for cell in queue.group("ann", group):
        queue.wait(cell.job, 60.0)
    cells = queue.group("ann", group)
    assert grid.num_ended(cells) == 4
    assert all(isinstance(cell.job.state, Done) for cell in cells)
    assert grid.seconds_left(cells, queue) == 0.0
    assert grid.expected_s(expanded(queue, FOUR), queue) > 0.0
    (listed,) = queue.store.groups("ann")
    assert (listed.id, listed.num_jobs, listed.num_ended) == (group, 4, 4)


def test_a_grid_that_would_pass_the_limit_is_refused_whole(queue):
    queue.submit_group("ann", expanded(queue, FOUR))
    queue.submit_group("ann", expanded(queue, FOUR))
    with pytest.raises(QueueFullError, match="8 of your clips wait"):
        queue.submit_group("ann", expanded(queue, FOUR))
    assert queue.store.num_queued("ann") == 8
    nine = '{"prompt": "x", "seed": [1, 2, 3, 4, 5, 6, 7, 8, 9]}'
    with pytest.raises(QueueFullError, match="9 clips"):
        queue.submit_group("bob", expanded(queue, nine))
    assert queue.store.num_queued("bob") == 0


def test_a_whole_grid_is_cancelled_and_other_jobs_are_not(queue):
    group = queue.submit_group("ann", expanded(queue, FOUR))
    other = queue.submit("ann", expanded(queue, FOUR)[0].request)
    cells = queue.cancel_group("ann", group)
    assert all(cell.job.state == Cancelled() for cell in cells)
    assert queue.find("ann", other.id).state != Cancelled()


def test_a_grid_is_nobody_elses(queue):
    group = queue.submit_group("ann", expanded(queue, FOUR))
    for look in (queue.group, queue.cancel_group):
        with pytest.raises(UnknownJobError):
            look("bob", group)
    assert queue.store.groups("bob") == ()


def test_the_table_can_be_read_back_and_holds_no_formula(queue):
    text = '{"prompt": "=HYPERLINK(1)", "seed": [1, 2], "lora_strength": -1}'
    group = queue.submit_group("ann", expanded(queue, text))
    rows = grid.table_of(queue.group("ann", group))
    table = list(csv.DictReader(io.StringIO(grid.render_csv(rows))))
    assert [row["seed"] for row in table] == ["1", "2"]
    assert table[0]["prompt"] == "'=HYPERLINK(1)"
    assert table[0]["lora_strength"] == "-1"
    objects = [json.loads(line) for line in grid.render_jsonl(rows).splitlines()]
    assert objects[1]["prompt"] == "=HYPERLINK(1)"


def test_a_library_without_grids_is_brought_up_to_date_and_keeps_its_jobs(tmp_path, queue):
    job = queue.submit("ann", expanded(queue, FOUR)[0].request)
    queue.close()
    queue.store.close()
    with sqlite3.connect(queue.store.path) as connection:  # as version 1 wrote it
        connection.execute("DROP INDEX jobs_of_group")
        for column in ("group_id", "labels"):
            connection.execute(f"ALTER TABLE jobs DROP COLUMN {column}")
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    store = Store(queue.store.path)
    assert store.find("ann", job.id) == job
    members = expanded(queue, FOUR)
    group = store.add_group("ann", members)
    assert [cell.labels for cell in store.group("ann", group)] == [m.labels for m in members]
    store.close()
    Store(queue.store.path).close()


def test_who_waits_for_a_job_is_told_that_the_queue_closes(tmp_path):
    queue = a_queue(tmp_path, Maker())
    job = queue.submit("ann", expanded(queue, FOUR)[0].request)
    queue.check_open(job)
    queue.close()
    with pytest.raises(ResourceError, match="stopping"):
        queue.check_open(queue.find("ann", job.id))
    queue.store.close()


def test_the_example_file_is_a_grid():
    text = (ROOT / "prompts" / "grid.jsonl").read_text()
    assert sum(line.num_cells for line in lines(text)) == 9
