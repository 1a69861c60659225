"""The memory plan: what it counts is what a real step takes and real networks weigh."""

from dataclasses import replace

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from ltx2.geometry import VideoCompression
from ltx2.model.config import ConnectorConfig, TransformerConfig
from ltx2.model.transformer import ModalityInput, Transformer
from ltx2.training.adapters import add_adapters
from ltx2.training.config import TrainConfig
from ltx2.training.plan import (
    CONTEXT_TOKENS,
    PUBLISHED,
    Architecture,
    LiveBytes,
    cheaper,
    peak_bytes,
    plan_training,
    step_bytes,
)
from ltx2.training.precompute import Size
from ltx2.training.trainer import checkpoint_blocks
from tests.tiny_checkpoint import tiny_config

SIZE = Size(128, 96, 17)


def a_config(**settings):
    values = {"model": "none", "data": "none", "output": "none", "precision": "float32"}
    return TrainConfig.model_validate(values | settings)


@pytest.fixture(scope="module")
def tiny():
    config = tiny_config()
    return Architecture(
        TransformerConfig.from_metadata(config),
        ConnectorConfig.from_metadata(config),
        VideoCompression(8, 32),
    )


@pytest.mark.slow
@pytest.mark.parametrize("gradient_checkpointing", [False, True])
@pytest.mark.parametrize("train", [{"kind": "lora", "rank": 4}, {"kind": "full"}])
def test_what_is_counted_without_values_is_what_a_real_step_takes(
    tiny, train, gradient_checkpointing
):
    torch.manual_seed(0)
    network = Transformer(tiny.transformer).requires_grad_(train["kind"] == "full")
    if train["kind"] == "lora":
        add_adapters(network, ("*.to_q", "*.to_k", "*.to_v", "*.to_out.0"), rank=4, alpha=4, seed=0)
    if gradient_checkpointing:
        checkpoint_blocks(network)
    config = a_config(train=train, batch_size=2, gradient_checkpointing=gradient_checkpointing)
    counted = step_bytes(config, tiny, SIZE, 8.0)
    grid = tiny.compression.latent_grid(SIZE.num_frames, SIZE.height, SIZE.width)
    num_tokens = grid[0] * grid[1] * grid[2]
    inputs = [
        ModalityInput(
            tokens=torch.randn(2, tokens, stream.in_channels),
            timesteps=torch.full((2, tokens), 0.5),
            sigma=torch.full((2,), 0.5),
            positions=torch.rand(1, axes, tokens, 2),
            context=torch.randn(2, CONTEXT_TOKENS, tiny.transformer.caption_channels),
        )
        for stream, tokens, axes in (
            (tiny.transformer.video, num_tokens, 3),
            (tiny.transformer.audio, round(17 / 8 * 25), 1),
        )
    ]
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        taken = peak_bytes(network, *inputs)
    assert counted == pytest.approx(taken, rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("gradient_checkpointing", [False, True])
def test_many_blocks_take_what_two_and_three_foretell(tiny, gradient_checkpointing):
    config = a_config(gradient_checkpointing=gradient_checkpointing)
    deep = replace(tiny, transformer=replace(tiny.transformer, num_layers=7))
    foretold = plan_training(config, deep, SIZE, frame_rate=8.0).activations
    assert foretold == pytest.approx(step_bytes(config, deep, SIZE, 8.0), rel=0.01)


def test_memory_counts_once_and_for_as_long_as_something_needs_it():
    weight = torch.ones(100)
    with LiveBytes() as live:
        first, second = torch.empty(1000), torch.empty(500)
        view = first[:10].view(2, 5)
        weight.mul_(2.0)
        del first
        assert live.now == 1500 * 4
        del view
        third = torch.empty(200)
    assert live.now == 700 * 4
    assert live.peak == 1500 * 4
    assert len(second) + len(third) == 700


def test_weights_are_counted_exactly(tiny):
    plan = plan_training(a_config(train={"kind": "full"}), tiny, SIZE, frame_rate=8.0)
    network = Transformer(tiny.transformer)
    assert plan.trained == sum(p.numel() * 4 for p in network.parameters())
    assert plan.gradients == plan.trained
    assert plan.optimizer == 2 * plan.trained
    assert plan.total == sum(plan.rows().values())


@pytest.mark.slow
def test_checkpointing_and_small_weights_save_what_they_promise(tiny):
    def plan(**settings):
        return plan_training(a_config(**settings), tiny, SIZE, frame_rate=8.0)

    kept, forgotten = plan(gradient_checkpointing=False), plan(gradient_checkpointing=True)
    assert forgotten.activations < kept.activations
    plain, small = plan(), plan(base_quantization="int8")
    assert small.frozen < 0.6 * plain.frozen
    assert small.trained == plain.trained


@pytest.mark.slow
def test_the_published_model_needs_several_changes_to_fit_a_small_card():
    config = a_config(precision="bfloat16", gradient_checkpointing=False)
    size = Size(512, 320, 49)
    plan = plan_training(config, PUBLISHED, size, frame_rate=24.0)
    # 18.88 billion weights of the transformer and 1.4 of the connectors, two bytes each.
    assert plan.frozen / 2 == pytest.approx(20.3e9, rel=0.05)
    budget = 24 * 2**30
    assert plan.total > 2 * budget
    change = cheaper(config, PUBLISHED, size, frame_rate=24.0, budget_bytes=budget)
    assert change is not None
    assert "gradient_checkpointing" in change
    assert "int8" in change


@pytest.mark.slow
def test_a_card_that_is_too_small_for_everything_gets_no_advice(tiny):
    assert cheaper(a_config(), tiny, SIZE, frame_rate=8.0, budget_bytes=2**30) is None


def test_a_run_that_keeps_an_average_needs_room_for_it(tiny):
    with_average = plan_training(a_config(ema_decay=0.99), tiny, SIZE, frame_rate=8.0)
    assert with_average.average == with_average.trained
