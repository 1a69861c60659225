import numpy as np

from evaluation.expectation import Expectation
from evaluation.metrics import text_health
from evaluation.metrics.finding import Finding
from evaluation.metrics.health import HealthCard, health_card
from evaluation.ui.health import examine, render_card
from ltx2 import Clip, Request
from ltx2.ui.language import said


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


def clips():
    """With each of the faults, and with none."""
    random = np.random.default_rng(0)
    moving = random.integers(0, 255, (25, 64, 96, 3), np.uint8)
    still = np.repeat(moving[:1], 25, axis=0)
    black = np.zeros_like(still)
    half, jumping = moving.copy(), still.copy()
    half[:5] = 0
    jumping[-2:] = 255
    second = np.arange(16_667) / 16_000
    tone = np.stack([np.sin(2 * np.pi * 440 * second)] * 2).astype(np.float32)
    broken = tone.copy()
    broken[0, 5] = np.nan
    yield from (
        (moving, 0.1 * tone),
        (still, tone.clip(-0.5, 0.5) * 2),
        (black, 0 * tone),
        (half, 0.002 * tone),
        (jumping, 0.1 * tone[:, :9_000]),
        (moving[:4], 0.1 * tone[:, :3_000]),
        (still, broken),
        (still, tone[:, :0]),
        (still[:0], 0.1 * tone),
    )


def test_every_finding_is_told_in_the_visitors_language(monkeypatch):
    fine = Finding("text", "Text in the picture", "fine", "No text is seen.")
    monkeypatch.setattr(text_health, "burnt_in_text", lambda frames: fine)
    english, seen = set(), set()
    for frames, waveform in clips():
        clip = Clip(frames, waveform, 24.0, 16_000)
        for expected in (Expectation(), Expectation(duration_s=9.0, frame_rate=25.0)):
            for found in health_card(clip, expected).findings:
                texts = {found.title, found.sentence, found.advice} - {""}
                seen |= {(found.name, found.verdict)}
                english |= {text for text in texts if said(text, "de") == text}
    assert english == set()
    assert len(seen) > 15


def test_text_that_is_quoted_may_hold_sentences():
    sentence = 'Text is seen in 2 of 4 pictures: "Stop. Go on".'
    assert said(sentence, "de") == "Text ist in 2 von 4 Bildern zu sehen: „Stop. Go on“."
