import pytest
import torch

from ltx2.diffusion.conditioning import append_keyframe, fit_image, replace_frames
from ltx2.diffusion.state import LatentState, patchify_video, unpatchify_video, video_positions
from ltx2.geometry import VideoCompression

COMPRESSION = VideoCompression(temporal=8, spatial=32)
GRID = (3, 2, 2)
FRAME_RATE = 24.0


def empty():
    return LatentState.to_generate(
        torch.zeros(1, 12, 4), video_positions(GRID, COMPRESSION, FRAME_RATE)
    )


def a_picture(frames=1):
    return torch.randn(1, 4, frames, 2, 2, generator=torch.Generator().manual_seed(frames))


def with_keyframe(latents, frame, strength=1.0):
    return append_keyframe(
        empty(),
        latents,
        pixel_frame=frame,
        compression=COMPRESSION,
        frame_rate=FRAME_RATE,
        strength=strength,
    )


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_replaced_frame_is_held_and_the_others_are_free(index):
    picture = a_picture()
    state = replace_frames(empty(), picture, GRID, index=index)
    latents = unpatchify_video(state.noised(torch.full((1, 12, 4), 9.0)).tokens, GRID)
    assert torch.equal(latents[:, :, index : index + 1], picture)
    others = [i for i in range(3) if i != index]
    assert (latents[:, :, others] == 9.0).all()
    assert (state.timesteps(0.7).view(3, 4)[index] == 0.0).all()


def test_a_weaker_condition_leaves_room_for_noise():
    state = replace_frames(empty(), a_picture(), GRID, index=0, strength=0.6)
    assert torch.allclose(state.timesteps(1.0)[0, :4], torch.tensor(0.4))
    assert (state.timesteps(1.0)[0, 4:] == 1.0).all()


def test_conditions_do_not_change_the_state_they_start_from():
    state = empty()
    replace_frames(state, a_picture(), GRID, index=0)
    assert (state.clean == 0.0).all()
    assert (state.denoise_mask == 1.0).all()


def test_a_keyframe_is_appended_and_spans_one_picture():
    keyframe = a_picture()
    state = with_keyframe(keyframe, 16, strength=0.75)
    assert state.tokens.shape == (1, 16, 4)
    assert torch.equal(state.clean[:, 12:], patchify_video(keyframe))
    assert (state.denoise_mask[:, 12:] == 0.25).all()
    assert torch.allclose(state.positions[0, 0, 12:] * FRAME_RATE, torch.tensor([16.0, 17.0]))
    assert torch.equal(state.positions[:, 1:, 12:], state.positions[:, 1:, :4])
    assert torch.equal(state.positions[:, :, :12], empty().positions)


def test_a_longer_keyframe_spans_what_it_encodes():
    time = with_keyframe(a_picture(2), 16).positions[0, 0, 12:] * FRAME_RATE
    assert torch.allclose(time[0], torch.tensor([16.0, 24.0]))
    assert torch.allclose(time[4], torch.tensor([24.0, 32.0]))
    at_start = with_keyframe(a_picture(2), 0).positions[0, 0, 12:] * FRAME_RATE
    assert torch.allclose(at_start[0], torch.tensor([0.0, 1.0]))
    assert torch.allclose(at_start[4], torch.tensor([1.0, 9.0]))


@pytest.mark.parametrize("size", [(37, 80), (90, 40), (20, 17), (64, 64), (1, 1)])
def test_a_picture_of_any_size_fills_the_wanted_one(size):
    image = torch.full((*size, 3), 255, dtype=torch.uint8)
    video = fit_image(image, height=32, width=64)
    assert video.shape == (1, 3, 1, 32, 64)
    assert torch.allclose(video, torch.tensor(1.0), atol=1e-5)


def test_a_picture_is_cut_in_its_middle_and_keeps_its_proportions():
    image = torch.zeros(64, 192, 3, dtype=torch.uint8)
    image[:, 64:128] = 255
    video = fit_image(image, height=64, width=64)
    assert (video == 1.0).all()
    assert (fit_image(image[:, :64], height=64, width=64) == -1.0).all()
