import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

import ltx2
from ltx2.__main__ import app
from ltx2.media.decode import read_clip, read_recipe
from tests.builders import a_clip, a_recipe

REPOSITORY = Path(__file__).parents[2]
TINY = ["--frames", "9", "--steps", "1", "--width", "64", "--height", "64"]


@pytest.fixture(params=["random weights", "embedded"])
def model(request):
    """Options that choose a small model: recorded random weights, and the embedded checkpoint."""
    if request.param == "embedded":
        return ["--model", request.getfixturevalue("puppet_folder")]
    folder = request.getfixturevalue("golden_folder") / "e2e"
    return ["--model", folder / "weights.safetensors", "--text-encoder", folder / "gemma"]


def run(*arguments, **environment):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env=environment)


def assert_refused(result, *said):
    """Exit code 2 and a single line on the error stream that says all of `said`."""
    assert result.exit_code == 2, result.output
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert result.stderr.startswith("Error: ")
    for words in said:
        assert words in result.stderr


def in_process(code):
    return subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )


@pytest.mark.parametrize("command", [[], ["generate"], ["inspect"]])
def test_help_shows_how_to_use_every_command(command):
    result = run(*command, "--help", COLUMNS="200", TERM="dumb")
    assert result.exit_code == 0
    expected = {"generate": "--prompt", "inspect": "--json"}
    for word in expected.values() if not command else [expected[command[0]]]:
        assert word in result.output or not command
    if not command:
        assert all(name in result.output for name in expected)


def test_help_loads_nothing_heavy():
    loaded = in_process("import sys, ltx2.__main__; print(*sys.modules)").stdout.split()
    assert not {"torch", "av", "numpy", "pydantic", "transformers", "gradio"} & set(loaded)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--prompt", ""], "prompt is empty"),
        (["--prompt", " \n "], "prompt is empty"),
        ([], "'prompt' is missing"),
        (["--prompt", "word " * 10_000], "Shorten it"),
        (["--prompt", "x", "--negative-prompt", "word " * 10_000], "Shorten it"),
        (["--prompt", "x", "--seconds", "-1"], "duration_s"),
        (["--prompt", "x", "--seconds", "nan"], "duration_s"),
        (["--prompt", "x", "--frames", "0"], "num_frames"),
        (["--prompt", "x", "--frames", "9", "--seconds", "1"], "Keep one of them"),
        (["--prompt", "x", "--width", "0"], "width"),
        (["--prompt", "x", "--frame-rate", "0"], "frame_rate"),
        (["--prompt", "x", "--steps", "0"], "num_steps"),
        (["--prompt", "x", "--seed", "-1"], "seed"),
        (["--prompt", "x", "--cfg", "31"], "video_guidance.cfg_scale"),
        (["--prompt", "x", "--audio-rescale", "2"], "audio_guidance.rescale"),
    ],
)
def test_a_bad_request_is_one_line_before_any_model_loads(tmp_path, arguments, said):
    result = run("generate", "--output", tmp_path / "a.mp4", "--model", "no such model", *arguments)
    assert_refused(result, said)
    assert not list(tmp_path.iterdir())


def test_a_bad_output_is_refused_before_any_model_loads(tmp_path):
    def refused(output, *said):
        assert_refused(run("generate", "--prompt", "x", "--output", output), *said)

    older = tmp_path / "a.mp4"
    older.write_bytes(b"older")
    folder = tmp_path / "b.mp4"
    folder.mkdir()
    refused(older, "exists already", "--force")
    refused(folder, "exists already")
    refused(tmp_path / "nowhere" / "a.mp4", "no folder", "Create it")
    refused(tmp_path / "a.avi", "a.avi", "*.mp4")
    assert older.read_bytes() == b"older"


def test_a_recipe_must_come_from_a_clip_that_has_one(tmp_path):
    plain = a_clip().save(tmp_path / "plain.mp4")
    text = tmp_path / "text.mp4"
    text.write_text("hello")
    for recipe, said in ((plain, "no recipe"), (text, "not a video"), ("none.mp4", "none.mp4")):
        arguments = ["--recipe", recipe, "--output", tmp_path / "new.mp4"]
        assert_refused(run("generate", *arguments), said)


def test_a_bad_environment_variable_is_named(tmp_path):
    arguments = ["generate", "--prompt", "x", "--output", tmp_path / "a.mp4"]
    assert_refused(run(*arguments, LTX2_DTYPE="int3"), "LTX2_DTYPE", "int3")


