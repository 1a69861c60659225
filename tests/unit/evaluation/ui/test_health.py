import numpy as np

from evaluation.metrics.finding import Finding
from evaluation.metrics.health import HealthCard
from evaluation.ui.health import examine, render_card
from ltx2 import Clip, Request


def test_what_is_wrong_is_shown_with_its_advice_and_escaped():
    html = render_card(
        HealthCard((Finding("x", "End <b>", "problem", "A & B", 1.0, "", "Cut <it>."),))
    )
    assert "End &lt;b&gt;" in html
    assert "A &amp; B" in html
    assert "Cut &lt;it&gt;." in html
    assert "One thing to look at" in html


def test_a_clip_is_examined_from_its_file_beside_its_request(tmp_path):
    frames = np.zeros((25, 64, 96, 3), np.uint8)
    clip = Clip(frames, np.zeros((2, 16_667), np.float32), 24.0, 16_000)
    request = Request(prompt="A ball.", num_frames=97, frame_rate=24.0)
    html = examine(clip.save(tmp_path / "clip.mp4"), request)
    assert "asked were 4.04 s" in html
    assert "Every picture is black" in html
    assert examine(clip, request).startswith("<section")
