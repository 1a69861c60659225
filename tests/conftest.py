"""Data that tests share; what is not on a machine is skipped with the reason."""

import os
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # Each core has a worker: threads of PyTorch's would only wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).parents[1]


def _folder(variable: str, default: Path) -> Path:
    folder = Path(os.environ.get(variable) or default)
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there; set {variable} to the folder")
    return folder


@pytest.fixture(scope="session")
def golden_folder() -> Path:
    """Recorded inputs and outputs of the official networks."""
    return _folder("LTX2_GOLDEN", ROOT.parent / "shared" / "golden")


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Clips and speech to test with."""
    return _folder("LTX2_TEST_DATA", ROOT.parent / "shared" / "data")


@pytest.fixture(scope="session")
def puppet_folder() -> Path:
    """The embedded checkpoint."""
    folder = ROOT / "ltx2" / "weights" / "puppet"
    if not (folder / "model.safetensors").is_file():
        pytest.skip(f"{folder} holds no checkpoint yet")
    return folder