def test_an_unknown_model_is_refused(tmp_path):
    arguments = ["--prompt", "x", "--output", tmp_path / "a.mp4"]
    assert_refused(run("generate", *arguments, "--model", "no-such-model"), "no-such-model")
    assert_refused(run("generate", *arguments, LTX2_MODEL="other-model"), "other-model")


def test_inspecting_a_clip_prints_its_recipe(tmp_path):
    recipe = a_recipe('say "hé" 🎈', seed=5)
    result = run("inspect", a_clip(recipe=recipe).save(tmp_path / "clip.mp4"))
    assert result.exit_code == 0
    assert type(recipe).model_validate(json.loads(result.stdout)) == recipe


def test_inspecting_what_holds_nothing_is_one_line(tmp_path):
    text = tmp_path / "text.safetensors"
    text.write_text("hello")
    assert_refused(run("inspect", a_clip().save(tmp_path / "clip.mp4")), "no recipe")
    assert_refused(run("inspect", tmp_path / "none.mp4"), "none.mp4")
    assert_refused(run("inspect", tmp_path / "none.safetensors"), "none.safetensors")
    assert_refused(run("inspect", text), "text.safetensors")


def test_inspecting_a_checkpoint_says_what_it_holds(model):
    _, path, *_ = model
    shown = run("inspect", path)
    assert shown.exit_code == 0
    assert "transformer" in shown.stdout
    description = json.loads(run("inspect", path, "--json").stdout)
    assert description["fingerprint"] in shown.stdout


def test_a_prompt_becomes_a_clip_and_its_recipe_makes_it_again(tmp_path, model):
    first, again, other = (tmp_path / name for name in ("1.mp4", "2.mp4", "3.mp4"))
    asked = ["--prompt", "A red ball bounces.", *TINY, "--cfg", 2, "--audio-stg", 0.5]
    made = run("generate", *model, *asked, "--output", first)
    assert made.exit_code == 0, made.output
    assert f"{first}: 64 x 64 pixels, 0.3" in made.stdout
    clip, request = read_clip(first), read_recipe(first).request
    assert clip.frames.shape == (9, 64, 64, 3)
    assert clip.waveform.shape[1] > 0
    assert (request.prompt, request.seed, request.num_steps) == ("A red ball bounces.", 1, 1)

    assert run("generate", *model, "--recipe", first, "--output", again).exit_code == 0
    assert again.read_bytes() == first.read_bytes()
    changed = ["--seed", 2, "--seconds", 0.01]
    assert run("generate", *model, "--recipe", first, *changed, "--output", other).exit_code == 0
    assert read_recipe(other).request == request.model_copy(update={"seed": 2, "num_frames": 1})
    forced = run("generate", *model, "--recipe", other, "--output", first, "--force")
    assert forced.exit_code == 0
    assert first.read_bytes() == other.read_bytes()


def test_one_changed_scale_leaves_the_models_other_scales(tmp_path, model):
    output = tmp_path / "a.mp4"
    made = run("generate", *model, "--prompt", "x", *TINY, "--cfg", 2, "--output", output)
    assert made.exit_code == 0, made.output
    _, path, *text_encoder = model
    profile = ltx2.load(path, text_encoder=text_encoder[1] if text_encoder else None).profile
    request = read_recipe(output).request
    assert request.video_guidance == profile.video_guidance.model_copy(update={"cfg_scale": 2.0})
    assert request.audio_guidance == profile.audio_guidance


def test_what_the_model_cannot_make_is_one_line_and_no_file(tmp_path, model):
    for option in (["--width", 8], ["--height", 100_000], ["--seconds", 10_000]):
        arguments = ["--prompt", "x", *option, "--output", tmp_path / "a.mp4"]
        assert_refused(run("generate", *model, *arguments))
    assert not list(tmp_path.iterdir())


# Depends on where the signal falls: during start-up Python reports it as -2 instead of 130.
@pytest.mark.slow
def test_ctrl_c_ends_quietly_and_leaves_no_file(tmp_path, model):
    options = [
        "--prompt",
        "x",
        *TINY,
        "--steps",
        "200",
        "--frames",
        "33",
        "--output",
        tmp_path / "a.mp4",
    ]
    command = [sys.executable, "-m", "ltx2", "generate", *map(str, [*model, *options])]
    process = subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    time.sleep(3)  # past the start of Python, somewhere in loading or in the 200 steps
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Cancelled" in errors
    assert "Traceback" not in errors
    assert not list(tmp_path.iterdir())
