import gc
import os
import threading
import time
import weakref

import pytest
import torch
from torch import nn

from ltx2.checkpoint.reader import CheckpointFile, save_checkpoint
from ltx2.errors import CheckpointError
from ltx2.runtime.streaming import BlockStream, find_homes

CPU = torch.device("cpu")
X = torch.arange(8.0).view(1, 8) / 8


class Block(nn.Module):
    """Fails when told to; blocks of different sizes, one of them with a buffer of its own."""

    def __init__(self, index):
        super().__init__()
        self.layer = nn.Linear(8, 8 * (1 + index % 2))
        self.register_buffer("shift", torch.full((8,), float(index)))
        self.error = None

    def forward(self, x):
        if self.error:
            raise self.error
        return x + self.shift + self.layer(x).unflatten(-1, (-1, 8)).sum(-2)


def a_network(num_blocks=5):
    torch.manual_seed(0)
    return nn.Sequential(*(Block(index) for index in range(num_blocks)))


def from_disk(network, path, dtype=None):
    """The network with its weights in a file, streamed from there."""
    tensors = network.state_dict()
    if dtype is not None:
        tensors = {name: tensor.to(dtype) for name, tensor in tensors.items()}
    save_checkpoint(path, {f"own.{name}": tensor for name, tensor in tensors.items()}, {})
    stored = network.to("meta")
    homes = find_homes(stored, CheckpointFile.open(path).stored, "own.")
    return stored, BlockStream(list(stored), CPU, homes)


@pytest.fixture(params=["disk", "main memory"])
def streamed(request, tmp_path):
    network = a_network()
    if request.param == "disk":
        return from_disk(network, tmp_path / "w.safetensors")
    return network, BlockStream(list(network), CPU)


def test_a_streamed_network_computes_the_same_to_the_bit_again_and_again(streamed):
    network, stream = streamed
    expected = a_network()(X)
    with torch.inference_mode():
        for _ in range(3):
            assert torch.equal(network(X), expected)
        stream.release()
        assert torch.equal(network(X), expected)


def test_blocks_may_run_in_any_order_and_alone(streamed):
    network, _ = streamed
    usual = a_network()
    for index in (3, 3, 0, 4, 1):
        assert torch.equal(network[index](X), usual[index](X))


def test_weights_are_at_home_between_visits_even_after_an_error(streamed):
    network, _ = streamed
    homes = [id(tensor) for tensor in network.state_dict(keep_vars=True).values()]
    network[2].error = ValueError("no")
    with pytest.raises(ValueError, match="no"):
        network(X)
    assert [id(tensor) for tensor in network.state_dict(keep_vars=True).values()] == homes
    network[2].error = None
    assert torch.equal(network(X), a_network()(X))


def test_other_types_in_the_file_become_those_of_the_network(tmp_path):
    network, _ = from_disk(a_network(), tmp_path / "w.safetensors", dtype=torch.float64)
    assert torch.equal(network(X), a_network()(X))


@pytest.mark.skipif(not hasattr(os, "O_DIRECT"), reason="this system has no such reads")
def test_weights_larger_than_memory_are_read_past_the_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("ltx2.runtime.streaming.free_main_memory", lambda: 1)
    path = tmp_path / "w.safetensors"
    network, stream = from_disk(a_network(), path)
    opened = []
    monkeypatch.setattr(
        "ltx2.runtime.streaming._open_direct",
        lambda name, flags: opened.append(name) or os.open(name, flags | os.O_DIRECT),
    )
    for _ in range(2):
        assert torch.equal(network(X), a_network()(X))
    assert opened == [path]
    # Where the file system knows such reads they were used to the end.
    assert isinstance(stream._files._is_direct, bool)


def test_a_file_system_that_knows_no_such_reads_gets_usual_ones(tmp_path, monkeypatch):
    monkeypatch.setattr("ltx2.runtime.streaming.free_main_memory", lambda: 1)
    network, _ = from_disk(a_network(), tmp_path / "w.safetensors")

    def refuse(name, flags):
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr("ltx2.runtime.streaming._open_direct", refuse)
    assert torch.equal(network(X), a_network()(X))


def test_the_next_block_is_fetched_while_one_runs(tmp_path):
    network, stream = from_disk(a_network(3), tmp_path / "w.safetensors")
    fetched = []
    fill = stream._fill
    seen = {}

    def noted(place):
        fill(place)
        fetched.append(place.block())

    stream._fill = noted

    def look(block, _):
        deadline = time.monotonic() + 10
        expected = 2 + list(network).index(block)
        while len(fetched) < expected and time.monotonic() < deadline:
            time.sleep(0.001)
        seen[block] = fetched[-1], threading.current_thread()

    for block in network:
        block.register_forward_pre_hook(look)
    network(X)
    order = [*network, network[0]]
    assert [fetched_last for fetched_last, _ in seen.values()] == order[1:]


def test_there_is_never_memory_for_more_than_two_blocks(tmp_path):
    network, stream = from_disk(a_network(7), tmp_path / "w.safetensors")
    network(X)
    assert len(stream._places) == 2
    stream.release()
    assert stream._places == []
    alone, single = from_disk(a_network(1), tmp_path / "a.safetensors")
    alone(X)
    assert single._places == []


def test_files_that_lack_a_tensor_or_were_cut_off_are_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    network, _ = from_disk(a_network(), path)
    with pytest.raises(CheckpointError, match="is not in the files"):
        find_homes(network, CheckpointFile.open(path).stored, "other.")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="cut off"):
        network(X)
    path.unlink()
    other, _ = from_disk(a_network(), tmp_path / "b.safetensors")
    (tmp_path / "b.safetensors").unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        other(X)


def test_a_network_that_nobody_uses_any_more_gives_its_memory_back_without_the_collector():
    network = a_network()
    BlockStream(list(network), CPU)
    network(X)
    gone = weakref.ref(network[0].layer.weight)
    gc.disable()
    try:
        del network
        # What fetches the next block may hold it until it is there.
        for _ in range(200):
            if gone() is None:
                break
            time.sleep(0.05)
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("home", ["disk", "main memory"])
def test_on_a_gpu_blocks_come_on_a_stream_of_their_own_and_compute_the_same(tmp_path, home):
    device = torch.device("cuda")
    network = a_network(9)
    expected = a_network(9).to(device)(X.to(device))
    if home == "disk":
        path = tmp_path / "w.safetensors"
        save_checkpoint(path, network.state_dict(), {})
        network.to("meta")
        homes = find_homes(network, CheckpointFile.open(path).stored)
        BlockStream(list(network), device, homes)
    else:
        for tensor in network.state_dict(keep_vars=True).values():
            tensor.data = tensor.data.pin_memory()
        BlockStream(list(network), device)
    with torch.inference_mode():
        for _ in range(5):
            assert torch.equal(network(X.to(device)), expected)
