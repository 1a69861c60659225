"""What a training step gives, generates and leaves out: modes as data.

A mode says for picture and sound whether they are generated, given or absent, and which of the
generated clip's tokens are kept clean. All of it ends in the state: a denoise mask per token,
from which noise levels, noisy tokens and the tokens of the loss follow.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Protocol, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from ltx2.diffusion.conditioning import append_reference
from ltx2.diffusion.state import (
    Grid,
    Joint,
    LatentState,
    audio_positions,
    patchify_audio,
    patchify_video,
    video_positions,
)
from ltx2.errors import RequestError
from ltx2.geometry import VideoCompression


class Role(Enum):
    """What happens to one modality."""

    GENERATED = "generated"
    GIVEN = "given"
    ABSENT = "absent"


class Condition(Enum):
    """Which tokens of the generated clip are kept clean, or what is added to it."""

    NONE = "none"
    FIRST_FRAME = "first_frame"
    PREFIX = "prefix"
    REGION = "region"
    REFERENCE = "reference"


@dataclass(frozen=True)
class Mode:
    """One way of making a clip, as a training step sees it.

    Attributes:
        video, audio: role of the modality. A generated one that an example lacks is left out.
        condition: what is kept clean of the generated modalities.
    """

    video: Role = Role.GENERATED
    audio: Role = Role.GENERATED
    condition: Condition = Condition.NONE


MODES: Mapping[str, Mode] = {
    "text_to_video_audio": Mode(),
    "text_to_video": Mode(audio=Role.ABSENT),
    "text_to_audio": Mode(video=Role.ABSENT),
    "image": Mode(condition=Condition.FIRST_FRAME),
    "audio_to_video": Mode(audio=Role.GIVEN),
    "video_to_audio": Mode(video=Role.GIVEN),
    "extension": Mode(condition=Condition.PREFIX),
    "inpainting": Mode(condition=Condition.REGION),
    "reference_video": Mode(audio=Role.ABSENT, condition=Condition.REFERENCE),
}


class ModeChoice(BaseModel):
    """A mode that steps may draw.

    Attributes:
        mode: name in `MODES`.
        weight: relative to the other choices.
        probability: chance of each example to get the mode's condition, where tokens are kept
            clean (image, extension, inpainting).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    mode: str
    weight: float = Field(default=1.0, gt=0.0)
    probability: float = Field(default=1.0, ge=0.0, le=1.0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.mode not in MODES:
            raise ValueError(f"there is no mode {self.mode!r}, only {', '.join(MODES)}")
        if self.probability < 1.0 and self.definition.condition not in _KEPT:
            raise ValueError(f"the mode {self.mode} keeps no tokens, so it takes no probability")
        return self

    @property
    def definition(self) -> Mode:
        """What the name stands for."""
        return MODES[self.mode]


class Batch(Protocol):
    """Training examples of equal shapes, as a reader of precomputed examples gives them."""

    @property
    def video(self) -> Tensor | None:
        """Normalised latents [B, C, f, h, w]."""

    @property
    def audio(self) -> Tensor | None:
        """Normalised latents [B, c, l, m]."""

    @property
    def text_features(self) -> Tensor:
        """What the feature projection made of the captions [B, T_c, D]."""

    @property
    def text_mask(self) -> Tensor:
        """[B, T_c], 1 for real tokens."""

    @property
    def frame_rate(self) -> float:
        """Pictures per second."""

    @property
    def reference(self) -> Tensor | None:
        """Normalised latents of another video [B, C, f', h', w']."""


def draw_mode(choices: Sequence[ModeChoice], generator: torch.Generator) -> ModeChoice:
    """One of the choices, with chances in proportion to their weights."""
    weights = torch.tensor([choice.weight for choice in choices])
    return choices[int(torch.multinomial(weights, 1, generator=generator))]


def states_of(
    choice: ModeChoice,
    batch: Batch,
    *,
    compression: VideoCompression,
    reference_downscale_factor: int,
    generator: torch.Generator,
) -> Joint[LatentState | None]:
    """Both modalities before noise, with what the mode gives and generates.

    Args:
        choice: the mode of this step.
        batch: its examples.
        compression: pixels per latent voxel.
        reference_downscale_factor: how much larger the clip is than its reference.
        generator: draws which tokens are kept clean.

    Raises:
        RequestError: the examples lack what the mode needs.
    """
    mode = choice.definition
    states = Joint(_video_state(choice, batch, compression), _audio_state(choice, batch))
    if all(_is_left_out(s, r) for s, r in zip(states, (mode.video, mode.audio), strict=True)):
        raise _lacks(choice, "video and sound")
    grid = None if batch.video is None else _grid(batch.video)
    if mode.condition in _KEPT:
        is_conditioned = torch.rand(len(batch.text_mask), generator=generator) < choice.probability
        kept = _KEPT[mode.condition](states, grid, generator)
        states = Joint(
            _keep(states.video, kept.video, is_conditioned),
            _keep(states.audio, kept.audio, is_conditioned),
        )
    if mode.condition is Condition.REFERENCE:
        if batch.reference is None or states.video is None or grid is None:
            raise _lacks(choice, "a reference video")
        _require_factor(_grid(batch.reference), grid, reference_downscale_factor)
        video = append_reference(
            states.video,
            batch.reference,
            compression=compression,
            frame_rate=batch.frame_rate,
            downscale_factor=reference_downscale_factor,
        )
        states = Joint(video, states.audio)
    return states


def _video_state(
    choice: ModeChoice, batch: Batch, compression: VideoCompression
) -> LatentState | None:
    role, latents = choice.definition.video, batch.video
    if role is Role.GIVEN and latents is None:
        raise _lacks(choice, "video")
    if role is Role.ABSENT or latents is None:
        return None
    positions = video_positions(_grid(latents), compression, batch.frame_rate)
    return _given_or_not(LatentState.to_generate(patchify_video(latents).float(), positions), role)


def _audio_state(choice: ModeChoice, batch: Batch) -> LatentState | None:
    role, latents = choice.definition.audio, batch.audio
    if role is Role.GIVEN and latents is None:
        raise _lacks(choice, "sound")
    if role is Role.ABSENT or latents is None:
        return None
    positions = audio_positions(latents.shape[2])
    return _given_or_not(LatentState.to_generate(patchify_audio(latents).float(), positions), role)


def _given_or_not(state: LatentState, role: Role) -> LatentState:
    if role is Role.GENERATED:
        return state
    return replace(state, denoise_mask=torch.zeros_like(state.denoise_mask))


def _is_left_out(state: LatentState | None, role: Role) -> bool:
    """Whether nothing of the modality is learnt from."""
    return state is None or role is not Role.GENERATED


Kept = Joint[Tensor | None]
"""For every token whether it is kept clean [B, T]; None keeps nothing of the modality."""


def _keep(
    state: LatentState | None, kept: Tensor | None, is_conditioned: Tensor
) -> LatentState | None:
    if state is None or kept is None:
        return state
    held = (kept & is_conditioned[:, None]).unsqueeze(-1)
    return replace(state, denoise_mask=state.denoise_mask.masked_fill(held, 0.0))


def _keep_first_frame(
    states: Joint[LatentState | None], grid: Grid | None, generator: torch.Generator
) -> Kept:
    """The first latent frame; the sound stays free. A still picture is not its own condition."""
    video = states.video
    if video is None or grid is None or grid[0] == 1:
        return Joint(None, None)
    is_first = video.positions[0, 0, :, 0] == 0.0
    return Joint(is_first.expand(len(video.clean), -1), None)


def _keep_prefix(
    states: Joint[LatentState | None], grid: Grid | None, generator: torch.Generator
) -> Kept:
    """Everything that ends by a random moment, in the picture and in the sound."""
    moments = _moments(states, grid)
    if len(moments) == 1:
        return Joint(None, None)
    last = torch.randint(len(moments) - 1, (_batch(states),), generator=generator)
    # A hair later, so that what ends at that very moment is kept in both modalities.
    limit = moments[last, 1:] + 1e-4
    video, audio = (
        None if state is None else state.positions[0, 0, :, 1] <= limit for state in states
    )
    return Joint(video, audio)


def _keep_outside_region(
    states: Joint[LatentState | None], grid: Grid | None, generator: torch.Generator
) -> Kept:
    """Everything outside a random part of the duration, of the picture, or of both.

    A third of the examples each. The sound is made anew for as long as the picture is.
    """
    batch, moments = _batch(states), _moments(states, grid)
    kind = torch.randint(3, (batch, 1), generator=generator)
    frames = _random_span(len(moments), batch, generator) | (kind == 1)  # [B, f]
    start = moments[:, 0].where(frames, torch.inf).amin(dim=1, keepdim=True)
    end = moments[:, 1].where(frames, -torch.inf).amax(dim=1, keepdim=True)
    kept_video = kept_audio = None
    if grid is not None and states.video is not None:
        rows, columns = (_random_span(n, batch, generator) | (kind == 0) for n in grid[1:])
        box = frames[:, :, None, None] & rows[:, None, :, None] & columns[:, None, None, :]
        kept_video = ~box.flatten(1)  # [B, T]
    if states.audio is not None:
        begins, ends = states.audio.positions[0, 0].unbind(-1)
        kept_audio = (ends <= start + 1e-4) | (begins >= end - 1e-4)
    return Joint(kept_video, kept_audio)


_KEPT: Mapping[
    Condition, Callable[[Joint[LatentState | None], Grid | None, torch.Generator], Kept]
] = {
    Condition.FIRST_FRAME: _keep_first_frame,
    Condition.PREFIX: _keep_prefix,
    Condition.REGION: _keep_outside_region,
}


def _moments(states: Joint[LatentState | None], grid: Grid | None) -> Tensor:
    """Start and end [n, 2] in seconds of the latent frames, of the sound where it is alone."""
    if states.video is not None and grid is not None:
        return states.video.positions[0, 0].unflatten(0, (grid[0], -1))[:, 0]
    assert states.audio is not None
    return states.audio.positions[0, 0]


def _random_span(size: int, batch: int, generator: torch.Generator) -> Tensor:
    """True in a row of neighbours [B, size], at least one and at most all of them."""
    ends = torch.randint(size, (2, batch, 1), generator=generator)
    index = torch.arange(size)
    return (index >= ends.amin(dim=0)) & (index <= ends.amax(dim=0))


def _batch(states: Joint[LatentState | None]) -> int:
    return next(len(state.clean) for state in states if state is not None)


def _grid(latents: Tensor) -> Grid:
    frames, height, width = latents.shape[2:]
    return frames, height, width


def _require_factor(reference: Grid, target: Grid, factor: int) -> None:
    if tuple(side * factor for side in reference[1:]) != target[1:]:
        raise RequestError(
            f"A reference of {reference[1]} x {reference[2]} latent pixels does not become "
            f"{target[1]} x {target[2]} when it is enlarged {factor} times.",
            next_step="Correct reference_downscale_factor, or precompute the references again.",
        )


def _lacks(choice: ModeChoice, what: str) -> RequestError:
    return RequestError(
        f"The mode {choice.mode} needs {what}, which the training examples lack.",
        next_step="Remove the mode, or precompute examples that have it.",
    )
