import re

from ltx2.errors import RequestError
from ltx2.serving.jobs import UnknownJobError, new_id


def test_ids_cannot_be_guessed_and_can_stand_in_a_url():
    ids = {new_id() for _ in range(1000)}
    assert len(ids) == 1000
    # 6 bits a character
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{22,}", job_id) for job_id in ids)


def test_an_unknown_job_is_an_error_that_a_visitor_can_act_on():
    error = UnknownJobError.new()
    assert isinstance(error, RequestError)
    assert error.message
    assert error.next_step
