"""Predictions of clips larger than a network takes at once: box by box, and blended.

Each box of pixels and seconds is predicted as if it were a clip of its own, with the sound of its
seconds, and the estimates are averaged with weights that fall toward inner edges. So every step
sees one consistent clip, whatever its size.
"""

import math
from dataclasses import dataclass, replace
from itertools import product

import torch
from torch import Tensor

from ltx2.diffusion.guidance import Predict
from ltx2.diffusion.state import Joint, LatentState

Edges = tuple[float, float]
"""Start and end of a box along one axis."""


@dataclass(frozen=True)
class TileLimits:
    """How large a box may be, and how far neighbours overlap.

    Attributes:
        side: pixels down and right; `side_overlap` likewise.
        seconds: of picture and sound; `seconds_overlap` likewise.
    """

    side: float
    side_overlap: float
    seconds: float
    seconds_overlap: float


@dataclass(frozen=True)
class Box:
    """Part of a clip: seconds, pixels down, pixels right."""

    time: Edges
    height: Edges
    width: Edges


def plan_boxes(states: Joint[LatentState], limits: TileLimits) -> tuple[Box, ...]:
    """Boxes that cover a clip; one if it is within the limits."""
    video, audio = states
    ends = video.positions[0, :, :, 1].amax(dim=1).tolist() if video.clean.shape[1] else [0, 0, 0]
    if audio.clean.shape[1]:
        ends[0] = max(ends[0], float(audio.positions[..., 1].max()))
    return tuple(
        Box(*edges)
        for edges in product(
            _cover(ends[0], limits.seconds, limits.seconds_overlap),
            _cover(ends[1], limits.side, limits.side_overlap),
            _cover(ends[2], limits.side, limits.side_overlap),
        )
    )


def tiled(boxes: tuple[Box, ...], predictions: tuple[Predict, ...]) -> Predict:
    """One prediction out of those of boxes.

    Args:
        boxes: from `plan_boxes`.
        predictions: one for every box, so that it may remember what does not change in it.
    """
    if len(boxes) == 1:
        return predictions[0]

    def predict(states: Joint[LatentState], sigma: float) -> Joint[Tensor]:
        sums = [torch.zeros_like(state.tokens) for state in states]
        weights = [torch.zeros_like(state.tokens[0, :, 0]) for state in states]
        for box, predicted in zip(boxes, predictions, strict=True):
            shares = Joint(_share(states.video, box, boxes), _share(states.audio, box, boxes))
            inside = [share.nonzero()[:, 0] for share in shares]
            cut = [_cut(state, index, box) for state, index in zip(states, inside, strict=True)]
            estimates = predicted(Joint(*cut), sigma)
            for part, index in enumerate(inside):
                share = shares[part][index]
                sums[part].index_add_(1, index, estimates[part] * share[:, None])
                weights[part].index_add_(0, index, share)
        video, audio = (
            total / weight[:, None].clamp_min(1e-8)
            for total, weight in zip(sums, weights, strict=True)
        )
        return Joint(video, audio)

    return predict


def _cover(length: float, size: float, overlap: float) -> list[Edges]:
    """Overlapping stretches of at most `size`, evenly spread."""
    if length <= size:
        return [(0.0, length)]
    count = math.ceil((length - overlap) / (size - overlap))
    stride = (length - size) / (count - 1)
    return [(index * stride, index * stride + size) for index in range(count)]


def _share(state: LatentState, box: Box, boxes: tuple[Box, ...]) -> Tensor:
    """Weight [T] of each token in a box; 0 outside. Tokens belong where their middle is."""
    middles = state.positions[0].mean(dim=-1)  # [axes, T]
    share = torch.ones_like(middles[0])
    for axis, name in enumerate(("time", "height", "width")[: len(middles)]):
        start, end = getattr(box, name)
        size = end - start
        first = min(getattr(other, name)[0] for other in boxes)
        last = max(getattr(other, name)[1] for other in boxes)
        # A quarter of the box fades in and out at edges that are not the clip's own.
        ramp = max(size / 4, 1e-6)
        rise = torch.ones_like(share) if start == first else (middles[axis] - start) / ramp
        fall = torch.ones_like(share) if end == last else (end - middles[axis]) / ramp
        inside = (middles[axis] >= start - 1e-6) & (middles[axis] <= end + 1e-6)
        share = share * torch.minimum(rise, fall).clamp(1e-3, 1.0) * inside
    return share


def _cut(state: LatentState, index: Tensor, box: Box) -> LatentState:
    """The tokens of a box as a clip of their own, which begins at 0 on every axis."""
    starts = torch.tensor([box.time[0], box.height[0], box.width[0]])
    positions = state.positions[:, :, index] - starts[: state.positions.shape[1]].view(
        1, -1, 1, 1
    ).to(state.positions)
    return replace(
        state,
        tokens=state.tokens[:, index],
        clean=state.clean[:, index],
        denoise_mask=state.denoise_mask[:, index],
        positions=positions,
    )
