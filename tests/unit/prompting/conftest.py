"""What the small model of the package knows, built from the world it was trained on."""

import pytest

from ltx2.training.puppet import taught


@pytest.fixture(scope="session")
def puppet_talk():
    return taught.puppet_talk()


@pytest.fixture(scope="session")
def puppet():
    return taught.puppet_vocabulary()
