"""Training from a configuration: what is learnt, what is left behind, and how a run goes on."""

import hashlib
import json
import signal
import subprocess
import sys
import time

import pytest
import torch
from torch import nn

import ltx2
from ltx2.checkpoint.loader import build_transformer
from ltx2.checkpoint.lora import read_lora
from ltx2.checkpoint.lora_stack import fuse_loras
from ltx2.checkpoint.reader import CheckpointFile
from ltx2.diffusion.state import Joint, LatentState
from ltx2.errors import GenerationCancelled, GenerationError, RequestError, ResourceError
from ltx2.geometry import VideoCompression
from ltx2.training.adapters import Adapters
from ltx2.training.distributed import ALONE
from ltx2.training.flow import Noised
from ltx2.training.optimizers import build_optimizer
from ltx2.training.results import LORA_FILE, MODEL_FILE
from ltx2.training.trainer import STATE_FILE, Objective, checkpoint_blocks, train
from tests.builders import a_clip
from tests.conftest import ROOT
from tests.tiny_checkpoint import tiny_config, write_tiny_model
from tests.tiny_training import TinyExamples, tiny_batch, tiny_run


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


def state_of(config):
    return torch.load(config.output / STATE_FILE, weights_only=True)


def assert_same(first, second):
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    elif isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_same(first[key], second[key])
    elif isinstance(first, list | tuple):
        for a, b in zip(first, second, strict=True):
            assert_same(a, b)
    else:
        assert first == second


class Guess(nn.Module):
    """Says a constant for every velocity."""

    def __init__(self, value):
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, noised, text_features, text_mask):
        return tuple(None if part is None else self.value.expand_as(part.tokens) for part in noised)


def loss_of(mode, tmp_path, value=0.0, **settings):
    config = tiny_run("m", tmp_path, modes=[{"mode": mode}], batch_size=64, **settings)
    objective = Objective(config, Guess(value), TinyExamples(), VideoCompression(8, 16), ALONE)
    return objective(0, torch.Generator().manual_seed(0))


def test_losses_of_the_modalities_are_weighted_and_told_apart(tmp_path):
    total, figures = loss_of("text_to_video_audio", tmp_path, loss={"video": 1.0, "audio": 0.25})
    # Clean and noise are both standard normal, so their difference has a variance of 2.
    assert figures["video"] == pytest.approx(2.0, rel=0.05)
    assert figures["audio"] == pytest.approx(2.0, rel=0.05)
    assert float(total.detach()) == pytest.approx(
        figures["video"] + 0.25 * figures["audio"], rel=1e-5
    )


@pytest.mark.parametrize(
    ("mode", "learnt"),
    [("video_to_audio", {"audio"}), ("audio_to_video", {"video"}), ("text_to_audio", {"audio"})],
)
def test_what_is_given_or_absent_is_not_learnt(tmp_path, mode, learnt):
    _, figures = loss_of(mode, tmp_path)
    assert set(figures) == learnt


def test_kept_tokens_leave_the_scale_of_the_loss_alone():
    clean = torch.zeros(2, 6, 3)
    mask = torch.ones(2, 6, 1)
    mask[0, :3] = 0
    state = LatentState(clean, clean, mask, torch.zeros(1, 3, 6, 2))
    noised = Noised.of(state, torch.full((2,), 0.5), torch.Generator().manual_seed(0))
    wrong = torch.full_like(noised.velocity, 2.0) + noised.velocity
    assert float(noised.loss(wrong, mask.sum())) == pytest.approx(4.0)


def test_checkpointed_blocks_have_the_same_gradients():
    sizes = tiny_config()["transformer"]
    gradients = []
    for is_checkpointed in (False, True):
        torch.manual_seed(0)
        transformer = build_transformer(tiny_config())
        for parameter in transformer.parameters():
            nn.init.normal_(parameter, std=0.1)
        if is_checkpointed:
            checkpoint_blocks(transformer)
        batch = tiny_batch()
        inputs = []
        for latents, axes, width in ((batch.video, 3, "in_channels"), (batch.audio, 1, None)):
            tokens = latents.flatten(2).transpose(1, 2) if width else latents.transpose(1, 2)
            tokens = tokens.flatten(2)
            clean = LatentState.to_generate(tokens, torch.rand(1, axes, tokens.shape[1], 2))
            noised = Noised.of(clean, torch.tensor([0.3, 0.8]), torch.Generator().manual_seed(1))
            inputs.append(noised.to_input(batch.text_features[..., : sizes["caption_channels"]]))
        torch.manual_seed(0)
        sum(v.square().mean() for v in transformer(*inputs)).backward()
        gradients.append([p.grad for p in transformer.parameters()])
    for plain, recomputed in zip(*gradients, strict=True):
        assert plain is not None
        torch.testing.assert_close(recomputed, plain, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"train": {"kind": "lora", "rank": 4}, "precision": "bfloat16", "accumulation": 2},
        {"train": {"kind": "full"}, "ema_decay": 0.9, "optimizer": {"name": "muon"}},
    ],
    ids=["lora", "full"],
)
def test_a_run_in_two_parts_equals_one_in_a_single_part(model, tmp_path, settings):
    whole = tiny_run(model, tmp_path / "whole", steps=6, **settings)
    train(whole, examples=TinyExamples())
    parts = tiny_run(model, tmp_path / "parts", steps=6, **settings)
    asked = []

    def stop_after_three():
        asked.append(True)
        return len(asked) == 3

    with pytest.raises(GenerationCancelled):
        train(parts, examples=TinyExamples(), should_stop=stop_after_three)
    assert state_of(parts)["step"] == 3
    newest = parts.output / (LORA_FILE if "rank" in settings["train"] else MODEL_FILE)
    assert CheckpointFile.open(newest).tensors
    train(parts, examples=TinyExamples())
    assert_same(state_of(parts), state_of(whole))


