"""Clips with captions become examples: which clips, cut how, encoded with what."""

import json

import pytest
import torch
from safetensors.torch import load_file

from ltx2.clip import Clip
from ltx2.errors import RequestError
from ltx2.media.frames import from_uint8_frames
from ltx2.pipeline import load
from ltx2.training.dataset import PrecomputedDataset
from ltx2.training.precompute import Size, choose_size, find_sources, fit, precompute
from tests.builders import a_clip, smooth_frames

SIZES = (Size(96, 64, 9), Size(64, 96, 9), Size(96, 64, 17))


@pytest.fixture
def clips(tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    for name, frames in (
        ("wide", smooth_frames(25, 64, 96)),
        ("tall", smooth_frames(12, 128, 80)),
        ("brief", smooth_frames(5, 64, 96)),
    ):
        a_clip(frames).save(folder / f"{name}.mp4")
        (folder / f"{name}.txt").write_text(f"A {name} clip.")
    return folder


def examples_of(folder):
    return {path.stem: load_file(path) for path in sorted((folder / "examples").glob("*"))}


def test_clips_become_what_the_models_own_encoders_say(clips, tmp_path):
    report = precompute(clips, tmp_path / "data", model="puppet", sizes=SIZES)
    assert (report.made, report.kept) == (2, 0)
    assert [name for name, _ in report.left_out] == ["brief.mp4"]
    examples = examples_of(tmp_path / "data")
    networks = load("puppet").networks
    step = networks.video_vae.config.compression
    assert examples["wide"]["video"].shape[1:] == step.latent_grid(17, 64, 96)
    assert examples["tall"]["video"].shape[1:] == step.latent_grid(9, 96, 64)
    frames = Clip.load(clips / "wide.mp4").frames[:17]
    with torch.no_grad():
        expected = networks.video_vae.encode(from_uint8_frames(frames)[None])[0]
    assert torch.allclose(examples["wide"]["video"].float(), expected, atol=0.02, rtol=0.02)
    assert examples["wide"]["audio"].shape[1] == round(17 / 24 * 25)


def test_captions_are_encoded_with_padding_as_at_generation(clips, tmp_path):
    precompute(clips, tmp_path / "data", model="puppet", sizes=SIZES)
    wide = examples_of(tmp_path / "data")["wide"]
    length = wide["text_features"].shape[0]
    assert wide["text_mask"].shape == (length,)
    assert 0 < int(wide["text_mask"].sum()) < length
    assert int(wide["text_mask"][-1]) == 1  # padded on the left


def test_a_second_run_makes_only_what_is_missing(clips, tmp_path):
    data = tmp_path / "data"
    precompute(clips, data, model="puppet", sizes=SIZES)
    before = (data / "examples" / "wide.safetensors").stat().st_mtime_ns
    (data / "examples" / "tall.safetensors").unlink()
    report = precompute(clips, data, model="puppet", sizes=SIZES)
    assert (report.made, report.kept) == (1, 1)
    assert (data / "examples" / "wide.safetensors").stat().st_mtime_ns == before
    assert len(PrecomputedDataset.open(data)) == 2


def test_a_corrected_caption_or_another_video_is_encoded_again(clips, tmp_path):
    data = tmp_path / "data"
    precompute(clips, data, model="puppet", sizes=SIZES)
    before = examples_of(data)
    (clips / "wide.txt").write_text("A wide clip in which much more is said about what is seen.")
    a_clip(255 - smooth_frames(14, 128, 80)).save(clips / "tall.mp4")
    report = precompute(clips, data, model="puppet", sizes=SIZES)
    assert (report.made, report.kept) == (2, 0)
    after = examples_of(data)
    assert after["wide"]["text_mask"].sum() > before["wide"]["text_mask"].sum()
    assert torch.equal(after["wide"]["video"], before["wide"]["video"])
    assert not torch.equal(after["tall"]["video"], before["tall"]["video"])
    report = precompute(clips, data, model="puppet", sizes=SIZES)
    assert (report.made, report.kept) == (0, 2)


def test_a_damaged_example_is_made_again(clips, tmp_path):
    data = tmp_path / "data"
    precompute(clips, data, model="puppet", sizes=SIZES)
    (data / "examples" / "wide.safetensors").write_bytes(b"cut short")
    report = precompute(clips, data, model="puppet", sizes=SIZES)
    assert (report.made, report.kept) == (1, 1)
    assert len(PrecomputedDataset.open(data)) == 2


def test_an_example_whose_clip_is_gone_stays_and_is_named(clips, tmp_path):
    data = tmp_path / "data"
    precompute(clips, data, model="puppet", sizes=SIZES)
    (clips / "tall.mp4").unlink()
    (clips / "tall.txt").unlink()
    report = precompute(clips, data, model="puppet", sizes=SIZES)
    assert report.others == ("tall",)
    assert len(PrecomputedDataset.open(data)) == 2


def test_other_settings_need_another_folder(clips, tmp_path):
    precompute(clips, tmp_path / "data", model="puppet", sizes=SIZES)
    with pytest.raises(RequestError, match="sizes"):
        precompute(clips, tmp_path / "data", model="puppet", sizes=SIZES[:1])


def test_a_file_that_is_no_video_is_left_out_by_name(clips, tmp_path):
    (clips / "noise.mp4").write_bytes(b"no video")
    (clips / "noise.txt").write_text("Noise.")
    report = precompute(clips, tmp_path / "data", model="puppet", sizes=SIZES)
    assert {name for name, _ in report.left_out} == {"brief.mp4", "noise.mp4"}
    assert report.made == 2


@pytest.mark.parametrize(("size", "wrong"), [("100x64x9", "multiples of 16"), ("96x64x10", "10")])
def test_a_size_off_the_latent_grid_is_refused(clips, tmp_path, size, wrong):
    with pytest.raises(RequestError, match=wrong):
        precompute(clips, tmp_path / "data", model="puppet", sizes=[Size.parse(size)])


def test_tables_name_clips_captions_and_references(clips):
    rows = [
        {"file": "wide.mp4", "caption": "One."},
        {"file": "tall.mp4", "caption": "Two.", "reference": "wide.mp4"},
    ]
    (clips / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    first, second = find_sources(clips)
    assert (first.name, first.caption, first.reference) == ("wide", "One.", None)
    assert second.reference == clips / "wide.mp4"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"file": "wide.mp4"}', "metadata.jsonl:1 has no caption"),
        ('{"file": "none.mp4", "caption": "x"}', "none.mp4"),
        ("{", "metadata.jsonl:1 is not JSON"),
    ],
)
def test_a_wrong_row_is_named_with_its_line(clips, text, message):
    (clips / "metadata.jsonl").write_text(text)
    with pytest.raises(RequestError, match=message):
        find_sources(clips)


