"""The judge: right about rendered truth, wrong about exactly what differs from what was asked."""

import dataclasses
import shutil
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.signal import butter, sosfilt

from ltx2.training.puppet.quality import (
    Judgement,
    OffsetVerdict,
    Verdict,
    judge,
    summarise,
)
from ltx2.training.puppet.scenes import (
    BouncingBall,
    Line,
    Puppet,
    Scene,
    Surroundings,
    Talk,
    Xylophone,
    sample_scene,
)
from ltx2.training.puppet.world import RenderedClip, render

needs_espeak = pytest.mark.skipif(
    shutil.which("espeak-ng") is None, reason="espeak-ng is not installed"
)
ALONE = Talk(
    (Puppet("green", "none", "crown", "high", "centre"),),
    (Line(0, "seven"),),
    Surroundings("grey"),
    start_s=0.4,
    variation=7,
)
PAIR = Talk(
    (
        Puppet("red", "brown", "none", "low", "left"),
        Puppet("blue", "none", "top hat", "high", "right"),
    ),
    (Line(0, "hello"), Line(1, "music")),
    Surroundings("white"),
    start_s=0.2,
    variation=11,
)
BALL = BouncingBall("purple", "wood", "centre", Surroundings("white"), 0.45, 7)
KEYS = Xylophone(("blue", "red", "yellow"), Surroundings("cyan"), 0.3, 4)
OF_EACH_KIND = [
    pytest.param(ALONE, id="one puppet", marks=needs_espeak),
    pytest.param(PAIR, id="two puppets", marks=needs_espeak),
    pytest.param(BALL, id="ball"),
    pytest.param(KEYS, id="xylophone"),
]
OTHERS = [
    pytest.param(
        dataclasses.replace(
            ALONE,
            puppets=(Puppet("yellow", "pink", "party hat", "low", "left"),),
            lines=(Line(0, "Schmetterling", "de"),),
            surroundings=Surroundings("cyan", "rain", "pan left"),
        ),
        id="rain and a pan",
        marks=needs_espeak,
    ),
    pytest.param(
        dataclasses.replace(
            PAIR,
            lines=(Line(1, "gracias", "es"), Line(0, "oiseau", "fr")),
            surroundings=Surroundings("black", "wind", "zoom in"),
        ),
        id="wind and a zoom",
        marks=needs_espeak,
    ),
    pytest.param(
        BouncingBall("green", "water", "left", Surroundings("black", "none", "pan right"), 0.4, 21),
        id="water",
    ),
    pytest.param(
        BouncingBall("orange", "metal", "right", Surroundings("pink", "rain"), 0.38, 22),
        id="metal",
    ),
    pytest.param(
        Xylophone(("red", "red", "blue"), Surroundings("black", "wind", "zoom out"), 0.2, 5),
        id="a zoom out",
    ),
]


def judged(clip: RenderedClip, scene: Scene | None = None) -> Judgement:
    return judge(clip.frames, clip.waveform, clip.frame_rate, clip.sample_rate, scene or clip.scene)


def found(judgement: Judgement, subject: str, name: str) -> Verdict:
    (verdict,) = (v for v in judgement.verdicts if (v.subject, v.name) == (subject, name))
    return verdict


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


def shifted(clip: RenderedClip, seconds: float) -> RenderedClip:
    """The clip with its sound moved earlier (negative) or later."""
    count = round(seconds * clip.sample_rate)
    moved = np.roll(clip.waveform, count, axis=1)
    moved[:, slice(count, None) if count < 0 else slice(0, count)] = 0
    return dataclasses.replace(clip, waveform=moved)


@pytest.mark.parametrize("scene", OF_EACH_KIND + OTHERS)
def test_a_rendered_scene_is_right_in_everything_and_in_time(scene: Scene) -> None:
    judgement = judged(render(scene))
    assert judgement.wrong() == {}
    assert judgement.offset.offset_ms == pytest.approx(0, abs=10)


@pytest.mark.parametrize("scene", OF_EACH_KIND)
def test_a_soft_noisy_scene_is_still_right_in_everything_and_in_time(scene: Scene) -> None:
    clip = render(scene)
    judgement = judged(
        dataclasses.replace(clip, frames=blurred(clip, 3), waveform=muffled(clip, 3))
    )
    assert judgement.wrong() == {}
    assert judgement.offset.offset_ms == pytest.approx(0, abs=25)


@pytest.mark.slow
@pytest.mark.parametrize("scene", OF_EACH_KIND)
def test_sound_rebuilt_from_a_spectrogram_is_still_recognised(scene: Scene) -> None:
    clip = render(scene)
    assert judged(dataclasses.replace(clip, waveform=vocoded(clip))).wrong() == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("num_frames", "height", "width", "frame_rate", "sample_rate"),
    [(57, 64, 112, 25.0, 24000), (97, 128, 80, 24.0, 16000)],
)
@pytest.mark.parametrize("scene", OF_EACH_KIND)
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
    assert judgement.wrong() == {}
    assert judgement.offset.offset_ms == pytest.approx(0, abs=20)


