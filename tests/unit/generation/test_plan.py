import json
import math
from dataclasses import replace

import pytest
import torch

from ltx2.checkpoint.published import published_config, tensors_of
from ltx2.checkpoint.reader import fingerprint_of
from ltx2.diffusion.tiles import _cover as covered
from ltx2.errors import CheckpointError, RequestError
from ltx2.generation.plan import _cover, plan_clip, sizes_of
from ltx2.model.transformer import ModalityInput, Transformer
from ltx2.plan_command import describe
from ltx2.request import Request
from ltx2.runtime.devices import DEVICES, Device, find_device, measure_this_machine
from ltx2.runtime.flops import Tokens
from ltx2.runtime.visitors import Offload
from ltx2.training.plan import LiveBytes, _WithoutValues
from tests.conftest import ROOT
from tests.tiny_checkpoint import tiny_config, write_tiny_model
from tests.unit.checkpoint.test_quantized import encoded, fp8_for_each_channel

HD = Request(prompt="any", width=1280, height=704, num_frames=121)


@pytest.fixture(scope="module")
def dev():
    return sizes_of("ltx-2-19b-dev")


def test_a_published_model_that_is_not_here_has_the_tensors_of_its_file(dev):
    tensors = tensors_of(published_config("ltx-2-19b-dev"))
    shapes = ((name, info.shape) for name, info in tensors.items())
    assert fingerprint_of(shapes) == "aca7b0bbf8415e9c98360750268915fc"
    assert dev.parameters["transformer"] / 1e9 == pytest.approx(18.876, abs=0.001)
    assert dev.parameters["text encoder"] / 1e9 == pytest.approx(11.77, abs=0.01)
    assert sizes_of("ltx-2.3-22b-dev").parameters["transformer"] / 1e9 == pytest.approx(
        18.989, abs=0.001
    )
    for name in ("ltx_2_19b_config", "ltx_2_3_22b_config"):
        fixture = json.loads((ROOT / f"tests/fixtures/{name}.json").read_text())
        model = "ltx-2.3-22b-dev" if "2_3" in name else "ltx-2-19b-dev"
        assert published_config(model) == fixture


def test_a_model_here_is_planned_from_its_header(puppet_folder):
    sizes = sizes_of(str(puppet_folder))
    assert sizes.anatomy.dtype == "float32"
    plan = plan_clip(Request(prompt="any"), sizes, DEVICES["rtx-4090"])
    assert plan.chosen is plan.choices[0]
    with pytest.raises(CheckpointError, match="There is no model"):
        sizes_of("no such model")


def test_a_file_in_fewer_bits_is_planned_as_it_is(tmp_path):
    checkpoint, _ = encoded(fp8_for_each_channel)
    folder = write_tiny_model(tmp_path / "tiny", checkpoint)
    plan = plan_clip(Request(prompt="any"), sizes_of(str(folder)), DEVICES["h100"])
    assert {choice.quantisation for choice in plan.choices} == {"as stored"}
    whole = sizes_of(str(write_tiny_model(tmp_path / "whole")))
    assert plan.sizes.anatomy.weights < whole.anatomy.weights


def test_the_published_size_costs_what_the_published_analysis_says(dev):
    plan = plan_clip(HD, dev, DEVICES["h100"])
    (stage,) = plan.stages
    assert stage.tokens == Tokens(14_080, 126, 1024)
    assert stage.flops_per_pass.total / 1e12 == pytest.approx(537, rel=0.01)
    assert stage.passes == 4
    assert stage.seconds_per_step / stage.passes == pytest.approx(1.22, rel=0.01)
    assert plan.chosen is plan.choices[0]


def test_a_small_card_gets_whole_weights_that_wait_in_main_memory_where_that_costs_no_time(dev):
    plan = plan_clip(HD, dev, DEVICES["rtx-4090"])
    assert plan.chosen.quantisation == "none"
    assert plan.chosen.placement.networks is Offload.CPU
    assert plan.chosen.needed < DEVICES["rtx-4090"].memory
    fast = plan_clip(HD, dev, replace(DEVICES["rtx-4090"], memory=200 * 2**30))
    assert plan.stages == fast.stages


def test_where_fetching_takes_longer_than_computing_it_decides(dev):
    tiny = Request(prompt="any", width=256, height=256, num_frames=9)
    slow = replace(DEVICES["rtx-4090"], memory=15 * 2**30, link=1e9, disk=1e9)
    plan = plan_clip(tiny, dev, slow)
    (stage,) = plan.stages
    assert plan.chosen.quantisation == "nvfp4 file"
    assert plan.chosen.placement.networks is Offload.CPU
    fetched = 0.5625 * dev.anatomy.visits.blocks
    assert stage.seconds_per_step / stage.passes == pytest.approx(fetched / 1e9, rel=0.01)
    # On a card that holds 8 bits, but not 16, those are so much faster that they are taken.
    large = plan_clip(tiny, dev, replace(slow, memory=40 * 2**30))
    assert large.chosen.quantisation == "int8 or fp8"
    assert large.chosen.placement.networks is Offload.NONE


def test_nothing_fits_where_even_one_block_does_not(dev):
    plan = plan_clip(HD, dev, replace(DEVICES["rtx-4090"], memory=2**30))
    assert plan.chosen is None
    assert plan.seconds > 0.0