@pytest.mark.slow
def test_a_killed_process_goes_on_as_if_nothing_had_happened(model, tmp_path):
    settings = {"steps": 40, "checkpoints": {"state_every_s": 0.25}, "ema_decay": 0.9}
    killed = tiny_run(model, tmp_path / "killed", **settings)
    path = tmp_path / "killed.yaml"
    path.write_text(killed.model_dump_json())
    program = [sys.executable, "-m", "tests.tiny_training", str(path)]
    log = killed.output / STATE_FILE.replace(".pt", ".jsonl")
    with (tmp_path / "errors.txt").open("w") as errors:
        process = subprocess.Popen(program, cwd=ROOT, stderr=errors)
        until = time.monotonic() + 60
        while not (killed.output / STATE_FILE).exists() or len(log.read_text().splitlines()) < 6:
            assert process.poll() is None, (tmp_path / "errors.txt").read_text()[-2000:]
            assert time.monotonic() < until
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert 0 < state_of(killed)["step"] < 40
    train(killed, examples=TinyExamples())
    whole = tiny_run(model, tmp_path / "whole", **settings)
    train(whole, examples=TinyExamples())
    assert_same(state_of(killed), state_of(whole))


@pytest.mark.slow
def test_a_terminated_process_leaves_a_lora_that_can_be_used(model, tmp_path):
    config = tiny_run(model, tmp_path / "run", steps=4000)
    path = tmp_path / "run.yaml"
    path.write_text(config.model_dump_json())
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.tiny_training", str(path)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 60
    while not (config.output / STATE_FILE.replace(".pt", ".jsonl")).exists():
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert "GenerationCancelled" in errors
    assert state_of(config)["step"] < 4000
    assert read_lora(config.output / LORA_FILE).changes


def test_an_output_folder_of_another_run_is_not_touched(model, tmp_path):
    train(tiny_run(model, tmp_path, steps=1), examples=TinyExamples())
    with pytest.raises(RequestError, match="another batch_size, seed"):
        train(tiny_run(model, tmp_path, steps=2, batch_size=3, seed=7), examples=TinyExamples())


def test_a_full_checkpoint_is_the_base_with_another_transformer(model, tmp_path):
    base_path = model / "model.safetensors"
    before = hashlib.sha256(base_path.read_bytes()).digest()
    config = tiny_run(model, tmp_path, train={"kind": "full"}, optimizer={"learning_rate": 0.1})
    path = train(config, examples=TinyExamples())
    assert hashlib.sha256(base_path.read_bytes()).digest() == before
    base, made = CheckpointFile.open(base_path), CheckpointFile.open(path)
    assert made.fingerprint == base.fingerprint
    assert {n: i.dtype for n, i in made.tensors.items()} == {
        n: i.dtype for n, i in base.tensors.items()
    }
    assert {k: v for k, v in made.metadata.items() if k != "recipe"} == dict(base.metadata)
    recipe = json.loads(made.metadata["recipe"])
    assert recipe["steps"] == 4
    assert str(tmp_path) not in made.metadata["recipe"]
    old, new = base.read(base.tensors), made.read(made.tensors)
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    assert changed
    assert all(name.startswith("model.diffusion_model.") for name in changed)
    assert not any("connector" in name for name in changed)
    ltx2.load(path, text_encoder=model / "text_encoder")


