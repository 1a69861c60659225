"""Precomputed examples: batches of equal shapes that only the generator decides."""

import json

import pytest
import torch
from safetensors.torch import save_file

from ltx2.errors import RequestError
from ltx2.training.dataset import PrecomputedDataset


def write_example(folder, name, *, frames=3, value=0.0, audio=True, reference=False):
    tensors = {
        "video": torch.full((4, frames, 2, 2), value),
        "text_features": torch.full((6, 5), value),
        "text_mask": torch.tensor([0, 0, 0, 1, 1, 1], dtype=torch.uint8),
    }
    if audio:
        tensors["audio"] = torch.full((2, 7, 16), value)
    if reference:
        tensors["reference"] = torch.full((4, frames, 1, 1), value)
    (folder / "examples").mkdir(exist_ok=True)
    save_file(tensors, folder / "examples" / f"{name}.safetensors")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "dataset.json").write_text(json.dumps({"frame_rate": 24.0}))
    for number in range(6):
        write_example(tmp_path, f"short_{number}", frames=3, value=float(number))
    for number in range(2):
        write_example(tmp_path, f"long_{number}", frames=5, value=10.0 + number)
    return tmp_path


def test_a_batch_holds_examples_of_one_shape_with_their_own_text(folder):
    dataset = PrecomputedDataset.open(folder)
    assert len(dataset) == 8
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        batch = dataset.random_batch(3, generator)
        frames = batch.video.shape[2]
        assert batch.video.shape == (3, 4, frames, 2, 2)
        assert batch.audio.shape == (3, 2, 7, 16)
        assert batch.frame_rate == 24.0
        assert torch.equal(batch.video[:, 0, 0, 0, 0], batch.text_features[:, 0, 0])
        assert (batch.video[:, 0, 0, 0, 0] >= 10).all() == (frames == 5)


def test_shapes_come_as_often_as_they_have_examples(folder):
    dataset = PrecomputedDataset.open(folder)
    generator = torch.Generator().manual_seed(0)
    frames = [dataset.random_batch(1, generator).video.shape[2] for _ in range(400)]
    assert 0.68 < frames.count(3) / 400 < 0.82


def test_the_same_generator_gives_the_same_batches_and_another_does_not(folder):
    dataset = PrecomputedDataset.open(folder)

    def drawn(seed):
        generator = torch.Generator().manual_seed(seed)
        return [float(dataset.random_batch(1, generator).video.mean()) for _ in range(10)]

    assert drawn(1) == drawn(1) != drawn(2)


def test_examples_without_sound_or_with_a_reference_are_never_mixed_with_others(tmp_path):
    (tmp_path / "dataset.json").write_text(json.dumps({"frame_rate": 8.0}))
    write_example(tmp_path, "silent", audio=False)
    write_example(tmp_path, "sounding")
    write_example(tmp_path, "after_another", reference=True)
    dataset = PrecomputedDataset.open(tmp_path)
    generator = torch.Generator().manual_seed(0)
    kinds = set()
    for _ in range(30):
        batch = dataset.random_batch(2, generator)
        kinds.add((batch.audio is not None, batch.reference is not None))
    assert kinds == {(False, False), (True, False), (True, True)}


def test_an_empty_folder_says_how_to_fill_it(tmp_path):
    with pytest.raises(RequestError, match="precompute"):
        PrecomputedDataset.open(tmp_path)


@pytest.mark.parametrize("damage", [b"", b"\0" * 40])
def test_a_damaged_example_is_named(folder, damage):
    (folder / "examples" / "short_3.safetensors").write_bytes(damage)
    with pytest.raises(RequestError, match="short_3"):
        PrecomputedDataset.open(folder)
