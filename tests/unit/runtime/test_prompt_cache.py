import os

import pytest
import torch

from ltx2.checkpoint.reader import CheckpointFile, save_checkpoint
from ltx2.checkpoint.text_encoders import identity_of_text_encoder
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


@pytest.mark.parametrize(
    "changed", ["model", "encoder", "tokenizer", "config", "dtype", "quantization", "device"]
)
def test_whatever_decides_what_a_prompt_means_is_part_of_its_name(tmp_path, changed):
    text = tmp_path / "text"
    text.mkdir()

    def identity(**values):
        for name, folder in (("model", tmp_path), ("encoder", text)):
            save_checkpoint(folder / f"{name}.safetensors", {"x": torch.tensor(values[name])}, {})
        (text / "tokenizer.json").write_text(values["tokenizer"])
        (text / "config.json").write_text(values["config"])
        return identity_of(
            CheckpointFile.open(tmp_path / "model.safetensors"),
            identity_of_text_encoder(text),
            dtype=values["dtype"],
            quantization=values["quantization"],
            device=values["device"],
        )

    usual = {"model": 1.0, "encoder": 2.0, "tokenizer": "a", "config": "b"}
    usual |= {"dtype": "bfloat16", "quantization": "none", "device": "cpu"}
    other = 3.0 if changed in ("model", "encoder") else "c"
    assert identity(**usual) == identity(**usual)
    assert identity(**usual) != identity(**{**usual, changed: other})
