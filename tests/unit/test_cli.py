import json
import os
import select
import signal
import subprocess
import sys
import termios
from itertools import product
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import ltx2
from ltx2.__main__ import _lora, app
from ltx2.checkpoint.reader import CheckpointFile, save_checkpoint
from ltx2.media.decode import read_clip, read_recipe
from tests.builders import a_clip, a_recipe
from tests.fakes.hub import fake_hub

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


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ([], ["generate", "inspect", "train"]),
        (["generate"], ["--prompt", "--stg-blocks", "--lora"]),
        (["inspect"], ["--json"]),
        (["train"], ["CONFIG"]),
    ],
)
def test_help_shows_how_to_use_every_command(command, shown):
    result = run(*command, "--help", COLUMNS="200", TERM="dumb")
    assert result.exit_code == 0
    for word in shown:
        assert word in result.output


def test_plan_tells_what_a_clip_needs_without_its_weights():
    options = ["--model", "ltx-2-19b-dev", "--width", "1280", "--height", "704", "--frames", "121"]
    result = run("plan", *options, "--device", "rtx-5090")
    assert result.exit_code == 0, result.output
    for words in ("18.876 billion", "536.7 TFLOP", "Taken: offload cpu", "on RTX 5090"):
        assert words in result.output
    as_json = run("plan", *options, "--device", "rtx-5090", "--json")
    assert json.loads(as_json.output)["chosen"]["offload"] == "cpu"
    assert_refused(run("plan", "--device", "abacus"), "rtx-4090")
    assert_refused(run("plan", "--model", "nothing"), "There is no model")
    assert_refused(run("plan", "run.yaml"), "--size")


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
        (["--prompt", "x", "--stg-blocks", "29;30"], "as in 28,29"),
        (["--prompt", "x", "--stg-blocks", "-1"], "as in 28,29"),
        (["--prompt", "x", "--lora", "style.safetensors:inf"], "strength"),
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
    silent = run("generate", "--prompt", "x", "--makes", "video", "--output", tmp_path / "a.wav")
    assert_refused(silent, "without sound", "a.wav", "--makes video")
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


def test_a_failed_training_is_told_in_one_line(tmp_path):
    assert_refused(run("train", tmp_path / "none.yaml"), "none.yaml")


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
    assert_refused(run("inspect", "no-such-model"), "no-such-model")
    assert_refused(run("inspect", "x" * 400), "There is no model")


def test_inspecting_a_checkpoint_says_what_it_holds(model):
    _, path, *_ = model
    shown = run("inspect", path)
    assert shown.exit_code == 0
    assert "transformer" in shown.stdout
    description = json.loads(run("inspect", path, "--json").stdout)
    assert json.loads(run("inspect", "puppet", "--json").stdout)["model"] == "puppet"
    assert description["fingerprint"] in shown.stdout


def test_a_prompt_becomes_a_clip_and_its_recipe_makes_it_again(tmp_path, model):
    first, again, other = (tmp_path / name for name in ("1.mp4", "2.mp4", "3.mp4"))
    asked = [
        "--prompt",
        "A red ball bounces.",
        *TINY,
        "--cfg",
        2,
        "--audio-stg",
        0.5,
        "--stg-blocks",
        1,
    ]
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


@pytest.mark.slow
def test_a_recipe_chooses_its_model_and_another_one_is_warned_of(
    tmp_path, golden_folder, puppet_folder
):
    folder = golden_folder / "e2e"
    downloaded = {
        "LTX2_MODEL": str(folder / "weights.safetensors"),
        "LTX2_TEXT_ENCODER": str(folder / "gemma"),
    }

    def generate(name, *arguments, **environment):
        return run("generate", *arguments, "--output", tmp_path / name, **environment)

    assert generate("1.mp4", "--prompt", "x", *TINY, **downloaded).exit_code == 0
    assert generate("p.mp4", "--prompt", "x", *TINY, "--model", puppet_folder).exit_code == 0
    of_downloaded, of_puppet = (["--recipe", tmp_path / name] for name in ("1.mp4", "p.mp4"))

    assert_refused(generate("no.mp4", *of_downloaded), "weights", "is not here", "--model")
    assert generate("2.mp4", *of_downloaded, **downloaded).stderr == ""
    assert (tmp_path / "2.mp4").read_bytes() == (tmp_path / "1.mp4").read_bytes()
    assert generate("q.mp4", *of_puppet, **downloaded).stderr == ""
    assert (tmp_path / "q.mp4").read_bytes() == (tmp_path / "p.mp4").read_bytes()
    chosen = ["--model", puppet_folder, "--negative-prompt", ""]
    other = generate("other.mp4", *of_downloaded, *chosen)
    assert other.exit_code == 0, other.stderr
    assert "Warning: The recipe was made with the model weights, this is puppet." in other.stderr


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.safetensors", ("a.safetensors", 1.0)),
        ("a.safetensors:0.5", ("a.safetensors", 0.5)),
        ("a.safetensors:-1", ("a.safetensors", -1.0)),
        ("C:/a.safetensors", ("C:/a.safetensors", 1.0)),
        ("a.safetensors:0.5/0", ("a.safetensors", 0.5, 0.0)),
        ("C:/a.safetensors:2", ("C:/a.safetensors", 2.0)),
    ],
)
def test_a_lora_is_a_file_and_perhaps_a_strength(text, expected):
    assert _lora(text) == (Path(expected[0]), *expected[1:])


