import torch

from ltx2.diffusion.state import Joint, LatentState, audio_positions, video_positions
from ltx2.diffusion.tiles import TileLimits, plan_boxes, tiled
from ltx2.geometry import VideoCompression

GRID = (4, 6, 10)
LIMITS = TileLimits(side=64, side_overlap=16, seconds=1.0, seconds_overlap=0.25)


def states():
    positions = video_positions(GRID, VideoCompression(8, 16), 12.0)
    tokens = torch.randn(1, 240, 4, generator=torch.Generator().manual_seed(0))
    sound = torch.randn(1, 52, 3, generator=torch.Generator().manual_seed(1))
    return Joint(
        LatentState.to_generate(tokens, positions),
        LatentState.to_generate(sound, audio_positions(52)),
    )


def test_boxes_keep_within_the_limits_and_cover_all():
    boxes = plan_boxes(states(), LIMITS)
    assert len(boxes) == 3 * 2 * 3
    for box in boxes:
        assert box.height[1] - box.height[0] <= 64
        assert box.time[1] - box.time[0] <= 1.0
    assert max(box.width[1] for box in boxes) == 160
    assert max(box.time[1] for box in boxes) >= 25 / 12 - 1e-3


def test_a_network_that_looks_at_each_token_alone_gives_the_same_in_tiles():
    now = states()
    boxes = plan_boxes(now, LIMITS)
    sizes = []

    def predict(part, sigma):
        sizes.append((part.video.tokens.shape[1], part.audio.tokens.shape[1]))
        assert float(part.video.positions.min()) > -0.5  # of a latent at most
        return Joint(part.video.tokens * 2 + sigma, part.audio.tokens - sigma)

    estimates = tiled(boxes, (predict,) * len(boxes))(now, 0.5)
    torch.testing.assert_close(estimates.video, now.video.tokens * 2 + 0.5)
    torch.testing.assert_close(estimates.audio, now.audio.tokens - 0.5)
    assert max(sizes)[0] < 240
    assert max(size[1] for size in sizes) < 52


def test_neighbours_fade_into_each_other():
    now = states()
    boxes = plan_boxes(now, TileLimits(side=96, side_overlap=32, seconds=9, seconds_overlap=1))
    assert len(boxes) == 2

    def constant(value):
        def predict(part, sigma):
            return Joint(torch.full_like(part.video.tokens, value), part.audio.tokens)

        return predict

    video = tiled(boxes, (constant(0.0), constant(1.0)))(now, 0.5).video
    row = video.unflatten(1, GRID)[0, 0, 0, :, 0]
    assert (row.diff() >= -1e-6).all()
    assert float(row[0]) == 0.0
    assert float(row[-1]) == 1.0
    assert 0.0 < float(row[5]) < 1.0
