import dataclasses
import shutil

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.signal import butter, sosfilt

from ltx2.training.puppet.quality import (
    BallJudgement,
    FaceJudgement,
    Judgement,
    OffsetVerdict,
    Verdict,
    judge,
    summarise,
    verdicts,
)
from ltx2.training.puppet.scenes import BouncingBall, Scene, TalkingFace, sample_scene
from ltx2.training.puppet.world import RenderedClip, render

needs_espeak = pytest.mark.skipif(
    shutil.which("espeak-ng") is None, reason="espeak-ng is not installed"
)
FACE = TalkingFace("green", "crown", "grey", "centre", "seven", "en", "high", 0.4, 7)
BALL = BouncingBall("purple", "wood", "white", "centre", 0.45, 7)
SCENES: tuple[Scene, ...] = (
    FACE,
    TalkingFace("red", "none", "pink", "left", "hello", "en", "low", 0.3, 11),
    TalkingFace("blue", "top hat", "black", "right", "goodbye", "en", "high", 0.6, 12),
    TalkingFace("orange", "party hat", "cyan", "left", "cheese", "en", "low", 0.5, 13),
    BALL,
    BouncingBall("green", "water", "black", "left", 0.4, 21),
    BouncingBall("orange", "metal", "pink", "right", 0.38, 22),
)
EVERY_KIND = [
    pytest.param(s, id=f"{type(s).__name__}-{s.background}-{s.position}")
    if isinstance(s, BouncingBall)
    else pytest.param(s, id=f"{s.skin}-{s.word}", marks=needs_espeak)
    for s in SCENES
]
FACE_AND_BALL = [pytest.param(FACE, id="face", marks=needs_espeak), pytest.param(BALL, id="ball")]


def judged(clip: RenderedClip, scene: Scene | None = None) -> Judgement:
    return judge(clip.frames, clip.waveform, clip.frame_rate, clip.sample_rate, scene or clip.scene)


def wrong(judgement: Judgement) -> dict[str, str]:
    return {name: v.found for name, v in verdicts(judgement) if v.right is not True}


def blurred(clip: RenderedClip, seed: int) -> np.ndarray:
    """Frames that are soft, noisy and a fifth less colourful."""
    soft = gaussian_filter(clip.frames.astype(np.float32), (0, 1.5, 1.5, 0))
    grey = soft.mean(axis=-1, keepdims=True)
    noise = np.random.default_rng(seed).normal(0, 8, soft.shape)
    return np.clip(grey + 0.8 * (soft - grey) + noise, 0, 255).astype(np.uint8)


def muffled(clip: RenderedClip, seed: int) -> np.ndarray:
    """Sound as through a bad telephone."""
    low_pass = butter(4, 3400, fs=clip.sample_rate, output="sos")
    noise = np.random.default_rng(seed).normal(0, 0.005, clip.waveform.shape)
    return (sosfilt(low_pass, clip.waveform) + noise).astype(np.float32)


def vocoded(clip: RenderedClip) -> np.ndarray:
    """Sound rebuilt from a coarse mel spectrogram with guessed phases."""
    feature = pytest.importorskip("librosa").feature
    form = {"sr": clip.sample_rate, "n_fft": 1024, "hop_length": 160}
    channels = [
        feature.inverse.mel_to_audio(
            feature.melspectrogram(y=channel, n_mels=64, **form),
            n_iter=8,
            length=channel.size,
            **form,
        )
        for channel in clip.waveform
    ]
    return np.clip(np.stack(channels), -1, 1)


def degraded(clip: RenderedClip, seed: int) -> RenderedClip:
    return dataclasses.replace(clip, frames=blurred(clip, seed), waveform=muffled(clip, seed))


def shifted(clip: RenderedClip, seconds: float) -> RenderedClip:
    """The clip with its sound moved earlier (negative) or later."""
    count = round(seconds * clip.sample_rate)
    moved = np.roll(clip.waveform, count, axis=1)
    moved[:, slice(count, None) if count < 0 else slice(0, count)] = 0
    return dataclasses.replace(clip, waveform=moved)


@pytest.mark.parametrize("scene", EVERY_KIND)
def test_a_rendered_scene_is_right_in_everything_and_in_time(scene: Scene) -> None:
    judgement = judged(render(scene))
    assert wrong(judgement) == {}
    assert judgement.offset.offset_ms == pytest.approx(0, abs=20)


