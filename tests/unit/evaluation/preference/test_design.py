"""The design is balanced, whatever the study."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.preference.design import design, digest_of
from evaluation.preference.study import OVERALL, Study
from ltx2.errors import RequestError


def a_study(models=3, prompts=12, raters=6, seed=1, **session):
    session = {"pairs": 6, "training": 1, "attention": 2, "repeats": 2, "break_after": 3} | session
    session.setdefault("blinding_guesses", 0)
    return Study(
        name="s",
        models=[{"name": f"m{i}", "folder": f"m{i}"} for i in range(models)],
        prompts=[{"id": f"p{i}"} for i in range(prompts)],
        raters=raters,
        seed=seed,
        session=session,
    )


@st.composite
def studies(draw):
    pairs = draw(st.integers(1, 14))
    training, attention = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    return a_study(
        models=draw(st.integers(2, 6)),
        prompts=pairs + training + attention + draw(st.integers(0, 9)),
        raters=draw(st.integers(1, 14)),
        seed=draw(st.integers(0, 1000)),
        pairs=pairs,
        training=training,
        attention=attention,
        repeats=draw(st.integers(0, min(3, pairs))),
        break_after=draw(st.integers(0, 20)),
    )


def shown(session):
    return [trial for trial in session.trials if trial.kind == "test"]


@settings(max_examples=60, deadline=None)
@given(studies())
def test_a_rater_sees_a_prompt_once_save_in_repeats(study):
    for session in design(study):
        prompts = [trial.prompt for trial in session.trials if trial.kind != "repeat"]
        assert len(prompts) == len(set(prompts))
        plan = study.session
        kinds = Counter(trial.kind for trial in session.trials)
        assert kinds["test"] == plan.pairs
        assert kinds["training"] == plan.training
        assert kinds["repeat"] == plan.repeats
        assert kinds["attention_same"] + kinds["attention_late"] == plan.attention


@settings(max_examples=60, deadline=None)
@given(studies())
def test_the_sides_of_each_model_differ_by_one_at_most_in_a_session(study):
    for session in design(study):
        lefts = Counter(trial.left for trial in shown(session))
        rights = Counter(trial.right for trial in shown(session))
        assert all(abs(lefts[m] - rights[m]) <= 1 for m in {*lefts, *rights})


@settings(max_examples=60, deadline=None)
@given(studies())
def test_over_two_raters_each_pair_is_seen_in_both_orders_on_each_prompt(study):
    sessions = design(study)
    for first, second in zip(sessions[::2], sessions[1::2], strict=False):
        seen = Counter((t.prompt, t.left, t.right) for t in shown(first))
        swapped = Counter((t.prompt, t.right, t.left) for t in shown(second))
        assert seen == swapped


@settings(max_examples=60, deadline=None)
@given(studies())
def test_prompts_and_pairs_are_used_equally_often(study):
    sessions = design(study)[::2]
    prompts = Counter({prompt.id: 0 for prompt in study.prompts})
    names = [model.name for model in study.models]
    pairs = Counter({(a, b): 0 for i, a in enumerate(names) for b in names[i + 1 :]})
    for session in sessions:
        prompts.update(trial.prompt for trial in shown(session))
        pairs.update(tuple(sorted((t.left, t.right))) for t in shown(session))
    assert max(prompts.values()) - min(prompts.values()) <= 1
    assert max(pairs.values()) - min(pairs.values()) <= 1


@settings(max_examples=40, deadline=None)
@given(studies())
def test_training_comes_first_repeats_are_swapped_and_the_break_is_in_the_middle(study):
    for session in design(study):
        kinds = [trial.kind for trial in session.trials]
        assert kinds[: study.session.training] == ["training"] * study.session.training
        assert session.axes[-1] == OVERALL
        assert sorted(session.axes) == sorted(axis.key for axis in study.axes)
        for index, trial in enumerate(session.trials):
            if trial.kind == "repeat":
                earlier = session.trials[trial.repeats]
                assert trial.repeats < index
                assert earlier.kind == "test"
                assert (earlier.prompt, earlier.right, earlier.left) == (
                    trial.prompt,
                    trial.left,
                    trial.right,
                )
            if trial.kind.startswith("attention"):
                assert trial.left == trial.right
                assert (trial.late_side is not None) == (trial.kind == "attention_late")
        if session.break_before is not None:
            assert 0 < session.break_before < len(session.trials)


def test_both_kinds_of_attention_trials_occur_in_every_session_of_two():
    for session in design(a_study()):
        kinds = [trial.kind for trial in session.trials]
        assert kinds.count("attention_same") == kinds.count("attention_late") == 1


def test_the_seed_decides():
    assert digest_of(design(a_study(seed=1))) == digest_of(design(a_study(seed=1)))
    assert digest_of(design(a_study(seed=1))) != digest_of(design(a_study(seed=2)))


def test_axes_are_asked_in_different_orders():
    assert len({session.axes for session in design(a_study(raters=10))}) > 1


def test_too_few_prompts_are_refused_with_the_numbers():
    with pytest.raises(RequestError, match="needs 9 prompts, but the study has 8"):
        design(a_study(prompts=8))