@pytest.mark.parametrize("seconds", [-0.2, -0.08, 0.08, 0.2])
@pytest.mark.parametrize("scene", OF_EACH_KIND)
def test_sound_that_comes_early_has_a_positive_offset_and_the_rest_stays_right(
    scene: Scene, seconds: float
) -> None:
    judgement = judged(shifted(render(scene, num_frames=57), seconds))
    assert judgement.offset.offset_ms == pytest.approx(-1000 * seconds, abs=20)
    assert judgement.wrong() == {}


@needs_espeak
def test_another_scenes_sound_is_wrong_and_the_picture_stays_right() -> None:
    other = dataclasses.replace(
        ALONE,
        puppets=(dataclasses.replace(ALONE.puppets[0], voice="low", position="left"),),
        lines=(Line(0, "naranja", "es"),),
    )
    judgement = judged(dataclasses.replace(render(ALONE), waveform=render(other).waveform))
    wrong = judgement.wrong()
    among_english = wrong.pop("line word among its language (en)")
    assert among_english not in ("seven", "not heard")
    assert wrong == {"line word (en)": "naranja", "line voice": "low", "line side": "left"}


def test_another_materials_sound_is_wrong_and_the_floor_stays_right() -> None:
    other = dataclasses.replace(BALL, material="water", position="right")
    judgement = judged(dataclasses.replace(render(BALL), waveform=render(other).waveform))
    wrong = judgement.wrong()
    wrong.pop("scene quiet when still", None)  # a splash is longer than a knock
    assert wrong == {"ball material": "water", "ball side": "right"}


def test_another_melodys_lights_are_wrong_and_what_is_heard_stays_right() -> None:
    other = dataclasses.replace(KEYS, melody=("blue", "red", "red"))
    judgement = judged(dataclasses.replace(render(KEYS), frames=render(other).frames))
    assert judgement.wrong() == {"xylophone melody seen": "blue, red, red"}


def test_notes_from_the_other_side_are_wrong() -> None:
    clip = render(KEYS)
    judgement = judged(dataclasses.replace(clip, waveform=clip.waveform[::-1].copy()))
    assert [verdict.found for verdict in judgement.verdicts if verdict.right is False] == [
        "left",
        "right",
    ]


@needs_espeak
def test_a_swapped_speaker_is_wrong_even_with_the_asked_word_and_voice() -> None:
    lines = (Line(0, "hello"),)
    asked = dataclasses.replace(PAIR, lines=lines, start_s=0.5)
    swapped = dataclasses.replace(asked, lines=(Line(1, "hello"),))
    judgement = judged(dataclasses.replace(render(asked), frames=render(swapped).frames))
    assert judgement.wrong() == {"talk speaker": "right"}


@needs_espeak
def test_lines_in_the_wrong_order_of_speakers_are_wrong() -> None:
    swapped = dataclasses.replace(PAIR, lines=(Line(1, "music"), Line(0, "hello")))
    judgement = judged(render(swapped), PAIR)
    assert found(judgement, "talk", "speaker") == Verdict(
        "talk", "speaker", False, "right, then left"
    )
    assert judgement.wrong()["line word (en)"] == "hello"


@needs_espeak
def test_a_silent_puppet_whose_mouth_moves_with_the_speakers_is_wrong() -> None:
    asked = dataclasses.replace(PAIR, lines=(Line(0, "hello"),), start_s=0.5)
    other = dataclasses.replace(asked, lines=(Line(1, "hello"),))
    clip = render(asked)
    frames = clip.frames.copy()
    frames[:, :, 48:] = render(other).frames[:, :, 48:]
    judgement = judged(dataclasses.replace(clip, frames=frames))
    assert judgement.wrong() == {"talk speaker": "left and right"}


@pytest.mark.parametrize("scene", OF_EACH_KIND)
def test_a_noise_while_nothing_moves_is_wrong(scene: Scene) -> None:
    if isinstance(scene, Talk):
        scene = dataclasses.replace(scene, lines=scene.lines[:1], start_s=0.6)
    clip = render(scene)
    waveform = clip.waveform.copy()
    waveform[:, :1600] += 0.15 * np.random.default_rng(0).standard_normal(1600).astype(np.float32)
    judgement = judged(dataclasses.replace(clip, waveform=waveform))
    assert found(judgement, "scene", "quiet when still").right is False


def test_in_rain_nobody_asks_for_quiet() -> None:
    rainy = dataclasses.replace(BALL, surroundings=Surroundings("white", "rain"))
    for asked in (rainy, BALL):
        assert found(judged(render(rainy), asked), "scene", "quiet when still").right is None