def test_a_lora_of_references_says_their_factor_and_nothing_of_paths(model, tmp_path):
    config = tiny_run(
        model,
        tmp_path,
        modes=[{"mode": "reference_video"}],
        reference_downscale_factor=2,
        optimizer={"learning_rate": 0.05},
    )
    path = train(config, examples=TinyExamples(reference=(3, 1, 2)))
    metadata = CheckpointFile.open(path).metadata
    assert metadata["reference_downscale_factor"] == "2"
    assert str(tmp_path) not in str(metadata)
    network, before = ltx2.load(model).networks.transformer, ltx2.load(model).networks.transformer
    fuse_loras(network, [(read_lora(path), 1.0)])
    moved = [
        name
        for (name, new), old in zip(network.named_parameters(), before.parameters(), strict=True)
        if not torch.equal(new, old)
    ]
    assert moved
    assert all(".to_" in name for name in moved)
    # Only the picture was there, so the sound's own layers had nothing to learn from.
    assert not any("audio" in name for name in moved)
    without = train(tiny_run(model, tmp_path / "other", steps=1), examples=TinyExamples())
    assert "reference_downscale_factor" not in CheckpointFile.open(without).metadata


@pytest.mark.slow
def test_training_learns_what_it_is_shown(model, tmp_path):
    class OneClip:
        def random_batch(self, size, generator):
            return tiny_batch(size)

    config = tiny_run(
        model,
        tmp_path,
        steps=60,
        train={"kind": "full"},
        modes=[{"mode": "text_to_video"}],
        batch_size=8,
        gradient_checkpointing=False,
        timesteps={"shift": 3.0, "uniform_share": 0.0},
        optimizer={"learning_rate": 1e-2},
        schedule={"name": "constant"},
    )
    train(config, examples=OneClip())
    log = (tmp_path / STATE_FILE).with_suffix(".jsonl").read_text().splitlines()
    losses = [json.loads(line)["loss"] for line in log]
    assert losses[-1] < 0.8 * losses[0]


def test_only_the_last_checkpoints_stay_and_the_newest_has_a_fixed_name(model, tmp_path):
    config = tiny_run(model, tmp_path, steps=5, checkpoints={"every": 1, "keep_last": 2})
    newest = train(config, examples=TinyExamples())
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == ["step_000004.safetensors", "step_000005.safetensors"]
    assert newest.read_bytes() == (tmp_path / "checkpoints" / kept[-1]).read_bytes()


def test_validation_clips_are_made_of_every_prompt_every_so_often(model, tmp_path):
    asked = []

    def generate(request):
        asked.append(request)
        if len(asked) == 2:
            raise GenerationError("It broke.", next_step="Look.")
        return a_clip()

    validation = {"prompts": ["a puppet", "a ball"], "every": 2, "seed": 5, "width": 64}
    config = tiny_run(model, tmp_path, validation=validation)
    train(config, examples=TinyExamples(), generate=generate)
    assert [(r.prompt, r.seed, r.width) for r in asked] == [
        ("a puppet", 5, 64),
        ("a ball", 5, 64),
    ] * 2
    made = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.mp4"))
    assert made == [f"validation/step_00000{name}.mp4" for name in ("2/00", "4/00", "4/01")]


@pytest.mark.slow
def test_validation_by_the_models_own_pipeline_leaves_the_training_alone(model, tmp_path):
    settings = {"train": {"kind": "full", "connectors": True}, "ema_decay": 0.5}
    validation = {"prompts": ["a red puppet"], "every": 2}
    watched = tiny_run(model, tmp_path / "watched", validation=validation, **settings)
    train(watched, examples=TinyExamples())
    unwatched = tiny_run(model, tmp_path / "unwatched", **settings)
    train(unwatched, examples=TinyExamples())
    assert_same(state_of(watched), state_of(unwatched))
    clip = ltx2.Clip.load(watched.output / "validation" / "step_000004" / "00.mp4")
    assert clip.recipe.request.prompt == "a red puppet"


def test_figures_go_to_tensorboard(model, tmp_path):
    loading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train(tiny_run(model, tmp_path), examples=TinyExamples())
    board = loading.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert {"loss", "video", "audio"} <= set(board.Tags()["scalars"])
    assert [event.step for event in board.Scalars("loss")] == [1, 2, 3, 4]


def test_the_8_bit_optimiser_says_how_it_is_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", None)
    with pytest.raises(ResourceError, match="pip install bitsandbytes"):
        build_optimizer("adamw8bit", Adapters({}), learning_rate=1e-3, weight_decay=0.0)


def test_an_8_bit_base_is_trained_over(model, tmp_path):
    pytest.importorskip("ltx2.training.quantize")
    config = tiny_run(model, tmp_path, base_quantization="int8", precision="bfloat16")
    assert read_lora(train(config, examples=TinyExamples())).changes


def test_noise_differs_between_the_modalities_and_repeats_with_the_seed(tmp_path):
    first, again = (loss_of("text_to_video_audio", tmp_path, 0.3)[0] for _ in range(2))
    assert torch.equal(first, again)
    states = Joint(*(LatentState.to_generate(torch.zeros(1, 4, 2), torch.zeros(1)) for _ in "ab"))
    generator = torch.Generator().manual_seed(0)
    video, audio = (Noised.of(s, torch.ones(1), generator).tokens for s in states)
    assert not torch.equal(video, audio)
