import re

import pytest

from ltx2.errors import RequestError
from ltx2.ui.visitors import checked, recognise


def test_a_visitor_keeps_the_number_drawn_on_the_first_visit():
    number = recognise("")
    assert re.fullmatch(r"[A-Za-z0-9_-]{32}", number)
    assert recognise(number) == checked(number) == number


def test_no_two_visitors_have_one_number():
    assert len({recognise(None) for _ in range(100)}) == 100


STRANGE = [None, "", "short", "x" * 33, "x" * 31 + "/", "x" * 32 + "\n", 7, ["x" * 32], {}]


@pytest.mark.parametrize("number", STRANGE)
def test_what_is_no_number_of_ours_is_replaced_and_owns_nothing(number):
    assert recognise(number) != number
    with pytest.raises(RequestError, match="Allow this page to store data"):
        checked(number)