def facts(scene: Scene) -> Iterator[tuple[str, str]]:
    """What should be found in a scene, in the order of the verdicts that name it."""
    around = scene.surroundings
    yield "scene background", around.background
    yield "scene camera", around.camera
    yield "scene ambience seen", around.ambience
    yield "scene ambience heard", around.ambience
    match scene:
        case Talk():
            yield "scene kind", ("one puppet", "two puppets")[len(scene.puppets) - 1]
            for puppet in scene.puppets:
                yield "puppet skin", puppet.skin
                yield "puppet hair", puppet.hair
                yield "puppet hat", puppet.hat
            if len(scene.puppets) == 1:
                yield "puppet position", scene.puppets[0].position
            else:
                turns = [scene.puppets[line.speaker].position for line in scene.lines]
                yield "talk speaker", ", then ".join(turns)
        case BouncingBall():
            yield "scene kind", "ball"
            yield "ball colour", scene.colour
            yield "ball floor", scene.material
            yield "ball material", scene.material
            yield "ball position", scene.position
            yield "ball side", scene.position
        case Xylophone():
            yield "scene kind", "xylophone"
            yield "xylophone melody seen", ", ".join(scene.melody)
            yield "xylophone melody heard", ", ".join(scene.melody)


def form(scene: Scene) -> tuple[object, ...]:
    """Scenes of one form have the same verdicts."""
    if isinstance(scene, Talk):
        return len(scene.puppets), len(scene.lines)
    return (type(scene),)


@pytest.mark.slow
@needs_espeak
def test_a_clip_judged_against_another_scene_is_wrong_exactly_where_they_differ() -> None:
    rng = np.random.default_rng(5)
    scenes = [sample_scene(rng) for _ in range(28)]
    num_compared = 0
    for number, scene in enumerate(scenes):
        asked = next((s for s in scenes[number + 1 :] if form(s) == form(scene)), None)
        if asked is None:
            continue
        num_compared += 1
        verdicts = [
            (f"{v.subject} {v.name}", v.right, v.found)
            for v in judged(render(scene), asked).verdicts
        ]
        for (name, actual), (_, wanted) in zip(facts(scene), facts(asked), strict=True):
            position = next(i for i, verdict in enumerate(verdicts) if verdict[0] == name)
            assert verdicts.pop(position) == (name, actual == wanted, actual)
    assert num_compared > 15


@pytest.mark.parametrize("scene", OF_EACH_KIND)
def test_a_frozen_picture_does_not_move_and_has_no_offset(scene: Scene) -> None:
    clip = render(scene)
    frozen = np.repeat(clip.frames[:1], len(clip.frames), axis=0)
    judgement = judged(dataclasses.replace(clip, frames=frozen))
    assert judgement.wrong().keys() - {"scene quiet when still"} in (
        {"talk mouth moves"},
        {"talk speaker"},
        {"ball bounces"},
        {"xylophone melody seen"},
    )
    assert "scene quiet when still" in judgement.wrong()
    assert judgement.offset.offset_ms is None
    assert judgement.offset.reason.startswith("could not be measured: ")


@pytest.mark.parametrize("scene", OF_EACH_KIND)
def test_silence_is_wrong_but_a_clip_without_sound_is_not_measured(scene: Scene) -> None:
    clip = render(scene)
    silent = judged(dataclasses.replace(clip, waveform=np.zeros_like(clip.waveform)))
    without = judged(dataclasses.replace(clip, waveform=clip.waveform[:, :0]))
    heard = {"line", "material", "melody heard", "side", "speaker"}
    assert silent.wrong()
    assert all(set(name.split(" ", 1)) & heard for name in silent.wrong())
    assert without.wrong() == {}
    unmeasured = [verdict for verdict in without.verdicts if verdict.right is None]
    assert len(unmeasured) > 1
    assert all(verdict.found.startswith("could not be measured: ") for verdict in unmeasured)
    assert silent.offset.offset_ms is None
    assert without.offset.offset_ms is None


@pytest.mark.parametrize("scene", OF_EACH_KIND)
def test_whether_a_single_picture_moves_is_not_measured(scene: Scene) -> None:
    judgement = judged(render(scene, num_frames=1))
    assert found(judgement, "scene", "kind").right
    assert found(judgement, "scene", "camera").right is None
    moving = {"mouth moves", "speaker", "bounces", "melody seen"}
    assert [v.right for v in judgement.verdicts if v.name in moving] == [None]