def test_a_model_is_converted_to_one_file_and_described_as_before(tmp_path, puppet_folder):
    target = tmp_path / "one.safetensors"
    done = run("convert", puppet_folder, target)
    assert done.exit_code == 0, done.stderr
    one, whole = (run("inspect", path, "--json", "--digest") for path in (target, puppet_folder))
    for key in ("fingerprint", "digest", "version"):
        assert json.loads(one.stdout)[key] == json.loads(whole.stdout)[key]
    assert_refused(run("convert", puppet_folder, target), "exists already")
    assert_refused(run("convert", puppet_folder, tmp_path / "no" / "folder"), "no folder")


def test_weights_are_downloaded_by_a_name_that_other_commands_know(
    tmp_path, monkeypatch, puppet_folder
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    content = (puppet_folder / "upsampler.safetensors").read_bytes()
    with fake_hub(monkeypatch, someone__something={"model.safetensors": content}):
        done = run("download", "someone/something")
    assert done.exit_code == 0, done.stderr
    folder = Path(done.stdout.strip().split(": ", 1)[1])
    assert (folder / "model.safetensors").read_bytes() == content
    assert_refused(run("download", "something"), "OWNER/NAME")


def test_a_recipe_is_computed_as_it_was_unless_told_otherwise(tmp_path, puppet_folder):
    options = ["--model", puppet_folder, "--prompt", "A ball.", *TINY]
    first, again, other = (tmp_path / f"{name}.mp4" for name in ("first", "again", "other"))
    run("generate", *options, "--quantization", "int8", "--dtype", "bfloat16", "--output", first)
    computation = read_recipe(first).computation
    assert str(computation) == "bfloat16, quantization int8"
    assert "int8" in run("inspect", first).output
    result = run("generate", "--model", puppet_folder, "--recipe", first, "--output", again)
    assert result.stderr == ""
    assert read_recipe(again).computation == computation
    assert (read_clip(again).frames == read_clip(first).frames).all()
    result = run(
        *("generate", "--model", puppet_folder, "--recipe", first, "--output", other),
        *("--quantization", "none"),
    )
    assert "computes with bfloat16." in result.stderr


@pytest.mark.slow
def test_a_lora_is_added_recorded_and_missed_when_left_out(tmp_path, puppet_folder):
    lora, plain, changed = (tmp_path / n for n in ("paper.safetensors", "1.mp4", "2.mp4"))
    write_lora(lora, of=puppet_folder / "model.safetensors")
    asked = ["generate", "--model", puppet_folder, "--prompt", "x", *TINY]
    assert run(*asked, "--output", plain).exit_code == 0
    made = run(*asked, "--lora", f"{lora}:0.5", "--output", changed)
    assert made.exit_code == 0, made.output
    applied = read_recipe(changed).loras
    assert [(one.file, one.strength) for one in applied] == [("paper.safetensors", 0.5)]
    assert (read_clip(plain).frames != read_clip(changed).frames).any()

    again = ["generate", "--recipe", changed, "--output", tmp_path / "3.mp4", "--force"]
    assert_refused(run(*again), "paper.safetensors")
    stronger = run(*again, "--lora", f"{lora}:0.8")
    assert stronger.exit_code == 0, stronger.output
    assert stronger.stderr.startswith("Warning: The recipe was made with ")
    assert run(*again, "--lora", f"{lora}:0.5").stderr == ""
    assert (tmp_path / "3.mp4").read_bytes() == changed.read_bytes()


def write_lora(path, of):
    """A LoRA of one random change to the first query that a checkpoint has."""
    name, info = next(
        (name, info)
        for name, info in CheckpointFile.open(of).tensors.items()
        if name.startswith("model.diffusion_model.transformer_blocks.0.attn1.to_q")
        and name.endswith(".weight")
    )
    module = name.removeprefix("model.diffusion_model.").removesuffix(".weight")
    random = torch.Generator().manual_seed(1)
    rows, columns = info.shape
    tensors = {
        f"diffusion_model.{module}.lora_A.weight": torch.randn(4, columns, generator=random),
        f"diffusion_model.{module}.lora_B.weight": torch.randn(rows, 4, generator=random),
    }
    save_checkpoint(path, tensors, {})


def test_the_disturbed_blocks_are_chosen_for_picture_and_sound(tmp_path, puppet_folder):
    output = tmp_path / "a.mp4"
    asked = ["--model", puppet_folder, "--prompt", "x", *TINY, "--stg", 1, "--stg-blocks", "0, 1"]
    made = run("generate", *asked, "--output", output)
    assert made.exit_code == 0, made.output
    request = read_recipe(output).request
    assert request.video_guidance.stg_blocks == request.audio_guidance.stg_blocks == (0, 1)


def test_one_changed_scale_leaves_the_models_other_scales(tmp_path, model):
    output = tmp_path / "a.mp4"
    made = run("generate", *model, "--prompt", "x", *TINY, "--cfg", 2, "--output", output)
    assert made.exit_code == 0, made.output
    _, path, *text_encoder = model
    profile = ltx2.load(path, text_encoder=text_encoder[1] if text_encoder else None).profile
    request = read_recipe(output).request
    assert request.video_guidance == profile.video_guidance.model_copy(update={"cfg_scale": 2.0})
    assert request.audio_guidance == profile.audio_guidance


def test_another_size_than_was_asked_for_is_told(tmp_path, puppet_folder):
    options = ["--model", puppet_folder, "--prompt", "A ball.", "--frames", 9, "--steps", 1]
    result = run("generate", *options, "--width", 70, "--output", tmp_path / "a.mp4")
    assert result.exit_code == 0, result.output
    assert result.stderr.startswith("Note: 70 x ")
    assert "pixels become 64 x " in result.stderr
    told = run("generate", *options, "--width", 64, "--output", tmp_path / "b.mp4")
    assert told.stderr == ""


def test_what_the_model_cannot_make_is_one_line_and_no_file(tmp_path, model):
    for option in (["--width", 8], ["--height", 100_000], ["--seconds", 10_000]):
        arguments = ["--prompt", "x", *option, "--output", tmp_path / "a.mp4"]
        assert_refused(run("generate", *model, *arguments))
    assert not list(tmp_path.iterdir())


CTRL_C_AT = """
import os, signal, sys

class CtrlC:
    def find_spec(self, name, *_):
        if name == {module!r}:
            sys.meta_path.remove(self)
            exec({how!r}, {{"os": os, "signal": signal}})

sys.meta_path.insert(0, CtrlC())
"""
"""Start-up code of a Python that sends itself Ctrl-C when a module is about to be imported."""

PRESS = "os.kill(os.getpid(), signal.SIGINT); any(False for _ in range(1000))"
HOW = {
    "in exec": PRESS,
    "in a destructor": f"class Last:\n def __del__(self):\n  {PRESS}\nLast()",
    "made another error": f"try:\n {PRESS}\nexcept BaseException: raise ImportError('no numpy')",
}
"""Where Ctrl-C has fallen in practice: dataclasses are made by `exec`, destructors drop exceptions,
and libraries in C make other errors of them."""


def start(folder, *options, stderr=subprocess.PIPE, **environment):
    """A command that is making a clip in a folder of its own."""
    folder.mkdir()
    arguments = ["generate", "--prompt", "x", *TINY, *options, "--output", folder / "a.mp4"]
    return subprocess.Popen(
        [sys.executable, "-m", "ltx2", *map(str, arguments)],
        cwd=REPOSITORY,
        env={**os.environ, **environment},
        stderr=stderr,
        text=True,
    )


def assert_cancelled(process, errors, folder):
    assert process.returncode == 130, errors
    assert "Cancelled; no file was written." in errors
    assert not list(folder.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "how"),
    [*product(["torch", "transformers"], HOW), ("ltx2.media.encode", "in exec")],
)
def test_ctrl_c_during_an_import_ends_without_a_file(tmp_path, puppet_folder, module, how):
    (tmp_path / "sitecustomize.py").write_text(CTRL_C_AT.format(module=module, how=HOW[how]))
    made = tmp_path / "made"
    process = start(made, "--model", puppet_folder, PYTHONPATH=str(tmp_path))
    _, errors = process.communicate(timeout=60)
    assert_cancelled(process, errors, made)


@pytest.mark.slow
def test_ctrl_c_while_the_clip_is_made_ends_quietly_and_leaves_no_file(tmp_path, model):
    shown, terminal = os.openpty()  # bars are drawn on terminals only
    termios.tcsetwinsize(terminal, (24, 100))
    made = tmp_path / "made"
    process = start(made, *model, "--steps", 200, "--frames", 33, stderr=terminal)
    errors, is_interrupted = "", False
    # This end of the terminal stays open as well: what is written last before the other end is
    # closed may be lost on Linux.
    while process.poll() is None or select.select([shown], [], [], 0)[0]:
        if select.select([shown], [], [], 0.05)[0]:
            errors += os.read(shown, 4096).decode(errors="replace")
        if "denoise" in errors and not is_interrupted:
            is_interrupted = True
            process.send_signal(signal.SIGINT)
    os.close(terminal)
    os.close(shown)
    process.wait(timeout=60)
    assert_cancelled(process, errors, made)
    assert "Traceback" not in errors
