import hashlib
import json
import pickle
import resource
import struct
import zipfile

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from ltx2.checkpoint.reader import CheckpointFile, fingerprint_of, save_checkpoint
from ltx2.errors import CheckpointError, ResourceError

TENSORS = {
    "a.weight": torch.arange(6, dtype=torch.float32).view(2, 3),
    "a.bias": torch.arange(3, dtype=torch.bfloat16),
    "step": torch.tensor(7),
    "empty": torch.zeros(0, 4),
}
METADATA = {"config": json.dumps({"transformer": {"num_layers": 2}}), "licence": "Apache-2.0"}

quick = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / "good.safetensors"
    save_checkpoint(path, TENSORS, METADATA)
    return path


def read_all(path):
    file = CheckpointFile.open(path)
    return file.read(file.tensors)


def write(path, header, data=b"", *, length=None):
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw) if length is None else length) + raw + data)
    return path


def entry(start, stop, shape=None, dtype="U8"):
    return {"dtype": dtype, "shape": shape or [stop - start], "data_offsets": [start, stop]}


def test_what_is_written_is_read_back(good):
    file = CheckpointFile.open(good)
    assert file.metadata == METADATA
    assert file.config == {"transformer": {"num_layers": 2}}
    assert file.tensors["a.bias"].dtype == "BF16"
    assert file.tensors["a.weight"].shape == (2, 3)
    assert file.size_bytes == good.stat().st_size
    read = read_all(good)
    assert read.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor)


def test_files_of_the_safetensors_library_are_read(tmp_path):
    path = tmp_path / "theirs.safetensors"
    save_file(TENSORS, path)
    assert read_all(path).keys() == TENSORS.keys()
    assert CheckpointFile.open(path).metadata == {}


def test_tensors_that_share_memory_are_written_under_both_names(tmp_path):
    weight = torch.randn(4, 4)
    path = tmp_path / "shared.safetensors"
    save_checkpoint(path, {"one": weight, "other": weight, "part": weight[:, 1:]}, {})
    read = load_file(path)
    assert torch.equal(read["one"], read["other"])
    assert torch.equal(read["part"], weight[:, 1:])


@given(data=st.data())
@quick
def test_a_file_cut_off_anywhere_is_refused(good, tmp_path, data):
    whole = good.read_bytes()
    kept = data.draw(st.integers(0, len(whole) - 1))
    path = tmp_path / "cut.safetensors"
    path.write_bytes(whole[:kept])
    with pytest.raises(CheckpointError):
        CheckpointFile.open(path)


@given(data=st.data())
@quick
def test_a_corrupted_header_is_refused_or_still_describes_the_file(good, tmp_path, data):
    """Some changes only rename a tensor or alter a text; none may cause another kind of error."""
    whole = bytearray(good.read_bytes())
    header_end = 8 + struct.unpack("<Q", whole[:8])[0]
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, header_end - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "corrupt.safetensors"
    path.write_bytes(bytes(whole))
    try:
        file = CheckpointFile.open(path)
        assert len(file.fingerprint) == 32
        read = file.read(file.tensors)
        assert all(tuple(read[n].shape) == info.shape for n, info in file.tensors.items())
        assert isinstance(file.config, dict)
    except CheckpointError:
        pass


