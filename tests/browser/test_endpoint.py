"""The page's public endpoint, as programs call it."""

import json
import urllib.error
import urllib.request

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from ltx2.media.decode import read_recipe
from tests.browser.served import served_page, stand_in
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("stand-in")


@pytest.fixture(scope="module")
def address(folder):
    with served_page(stand_in(folder), folder, STAND_IN_STEP_S="0") as url:
        yield url


@pytest.fixture(scope="module")
def client(address, tmp_path_factory):
    return Client(address, download_files=tmp_path_factory.mktemp("down"), verbose=False)


def status_of(request):
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_a_program_gets_the_clip_and_the_seed_with_the_prompt_alone(client):
    video, seed = client.predict(prompt="A red ball.", api_name="/generate_video")
    recipe = read_recipe(video)
    assert recipe.request.prompt == "A red ball."
    assert recipe.request.seed == seed


def test_a_program_can_choose_the_seed_and_the_length(client):
    video, seed = client.predict(
        prompt="A red ball.",
        duration=1.0,
        seed=11,
        randomize_seed=False,
        api_name="/generate_video",
    )
    assert seed == 11
    assert read_recipe(video).request.num_frames == 25


def test_a_script_for_the_published_space_runs_as_it_is(client):
    """By position, as its page shows them: image, prompt, duration, enhance_prompt, seed, ..."""
    video, seed = client.predict(
        None, "A red ball.", 1.0, True, 7, False, 96, 128, api_name="/generate_video"
    )
    request = read_recipe(video).request
    assert (seed, request.height, request.width) == (7, 96, 128)


def test_a_program_gives_the_first_picture(client, tmp_path):
    Image.new("RGB", (96, 96), "red").save(tmp_path / "red.png")
    video, _ = client.predict(
        handle_file(tmp_path / "red.png"), "A red ball.", api_name="/generate_video"
    )
    (keyframe,) = read_recipe(video).request.keyframes
    assert keyframe.at_s == 0.0
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(99))
    with pytest.raises(AppError, match=r"picture|image|file"):
        client.predict(
            handle_file(tmp_path / "broken.png"), "A red ball.", api_name="/generate_video"
        )


def test_a_program_is_told_what_to_change(client):
    with pytest.raises(AppError, match="The prompt is empty"):
        client.predict(prompt="", api_name="/generate_video")


def test_nobody_skips_the_queue(address):
    body = json.dumps({"data": ["A red ball."]}).encode()
    request = urllib.request.Request(
        f"{address}/gradio_api/run/generate_video",
        data=body,
        headers={"Content-Type": "application/json"},
    )
    assert status_of(request) == 404


@pytest.mark.parametrize("path", ["/etc/hostname", ROOT / "app.py", ROOT / "pyproject.toml"])
def test_files_that_are_not_clips_are_not_served(address, path):
    assert status_of(f"{address}/gradio_api/file={path}") == 403


def test_what_a_clip_tells_of_an_upload_does_not_lead_to_it(client, address, folder, tmp_path):
    """Whoever gets a clip reads in its recipe the name and the digest of what it was made from."""
    Image.new("RGB", (96, 96), "blue").save(tmp_path / "private.png")
    video, _ = client.predict(
        handle_file(tmp_path / "private.png"), "A blue ball.", api_name="/generate_video"
    )
    (keyframe,) = read_recipe(video).request.keyframes
    digest, name = keyframe.image.sha256, keyframe.image.name
    kept = folder / "data" / "inputs" / digest
    assert kept.is_file()
    (upload,) = (folder / "cache").rglob("private.png")
    assert digest not in upload.parts
    for path in (kept, folder / "cache" / digest / name, upload.parent):
        assert status_of(f"{address}/gradio_api/file={path}") in (403, 404), path


def test_a_visitors_clip_has_no_address_but_the_one_that_was_given_out(client, address, folder):
    client.predict(prompt="A red ball.", api_name="/generate_video")
    clips = list((folder / "data" / "clips").glob("*.mp4"))
    lent = list((folder / "cache").glob("*/ltx2-*.mp4"))
    assert clips
    assert lent
    for path in (*clips, folder / "data" / "jobs.sqlite", *(file.parent for file in lent)):
        assert status_of(f"{address}/gradio_api/file={path}") in (403, 404), path
    assert all(len(file.parent.name) == 32 for file in lent), "192 bits that nobody guesses"
