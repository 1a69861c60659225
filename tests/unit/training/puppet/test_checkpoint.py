"""From untrained networks to a checkpoint folder that `ltx2.load` takes, and back, all small."""

import copy
import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import ltx2
from ltx2.checkpoint.loader import load_upsampler
from ltx2.checkpoint.reader import CheckpointFile
from ltx2.diffusion.state import Joint
from ltx2.errors import CheckpointError, GenerationCancelled
from ltx2.geometry import VideoCompression
from ltx2.model.audio_vae import AudioVAE, AudioVAEConfig
from ltx2.model.config import UpsamplerConfig
from ltx2.model.upsampler import LatentUpsampler
from ltx2.model.video_vae import VideoVAE, VideoVAEConfig
from ltx2.model.vocoder import Vocoder, VocoderConfig
from ltx2.training.flow import flow_loss
from ltx2.training.puppet import architecture
from ltx2.training.puppet.captions import caption
from ltx2.training.puppet.export import (
    export_autoencoders,
    export_text_encoder,
    export_transformer,
    export_upsampler,
)
from ltx2.training.puppet.latents import LatentBatch, LatentShards
from ltx2.training.puppet.networks import PuppetNetworks
from ltx2.training.puppet.scenes import sample_scene
from ltx2.training.puppet.stages import (
    DISTILLED_PROFILE,
    DISTILLED_SIGMAS,
    PROFILE,
    export_checkpoint,
    find_logs,
    load_networks,
    train_transformer,
)
from ltx2.training.puppet.text import write_text_encoder_folder
from ltx2.training.puppet.warm_start import (
    earlier_log_name,
    redistilled,
    write_work_folder,
)
from ltx2.training.puppet.weights import load_weights, save_weights

CHANNELS = architecture.VIDEO_LATENT_CHANNELS


@pytest.fixture(scope="module")
def text_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("text")
    write_text_encoder_folder(folder, [caption(sample_scene(rng), rng) for _ in range(300)])
    return folder


@pytest.fixture(scope="module")
def networks(text_folder: Path) -> PuppetNetworks:
    torch.manual_seed(0)
    return PuppetNetworks(text_folder)


