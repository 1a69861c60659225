"""Repositories in the Hub's own cache, filled from a Hub on this machine."""

import pytest

from ltx2.checkpoint import catalog
from ltx2.checkpoint.catalog import find_model
from ltx2.checkpoint.hub_cache import cached, download, find_cached, parse_id
from ltx2.errors import CheckpointError, RequestError
from tests.fakes.hub import COMMIT, fake_hub
from tests.tiny_checkpoint import tiny_checkpoint, write_tiny_model


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder))
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model's folder as bytes by name."""
    folder = write_tiny_model(tmp_path_factory.mktemp("m") / "tiny")
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def fetch(name):
    return download(name, on_transfer=lambda _: None, should_cancel=lambda: False)


def test_names_of_repositories_are_told_from_paths():
    assert parse_id("owner/name") == ("owner/name", None)
    assert parse_id("owner/name/a/b.safetensors") == ("owner/name", "a/b.safetensors")
    for name in (
        "puppet",
        "/owner/name",
        "owner/../name",
        "owner//name",
        "a b/c",
        "owner/..",
        "here/x.safetensors",
    ):
        assert parse_id(name) is None


def test_a_downloaded_file_is_a_model_by_its_name_and_other_programs_find_it(
    monkeypatch, cache, model
):
    files = {"model.safetensors": model["model.safetensors"], "README.md": b"x", "run.py": b"x"}
    with pytest.raises(CheckpointError, match="python -m ltx2 download someone/tiny"):
        find_model("someone/tiny")
    with fake_hub(monkeypatch, someone__tiny=files):
        folder = fetch("someone/tiny")
    assert folder == cache / "models--someone--tiny" / "snapshots" / COMMIT
    assert [path.name for path in folder.iterdir()] == ["model.safetensors"]
    found = find_model("someone/tiny")
    assert found.file.path == folder / "model.safetensors"
    assert find_model("someone/tiny/model.safetensors").file.path == found.file.path
    from huggingface_hub import try_to_load_from_cache

    known = try_to_load_from_cache("someone/tiny", "model.safetensors", cache_dir=cache)
    assert known == str(folder / "model.safetensors")


def test_a_download_that_was_cut_off_goes_on_and_damage_is_found(monkeypatch):
    content = bytes(range(256)) * 20_000
    with fake_hub(monkeypatch, a__b={"model.safetensors": content}) as hub:
        monkeypatch.setattr("ltx2.checkpoint.hub.PAUSE_S", 0.01)
        hub.cut_after = [3_000_000]
        folder = fetch("a/b")
        assert hub.ranges[0] is None
        assert hub.ranges[1] is not None
        assert (folder / "model.safetensors").read_bytes() == content
        hub.spoiled = True
        hub.files["a/b"]["model.safetensors"] += b"more"
        with pytest.raises(CheckpointError, match="checksum"):
            fetch("a/b")


def test_a_repository_of_several_models_has_to_be_told_which(monkeypatch, model):
    weights = model["model.safetensors"]
    files = {"dev.safetensors": weights, "distilled.safetensors": weights, "vae/x.bin": b"x"}
    with fake_hub(monkeypatch, a__b=files):
        with pytest.raises(RequestError, match=r"dev\.safetensors, distilled\.safetensors"):
            fetch("a/b")
        with pytest.raises(RequestError, match="no file other"):
            fetch("a/b/other.safetensors")
        fetch("a/b/dev.safetensors")
        assert find_cached("a/b").name == "dev.safetensors"
        fetch("a/b/distilled.safetensors")
    with pytest.raises(CheckpointError, match=r"a/b/dev\.safetensors"):
        find_cached("a/b")
    assert find_model("a/b/distilled.safetensors").name == "distilled"
    with pytest.raises(RequestError, match="OWNER/NAME"):
        fetch("puppet")


def test_published_models_and_the_text_encoder_are_found_where_they_were_downloaded(
    monkeypatch, cache, model
):
    repo, name = catalog.DEV.source.repo, catalog.DEV.name
    text = {n.removeprefix("text_encoder/"): b for n, b in model.items() if "text_encoder" in n}
    files = {f"{name}.safetensors": model["model.safetensors"], "other.safetensors": b"x" * 2_000}
    both = {
        repo.replace("/", "__"): files,
        catalog.TEXT_ENCODER_SOURCE.repo.replace("/", "__"): text,
    }
    with pytest.raises(CheckpointError, match=f"download {name}"):
        find_model(name)
    with fake_hub(monkeypatch, **both):
        fetch(f"{repo}/{name}.safetensors")
        fetch(catalog.TEXT_ENCODER_SOURCE.repo)
    found = find_model(name)
    assert found.text_encoder is None  # of another architecture than the published one
    assert find_model(name, text_encoder=catalog.TEXT_ENCODER_SOURCE.repo).text_encoder == cached(
        catalog.TEXT_ENCODER_SOURCE.repo
    )
    of_file = f"{catalog.TEXT_ENCODER_SOURCE.repo}/model.safetensors"
    file = cached(catalog.TEXT_ENCODER_SOURCE.repo) / "model.safetensors"
    assert find_model(name, text_encoder=of_file).text_encoder == file
    monkeypatch.setattr(catalog, "FINGERPRINT_19B", found.file.fingerprint)
    assert find_model(name).text_encoder == cached(catalog.TEXT_ENCODER_SOURCE.repo)
    assert find_model(name).name == name


def test_a_folder_here_goes_before_the_hub(tmp_path, monkeypatch, model):
    (tmp_path / "someone").mkdir()
    tiny_checkpoint().write(tmp_path / "someone" / "tiny")
    monkeypatch.chdir(tmp_path)
    assert str(find_model("someone/tiny").file.path) == "someone/tiny"