def test_4k_at_50_frames_is_a_plan_in_stages_and_tiles():
    sizes = sizes_of("ltx-2-19b-distilled")
    request = Request(
        prompt="any",
        width=3840,
        height=2176,
        duration_s=10.0,
        frame_rate=50.0,
        upscale=("space", "space", "time"),
    )
    plan = plan_clip(request, sizes, DEVICES["h200"])
    assert [(s.width, s.height, s.num_frames) for s in plan.stages] == [
        (960, 544, 249),
        (1920, 1088, 249),
        (3840, 2176, 249),
        (3840, 2176, 497),
    ]
    assert [stage.steps for stage in plan.stages] == [8, 3, 3, 3]
    assert [stage.tiles for stage in plan.stages] == [1, 2, 6, 6]
    assert plan.chosen is not None
    flops = [stage.flops_per_step for stage in plan.stages]
    assert flops == sorted(flops)
    json.dumps(plan.to_json())


@pytest.mark.parametrize("length", [5.0, 20.0, 21.0, 60.0, 3840.0])
def test_tiles_are_counted_as_they_are_cut(length):
    edges = covered(length, 20.0, 5.0)
    count, share = _cover(length, 20.0, 5.0)
    assert len(edges) == count
    assert (edges[0][1] - edges[0][0]) / length == pytest.approx(share)


def test_a_long_clip_is_planned_in_the_parts_that_it_is_made_in(dev):
    whole = plan_clip(HD, dev, DEVICES["h200"])
    long = HD.model_copy(update={"num_frames": 481, "window_s": 121 / 24, "overlap_s": 1.0})
    plan = plan_clip(long, dev, DEVICES["h200"])
    assert plan.parts == math.ceil((481 - 24) / (121 - 24))
    assert plan.stages == whole.stages
    assert plan.seconds > 3 * whole.seconds - 2 * whole.load_s - whole.load_s


@pytest.mark.parametrize("size", ["tiny", "real"])
def test_a_pass_takes_the_memory_that_is_planned_for_it(size, dev):
    """Counted for every tensor as long as it lives: run on a tiny network, on shapes of a real."""
    if size == "tiny":
        from ltx2.model.config import TransformerConfig

        config, device = TransformerConfig.from_metadata(tiny_config()), "cpu"
        anatomy = replace(dev.anatomy, transformer=config, dtype="float32")
        num_frames, height, width = 81, 512, 512
    else:
        config, device = replace(dev.anatomy.transformer, num_layers=2), "meta"
        anatomy = dev.anatomy
        num_frames, height, width = 121, 704, 1280
    dtype = getattr(torch, anatomy.dtype)
    tokens = math.prod(anatomy.compression.latent_grid(num_frames, height, width))

    def part(count, stream, axes):
        return ModalityInput(
            tokens=torch.zeros(1, count, stream.in_channels, dtype=dtype),
            timesteps=torch.full((1, count), 0.5),
            sigma=torch.full((1,), 0.5),
            positions=torch.zeros(1, axes, count, 2),
            context=torch.zeros(1, 64, config.context_channels(stream), dtype=dtype),
        )

    with torch.device(device):
        network = Transformer(config).to(dtype)
        audio = round(num_frames / 24 * 25)
        inputs = part(tokens, config.video, 3), part(audio, config.audio, 1)
    with torch.no_grad(), _WithoutValues(), LiveBytes() as live:
        network(*inputs)
    planned = anatomy.denoising(num_frames, height, width, 24.0)
    # Planned as measured on CPUs, which have no fused kernels: shapes alone need less.
    assert 0.5 * planned < live.peak < 1.1 * planned


def test_8_bits_on_loading_are_no_choice_for_weights_that_stay_in_their_files(dev):
    """They would not be made, so the same bytes would be fetched for every pass."""
    poor = replace(DEVICES["rtx-4090"], memory=15 * 2**30, main_memory=16 * 2**30, disk=1e9)
    plan = plan_clip(HD, dev, poor)
    assert plan.chosen.placement.networks is Offload.DISK
    on_disk = [c for c in plan.choices if c.placement.networks is Offload.DISK]
    assert {choice.quantisation for choice in on_disk} == {"none", "nvfp4 file"}
    (line,) = [line for line in describe(plan).splitlines() if "disk (disk)" in line]
    assert " - " in line


def test_loading_is_of_the_bytes_that_the_files_have(puppet_folder, dev):
    sizes = sizes_of(str(puppet_folder))
    files = ("model.safetensors", "autoencoders.safetensors", "text_encoder/model.safetensors")
    assert sizes.file_bytes == sum((puppet_folder / file).stat().st_size for file in files)
    assert dev.file_bytes == pytest.approx(2 * sum(dev.parameters.values()), rel=0.01)


@pytest.mark.parametrize("model", ["puppet", "ltx-2-19b-dev"])
def test_an_unknown_type_is_refused_with_those_that_are_known(model):
    with pytest.raises(RequestError, match="auto, float32, bfloat16, float16"):
        sizes_of(model, dtype="float8")


def test_unknown_devices_are_refused_with_those_that_are_known():
    with pytest.raises(RequestError, match="rtx-4090, rtx-5090, h100, h200, l40s, zerogpu"):
        find_device("abacus")
    assert find_device("RTX 4090") is DEVICES["rtx-4090"]


@pytest.mark.slow
def test_this_machine_is_measured(monkeypatch):
    monkeypatch.setattr("ltx2.runtime.devices.MEASURED_S", 0.02)
    device = measure_this_machine()
    assert isinstance(device, Device)
    for rate in (device.linear, device.attention, device.link, device.disk):
        assert 1e6 < rate < 1e16
    assert device.memory > 0
    assert "measured" in device.source
