"""Training configurations: what is accepted, and errors that name the field and the line."""

from pathlib import Path

import pytest

from ltx2.errors import RequestError
from ltx2.training.config import TrainConfig, changed_settings, read_config

CONFIGS = Path(__file__).parents[3] / "ltx2" / "training" / "configs"
SMALLEST = "model: puppet\ndata: clips\noutput: run\n"


def read(tmp_path, text):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    return read_config(path)


def test_three_lines_are_a_configuration(tmp_path):
    config = read(tmp_path, SMALLEST)
    assert config.train.kind == "lora"
    assert [choice.mode for choice in config.modes] == ["text_to_video_audio"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SMALLEST + "stepz: 3\n", r"run.yaml:4 has an unknown setting stepz"),
        ("model: puppet\noutput: run\n", r"run.yaml:1 lacks the setting data"),
        (SMALLEST + "steps: many\n", r"run.yaml:4, steps: .*integer"),
        (SMALLEST + "optimizer:\n  learning_rate: -1\n", r"run.yaml:5, optimizer.learning_rate"),
        (SMALLEST + "train:\n  kind: lora\n  rank: 0\n", r"run.yaml:6, train.rank"),
        (SMALLEST + "modes:\n  - mode: image\n  - mode: smell\n", r"run.yaml:6, modes.1: there is"),
        (SMALLEST + "modes:\n- {mode: text_to_video, probability: 0.5}\n", r"takes no probability"),
        (SMALLEST + "output: other\n", r"run.yaml:4 says output a second time.*line 3"),
        (SMALLEST + "steps: [1\n", r"run.yaml:5 is not YAML"),
        (
            SMALLEST + "train: {kind: full}\nbase_quantization: int8\n",
            r"run.yaml:1, the file: base_quantization is for LoRA",
        ),
        (SMALLEST + "engine: fsdp\noptimizer: {name: muon}\n", r"muon does not go with"),
        ("- a\n", r"holds no settings"),
        ("", r"holds no settings"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path, text, message):
    with pytest.raises(RequestError, match=message):
        read(tmp_path, text)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RequestError, match=r"nothing\.yaml cannot be read"):
        read_config(tmp_path / "nothing.yaml")


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_shipped_configurations_can_be_read(path):
    assert read_config(path).validation is not None


def test_a_configuration_survives_being_written_as_json(tmp_path):
    config = read(tmp_path, SMALLEST + "modes:\n  - {mode: image, probability: 0.5, weight: 2}\n")
    assert TrainConfig.model_validate_json(config.model_dump_json()) == config


def test_settings_that_make_another_run_are_told_from_those_that_do_not(tmp_path):
    before = read(tmp_path, SMALLEST).model_dump(mode="json")
    same = read(tmp_path, SMALLEST + "steps: 9000\nengine: fsdp\nlog_every: 1\n")
    other = read(tmp_path, SMALLEST + "batch_size: 2\nseed: 1\n")
    assert changed_settings(before, same) == []
    assert changed_settings(before, other) == ["batch_size", "seed"]


def test_validation_settings_become_one_request_per_prompt(tmp_path):
    text = SMALLEST + "validation:\n  prompts: [a, b]\n  width: 96\n  seed: 7\n"
    requests = read(tmp_path, text).validation.requests()
    assert [(r.prompt, r.width, r.seed) for r in requests] == [("a", 96, 7), ("b", 96, 7)]