def test_captions_may_have_lines_of_their_own(clips):
    table = '\ufefffile,caption\r\nwide.mp4,"A wide clip.\nNothing moves."\r\ntall.mp4,Tall.\r\n'
    (clips / "metadata.csv").write_text(table, encoding="utf-8", newline="")
    wide, tall = find_sources(clips)
    assert wide.caption == "A wide clip.\nNothing moves."
    assert tall.caption == "Tall."
    row = {"file": "wide.mp4", "caption": "One.\u2028Two."}
    (clips / "metadata.jsonl").write_text(json.dumps(row, ensure_ascii=False), encoding="utf-8")
    assert find_sources(clips)[0].caption == "One.\u2028Two."


@pytest.mark.parametrize("name", ["wide.txt", "metadata.csv", "metadata.jsonl"])
def test_text_in_an_old_encoding_is_named(clips, name):
    (clips / name).write_bytes("Ein Frühstück.".encode("latin-1"))
    with pytest.raises(RequestError, match=f"{name} is not UTF-8"):
        find_sources(clips)


def test_two_clips_of_one_name_are_refused(clips):
    (clips / "tall.mp4").rename(clips / "wide.mkv")
    with pytest.raises(RequestError, match="two clips called wide"):
        find_sources(clips)


def test_a_clip_without_a_caption_is_an_error_and_not_left_out(clips):
    (clips / "tall.txt").unlink()
    with pytest.raises(RequestError, match=r"tall\.mp4 has no caption"):
        find_sources(clips)


def test_the_size_follows_the_shape_first_and_the_length_second():
    wide, tall = a_clip(smooth_frames(25, 64, 96)), a_clip(smooth_frames(25, 96, 64))
    assert choose_size(wide, SIZES, 24.0) == SIZES[2]
    assert choose_size(tall, SIZES, 24.0) == SIZES[1]
    # At half the rate there are pictures for nine only.
    assert choose_size(wide, SIZES, 12.0) == SIZES[0]


def test_pictures_are_scaled_to_cover_and_cut_around_the_middle():
    video = torch.zeros(3, 2, 40, 80)
    video[:, :, :, 40:] = 1.0
    cut = fit(video, Size(20, 20, 2))
    assert cut.shape == (3, 2, 20, 20)
    assert cut[:, :, :, :8].abs().max() < 0.05
    assert cut[:, :, :, -8:].min() > 0.95
