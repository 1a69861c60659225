import socket
import sys

import pytest

from evaluation.suites.cluster import cluster_generator, slots
from ltx2.errors import RequestError, ResourceError


@pytest.fixture
def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def opened(model, address):
    with cluster_generator(model, address):
        pass


def test_services_are_not_asked_through_a_cluster():
    with pytest.raises(RequestError, match="Leave --ray out"):
        opened("veo:veo-3.1-generate-preview", "auto")


def test_without_ray_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ResourceError, match=r"pip install -r requirements-cluster\.txt"):
        opened("puppet", "auto")


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "ray://127.0.0.1:{}"])
def test_an_address_where_nobody_answers_is_refused_at_once(form, free_port):
    pytest.importorskip("ray", reason="pip install -r requirements-cluster.txt")
    with pytest.raises(RequestError, match=f"No Ray cluster answers at .*{free_port}"):
        opened("puppet", form.format(free_port))


@pytest.mark.parametrize("address", ["localhost", "localhost:port", "local"])
def test_an_address_without_a_port_is_refused(address):
    pytest.importorskip("ray", reason="pip install -r requirements-cluster.txt")
    with pytest.raises(RequestError, match="HOST:PORT"):
        opened("puppet", address)


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({"CPU": 64.0, "GPU": 8.0, "memory": 1e9}, ("GPU", 8)),
        ({"CPU": 2.0}, ("CPU", 2)),
        ({}, ("CPU", 1)),
    ],
)
def test_there_is_a_worker_for_each_gpu_or_for_each_cpu_where_there_is_none(resources, expected):
    assert slots(resources) == expected
