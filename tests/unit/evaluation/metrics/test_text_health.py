import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from evaluation.metrics import text_health, text_model
from evaluation.metrics.text_health import burnt_in_text


def frames_with(text):
    picture = Image.new("RGB", (512, 288), (60, 90, 120))
    if text:
        font = ImageFont.load_default(36)
        ImageDraw.Draw(picture).text((90, 220), text, font=font, fill=(255, 255, 255))
    return np.stack([np.asarray(picture)] * 4)


def test_subtitles_are_found_and_read():
    found = burnt_in_text(frames_with("Keep it simple"))
    assert found.verdict == "notice"
    assert "Keep it simple" in found.sentence
    assert found.value == 1.0
    assert "negative prompt" in found.advice


@pytest.mark.parametrize("kind", ["empty", "noise", "stripes"])
def test_textures_are_no_text(kind):
    if kind == "empty":
        frames = frames_with("")
    elif kind == "noise":
        frames = np.random.default_rng(0).integers(0, 256, (2, 160, 256, 3), np.uint8)
    else:
        frames = np.zeros((2, 160, 256, 3), np.uint8)
        frames[:, :, ::16] = 255
    assert burnt_in_text(frames).verdict == "fine"


def test_without_the_package_it_says_which_one_brings_it(monkeypatch):
    text_model.text_models.cache_clear()
    monkeypatch.setattr(text_model, "find_spec", lambda name: None)
    found = text_health.burnt_in_text(frames_with(""))
    text_model.text_models.cache_clear()
    assert found.verdict == "not measured"
    assert "rapidocr-onnxruntime" in found.advice
