import os

import pytest
import torch

from ltx2.checkpoint.reader import CheckpointFile, save_checkpoint
from ltx2.runtime.prompt_cache import PromptCache, identity_of

VIDEO, AUDIO = torch.rand(1, 8, 16), torch.rand(1, 8, 4).bfloat16()


def test_what_was_put_comes_back_with_its_type(tmp_path):
    cache = PromptCache(tmp_path / "prompts", "model")
    assert cache.get("a ball") is None
    cache.put("a ball", VIDEO, AUDIO)
    again = PromptCache(tmp_path / "prompts", "model")
    for found, kept in zip(again.get(" a ball "), (VIDEO, AUDIO), strict=True):
        assert torch.equal(found, kept)
        assert found.dtype == kept.dtype
    assert again.get("a bell") is None
    assert PromptCache(tmp_path / "prompts", "other model").get("a ball") is None


def test_no_file_says_what_was_asked(tmp_path):
    PromptCache(tmp_path, "model").put("a secret ball", VIDEO, AUDIO)
    (file,) = tmp_path.iterdir()
    assert b"secret" not in file.read_bytes() + file.name.encode()


def test_those_used_longest_ago_go_first(tmp_path):
    cache = PromptCache(tmp_path, "model", max_bytes=1)
    cache.put("a", VIDEO, AUDIO)
    assert list(tmp_path.iterdir()) == []  # not even one fits
    cache = PromptCache(tmp_path, "model")
    for age, prompt in enumerate("ab"):
        cache.put(prompt, VIDEO, AUDIO)
        os.utime(cache._path(prompt), (1000 + age, 1000 + age))
    cache.get("a")
    size = cache._path("a").stat().st_size
    PromptCache(tmp_path, "model", max_bytes=2 * size).put("c", VIDEO, AUDIO)
    assert cache.get("a") is not None
    assert cache.get("b") is None
    assert cache.get("c") is not None


def test_a_damaged_file_and_a_folder_that_cannot_be_are_no_failure(tmp_path):
    cache = PromptCache(tmp_path, "model")
    cache.put("a", VIDEO, AUDIO)
    cache._path("a").write_bytes(b"nonsense")
    assert cache.get("a") is None
    (tmp_path / "file").write_text("")
    PromptCache(tmp_path / "file", "model").put("a", VIDEO, AUDIO)


@pytest.mark.parametrize("changed", ["model", "text encoder", "dtype"])
def test_other_weights_or_types_mean_something_else(tmp_path, changed):
    text = tmp_path / "text"
    text.mkdir()

    def identity(model, encoder, dtype):
        save_checkpoint(tmp_path / "m.safetensors", {"x": torch.tensor(model)}, {})
        save_checkpoint(text / "e.safetensors", {"x": torch.tensor(encoder)}, {})
        return identity_of(CheckpointFile.open(tmp_path / "m.safetensors"), text, dtype)

    usual = identity(1.0, 2.0, "bfloat16")
    assert usual == identity(1.0, 2.0, "bfloat16")
    new = {"model": (3.0, 2.0, "bfloat16"), "text encoder": (1.0, 3.0, "bfloat16")}
    assert usual != identity(*new.get(changed, (1.0, 2.0, "float32")))
