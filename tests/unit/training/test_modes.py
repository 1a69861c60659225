"""Modes: which tokens are generated, given, absent or kept clean."""

import pytest
import torch

from ltx2.diffusion.state import patchify_video
from ltx2.errors import RequestError
from ltx2.geometry import VideoCompression
from ltx2.training.flow import Noised
from ltx2.training.modes import MODES, ModeChoice, draw_mode, states_of
from tests.tiny_training import tiny_batch

COMPRESSION = VideoCompression(temporal=8, spatial=16)
GRID = (4, 3, 5)


def states(mode, batch=None, *, seed=0, factor=1, **choice):
    batch = tiny_batch(64, grid=GRID, audio=80) if batch is None else batch
    return states_of(
        ModeChoice(mode=mode, **choice),
        batch,
        compression=COMPRESSION,
        reference_downscale_factor=factor,
        generator=torch.Generator().manual_seed(seed),
    )


def masks(found):
    return [None if state is None else state.denoise_mask[..., 0] for state in found]


@pytest.mark.parametrize(
    ("mode", "video", "audio"),
    [
        ("text_to_video_audio", 1, 1),
        ("text_to_video", 1, None),
        ("text_to_audio", None, 1),
        ("audio_to_video", 1, 0),
        ("video_to_audio", 0, 1),
        ("reference_video", 1, None),
    ],
)
def test_a_modality_is_generated_given_or_absent(mode, video, audio):
    batch = tiny_batch(2, grid=GRID, audio=80, reference=GRID)
    for mask, expected in zip(masks(states(mode, batch)), (video, audio), strict=True):
        if expected is None:
            assert mask is None
        else:
            assert (mask[:, :60] == expected).all()


def test_an_image_keeps_the_first_frame_of_its_share_of_the_examples():
    video, audio = masks(states("image", probability=0.5))
    frames = video.unflatten(1, (GRID[0], -1))
    assert (frames[:, 1:] == 1).all()
    assert (frames[:, 0].amax(1) == frames[:, 0].amin(1)).all()
    assert 0.25 < float(frames[:, 0].mean()) < 0.75
    assert (audio == 1).all()
    assert (masks(states("image"))[0].unflatten(1, (GRID[0], -1))[:, 0] == 0).all()


def test_a_still_picture_is_not_its_own_condition():
    video, _ = masks(states("image", tiny_batch(4, grid=(1, 2, 2))))
    assert (video == 1).all()


def test_an_extension_keeps_a_beginning_of_both_modalities_up_to_the_same_moment():
    found = states("extension")
    video, audio = masks(found)
    frames = video.unflatten(1, (GRID[0], -1))
    kept = (frames[:, :, 0] == 0).sum(1)
    assert set(kept.tolist()) == {1, 2, 3}
    assert (frames.amax(2) == frames.amin(2)).all()
    assert (frames.diff(dim=1) >= 0).all()
    assert (audio.diff(dim=1) >= 0).all()
    frame_ends = found.video.positions[0, 0, :, 1].view(GRID[0], -1)[:, 0]
    sound_ends = found.audio.positions[0, 0, :, 1]
    for row, count in enumerate(kept.tolist()):
        until = frame_ends[count - 1] + 1e-4
        assert torch.equal(audio[row] == 0, sound_ends <= until)
        assert (audio[row] == 0).any()


def test_inpainting_generates_a_box_or_a_time_or_both():
    found = states("inpainting")
    video, audio = masks(found)
    boxes = video.view(-1, *GRID)
    shapes = set()
    for box, sound in zip(boxes, audio, strict=True):
        where = box.nonzero()
        assert len(where)
        extent = where.amax(0) - where.amin(0) + 1
        assert int(extent.prod()) == len(where)
        shapes.add((int(extent[0]) == GRID[0], extent[1:].tolist() == list(GRID[1:])))
        changes = sound.diff().abs().sum()
        assert changes <= 2
        if extent[0] == GRID[0]:
            assert (sound[: int(GRID[0] * 8 / 8 * 25) - 30] == 1).all()
    assert {(True, False), (False, True), (False, False)} <= shapes
    assert 0 < float(video.mean()) < 1


def test_a_reference_is_added_clean_over_the_same_area():
    batch = tiny_batch(2, grid=(3, 4, 6), reference=(3, 2, 3))
    video = states("reference_video", batch, factor=2).video
    count = 3 * 4 * 6
    assert (video.denoise_mask[:, :count] == 1).all()
    assert (video.denoise_mask[:, count:] == 0).all()
    assert torch.equal(video.clean[:, count:], patchify_video(batch.reference))
    own, added = video.positions[..., :count, :], video.positions[..., count:, :]
    assert torch.equal(own.amax(dim=(2, 3)), added.amax(dim=(2, 3)))
    assert torch.equal(own.amin(dim=(2, 3)), added.amin(dim=(2, 3)))


@pytest.mark.parametrize(
    ("mode", "batch", "message"),
    [
        ("reference_video", {}, "a reference video"),
        ("audio_to_video", {"audio": None}, "sound"),
        ("video_to_audio", {"grid": None}, "video"),
        ("text_to_audio", {"audio": None}, "video and sound"),
        ("reference_video", {"reference": (3, 1, 2), "grid": (3, 4, 4)}, "reference_downscale"),
    ],
)
def test_examples_that_lack_what_a_mode_needs_are_refused(mode, batch, message):
    with pytest.raises(RequestError, match=message):
        states(mode, tiny_batch(**batch))


def test_examples_without_sound_train_the_picture_alone():
    found = states("text_to_video_audio", tiny_batch(audio=None))
    assert found.audio is None
    assert (found.video.denoise_mask == 1).all()


def test_modes_are_drawn_by_weight_and_repeat_with_the_seed():
    choices = [ModeChoice(mode="image", weight=3), ModeChoice(mode="text_to_video", weight=1)]

    def drawn(seed):
        generator = torch.Generator().manual_seed(seed)
        return [draw_mode(choices, generator).mode for _ in range(200)]

    assert 130 < drawn(0).count("image") < 170
    assert drawn(0) == drawn(0) != drawn(1)


@pytest.mark.parametrize("mode", MODES)
def test_kept_tokens_are_clean_at_level_zero_and_the_others_noisy(mode):
    batch = tiny_batch(8, grid=GRID, audio=80, reference=GRID)
    sigma = torch.full((8,), 0.5)
    for state in states(mode, batch):
        if state is None:
            continue
        noised = Noised.of(state, sigma, torch.Generator().manual_seed(1))
        kept = state.denoise_mask[..., 0] == 0
        assert torch.equal(noised.tokens[kept], state.clean[kept])
        assert (noised.timesteps[kept] == 0).all()
        assert (noised.timesteps[~kept] == 0.5).all()
        expected = 0.5 * state.clean + 0.5 * (noised.velocity + state.clean)
        torch.testing.assert_close(noised.tokens[~kept], expected[~kept])
        assert (noised.sigma == (0.0 if kept.all() else 0.5)).all()
        # What the network says about kept tokens does not matter.
        wrong = noised.velocity + 100 * kept[..., None]
        assert float(noised.loss(wrong, state.denoise_mask.sum())) == 0.0
