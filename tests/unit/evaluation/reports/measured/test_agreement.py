import random

from evaluation.metrics.registry import all_metrics
from evaluation.reports.measured.agreement import GOODNESS, Judgement, agreement

NO_BETTER_END = {"language.rate", "speech.present", "speech.words"}


def votes(order, *, prompts=20, per_pair=3):
    """Raters who prefer the clip of "a" as `order` says of each prompt."""
    return [
        Judgement("overall", f"p{number}", f"a{number}", f"b{number}", order(number))
        for number in range(prompts)
        for _ in range(per_pair)
    ]


def goodness(better):
    return {
        f"{side}{number}": better(number) * (1 if side == "a" else -1)
        for number in range(20)
        for side in "ab"
    }


def test_a_metric_that_orders_as_people_do_predicts_them():
    found = agreement(goodness(lambda n: (-1) ** n), votes(lambda n: (-1) ** n))
    assert (found.accuracy, found.tau, found.num_pairs) == (1.0, 1.0, 20)
    assert found.predicts


def test_a_metric_that_orders_the_other_way_does_not():
    found = agreement(goodness(lambda n: -((-1) ** n)), votes(lambda n: (-1) ** n))
    assert (found.accuracy, found.tau) == (0.0, -1.0)
    assert not found.predicts


def test_a_metric_that_guesses_is_greyed_out():
    draw = random.Random(3)
    found = agreement(goodness(lambda n: draw.choice((-1, 1))), votes(lambda n: (-1) ** n))
    assert found.low < 0 < found.high
    assert not found.predicts


def test_few_pairs_never_predict():
    found = agreement(goodness(lambda n: 1), votes(lambda n: 1, prompts=9))
    assert found.tau == 1.0
    assert not found.predicts


def test_the_side_on_which_a_clip_was_shown_does_not_matter():
    turned = [
        Judgement(v.axis, v.prompt, v.right, v.left, -v.sign) if number % 2 else v
        for number, v in enumerate(votes(lambda n: (-1) ** n))
    ]
    assert agreement(goodness(lambda n: (-1) ** n), turned).tau == 1.0


def test_a_metric_that_tells_no_clips_apart_counts_half():
    found = agreement(goodness(lambda n: 0), votes(lambda n: 1))
    assert found.accuracy == 0.5
    assert not found.predicts


def test_clips_that_were_not_measured_are_no_pairs():
    assert agreement({"a1": 1.0}, votes(lambda n: 1)) is None


def test_every_metric_with_a_better_end_is_compared_with_people():
    names = {metric.name for metric in all_metrics()}
    assert names - GOODNESS.keys() == NO_BETTER_END
    assert GOODNESS.keys() <= names
