import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ltx2.diffusion.state import (
    Joint,
    LatentState,
    audio_positions,
    draw_noise,
    patchify_audio,
    patchify_video,
    unpatchify_audio,
    unpatchify_video,
    video_positions,
)
from ltx2.geometry import VideoCompression

COMPRESSION = VideoCompression(temporal=8, spatial=32)
sizes = st.integers(1, 4)


def a_state(num_tokens=4, channels=3, mask=None):
    clean = torch.arange(num_tokens * channels, dtype=torch.float32).view(1, num_tokens, channels)
    state = LatentState.to_generate(clean, torch.zeros(1, 1, num_tokens, 2))
    if mask is None:
        return state
    return LatentState(clean, clean, torch.tensor(mask).view(1, num_tokens, 1), state.positions)


@given(sizes, sizes, sizes, sizes)
def test_video_tokens_turn_back_into_latents(channels, frames, height, width):
    latents = torch.randn(2, channels, frames, height, width)
    tokens = patchify_video(latents)
    assert tokens.shape == (2, frames * height * width, channels)
    assert torch.equal(unpatchify_video(tokens, (frames, height, width)), latents)


@given(sizes, sizes, sizes)
def test_audio_tokens_turn_back_into_latents(channels, length, bins):
    latents = torch.randn(2, channels, length, bins)
    assert torch.equal(unpatchify_audio(patchify_audio(latents), bins), latents)


def test_video_tokens_run_along_the_width_first_and_then_down_and_then_in_time():
    latents = torch.arange(2 * 3 * 4).view(1, 1, 2, 3, 4)
    assert patchify_video(latents).flatten().tolist() == list(range(24))


def test_audio_features_are_channel_major():
    latents = torch.arange(6).view(1, 2, 1, 3)  # two channels of three bins
    assert patchify_audio(latents)[0, 0].tolist() == [0, 1, 2, 3, 4, 5]
    other = latents.transpose(1, 3).contiguous()  # three channels of two bins
    assert patchify_audio(other)[0, 0].tolist() == [0, 3, 1, 4, 2, 5]


def test_tokens_appended_after_the_grid_are_left_out():
    latents = torch.randn(1, 2, 2, 2, 2)
    tokens = torch.cat([patchify_video(latents), torch.ones(1, 5, 2)], dim=1)
    assert torch.equal(unpatchify_video(tokens, (2, 2, 2)), latents)


def test_the_first_latent_frame_spans_one_picture_and_the_others_eight():
    time = video_positions((3, 1, 1), COMPRESSION, 24.0)[0, 0]
    assert torch.allclose(time * 24, torch.tensor([[0.0, 1.0], [1.0, 9.0], [9.0, 17.0]]))
    whole = video_positions((2, 1, 1), COMPRESSION, 24.0, causal=False)[0, 0]
    assert torch.allclose(whole * 24, torch.tensor([[0.0, 8.0], [8.0, 16.0]]))


def test_a_faster_frame_rate_moves_pictures_closer_together_in_time():
    slow, fast = (video_positions((3, 2, 2), COMPRESSION, rate) for rate in (24.0, 48.0))
    assert torch.allclose(slow[:, 0], 2 * fast[:, 0])
    assert torch.equal(slow[:, 1:], fast[:, 1:])


def test_height_and_width_are_in_pixels():
    positions = video_positions((1, 2, 3), COMPRESSION, 24.0)[0]
    assert positions[1, :, 0].tolist() == [0, 0, 0, 32, 32, 32]
    assert positions[2, :, 0].tolist() == [0, 32, 64, 0, 32, 64]
    assert (positions[1:, :, 1] - positions[1:, :, 0] == 32).all()


def test_audio_latents_are_a_hundredth_of_a_second_and_then_four():
    expected = torch.tensor([[0.0, 0.01], [0.01, 0.05], [0.05, 0.09]])
    assert torch.allclose(audio_positions(3)[0, 0], expected)
    assert audio_positions(126)[0, 0, -1].tolist() == pytest.approx([4.97, 5.01])


@given(st.integers(2, 300))
def test_every_extent_begins_where_the_one_before_ends(length):
    time = audio_positions(length)[0, 0]
    assert torch.equal(time[1:, 0], time[:-1, 1])
    assert (time[:, 1] > time[:, 0]).all()


def test_positions_match_the_recorded_ones_to_the_last_bit(golden_folder):
    """Rotary embeddings multiply what differs by up to 10,000."""
    import json

    from safetensors.torch import load_file

    tensors = load_file(golden_folder / "rope" / "io.safetensors")
    cases = json.loads((golden_folder / "rope" / "case.json").read_text())["cases"]
    compared = 0
    for case, facts in cases.items():
        if "latent_frames" in facts:
            grid = tuple(facts[f"latent_{axis}"] for axis in ("frames", "height", "width"))
            positions = video_positions(grid, COMPRESSION, facts["fps"])
        elif "audio_latent_frames" in facts:
            positions = audio_positions(facts["audio_latent_frames"])
        else:
            continue
        chosen = tensors.get(f"{case}/token_indices", torch.arange(positions.shape[2]))
        assert torch.equal(positions[:, :, chosen], tensors[f"{case}/positions"]), case
        compared += 1
    assert compared > 5


def test_noise_replaces_generated_tokens_and_leaves_kept_ones():
    noise = torch.full((1, 4, 3), 100.0)
    state = a_state(mask=[1.0, 0.0, 0.5, 1.0])
    noised = state.noised(noise).tokens
    assert torch.equal(noised[0, 0], noise[0, 0])
    assert torch.equal(noised[0, 1], state.clean[0, 1])
    assert torch.equal(noised[0, 2], 0.5 * noise[0, 2] + 0.5 * state.clean[0, 2])


def test_partial_noise_mixes_by_its_scale_and_the_mask():
    noise = torch.full((1, 2, 3), 100.0)
    state = a_state(num_tokens=2, mask=[1.0, 0.5])
    noised = state.noised(noise, scale=0.8).tokens
    assert torch.allclose(noised[0, 0], 80.0 + 0.2 * state.clean[0, 0])
    assert torch.allclose(noised[0, 1], 40.0 + 0.6 * state.clean[0, 1])


def test_a_tokens_noise_level_follows_its_mask():
    state = a_state(mask=[1.0, 0.0, 0.5, 1.0])
    assert torch.allclose(state.timesteps(0.8), torch.tensor([[0.8, 0.0, 0.4, 0.8]]))


def test_estimates_give_way_to_clean_tokens_where_these_are_kept():
    state = a_state(mask=[1.0, 0.0, 0.5, 1.0])
    denoised = torch.full((1, 4, 3), -8.0)
    blended = state.blend(denoised)
    assert torch.equal(blended[0, 0], denoised[0, 0])
    assert torch.equal(blended[0, 1], state.clean[0, 1])
    assert torch.equal(blended[0, 2], 0.5 * denoised[0, 2] + 0.5 * state.clean[0, 2])


def test_noise_is_standard_normal_and_drawn_for_the_video_first():
    states = Joint(a_state(num_tokens=2000), a_state(num_tokens=1000))
    noise = draw_noise(states, torch.Generator().manual_seed(1))
    assert noise.video.shape == (1, 2000, 3)
    assert abs(float(noise.video.mean())) < 0.05
    assert abs(float(noise.video.std()) - 1.0) < 0.05
    again = draw_noise(Joint(states.video, a_state(num_tokens=7)), torch.Generator().manual_seed(1))
    assert torch.equal(noise.video, again.video)
    other = draw_noise(states, torch.Generator().manual_seed(2))
    assert not torch.equal(noise.video, other.video)