@pytest.mark.parametrize("scene", EVERY_KIND)
def test_a_soft_noisy_scene_is_still_right_in_everything_and_in_time(scene: Scene) -> None:
    judgement = judged(degraded(render(scene), seed=3))
    assert wrong(judgement) == {}
    assert judgement.offset.offset_ms == pytest.approx(0, abs=25)


@pytest.mark.parametrize("scene", FACE_AND_BALL)
def test_sound_rebuilt_from_a_spectrogram_is_still_recognised(scene: Scene) -> None:
    clip = render(scene)
    assert wrong(judged(dataclasses.replace(clip, waveform=vocoded(clip)))) == {}


@pytest.mark.parametrize(
    ("num_frames", "height", "width", "frame_rate", "sample_rate"),
    [(97, 96, 96, 24.0, 16000), (49, 64, 112, 25.0, 24000), (41, 128, 80, 24.0, 16000)],
)
@pytest.mark.parametrize("scene", FACE_AND_BALL)
def test_clips_of_any_size_length_and_rate_are_judged(
    scene: Scene,
    num_frames: int,
    height: int,
    width: int,
    frame_rate: float,
    sample_rate: int,
) -> None:
    clip = render(
        scene,
        num_frames=num_frames,
        height=height,
        width=width,
        frame_rate=frame_rate,
        sample_rate=sample_rate,
    )
    judgement = judged(clip)
    assert wrong(judgement) == {}
    assert judgement.offset.offset_ms == pytest.approx(0, abs=20)


@pytest.mark.parametrize("seconds", [-0.2, 0.2])
@pytest.mark.parametrize("scene", FACE_AND_BALL)
def test_sound_that_comes_200_ms_early_has_an_offset_of_plus_200_ms(
    scene: Scene, seconds: float
) -> None:
    judgement = judged(shifted(render(scene), seconds))
    assert judgement.offset.offset_ms == pytest.approx(-1000 * seconds, abs=20)


@needs_espeak
def test_another_scenes_sound_is_wrong_and_the_picture_stays_right() -> None:
    other = dataclasses.replace(FACE, word="music", voice="low", position="left")
    clip = dataclasses.replace(render(FACE), waveform=render(other).waveform)
    assert wrong(judged(clip)) == {"word": "music", "voice": "low", "side": "left"}


def test_another_materials_sound_is_wrong_and_the_floor_stays_right() -> None:
    other = dataclasses.replace(BALL, material="metal", position="right")
    clip = dataclasses.replace(render(BALL), waveform=render(other).waveform)
    assert wrong(judged(clip)) == {"material": "metal", "side": "right"}


@needs_espeak
def test_every_attribute_that_differs_from_what_was_asked_is_wrong() -> None:
    asked = TalkingFace("red", "none", "black", "right", "yes", "en", "low", 0.4, 1)
    assert wrong(judged(render(FACE), asked)) == {
        "skin": "green",
        "hat": "crown",
        "background": "grey",
        "position": "centre",
        "word": "seven",
        "voice": "high",
        "side": "centre",
    }
    ball = BouncingBall("red", "water", "grey", "left", 0.4, 1)
    assert wrong(judged(render(BALL), ball)) == {
        "colour": "purple",
        "floor": "wood",
        "background": "white",
        "position": "centre",
        "material": "wood",
        "side": "centre",
    }


@pytest.mark.parametrize("scene", FACE_AND_BALL)
def test_a_frozen_picture_does_not_move_and_has_no_offset(scene: Scene) -> None:
    clip = render(scene)
    frozen = np.repeat(clip.frames[:1], len(clip.frames), axis=0)
    judgement = judged(dataclasses.replace(clip, frames=frozen))
    assert len(wrong(judgement)) == 1
    assert judgement.offset.offset_ms is None
    assert judgement.offset.reason.startswith("could not be measured: ")


@pytest.mark.parametrize("scene", FACE_AND_BALL)
def test_silence_is_wrong_but_a_clip_without_sound_is_not_measured(scene: Scene) -> None:
    clip = render(scene)
    silent = judged(dataclasses.replace(clip, waveform=np.zeros_like(clip.waveform)))
    without = judged(dataclasses.replace(clip, waveform=clip.waveform[:, :0]))
    assert silent.side == Verdict(right=False, found="not heard")
    assert without.side.right is None
    assert without.side.found.startswith("could not be measured: ")
    assert wrong(silent).keys() == wrong(without).keys()
    assert silent.offset.offset_ms is None
    assert without.offset.offset_ms is None