def test_words_of_the_world_are_few_tokens_and_other_text_can_be_read(
    networks: PuppetNetworks,
) -> None:
    tokenizer = networks.text_encoder.tokenizer
    known = 'A red puppet with a top hat on a white background says "hello" in a high voice.'
    assert len(tokenizer(known)["input_ids"]) <= 30
    foreign = "Ein Drache singt 竜 am Meer."
    ids = tokenizer(foreign)["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True).strip() == foreign


def test_every_network_gets_a_gradient_once_the_output_has_moved(
    networks: PuppetNetworks,
) -> None:
    head = networks.transformer.proj_out.weight, networks.transformer.audio_proj_out.weight
    with torch.no_grad():
        for weight in head:
            weight.normal_(std=0.02)
    generator = torch.Generator().manual_seed(0)
    loss = flow_loss(
        networks.transformer,
        Joint(torch.randn(2, CHANNELS, 2, 2, 2), torch.randn(2, 2, 9, 16)),
        networks.contexts(["a red puppet", ""]),
        compression=VideoCompression(8, 16),
        frame_rate=24.0,
        shift=0.7,
        generator=generator,
    )
    loss.total.backward()
    without = [name for name, p in networks.named_parameters() if p.grad is None]
    # The registers and every layer of every network take part; nothing is left behind.
    assert without == []
    networks.zero_grad()
    with torch.no_grad():
        for weight in head:
            weight.zero_()


def test_an_untrained_transformer_starts_at_no_velocity(networks: PuppetNetworks) -> None:
    latents = Joint(torch.zeros(1, CHANNELS, 1, 2, 2), torch.zeros(1, 2, 3, 16))
    with torch.no_grad():
        loss = flow_loss(
            networks.transformer,
            latents,
            networks.contexts(["a"]),
            compression=VideoCompression(8, 16),
            frame_rate=24.0,
            shift=0.7,
            generator=torch.Generator().manual_seed(0),
        )
    # Clean tokens are zero, so the target is the unit noise itself.
    assert float(loss.video) == pytest.approx(1.0, abs=0.4)


@pytest.fixture(scope="module")
def folder(
    networks: PuppetNetworks, text_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Everything that the recipe ships, untrained."""
    config, target = architecture.CONFIG, tmp_path_factory.mktemp("weights") / "puppet"
    recipe = {"note": "untrained"}
    export_text_encoder(target, text_folder, networks)
    export_autoencoders(
        target,
        VideoVAE(VideoVAEConfig.from_metadata(config)),
        AudioVAE(AudioVAEConfig.from_metadata(config)),
        Vocoder(VocoderConfig.from_metadata(config)),
        recipe=recipe,
    )
    export_transformer(target / "model.safetensors", networks, PROFILE, recipe=recipe)
    path = target / "distilled.safetensors"
    export_transformer(path, networks, DISTILLED_PROFILE, recipe=recipe)
    upsampler = LatentUpsampler(UpsamplerConfig.from_metadata(architecture.UPSAMPLER_CONFIG))
    export_upsampler(target / "upsampler.safetensors", upsampler, recipe=recipe)
    return target


def test_an_exported_folder_loads_strictly_and_makes_a_clip(folder: Path) -> None:
    pipeline = ltx2.load(folder)
    clip = pipeline(ltx2.Request(prompt="a red puppet", num_frames=9, num_steps=1, seed=3))
    assert clip.frames.shape == (9, architecture.HEIGHT, architecture.WIDTH, 3)
    assert clip.waveform.shape == (2, round(9 / 24 * architecture.SAMPLE_RATE))
    assert pipeline.profile.vocabulary is not None
    assert pipeline.profile.model_copy(update={"vocabulary": None}) == PROFILE


def test_the_distilled_model_walks_its_own_eight_steps_without_guidance(folder: Path) -> None:
    pipeline = ltx2.load(folder / "distilled.safetensors")
    stages: list[tuple[str, int, int]] = []
    pipeline(
        ltx2.Request(prompt="a red puppet", num_frames=9, seed=3),
        on_progress=lambda p: stages.append((p.stage, p.step, p.total)),
    )
    assert ("denoise", 8, 8) in stages
    assert pipeline.profile.sigmas == DISTILLED_SIGMAS
    assert pipeline.profile.video_guidance.cfg_scale == 1.0


def test_the_upsampler_reads_latents_of_this_autoencoder(folder: Path) -> None:
    file = CheckpointFile.open(folder / "upsampler.safetensors")
    upsampler = load_upsampler(file, dtype=torch.float32, device="cpu")
    large = upsampler(torch.zeros(1, CHANNELS, 1, 2, 3))
    assert large.shape == (1, CHANNELS, 1, 4, 6)


def test_what_is_shipped_together_is_small_enough(folder: Path) -> None:
    sizes = [path.stat().st_size for path in folder.rglob("*.safetensors")]
    assert max(sizes) <= 20e6
    # What is left is for the LoRAs, tokenizer and pictures.
    assert sum(sizes) <= 39e6


@pytest.mark.slow
def test_a_work_folder_goes_on_from_an_exported_checkpoint(
    folder: Path, networks: PuppetNetworks, tmp_path: Path
) -> None:
    write_work_folder(folder, tmp_path)
    again = tmp_path / "again"
    export_checkpoint(tmp_path, again)
    for name in (
        "model.safetensors",
        "autoencoders.safetensors",
        "upsampler.safetensors",
        "text_encoder/model.safetensors",
    ):
        before, after = load_file(folder / name), load_file(again / name)
        assert before.keys() == after.keys()
        assert all(after[key].equal(tensor) for key, tensor in before.items())


def test_training_starts_from_what_a_checkpoint_left(
    folder: Path, networks: PuppetNetworks, tmp_path: Path
) -> None:
    write_work_folder(folder, tmp_path)
    write_latents(tmp_path)
    train_transformer(tmp_path, steps=1, batch=1)
    start, trained = networks.state_dict(), load_networks(tmp_path).state_dict()
    moved = [float((trained[name] - start[name]).abs().max()) for name in start]
    assert 0 < max(moved) < 0.02


def test_a_stage_that_is_asked_to_end_saves_what_it_has_and_goes_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_work_folder(folder, tmp_path)
    write_latents(tmp_path)
    draw = LatentShards.random_batch

    def draw_and_end(*arguments: Any) -> LatentBatch:
        os.kill(os.getpid(), signal.SIGTERM)
        return draw(*arguments)

    monkeypatch.setattr(LatentShards, "random_batch", draw_and_end)
    with pytest.raises(GenerationCancelled):
        train_transformer(tmp_path, steps=3, batch=1)
    monkeypatch.undo()
    assert torch.load(tmp_path / "transformer.pt", weights_only=True)["step"] == 1
    train_transformer(tmp_path, steps=2, batch=1)
    assert torch.load(tmp_path / "transformer.pt", weights_only=True)["step"] == 2


def write_latents(folder: Path) -> None:
    """Two random examples for the transformer."""
    (folder / "latents").mkdir()
    generator = torch.Generator().manual_seed(0)
    save_file(
        {
            "video": torch.randn(2, CHANNELS, 1, 2, 2, generator=generator).half(),
            "audio": torch.randn(2, 2, 3, 16, generator=generator).half(),
        },
        folder / "latents" / "shard_0000.safetensors",
    )
    captions = json.dumps([["a red puppet"], ["a blue ball"]])
    (folder / "latents" / "shard_0000.json").write_text(captions)


def test_a_work_folder_without_earlier_stages_says_which_to_run(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="`start-from`"):
        export_checkpoint(tmp_path, tmp_path / "target")


def test_logs_of_what_starts_anew_are_kept_as_earlier_runs(tmp_path: Path) -> None:
    assert earlier_log_name("transformer.jsonl") == "transformer_1.jsonl"
    assert earlier_log_name("distilled_1.jsonl") == "distilled_2.jsonl"
    assert earlier_log_name("video_vae.jsonl") == "video_vae.jsonl"
    for name in ("transformer.jsonl", "transformer_1.jsonl", "vocoder.jsonl", "other.jsonl"):
        (tmp_path / name).touch()
    found = [path.name for path in find_logs(tmp_path)]
    assert found == ["vocoder.jsonl", "transformer_1.jsonl", "transformer.jsonl"]


@pytest.mark.slow
def test_a_student_starts_with_what_distillation_changed_before(
    folder: Path, networks: PuppetNetworks, tmp_path: Path
) -> None:
    assert all(
        p.equal(q)
        for p, q in zip(
            redistilled(tmp_path, networks).parameters(), networks.parameters(), strict=True
        )
    )
    write_work_folder(folder, tmp_path)
    shifted = load_weights(tmp_path, "distilled", copy.deepcopy(networks))
    with torch.no_grad():
        shifted.transformer.proj_out.bias += 0.25
    save_weights(tmp_path, "distilled", shifted)
    teacher = copy.deepcopy(networks)
    with torch.no_grad():
        teacher.transformer.proj_out.bias -= 1.0
    student = redistilled(tmp_path, teacher)
    moved = student.transformer.proj_out.bias - teacher.transformer.proj_out.bias
    assert moved.tolist() == pytest.approx([0.25] * len(moved))
