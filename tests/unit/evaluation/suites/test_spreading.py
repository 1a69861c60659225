from collections import Counter

import pytest

from evaluation.suites.making import Outcome, Task
from evaluation.suites.schema import request_of
from evaluation.suites.spreading import Delivery, Hello, WorkerLostError, spread
from ltx2.errors import CheckpointError, GenerationCancelled, RequestError, ResourceError
from tests.unit.evaluation.suites.makers import suite_of

OK = Delivery(Outcome("ok", "2026-01-01T00:00:00+00:00", 1.0), b"clip")


def tasks_of(count):
    return [Task(item.id, item, request_of(item, 1, {})) for item in suite_of(count).items]


class Crew:
    """Workers that are numbers; one job ends at each question, the oldest first."""

    def __init__(self, size=2, losses=None, hellos=()):
        self.size = size
        self.losses = Counter(losses or {})
        self.hellos = list(hellos)
        self.hired = 0
        self.given = []
        self.dismissed = []
        self.open = {}
        self.most_open = 0

    def hire(self):
        self.hired += 1
        hello = self.hellos.pop(0) if self.hellos else Hello("here", "maker", "1", {})
        return self.hired, self._open(hello)

    def give(self, worker, task):
        assert worker not in self.dismissed
        self.given.append((worker, task.key))
        if self.losses[task.key]:
            self.losses[task.key] -= 1
            return self._open(WorkerLostError("it was killed"))
        return self._open(OK)

    def _open(self, result):
        job = f"job {len(self.given)} {self.hired}"
        self.open[job] = result
        self.most_open = max(self.most_open, len(self.open))
        return job

    def done(self, jobs, timeout_s):
        assert set(jobs) == set(self.open)
        return jobs[:1]

    def result(self, job):
        result = self.open.pop(job)
        if isinstance(result, Exception):
            raise result
        return result

    def dismiss(self, worker):
        self.dismissed.append(worker)


def outcomes(crew, tasks, idle=(), should_cancel=lambda: False):
    return [
        (task.key, delivery.outcome.status)
        for task, delivery in spread(crew, tasks, "1", idle, should_cancel)
    ]


def test_every_task_is_made_once_by_as_many_workers_as_there_are():
    crew = Crew(size=2)
    made = outcomes(crew, tasks_of(5))
    assert sorted(made) == [(f"item-{number}", "ok") for number in range(5)]
    assert sorted(key for _, key in crew.given) == [key for key, _ in sorted(made)]
    assert {worker for worker, _ in crew.given} == {1, 2}
    assert crew.most_open == 2


def test_no_more_workers_are_hired_than_there_are_tasks_and_idle_ones_come_first():
    crew = Crew(size=8)
    outcomes(crew, tasks_of(2), idle=["waiting"])
    assert crew.hired == 1
    assert crew.given[0] == ("waiting", "item-0")
    assert outcomes(crew, []) == []


def test_a_task_whose_worker_is_lost_is_given_to_another_one():
    crew = Crew(size=2, losses={"item-1": 1})
    made = outcomes(crew, tasks_of(4))
    assert sorted(made) == [(f"item-{number}", "ok") for number in range(4)]
    first, second = (worker for worker, key in crew.given if key == "item-1")
    assert first != second
    assert crew.dismissed == [first]


def test_a_task_that_costs_one_worker_after_another_fails_and_the_others_are_made():
    crew = Crew(size=2, losses={"item-1": 99})
    made = list(spread(crew, tasks_of(4), "1", (), lambda: False))
    reasons = {task.key: delivery.outcome.reason for task, delivery in made}
    assert reasons == {
        "item-0": "",
        "item-1": "3 workers were lost while they made it: it was killed",
        "item-2": "",
        "item-3": "",
    }
    assert Counter(key for _, key in crew.given)["item-1"] == 3


def test_workers_that_cannot_start_are_tried_a_few_times_and_then_named():
    crew = Crew(size=2, hellos=[WorkerLostError("no module evaluation")] * 9)
    with pytest.raises(ResourceError, match="no module evaluation"):
        outcomes(crew, tasks_of(4))
    assert 3 <= crew.hired <= 4


def test_those_that_start_go_on_without_those_that_cannot():
    lost = WorkerLostError("no module evaluation")
    crew = Crew(size=2, hellos=[Hello("here", "maker", "1", {}), *[lost] * 9])
    assert len(outcomes(crew, tasks_of(9))) == 9
    assert crew.hired == 4


def test_a_worker_with_other_weights_ends_the_run_before_it_makes_anything():
    crew = Crew(size=1, hellos=[Hello("there", "maker", "2", {})])
    with pytest.raises(RequestError, match="there has other weights"):
        outcomes(crew, tasks_of(2))
    assert crew.given == []


def test_a_model_that_cannot_be_loaded_ends_the_run_with_its_own_words():
    problem = CheckpointError("There is no model nosuch.", next_step="Choose another.")
    with pytest.raises(CheckpointError, match="no model nosuch"):
        outcomes(Crew(hellos=[Hello("there", problem=problem)]), tasks_of(2))


def test_a_run_is_stopped_between_jobs():
    crew = Crew(size=1)
    with pytest.raises(GenerationCancelled):
        outcomes(crew, tasks_of(4), should_cancel=lambda: len(crew.given) == 2)
    assert len(crew.given) == 2
