"""A queue that ends with its test."""

import pytest

from tests.unit.ui.stand_ins import a_queue


@pytest.fixture
def open_queue(tmp_path):
    """Opens queues in the test's folder, one after the other, and closes what is left open."""
    opened = []

    def open_one(*offers, **options):
        opened.append(a_queue(tmp_path, *offers, **options))
        return opened[-1]

    yield open_one
    for queue in opened:
        queue.close()
        queue.store.close()


@pytest.fixture
def queue(open_queue):
    """On the stand-in model; its worker has not begun."""
    return open_queue()