@pytest.mark.parametrize(
    ("header", "num_bytes", "said"),
    [
        ({"a": entry(0, 9)}, 8, "cut off: 1 bytes"),
        ({"a": entry(0, 8)}, 9, "1 bytes that belong to no tensor"),
        ({"a": entry(0, 8), "b": entry(4, 12)}, 12, "overlap"),
        ({"a": entry(0, 4), "b": entry(8, 12)}, 12, "gaps"),
        ({"a": entry(0, 8, [3])}, 8, "'a' wrongly"),
        ({"a": entry(0, 8, [2**62, 4])}, 8, "'a' wrongly"),
        ({"a": entry(0, 8, [-8])}, 8, "'a' wrongly"),
        ({"a": entry(0, 8, [8.0])}, 8, "'a' wrongly"),
        ({"a": entry(0, 1, [True])}, 1, "'a' wrongly"),
        ({"a": entry(0, 8, [8], "FLOAT")}, 8, "'a' wrongly"),
        ({"a": entry(0, 8) | {"extra": 1}}, 8, "'a' wrongly"),
        ({"a": {"dtype": "U8", "shape": [8], "data_offsets": [8, 0]}}, 8, "'a' wrongly"),
        ({"a": {"dtype": "U8", "shape": [8], "data_offsets": [0, 8, 8]}}, 8, "'a' wrongly"),
        ({"a": {"dtype": ["U8"], "shape": [8], "data_offsets": [0, 8]}}, 8, "'a' wrongly"),
        ({"a": [0, 8]}, 8, "'a' wrongly"),
        ({"__metadata__": {"config": 1}, "a": entry(0, 8)}, 8, "metadata"),
        ({"__metadata__": "text", "a": entry(0, 8)}, 8, "metadata"),
        (b'{"a": 1, "a": 2}', 8, "cannot be parsed"),
        (b'{"a": ' + b"[" * 100_000, 8, "cannot be parsed"),
        (b'{"\xff": 1}', 8, "cannot be parsed"),
        (b"[1, 2]", 0, "not a safetensors file"),
    ],
)
def test_a_header_that_lies_is_refused(tmp_path, header, num_bytes, said):
    path = write(tmp_path / "lying.safetensors", header, bytes(num_bytes))
    with pytest.raises(CheckpointError, match=said):
        CheckpointFile.open(path)


def test_a_header_whose_length_begins_like_a_pickle_or_an_archive_is_read(tmp_path):
    for length in (0x80, 0x0280, 0x0580, 0x4B50):
        header = json.dumps({"a": entry(0, 1)}).ljust(length)
        path = write(tmp_path / "model.safetensors", header.encode(), b"1")
        assert path.read_bytes()[0] in (0x80, 0x50)
        assert read_all(path)["a"].tolist() == [ord("1")]


def test_a_huge_header_is_refused_without_reading_it(tmp_path):
    for length in (2**63, 2**40, 100_000_001):
        path = write(tmp_path / "huge.safetensors", b"{}", length=length)
        with pytest.raises(CheckpointError, match="not a safetensors file"):
            CheckpointFile.open(path)
    path = write(tmp_path / "huge.safetensors", b"{}", length=99_000_000)
    with pytest.raises(CheckpointError, match="ends inside its header"):
        CheckpointFile.open(path)


def test_names_with_broken_unicode_do_not_break_the_fingerprint(tmp_path):
    path = write(
        tmp_path / "odd.safetensors", b'{"\\ud800": %s}' % json.dumps(entry(0, 1)).encode(), b"1"
    )
    file = CheckpointFile.open(path)
    assert len(file.fingerprint) == 32
    with pytest.raises(CheckpointError):
        file.read(file.tensors)