@needs_espeak
def test_a_ball_where_a_puppet_was_asked_for_has_no_right_puppet() -> None:
    judgement = judged(render(BALL), ALONE)
    assert found(judgement, "scene", "kind") == Verdict("scene", "kind", False, "ball")
    assert {v.found for v in judgement.verdicts if v.subject == "puppet"} == {"not seen"}
    assert not found(judgement, "talk", "mouth moves").right
    assert judgement.offset.offset_ms is None


@needs_espeak
def test_noise_shows_and_says_nothing_known() -> None:
    rng = np.random.default_rng(5)
    frames = rng.integers(0, 256, (17, 96, 96, 3), dtype=np.uint8)
    sound = rng.normal(0, 0.1, (2, 12000)).astype(np.float32)
    judgements = [judge(frames, sound, 24.0, 16000, scene) for scene in (ALONE, BALL)]
    assert {found(j, "scene", "kind").found for j in judgements} == {"nothing known"}
    assert found(judgements[0], "line", "word (en)").found == "not heard"
    assert found(judgements[1], "ball", "material").found == "not heard"


@needs_espeak
def test_a_steady_hum_is_no_word_and_no_crash() -> None:
    clip = render(ALONE)
    hum = np.full_like(clip.waveform, 0.2)
    judgement = judge(clip.frames, hum, clip.frame_rate, clip.sample_rate, ALONE)
    assert found(judgement, "line", "word (en)").right is False


def a_judgement(*, right: bool | None, offset_ms: float | None) -> Judgement:
    names = (("ball", "colour"), ("ball", "floor"))
    verdicts = tuple(Verdict(subject, name, right, "") for subject, name in names)
    return Judgement(verdicts, OffsetVerdict("impact", offset_ms))


def test_a_summary_counts_only_what_was_measured_and_drops_signs_before_the_percentiles() -> None:
    summary = summarise(
        [
            a_judgement(right=True, offset_ms=-40.0),
            a_judgement(right=False, offset_ms=20.0),
            a_judgement(right=True, offset_ms=30.0),
            a_judgement(right=None, offset_ms=None),
        ]
    )
    assert {(share.num_right, share.num_measured) for share in summary.shares} == {(2, 3)}
    assert [share.name for share in summary.shares] == ["colour", "floor"]
    assert [share.met for share in summary.shares] == [False, None]  # no target for the floor
    (offset,) = summary.offsets
    assert (offset.num_measured, offset.num_clips) == (3, 4)
    assert (offset.median_ms, offset.median_size_ms, offset.p90_size_ms) == (20.0, 30.0, 38.0)


def test_small_offsets_count_only_if_nearly_every_clip_has_one() -> None:
    small, none = a_judgement(right=True, offset_ms=5.0), a_judgement(right=True, offset_ms=None)
    assert summarise([small] * 9 + [none]).offsets[0].met
    assert not summarise([small] * 8 + [none] * 2).offsets[0].met


def test_a_summary_of_what_could_not_be_measured_neither_meets_nor_misses_a_target() -> None:
    summary = summarise([a_judgement(right=None, offset_ms=None)])
    assert [share.met for share in summary.shares] == [None, None]
    assert np.isnan(summary.shares[0].percent)
    assert summary.offsets[0].met is None
    assert np.isnan(summary.offsets[0].median_ms)


def test_offsets_are_as_good_as_their_worse_half() -> None:
    late = [a_judgement(right=True, offset_ms=ms) for ms in (0.0, 0.0, 0.0, 0.0, 200.0, 200.0)]
    (offset,) = summarise(late).offsets
    assert offset.median_size_ms == 0
    assert not offset.met


def check_random_scenes(
    damage: Callable[[RenderedClip, int], RenderedClip], count: int, *, at_most_wrong: int = 0
) -> None:
    """Verdicts on random scenes are right, with few exceptions, and offsets within half a frame."""
    rng = np.random.default_rng(17)
    judgements = [
        judged(damage(render(sample_scene(rng, held_out=bool(seed % 2))), seed))
        for seed in range(count)
    ]
    summary = summarise(judgements)
    for share in summary.shares:
        assert share.num_right >= share.num_measured - at_most_wrong, share
    for offset in summary.offsets:
        assert offset.num_measured == offset.num_clips
        assert offset.p90_size_ms <= 20


@needs_espeak
def test_everything_about_random_scenes_is_right() -> None:
    check_random_scenes(lambda clip, seed: clip, 20)


@needs_espeak
@pytest.mark.exhaustive
def test_everything_about_many_random_scenes_is_right() -> None:
    check_random_scenes(lambda clip, seed: clip, 200)


@needs_espeak
@pytest.mark.exhaustive
def test_everything_about_soft_noisy_scenes_with_rebuilt_sound_is_right() -> None:
    check_random_scenes(
        lambda clip, seed: dataclasses.replace(
            clip, frames=blurred(clip, seed), waveform=vocoded(clip)
        ),
        60,
        at_most_wrong=1,
    )
