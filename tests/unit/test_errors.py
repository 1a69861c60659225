import copy
import pickle

import pytest

from ltx2 import errors

KINDS = [
    errors.RequestError,
    errors.MediaError,
    errors.CheckpointError,
    errors.ResourceError,
    errors.GenerationError,
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_says_what_happened_and_what_to_do(kind):
    error = kind("The disk is full.", next_step="Free 3 MB.")
    assert isinstance(error, errors.LTX2Error)
    assert str(error) == "The disk is full. Free 3 MB."
    assert (error.message, error.next_step) == ("The disk is full.", "Free 3 MB.")


@pytest.mark.parametrize("kind", KINDS)
def test_no_error_can_be_raised_without_a_next_step(kind):
    with pytest.raises(TypeError):
        kind("The disk is full.")


def test_cancelling_is_not_an_error():
    assert not issubclass(errors.GenerationCancelled, errors.LTX2Error)


@pytest.mark.parametrize("carry", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_an_error_can_travel_between_processes(carry):
    error = carry(errors.MediaError("The disk is full.", next_step="Free 3 MB."))
    assert type(error) is errors.MediaError
    assert str(error) == "The disk is full. Free 3 MB."
