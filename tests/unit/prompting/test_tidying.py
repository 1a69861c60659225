import pytest

from ltx2.prompting.enhance import Proposal, propose
from ltx2.prompting.tidying import Tidying


@pytest.mark.parametrize(
    ("written", "tidied"),
    [
        ("a  cat\nsits", "A cat sits."),
        ("A cat sits!", "A cat sits!"),
        ('the cat says "mEow  wow"', 'The cat says "mEow  wow".'),
    ],
)
def test_spaces_capital_and_full_stop_are_put_right(written, tidied):
    proposal = propose(written, Tidying())
    assert isinstance(proposal, Proposal)
    assert proposal.enhanced == tidied


def test_words_become_those_that_a_small_model_knows(puppet):
    proposal = propose('A redd pupet on a white backgruond says "helo".', Tidying(puppet))
    assert isinstance(proposal, Proposal)
    assert proposal.enhanced == 'A red puppet on a white background says "helo".'


def test_a_word_like_no_other_stays(puppet):
    assert Tidying(puppet)("A zzxxqq puppet.") == "A zzxxqq puppet."
