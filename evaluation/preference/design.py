"""Who sees which pair on which side and in which order, drawn before the first vote.

An incomplete block design. Sessions come in twins: both see the same pairs on the same prompts,
with the sides swapped and in another order, so that over every two sessions each pair is seen once
in each order on each prompt (counterbalancing). Within a session the sides of every model differ
by one at most. Prompts and pairs are used equally often, and no rater sees a prompt twice, save in
the repeats, which ask the same pair again with the sides swapped.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, TypeVar

import numpy as np

from evaluation.canonical import digest
from evaluation.preference.study import OVERALL, Study
from ltx2.errors import RequestError

Kind = Literal["training", "test", "attention_same", "attention_late", "repeat"]
Pair = tuple[str, str]
Item = TypeVar("Item", str, Pair)

ATTENTION_KINDS: tuple[Kind, Kind] = ("attention_same", "attention_late")


@dataclass(frozen=True)
class PlannedTrial:
    """What is shown.

    Attributes:
        kind: "test" counts; "attention_same" shows one clip twice (right answer: a tie),
            "attention_late" the same clip with the sound of one side a second late (right answer:
            the other side); "repeat" shows an earlier test with the sides swapped.
        prompt: id.
        left, right: models.
        late_side: whose sound is late; None but for "attention_late".
        repeats: position of the test that a repeat shows again.
    """

    kind: Kind
    prompt: str
    left: str
    right: str
    late_side: Literal["left", "right"] | None = None
    repeats: int | None = None


@dataclass(frozen=True)
class PlannedSession:
    """What one rater is shown.

    Attributes:
        trials: in order.
        axes: keys in the order in which they are asked, `overall` last.
        break_before: position of the trial before which there is a break; None for none.
    """

    trials: tuple[PlannedTrial, ...]
    axes: tuple[str, ...]
    break_before: int | None


def design(study: Study) -> tuple[PlannedSession, ...]:
    """Sessions of all planned and reserve raters; equal for equal studies.

    Raises:
        RequestError: there are too few prompts for raters to see each once.
    """
    plan = study.session
    needed = plan.training + plan.pairs + plan.attention
    if len(study.prompts) < needed:
        raise RequestError(
            f"A session of {plan.training} training, {plan.pairs} test and {plan.attention} "
            f"attention pairs needs {needed} prompts, but the study has {len(study.prompts)}.",
            next_step="Add prompts, or plan fewer pairs per session.",
        )
    random = np.random.default_rng(study.seed)
    pairs = list(combinations([model.name for model in study.models], 2))
    prompts = [prompt.id for prompt in study.prompts]
    prompt_uses: Counter[str] = Counter()
    pair_uses: Counter[Pair] = Counter()
    cell_uses: Counter[tuple[str, Pair]] = Counter()
    sessions: list[PlannedSession] = []
    count = study.raters + study.reserve_raters
    while len(sessions) < count:
        chosen = _least_used(prompts, prompt_uses, plan.pairs, random)
        wanted = _least_used(pairs, pair_uses, plan.pairs, random)
        cells = _matched(chosen, wanted, cell_uses, random)
        prompt_uses.update(chosen)
        pair_uses.update(wanted)
        cell_uses.update(cells)
        tests = _sided(cells, random)
        swapped = [(prompt, (right, left)) for prompt, (left, right) in tests]
        spare = [prompt for prompt in prompts if prompt not in set(chosen)]
        for twin in (tests, swapped):
            if len(sessions) < count:
                sessions.append(_session(study, twin, spare, pairs, random))
    return tuple(sessions)


def digest_of(sessions: Sequence[PlannedSession]) -> str:
    """SHA-256 of the whole design, hexadecimal."""
    return digest(
        [
            [session.axes, session.break_before, [list(vars(t).values()) for t in session.trials]]
            for session in sessions
        ]
    )


def _least_used(
    items: Sequence[Item], uses: Mapping[Item, int], count: int, random: np.random.Generator
) -> list[Item]:
    """`count` items, those used least first, ties drawn; all of them again when they run out.

    Each call changes the uses by so much that they never differ by more than one.
    """
    drawn = Counter(uses)
    result: list[Item] = []
    while len(result) < count:
        shuffled = [items[i] for i in random.permutation(len(items))]
        ordered = sorted(shuffled, key=lambda item: drawn[item])
        part = ordered[: count - len(result)]
        result += part
        drawn.update(part)
    return result


def _matched(
    prompts: Sequence[str],
    pairs: Sequence[Pair],
    uses: Mapping[tuple[str, Pair], int],
    random: np.random.Generator,
) -> list[tuple[str, Pair]]:
    """Each prompt with one of the pairs, preferring those that were not seen on it."""
    left = list(pairs)
    cells = []
    for index in random.permutation(len(prompts)):
        prompt = prompts[index]
        best = min(range(len(left)), key=lambda i: uses.get((prompt, left[i]), 0))
        cells.append((prompt, left.pop(best)))
    return cells


def _sided(
    cells: Sequence[tuple[str, Pair]], random: np.random.Generator
) -> list[tuple[str, Pair]]:
    """The pairs with sides such that each model is on both equally often, or differs by one.

    The pairs are edges between models. Walks that use every edge once, and that begin and end at
    models of odd degree, enter and leave each model equally often (Euler); what they leave is the
    left side.
    """
    edges: dict[str, list[tuple[int, str]]] = {}
    for index in random.permutation(len(cells)):
        first, second = cells[index][1]
        edges.setdefault(first, []).append((int(index), second))
        edges.setdefault(second, []).append((int(index), first))
    models = [sorted(edges)[i] for i in random.permutation(len(edges))]
    odd_first = sorted(models, key=lambda model: len(edges[model]) % 2 == 0)
    sides: dict[int, Pair] = {}
    for start in (*odd_first, *models):
        # From an odd model a walk ends at another odd one; after those, walks close.
        here = start
        while True:
            while edges[here] and edges[here][-1][0] in sides:
                edges[here].pop()
            if not edges[here]:
                break
            index, there = edges[here].pop()
            sides[index] = (here, there)
            here = there
    return [(cells[index][0], sides[index]) for index in range(len(cells))]


def _session(
    study: Study,
    tests: Sequence[tuple[str, Pair]],
    spare: Sequence[str],
    pairs: Sequence[Pair],
    random: np.random.Generator,
) -> PlannedSession:
    plan = study.session
    others = [spare[i] for i in random.permutation(len(spare))]
    training = [
        PlannedTrial("training", prompt, *_either_way(pairs, random))
        for prompt in others[: plan.training]
    ]
    shuffled = [tests[i] for i in random.permutation(len(tests))]
    main = [PlannedTrial("test", prompt, *pair) for prompt, pair in shuffled]
    first = int(random.integers(2))
    attention = [
        _attention(prompt, ATTENTION_KINDS[(first + index) % 2], pairs, random)
        for index, prompt in enumerate(others[plan.training : plan.training + plan.attention])
    ]
    trials = [*training, *_spread(main, attention)]
    trials += _repeats(trials, plan.repeats, random)
    axes = [axis.key for axis in study.axes if axis.key != OVERALL]
    ordered = [axes[i] for i in random.permutation(len(axes))]
    break_at = plan.training + plan.break_after
    return PlannedSession(
        tuple(trials),
        (*ordered, OVERALL),
        break_at if plan.break_after and break_at < len(trials) else None,
    )


def _either_way(pairs: Sequence[Pair], random: np.random.Generator) -> Pair:
    left, right = pairs[int(random.integers(len(pairs)))]
    return (left, right) if random.integers(2) else (right, left)


def _attention(
    prompt: str, kind: Kind, pairs: Sequence[Pair], random: np.random.Generator
) -> PlannedTrial:
    model = _either_way(pairs, random)[0]
    side: Literal["left", "right"] = "left" if random.integers(2) else "right"
    return PlannedTrial(kind, prompt, model, model, side if kind == "attention_late" else None)


def _spread(tests: Sequence[PlannedTrial], attention: Sequence[PlannedTrial]) -> list[PlannedTrial]:
    """Attention trials at even distances, none of them first."""
    mixed = list(tests)
    for index, trial in enumerate(attention):
        place = round((index + 1) * len(tests) / (len(attention) + 1))
        mixed.insert(place + index, trial)
    return mixed


def _repeats(
    trials: Sequence[PlannedTrial], count: int, random: np.random.Generator
) -> list[PlannedTrial]:
    """Tests of the first half, where there are enough, so that they are not remembered."""
    tests = [index for index, trial in enumerate(trials) if trial.kind == "test"]
    early = tests[: max(count, len(tests) // 2)]
    chosen = sorted(int(i) for i in random.choice(early, count, replace=False)) if count else []
    return [
        PlannedTrial("repeat", trials[i].prompt, trials[i].right, trials[i].left, None, i)
        for i in chosen
    ]