class Malicious:
    """Would leave a file behind if anybody unpickled it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_pickles_are_refused_without_being_opened(tmp_path, protocol):
    witness = tmp_path / "witness"
    path = tmp_path / "model.safetensors"
    path.write_bytes(pickle.dumps(Malicious(witness), protocol=protocol))
    with pytest.raises(CheckpointError, match="pickle"):
        CheckpointFile.open(path)
    assert not witness.exists()


def test_files_that_torch_saved_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    torch.save(TENSORS, path)
    assert zipfile.is_zipfile(path)
    with pytest.raises(CheckpointError, match="pickle"):
        CheckpointFile.open(path)


def test_what_is_no_checkpoint_is_refused(tmp_path):
    cases = {"empty": b"", "short": b"123", "text": b"hello, this is a text file", "nul": bytes(64)}
    for name, content in cases.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=name):
            CheckpointFile.open(path)
    with pytest.raises(CheckpointError, match="nowhere"):
        CheckpointFile.open(tmp_path / "nowhere")
    with pytest.raises(CheckpointError):
        CheckpointFile.open(tmp_path)


@pytest.mark.parametrize("config", ["{", "[]", "1", '"text"', "[" * 100_000])
def test_a_configuration_that_is_no_object_is_refused(tmp_path, config):
    path = tmp_path / "odd.safetensors"
    save_checkpoint(path, TENSORS, {"config": config})
    with pytest.raises(CheckpointError, match="config"):
        _ = CheckpointFile.open(path).config


def test_a_file_without_a_configuration_says_so(tmp_path):
    path = tmp_path / "bare.safetensors"
    save_checkpoint(path, TENSORS, {})
    with pytest.raises(CheckpointError, match="'config'"):
        _ = CheckpointFile.open(path).config


def test_the_fingerprint_sees_names_and_shapes_but_neither_order_nor_values():
    one = fingerprint_of([("a", (2, 3)), ("b", ())])
    assert one == fingerprint_of([("b", ()), ("a", (2, 3))])
    assert one == hashlib.md5(b"a,a:2_3,b,b:").hexdigest()
    assert one != fingerprint_of([("a", (3, 2)), ("b", ())])
    assert one != fingerprint_of([("c", (2, 3)), ("b", ())])


def split(folder, tensors, companions, metadata=METADATA):
    """A checkpoint whose main file has `tensors` and names `companions`, which are written too."""
    for name, own in companions.items():
        save_checkpoint(folder / name, own, {"config": "not read"})
    path = folder / "main.safetensors"
    save_checkpoint(path, tensors, {**metadata, "companions": json.dumps(list(companions))})
    return path


def test_a_split_checkpoint_is_read_like_a_whole_one(tmp_path, good):
    names = sorted(TENSORS)
    path = split(
        tmp_path,
        {name: TENSORS[name] for name in names[:2]},
        {"b.safetensors": {names[2]: TENSORS[names[2]]}, "c": {names[3]: TENSORS[names[3]]}},
    )
    file, whole = CheckpointFile.open(path), CheckpointFile.open(good)
    assert file.tensors == whole.tensors
    assert (file.metadata, file.config) == (METADATA, whole.config)
    assert (file.fingerprint, file.digest) == (whole.fingerprint, whole.digest)
    assert file.companions == (tmp_path / "b.safetensors", tmp_path / "c")
    assert file.size_bytes == sum(p.stat().st_size for p in tmp_path.iterdir())
    read = file.read(["step", *file.tensors])
    assert all(torch.equal(read[name], tensor) for name, tensor in TENSORS.items())
    # Written again with its metadata it is a whole checkpoint.
    save_checkpoint(tmp_path / "again", read, file.metadata)
    assert CheckpointFile.open(tmp_path / "again").tensors == whole.tensors


def test_a_split_checkpoint_whose_part_is_missing_or_damaged_says_which(tmp_path):
    path = split(tmp_path, {"a": torch.zeros(1)}, {"rest.safetensors": {"b": torch.zeros(1)}})
    rest = tmp_path / "rest.safetensors"
    rest.write_bytes(rest.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"main.*needs rest.*cut off"):
        CheckpointFile.open(path)
    rest.unlink()
    with pytest.raises(CheckpointError, match=r"main.*needs rest") as caught:
        CheckpointFile.open(path)
    assert "beside it" in caught.value.next_step


def test_a_tensor_in_two_files_is_refused(tmp_path):
    part = {"b": torch.zeros(1), "a": torch.zeros(1)}
    with pytest.raises(CheckpointError, match="'a', which another file"):
        CheckpointFile.open(split(tmp_path, {"a": torch.zeros(1)}, {"rest": part}))


@pytest.mark.parametrize(
    "name", ["../a", "/etc/passwd", "b/c", "b\\c", "..", ".", "", "C:x", "a\0b", "\0"]
)
def test_companions_are_plain_names_of_files_beside(tmp_path, name):
    path = tmp_path / "main.safetensors"
    save_checkpoint(path, TENSORS, {"companions": json.dumps([name])})
    with pytest.raises(CheckpointError, match="not the name of a file beside"):
        CheckpointFile.open(path)


@pytest.mark.parametrize("value", ["{", "{}", "1", '"rest"', "[1]", "[[]]", "[" * 100_000])
def test_companions_that_are_no_list_of_names_are_refused(tmp_path, value):
    path = tmp_path / "main.safetensors"
    save_checkpoint(path, TENSORS, {"companions": value})
    with pytest.raises(CheckpointError, match="'companions'"):
        CheckpointFile.open(path)


@pytest.mark.parametrize("name", ["x" * 300, "zero\0byte", "\ud800"])
def test_names_that_no_file_can_have_are_refused(tmp_path, name):
    with pytest.raises(CheckpointError, match="cannot be read"):
        CheckpointFile.open(tmp_path / name)
    path = tmp_path / "main.safetensors"
    save_checkpoint(path, TENSORS, {"companions": json.dumps([name])})
    with pytest.raises(CheckpointError):
        CheckpointFile.open(path)


def digest_of(path, tensors, metadata=METADATA):
    save_checkpoint(path, tensors, metadata)
    return CheckpointFile.open(path).digest


def test_the_digest_sees_values_names_types_and_shapes_but_not_the_metadata(tmp_path, good):
    digest = CheckpointFile.open(good).digest
    assert len(digest) == 32
    path = tmp_path / "other.safetensors"
    reordered = dict(reversed(TENSORS.items()))
    assert digest_of(path, reordered, {"licence": "another"}) == digest
    weight = TENSORS["a.weight"]
    for change in (
        {"a.weight": weight + torch.tensor([0, 0, 1e-6])},
        {"a.weight": weight.view(3, 2)},
        {"a.weight": weight.view(torch.int32)},
        {"b": torch.zeros(0)},
    ):
        assert digest_of(path, TENSORS | change) != digest
    without = {name: tensor for name, tensor in TENSORS.items() if name != "a.weight"}
    assert digest_of(path, without | {"c": weight}) != digest


def test_the_digest_of_long_tensors_is_taken_at_their_ends(tmp_path):
    path = tmp_path / "long.safetensors"
    weight = torch.zeros(100_000)
    first, middle, last = (weight.clone() for _ in range(3))
    first[0] = last[-1] = middle[50_000] = 1.0
    digests = [digest_of(path, {"w": w}) for w in (weight, first, last, middle)]
    assert len({*digests[:3]}) == 3
    assert digests[3] == digests[0]


def test_the_digest_of_a_file_that_was_cut_off_after_it_was_opened_is_an_error(tmp_path):
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, TENSORS, METADATA)
    file, another = CheckpointFile.open(path), CheckpointFile.open(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="changed while"):
        _ = file.digest
    path.unlink()
    with pytest.raises(CheckpointError, match="changed while"):
        _ = another.digest


def test_writing_replaces_the_file_only_when_it_is_complete(tmp_path):
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, {"a": torch.zeros(2)}, {})
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(ResourceError, match="cannot be written"):
            save_checkpoint(path, {"a": torch.zeros(1_000_000)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(ResourceError):
        save_checkpoint(tmp_path / "nowhere" / "a.safetensors", TENSORS, {})


def test_a_file_that_cannot_take_its_place_leaves_nothing_behind(tmp_path):
    folder = tmp_path / "model.safetensors"
    folder.mkdir()
    with pytest.raises(ResourceError):
        save_checkpoint(folder, TENSORS, {})
    assert list(tmp_path.iterdir()) == [folder]


def test_a_file_that_cannot_be_mapped_is_read(tmp_path, monkeypatch):
    """As Linux refuses where a file is larger than memory."""
    path = tmp_path / "w.safetensors"
    tensors = {
        "wide": torch.rand(3, 5),
        "narrow": torch.rand(4).bfloat16(),
        "one": torch.tensor(2.5),
        "none": torch.zeros(0, 3),
        "eight": torch.rand(4, 4).to(torch.float8_e4m3fn),
    }
    save_checkpoint(path, tensors, {})

    def refuse(*_, **__):
        raise RuntimeError("unable to mmap 37752887583 bytes")

    monkeypatch.setattr("safetensors.safe_open", refuse)
    found = CheckpointFile.open(path).read(tensors)
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert found[name].shape == tensor.shape
        assert torch.equal(found[name].float(), tensor.float())
