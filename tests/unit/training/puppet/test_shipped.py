"""The checkpoint that lies in the repository: what it holds, and that it does what it is for."""

import shutil

import pytest
import torch

import ltx2
from ltx2.checkpoint.catalog import embedded_models, find_model, loras_of
from ltx2.training.puppet.lora_effects import blueprint_distance
from ltx2.training.puppet.measure import judge_clip
from ltx2.training.puppet.prompts import TEN_PROMPTS, TEN_SCENES
from ltx2.training.puppet.upscaling import judge_upsampler, upsampler_beside

needs_voices = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="needs espeak-ng")

FOLDER = find_model("puppet").file.path.parent
SCENE, PROMPT = TEN_SCENES[0], TEN_PROMPTS[0]


@pytest.fixture(scope="module")
def distilled() -> ltx2.Pipeline:
    return ltx2.load("puppet-distilled")


def test_everything_is_there_and_small_enough_to_ship() -> None:
    assert set(embedded_models()) == {"puppet", "puppet-distilled"}
    assert set(loras_of(find_model("puppet"))) == {"blueprint", "zoom-out"}
    files = [path for path in FOLDER.rglob("*.safetensors") if path.is_file()]
    sizes = [path.stat().st_size for path in files]
    assert max(sizes) <= 20e6
    assert sum(sizes) <= 40e6


@pytest.mark.slow
def test_the_distilled_model_shows_and_says_what_is_asked(distilled: ltx2.Pipeline) -> None:
    assert (distilled.profile.num_steps, distilled.profile.video_guidance.cfg_scale) == (8, 1.0)
    clip = distilled(ltx2.Request(prompt=PROMPT, seed=1))
    wrong = judge_clip(clip, SCENE).wrong()
    must = {"scene kind", "scene background", "puppet skin", "puppet hat"}
    assert not must & wrong.keys(), wrong


def test_the_blueprint_lora_draws_in_shades_of_one_blue(distilled: ltx2.Pipeline) -> None:
    request = ltx2.Request(prompt=PROMPT, num_frames=9, seed=1)
    drawn = ltx2.load("puppet-distilled", loras=[("blueprint", 1.0)])(request)
    plain = distilled(request)
    assert blueprint_distance(drawn.frames) < 0.5 * blueprint_distance(plain.frames)


def test_the_zoom_out_lora_moves_the_camera(distilled: ltx2.Pipeline) -> None:
    request = ltx2.Request(prompt=PROMPT, seed=1)
    moved = ltx2.load("puppet-distilled", loras=[("zoom-out", 1.0)])(request)
    assert judge_clip(moved, SCENE).wrong()["scene camera"] == "zoom out"
    assert "scene camera" not in judge_clip(distilled(request), SCENE).wrong()


@pytest.mark.slow
@needs_voices
def test_the_upsampler_comes_near_what_the_autoencoder_can_show(
    distilled: ltx2.Pipeline,
) -> None:
    quality = judge_upsampler(
        upsampler_beside("puppet"), distilled.networks.video_vae, TEN_SCENES[7:9]
    )
    assert quality.ceiling - 4 < quality.upsampler < quality.ceiling


def test_the_weights_are_finite() -> None:
    for name in embedded_models():
        networks = ltx2.load(name).networks
        for module in (networks.transformer, networks.video_vae, networks.vocoder):
            assert all(torch.isfinite(weight).all() for weight in module.parameters())