@pytest.mark.parametrize("scene", FACE_AND_BALL)
def test_whether_a_single_picture_moves_is_not_measured(scene: Scene) -> None:
    clip = render(scene, num_frames=1)
    judgement = judged(clip)
    moving = dict(verdicts(judgement))[
        "mouth_moves" if isinstance(scene, TalkingFace) else "bounces"
    ]
    assert judgement.kind.right
    assert moving.right is None


@needs_espeak
def test_a_ball_where_a_face_was_asked_for_has_no_right_face() -> None:
    judgement = judged(render(BALL), FACE)
    assert isinstance(judgement, FaceJudgement)
    assert judgement.kind == Verdict(right=False, found="ball")
    pictured = ("skin", "hat", "background", "position", "mouth_moves")
    assert not any(dict(verdicts(judgement))[name].right for name in pictured)
    assert judgement.offset.offset_ms is None


@needs_espeak
def test_noise_shows_and_says_nothing_known() -> None:
    rng = np.random.default_rng(5)
    frames = rng.integers(0, 256, (17, 96, 96, 3), dtype=np.uint8)
    sound = rng.normal(0, 0.1, (2, 12000)).astype(np.float32)
    face, ball = (judge(frames, sound, 24.0, 16000, scene) for scene in (FACE, BALL))
    assert isinstance(face, FaceJudgement)
    assert isinstance(ball, BallJudgement)
    assert face.kind.found == ball.kind.found == "nothing known"
    assert face.word.found == face.voice.found == ball.material.found == "not heard"


def a_ball_judgement(*, right: bool | None, offset_ms: float | None) -> BallJudgement:
    verdict = Verdict(right, "")
    return BallJudgement(*[verdict] * 8, offset=OffsetVerdict(offset_ms))


def test_a_summary_counts_only_what_was_measured_and_drops_signs_before_the_percentiles() -> None:
    summary = summarise(
        [
            a_ball_judgement(right=True, offset_ms=-40.0),
            a_ball_judgement(right=False, offset_ms=20.0),
            a_ball_judgement(right=True, offset_ms=30.0),
            a_ball_judgement(right=None, offset_ms=None),
        ]
    )
    assert {(share.num_right, share.num_measured) for share in summary.shares} == {(2, 3)}
    (offset,) = summary.offsets
    assert (offset.num_measured, offset.num_clips) == (3, 4)
    assert (offset.median_ms, offset.median_size_ms, offset.p90_size_ms) == (20.0, 30.0, 38.0)
    table = summary.to_markdown()
    assert "| ball | colour | 67% right | 3 |" in table
    assert "30 ms median, 38 ms 90th percentile (signed median +20 ms) | 3 of 4 |" in table
    assert "face" not in table


def test_a_summary_without_any_offset_says_so() -> None:
    table = summarise([a_ball_judgement(right=None, offset_ms=None)]).to_markdown()
    assert "| ball | sound to picture | not measured | 0 of 1 |" in table
    assert "| ball | kind | not measured | 0 |" in table


@needs_espeak
@pytest.mark.slow
@pytest.mark.parametrize("damage", ["none", "muffled", "vocoded"])
def test_98_of_100_verdicts_on_random_scenes_are_right_and_offsets_are_small(damage: str) -> None:
    rng = np.random.default_rng(17)
    judgements = []
    for seed in range(120):
        clip = render(sample_scene(rng))
        if damage == "muffled":
            clip = degraded(clip, seed)
        if damage == "vocoded":
            clip = dataclasses.replace(clip, frames=blurred(clip, seed), waveform=vocoded(clip))
        judgements.append(judged(clip))
    summary = summarise(judgements)
    for share in summary.shares:
        assert share.num_right >= 0.98 * share.num_measured, share
    for offset in summary.offsets:
        assert offset.num_measured == offset.num_clips
        assert offset.median_size_ms <= 15
        assert offset.p90_size_ms <= 25


@needs_espeak
def test_a_steady_hum_is_no_word_and_no_crash():
    clip = render(FACE)
    hum = np.full_like(clip.waveform, 0.2)
    judgement = judge(clip.frames, hum, clip.frame_rate, clip.sample_rate, FACE)
    assert judgement.word.right is False
