"""Runs: every item of a suite with every seed, made once, however often one has to start again."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from evaluation.canonical import digest
from evaluation.suites.generators.base import Generator, Source
from evaluation.suites.making import MakesMany, Outcome, Task, made_at, now, one_by_one
from evaluation.suites.records import ItemRecord, RunRecord, RunStore, environment
from evaluation.suites.schema import Suite, given_fields, request_of
from ltx2.errors import RequestError
from ltx2.inputs import Inputs
from ltx2.progress import OnProgress, Progress, ShouldCancel, ignore_progress, never_cancel


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    Attributes:
        tasks: all clips asked for, in order.
        missing: those that are not made yet.
        left_out: reasons why some of these will not be made, and how many each.
        cost_usd: estimated price of the others.
    """

    tasks: tuple[Task, ...]
    missing: tuple[Task, ...]
    left_out: Mapping[str, int]
    cost_usd: float


@dataclass(frozen=True)
class Counts:
    """How a run went: clips made now, found made, failed, and left out.

    `reasons` has why clips failed or were left out, and how many each.
    """

    made: int = 0
    kept: int = 0
    failed: int = 0
    skipped: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict, compare=False)


def plan_run(
    suite: Suite,
    generator: Source,
    run: RunStore,
    *,
    seeds: Sequence[int] = (1,),
    settings: Mapping[str, Any] | None = None,
) -> Plan:
    """What a run would make and what it would cost; writes nothing.

    Raises:
        RequestError: a setting is none, or cannot be used.
    """
    who = {"generator": generator.name, "version": generator.version()}
    tasks = []
    inputs = Inputs()
    given = {item.id: given_fields(item, inputs) for item in suite.items}
    for seed in dict.fromkeys(seeds):
        for item in suite.items:
            request = request_of(item, seed, settings, given[item.id])
            # The item counts only by what is asked, so that suites may share clips.
            key = digest({**who, "request": request.model_dump(mode="json")})
            tasks.append(Task(key, item, request))
    missing = tuple(task for task in tasks if not run.has_clip(task.key))
    reasons = [generator.leaves_out(task.item, task.request) for task in missing]
    cost = sum(
        generator.cost_usd(task.request)
        for task, reason in zip(missing, reasons, strict=True)
        if not reason
    )
    return Plan(tuple(tasks), missing, Counter(filter(None, reasons)), cost)


def run_suite(
    suite: Suite,
    generator: Generator | MakesMany,
    run: RunStore,
    *,
    seeds: Sequence[int] = (1,),
    settings: Mapping[str, Any] | None = None,
    arguments: Sequence[str] = (),
    on_progress: OnProgress = ignore_progress,
    should_cancel: ShouldCancel = never_cancel,
) -> Counts:
    """Makes every clip that is not there yet and records what became of each.

    May be stopped at any moment, even by the loss of power, and started again with the same
    arguments. What failed before is tried again.

    Args:
        suite: what to show.
        generator: makes the clips.
        run: where the clips and records are kept.
        seeds: every item is made once with each.
        settings: fields of requests that go before the items' own.
        arguments: of the command, for the record.
        on_progress: told after every clip, as stage "clips".
        should_cancel: asked before every clip, and by generators while they work.

    Raises:
        RequestError: a setting cannot be used, there are clips of another suite or
            generator there, or somebody else is writing there.
        GenerationCancelled: `should_cancel` said so; all that was made is kept.
    """
    plan = plan_run(suite, generator, run, seeds=seeds, settings=settings)
    run.create()
    with run.writing() as work:
        record = RunRecord(
            suite=suite.name,
            title=suite.title,
            suite_digest=digest(suite.model_dump(mode="json")),
            generator={
                "name": generator.name,
                "version": generator.version(),
                **generator.describe(),
            },
            settings=dict(settings or {}),
            seeds=tuple(seeds),
            keys=tuple(dict.fromkeys(task.key for task in plan.tasks)),
            environment=environment(),
            arguments=tuple(arguments),
            started=now(),
        )
        _check_same(run, record)
        run.write_run(record)
        # Asked again now that nobody else writes.
        kept = [task for task in plan.tasks if run.has_clip(task.key)]
        missing = [task for task in plan.tasks if not run.has_clip(task.key)]
        on_progress(Progress("clips", 0, len(plan.tasks)))
        for number, task in enumerate(kept, 1):
            _note_kept(task, suite, run)
            on_progress(Progress("clips", number, len(plan.tasks)))
        statuses: Counter[str] = Counter()
        reasons: Counter[str] = Counter()
        outcomes = (
            generator.make_many(missing, work, should_cancel)
            if isinstance(generator, MakesMany)
            else one_by_one(generator, missing, work, should_cancel)
        )
        for number, (task, outcome) in enumerate(outcomes, len(kept) + 1):
            outcome = _note_made(task, outcome, suite, run, made_at(work, task))
            statuses[outcome.status] += 1
            reasons.update([outcome.reason] if outcome.reason else [])
            on_progress(Progress("clips", number, len(plan.tasks)))
    return Counts(statuses["ok"], len(kept), statuses["error"], statuses["skipped"], reasons)


def _note_kept(task: Task, suite: Suite, run: RunStore) -> None:
    """Sees to it that a clip which is there has a record that says so."""
    known = run.read_item(task.key)
    # A clip without a record was made just before the program was killed.
    if known is None or known.status != "ok":
        run.write_item(_record(task, suite, status="ok", started=now()))


def _note_made(task: Task, outcome: Outcome, suite: Suite, run: RunStore, made: Path) -> Outcome:
    """Keeps the clip of a task, if it has one, and its record; what became of it in the end."""
    if outcome.status == "ok":
        try:
            run.keep_clip(task.key, made)
        except OSError as error:
            outcome = replace(outcome, status="error", reason=str(error))
    run.write_item(_record(task, suite, **asdict(outcome)))
    return outcome


def _record(task: Task, suite: Suite, **became: Any) -> ItemRecord:
    return ItemRecord(
        key=task.key,
        item=task.item.id,
        seed=task.request.seed,
        request=task.request,
        expected=suite.expectation(task.item),
        language=task.item.language,
        mode=task.item.mode,
        tags=task.item.tags,
        group=task.item.group,
        variant=task.item.variant,
        **became,
    )


def _check_same(run: RunStore, record: RunRecord) -> None:
    before = run.read_run()
    if before is None:
        return
    for what, old, new in (
        ("suite", before.suite, record.suite),
        ("generator", before.generator.get("name"), record.generator["name"]),
    ):
        if old != new:
            raise RequestError(
                f"{run.place} holds a run with the {what} {old}, not {new}.",
                next_step="Choose another --out.",
            )
