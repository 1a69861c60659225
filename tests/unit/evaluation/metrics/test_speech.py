import numpy as np
import pytest

from evaluation.expectation import Expectation, ExpectedLine
from evaluation.measurement import Measured, NotMeasurable
from evaluation.metrics import language, recogniser, speech, speech_quality, voice_activity
from evaluation.metrics.language import count_syllables
from ltx2 import Clip

RATE = 24.0
ASKED = Expectation(lines=(ExpectedLine("set blue in a one again", "en"),))


def a_clip(waveform, sample_rate=16_000):
    stereo = np.stack([waveform, waveform]).astype(np.float32)
    frames = np.zeros((max(1, round(len(waveform) / sample_rate * RATE)), 8, 8, 3), np.uint8)
    return Clip(frames, stereo, RATE, sample_rate)


def music(seconds=4.0, sample_rate=16_000):
    """Chords that begin anew every half second [S]."""
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    decay = np.exp(-6 * (time % 0.5))
    chord = sum(np.sin(2 * np.pi * hz * time) for hz in (261.6, 329.6, 392.0))
    return 0.1 * decay * chord


@pytest.fixture
def grid_clip(data_folder):
    return Clip.load(data_folder / "grid" / "sbia1a.mpg")


@pytest.fixture
def network():
    pytest.importorskip("onnxruntime")
    if voice_activity._session() is None:
        pytest.skip(voice_activity.NO_NETWORK.next_step)


@pytest.mark.usefixtures("network")
@pytest.mark.parametrize("sound", [np.zeros(64_000), music(), np.zeros(10)])
def test_silence_and_music_are_no_speech(sound):
    clip = a_clip(sound)
    assert voice_activity.speech_present(clip, ASKED).value == 0
    assert isinstance(speech.transcribe(clip), NotMeasurable)


def test_a_clip_without_sound_has_a_reason():
    clip = Clip(np.zeros((5, 8, 8, 3), np.uint8), np.zeros((2, 0), np.float32), RATE, 48_000)
    for metric in (speech.METRIC, speech_quality.METRIC, voice_activity.METRIC, *language.METRICS):
        outcome = metric.measure(clip, ASKED)
        assert isinstance(outcome, NotMeasurable), metric.name
        assert outcome.reason == "The clip has no sound."


@pytest.mark.usefixtures("network")
def test_a_real_sentence_is_speech_where_it_is_spoken(grid_clip):
    outcome = voice_activity.speech_present(grid_clip, ASKED)
    assert isinstance(outcome, Measured)
    assert 1.2 < outcome.value < 2.6
    (curve,) = outcome.evidence
    assert curve.y.max() > 0.9


def test_nothing_asked_is_no_error(grid_clip):
    assert isinstance(language.word_error(grid_clip, Expectation()), NotMeasurable)


def test_loops_are_seen():
    assert speech.is_looping("and so on and so on and so on and so on and so on and so on")
    assert speech.is_looping("ご視聴ありがとうございました" * 12)
    assert not speech.is_looping("Continue to be a smart ass and Tarani here will kill you.")


@pytest.mark.parametrize(
    ("text", "tongue", "count"),
    [
        ("banana", "en", 3),
        ("white", "en", 1),
        ("pájaro", "es", 3),
        ("你好", "zh", 2),
        ("", "en", 0),
    ],
)
def test_syllables_are_counted(text, tongue, count):
    assert count_syllables(text, tongue) == count


def test_a_damaged_model_is_refused_and_leaves_nothing(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text("{}")
    for name in ("tokenizer.json", "vocabulary.txt", "model.bin.part1", "model.bin.part2"):
        (tmp_path / name).write_bytes(b"wrong")
    monkeypatch.setattr(recogniser, "_package_data", lambda name: tmp_path)
    outcome = recogniser.joined_base_model(tmp_path / "cache")
    assert isinstance(outcome, NotMeasurable)
    assert "sha256" in outcome.reason
    assert not list((tmp_path / "cache").rglob("model.bin*"))


def test_an_absent_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(recogniser, "HALVES", ("no_such_half", "no_such_other_half"))
    outcome = recogniser.joined_base_model(tmp_path)
    assert isinstance(outcome, NotMeasurable)
    assert "pip install" in outcome.next_step


@pytest.mark.exhaustive
@pytest.mark.usefixtures("network")
class TestRealSpeech:
    def test_a_sentence_is_understood_word_for_word(self, grid_clip):
        outcome = language.word_error(grid_clip, ASKED)
        assert isinstance(outcome, Measured)
        assert outcome.value == 0
        assert outcome.details["asked"] == 6

    def test_another_sentence_is_wrong(self, grid_clip):
        other = Expectation(lines=(ExpectedLine("lay green by f two now", "en"),))
        assert language.word_error(grid_clip, other).value > 0.7

    @pytest.mark.parametrize(("name", "tag"), [("demo1", "ru"), ("demo2", "pt")])
    def test_the_language_is_identified(self, data_folder, name, tag):
        clip = Clip.load(data_folder / "talking_heads" / f"{name}_video.mp4")
        asked = Expectation(lines=(ExpectedLine("?", tag),))
        assert language.language_match(clip, asked).value == 1
        english = Expectation(lines=(ExpectedLine("?", "en"),))
        assert language.language_match(clip, english).value == 0

    def test_noise_lowers_the_quality(self, data_folder):
        from scipy.io import wavfile

        rate, samples = wavfile.read(data_folder / "speech" / "p501_i01_f1.wav")
        sound = samples.astype(np.float64) / 32768
        noise = np.random.default_rng(0).normal(0, 0.05, sound.shape)
        clean = speech_quality.speech_quality(a_clip(sound, rate), ASKED)
        noisy = speech_quality.speech_quality(a_clip(sound + noise, rate), ASKED)
        assert clean.value > 3.2
        assert noisy.value < clean.value - 0.5

    def test_words_come_with_their_times(self, grid_clip):
        transcript = speech.transcribe(grid_clip, language="en")
        assert transcript.is_intelligible
        starts = [word.start_s for word in transcript.words]
        assert starts == sorted(starts)
        assert 0 <= starts[0] < transcript.words[-1].end_s <= grid_clip.duration_s + 0.2
