"""The folder that a Space is made of, booted from where it would lie; and its upload."""

import os
import shutil
import subprocess
import sys
import venv

import pytest
from gradio_client import Client
from huggingface_hub import SpaceCard
from typer.testing import CliRunner

from ltx2.__main__ import app
from ltx2.media.decode import read_recipe
from ltx2.serving.space import FILES, list_space_files, upload_space, write_space
from tests.browser.served import served_process
from tests.conftest import ROOT


def run(*arguments, **environment):
    return CliRunner().invoke(app, ["deploy-space", *map(str, arguments)], env=environment)


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    """The folder that would be uploaded."""
    folder = tmp_path_factory.mktemp("deploy") / "space"
    result = run("me/puppets", "--dry-run", "--out", folder)
    assert result.exit_code == 0, result.output
    assert "Nothing was uploaded" in result.output
    return folder


def test_the_dry_run_writes_what_the_page_needs_and_nothing_else(space):
    here = {path.relative_to(space) for path in space.rglob("*") if path.is_file()}
    assert here == set(list_space_files())
    tops = {path.parts[0] for path in here}
    assert {"app.py", "requirements.txt", "README.md", "ltx2", "evaluation"} <= tops
    assert tops <= {*FILES, "ltx2", "evaluation", "prompts"}
    assert not [path for path in here if path.suffix == ".pyc" or "__pycache__" in path.parts]
    for file in here:
        assert (space / file).read_bytes() == (ROOT / file).read_bytes()


def test_zero_gpu_gets_a_torch_that_it_knows(space, tmp_path):
    write_space(tmp_path / "zero", hardware="zero-a10g")
    zero, usual = (
        (folder / "requirements.txt").read_text().splitlines()
        for folder in (tmp_path / "zero", space)
    )
    assert [line for line in zero if line not in usual] == ["torch>=2.8,<2.12"]
    assert len(zero) == len(usual)


def test_the_hub_reads_the_front_matter(space):
    card = SpaceCard.load(space / "README.md")
    assert (card.data.sdk, card.data.app_file) == ("gradio", "app.py")
    assert card.text.lstrip().startswith("# LTX-2 Workbench")


def ask_for_a_clip(folder, space, python):
    """Boots the page in a folder as the Space would, and asks it for one clip."""
    variables = {"LTX2_DATA": str(folder / "data"), "PYTHONPATH": ""}
    command = ["app.py"]
    with served_process(command, folder, cwd=space, python=python, **variables) as (address, _):
        client = Client(address, download_files=folder / "down", verbose=False)
        video, seed = client.predict(
            prompt="A red ball on a white background bounces on water.",
            duration=1.0,
            api_name="/generate_video",
        )
        assert read_recipe(video).request.seed == seed


@pytest.mark.slow
def test_the_page_boots_from_the_folder_and_makes_a_clip(space, puppet_folder, tmp_path):
    ask_for_a_clip(tmp_path, space, sys.executable)


@pytest.mark.exhaustive
def test_the_page_boots_in_a_fresh_environment(space, puppet_folder, tmp_path):
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    requirements = ["-r", space / "requirements.txt", "-c", ROOT / "constraints.txt"]
    pip = [python, "-m", "pip", "install", "--quiet", *requirements]
    subprocess.run(pip, check=True, timeout=3_000)
    try:
        ask_for_a_clip(tmp_path, space, python)
    finally:
        shutil.rmtree(tmp_path / "venv")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["puppets"], "OWNER/NAME"),
        (["me/puppets", "--out", "x"], "Add --dry-run"),
        (["me/puppets", "--dry-run", "--out", ROOT], "not an empty folder"),
        (["me/puppets", "--dry-run", "--secret", "LTX2_NO_SUCH"], "LTX2_NO_SUCH is not set"),
    ],
)
def test_what_cannot_be_deployed_is_refused(arguments, words):
    result = run(*arguments)
    assert result.exit_code == 2
    assert words in result.stderr


class Hub:
    """Notes what is asked of it, instead of `huggingface_hub.HfApi`."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        return lambda *values, **named: self.calls.append((name, values, named))


def test_the_space_is_made_and_set_up_before_it_is_filled(tmp_path):
    hub = Hub()
    address = upload_space(
        tmp_path,
        "me/puppets",
        is_private=True,
        hardware="zero-a10g",
        secrets={"LTX2_LOGIN": "a:b"},
        api=hub,
    )
    assert address == "https://huggingface.co/spaces/me/puppets"
    assert [name for name, _, _ in hub.calls] == [
        "create_repo",
        "add_space_variable",
        "add_space_secret",
        "request_space_hardware",
        "upload_folder",
    ]
    assert hub.calls[0][2]["private"] is True
    assert hub.calls[2][1] == ("me/puppets", "LTX2_LOGIN", "a:b")
    assert hub.calls[-1][2]["folder_path"] == tmp_path


def test_a_secret_is_taken_from_the_environment_and_never_shown(tmp_path):
    result = run(
        "me/p", "--dry-run", "--out", tmp_path / "s", "--secret", "LTX2_LOGIN", LTX2_LOGIN="a:bcd"
    )
    assert result.exit_code == 0
    assert "bcd" not in result.output


def test_a_checkout_without_its_files_is_told(tmp_path):
    from ltx2.errors import ResourceError

    with pytest.raises(ResourceError, match="lacks"):
        write_space(tmp_path / "out", root=tmp_path)
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - shorter
