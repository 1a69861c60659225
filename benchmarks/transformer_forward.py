"""Race: our transformer against diffusers' on the same weights, one forward and one guided step.

A guided step asks in four ways (prompt, negative prompt, disturbed self-attention, modalities
apart), as a pipeline runs it: diffusers takes the two prompts as a batch and the others one by one.
Ours keeps between steps what positions and texts decide, so the first step is not timed.

A shared machine has good and bad minutes. So the two take turns, each turn gives one ratio of
processor seconds (which, unlike wall-clock, leave out what other programs used), and the median
of the ratios counts. A ratio below 1 means that ours is faster.

    python -m benchmarks.transformer_forward [--size puppet|block] [--step] [--repeats N]
        [--threads N]
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import LTX2VideoTransformer3DModel
from torch import Tensor

from ltx2.checkpoint.keymaps import TRANSFORMER_TO_DIFFUSERS, rename
from ltx2.diffusion.guidance import Pass
from ltx2.diffusion.state import Joint, LatentState
from ltx2.generation.sampling import ask
from ltx2.model.config import TransformerConfig
from ltx2.model.transformer import ModalityInput, Transformer
from ltx2.request import Guidance
from ltx2.training.puppet import architecture

Velocities = tuple[Tensor, Tensor]

SIGMA = 0.7


@dataclass(frozen=True)
class Size:
    """One race.

    Attributes:
        video_grid: latent frames, height and width; their product is the number of tokens.
        audio_tokens, text_tokens: tokens of the other two sequences.
        repeats: timed forwards of each side, by default.
        agreement: largest difference of the outputs that rounding explains, relative to the
            largest output.
    """

    config: TransformerConfig
    video_grid: tuple[int, int, int]
    audio_tokens: int
    text_tokens: int
    dtype: torch.dtype
    repeats: int
    agreement: float


def _puppet(dtype: torch.dtype, agreement: float) -> Size:
    config = TransformerConfig.from_metadata(architecture.CONFIG)
    return Size(config, (7, 6, 6), 51, 128, dtype, repeats=31, agreement=agreement)


SIZES = {
    "puppet float32": _puppet(torch.float32, 1e-4),
    "puppet bfloat16": _puppet(torch.bfloat16, 5e-2),
    "block bfloat16": Size(
        TransformerConfig(num_layers=1), (16, 11, 20), 126, 1024, torch.bfloat16, 5, 5e-2
    ),
}


def build_pair(size: Size) -> tuple[Transformer, Any]:
    """Our transformer and diffusers' with the same random weights."""
    torch.manual_seed(0)
    ours = Transformer(size.config)
    for name, parameter in ours.named_parameters():
        if "table" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    ours = ours.to(size.dtype).eval()
    config = size.config
    with torch.device("meta"):
        theirs: Any = LTX2VideoTransformer3DModel(
            in_channels=config.video.in_channels,
            out_channels=config.video.out_channels,
            num_attention_heads=config.video.num_heads,
            attention_head_dim=config.video.head_dim,
            cross_attention_dim=config.video.dim,
            audio_in_channels=config.audio.in_channels,
            audio_out_channels=config.audio.out_channels,
            audio_num_attention_heads=config.audio.num_heads,
            audio_attention_head_dim=config.audio.head_dim,
            audio_cross_attention_dim=config.audio.dim,
            num_layers=config.num_layers,
            caption_channels=config.caption_channels,
            rope_type="split",
            pos_embed_max_pos=int(config.video.max_positions[0]),
            base_height=int(config.video.max_positions[1]),
            base_width=int(config.video.max_positions[2]),
            audio_pos_embed_max_pos=int(config.audio.max_positions[0]),
        )
    weights = {rename(k, TRANSFORMER_TO_DIFFUSERS): v for k, v in ours.state_dict().items()}
    theirs.load_state_dict(weights, assign=True)
    return ours, theirs.eval()


def build_inputs(size: Size) -> tuple[ModalityInput, ModalityInput]:
    """One clip's noisy tokens at sigma 0.7 and 24 frames per second."""
    config, (frames, height, width) = size.config, size.video_grid
    time_ends = torch.cat([torch.zeros(1), 1 + 8 * torch.arange(frames)]) / 24
    ends = [time_ends, 32.0 * torch.arange(height + 1), 32.0 * torch.arange(width + 1)]
    starts, stops = ([axis[keep] for axis in ends] for keep in (slice(None, -1), slice(1, None)))
    grids = [torch.stack(torch.meshgrid(*side, indexing="ij")) for side in (starts, stops)]
    video_positions = torch.stack(grids, dim=-1).flatten(1, 3).unsqueeze(0)  # [1, 3, T, 2]
    audio_ends = 0.04 * torch.arange(size.audio_tokens + 1)
    audio_positions = torch.stack([audio_ends[:-1], audio_ends[1:]], dim=-1)[None, None]

    def modality(channels: int, positions: Tensor) -> ModalityInput:
        tokens = positions.shape[2]
        return ModalityInput(
            tokens=torch.randn(1, tokens, channels, dtype=size.dtype),
            timesteps=torch.full((1, tokens), SIGMA),
            sigma=torch.full((1,), SIGMA),
            positions=positions,
            context=torch.randn(
                1, size.text_tokens, config.context_channels(config.video), dtype=size.dtype
            ),
        )

    return (
        modality(config.video.in_channels, video_positions),
        modality(config.audio.in_channels, audio_positions),
    )


@dataclass(frozen=True)
class Outcome:
    """Median ratio of ours to diffusers', median seconds of both, difference of the outputs."""

    ratio: float
    ours: float
    theirs: float
    difference: float


def race(size: Size, repeats: int) -> Outcome:
    """Both forwards in turns, `repeats` times each."""
    ours, theirs = build_pair(size)
    video, audio = build_inputs(size)

    def run_ours() -> Velocities:
        video_velocity, audio_velocity = ours(video, audio)
        assert video_velocity is not None
        assert audio_velocity is not None
        return video_velocity, audio_velocity

    def run_theirs() -> Velocities:
        return theirs(
            hidden_states=video.tokens,
            audio_hidden_states=audio.tokens,
            encoder_hidden_states=video.context,
            audio_encoder_hidden_states=audio.context,
            timestep=1000 * video.sigma,
            video_coords=video.positions,
            audio_coords=audio.positions,
            return_dict=False,
        )

    return _take_turns(run_ours, run_theirs, repeats)


def race_step(size: Size, repeats: int) -> Outcome:
    """A guided step of both in turns; the outputs are those of the prompt's pass."""
    ours, theirs = build_pair(size)
    video, audio = build_inputs(size)
    states = Joint(*(_state(modality) for modality in (video, audio)))
    other = Joint(*(torch.randn_like(modality.context) for modality in (video, audio)))
    contexts = {Pass.CONDITIONAL: Joint(video.context, audio.context), Pass.NEGATIVE: other}
    scales = Guidance(cfg_scale=3.0, stg_scale=1.0, modality_scale=3.0, stg_blocks=(0,))
    network = ask(ours, contexts, Joint(scales, scales))

    def run_ours() -> Velocities:
        answer = network(states, SIGMA, tuple(Pass))[Pass.CONDITIONAL]
        return answer.video, answer.audio

    def their_forward(count: int, text: Joint[Tensor], **options: Any) -> Velocities:
        return theirs(
            hidden_states=video.tokens.expand(count, -1, -1),
            audio_hidden_states=audio.tokens.expand(count, -1, -1),
            encoder_hidden_states=text.video,
            audio_encoder_hidden_states=text.audio,
            timestep=1000 * video.sigma.expand(count),
            video_coords=video.positions.expand(count, -1, -1, -1),
            audio_coords=audio.positions.expand(count, -1, -1, -1),
            return_dict=False,
            **options,
        )

    def run_theirs() -> Velocities:
        prompt = contexts[Pass.CONDITIONAL]
        both = Joint(torch.cat([prompt.video, other.video]), torch.cat([prompt.audio, other.audio]))
        first, second = their_forward(2, both)
        their_forward(1, contexts[Pass.CONDITIONAL], spatio_temporal_guidance_blocks=[0])
        their_forward(1, contexts[Pass.CONDITIONAL], isolate_modalities=True)
        return first[:1], second[:1]

    return _take_turns(run_ours, run_theirs, repeats)


def _state(modality: ModalityInput) -> LatentState:
    mask = torch.ones_like(modality.tokens[..., :1])
    return LatentState(modality.tokens, modality.tokens, mask, modality.positions)


def _take_turns(
    run_ours: Callable[[], Velocities], run_theirs: Callable[[], Velocities], repeats: int
) -> Outcome:
    """Both once to compare what they answer, then in turns, each first as often as the other."""
    with torch.inference_mode():
        difference = _relative_difference(run_ours(), run_theirs())
        turns = [_one_turn(run_ours, run_theirs, swap=bool(i % 2)) for i in range(repeats)]
    return Outcome(
        statistics.median(ours / theirs for ours, theirs in turns),
        statistics.median(ours for ours, _ in turns),
        statistics.median(theirs for _, theirs in turns),
        difference,
    )


def _one_turn(
    ours: Callable[[], Velocities], theirs: Callable[[], Velocities], *, swap: bool
) -> tuple[float, float]:
    """Seconds of both; `swap` lets the second go first, since who follows finds warmer caches."""
    if swap:
        second, first = _one_turn(theirs, ours, swap=False)
        return first, second
    times = []
    for forward in (ours, theirs):
        start = time.process_time()
        forward()
        times.append(time.process_time() - start)
    return times[0], times[1]


def _relative_difference(ours: Velocities, theirs: Velocities) -> float:
    pairs = [(a.float(), b.float()) for a, b in zip(ours, theirs, strict=True)]
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)


def main() -> None:
    """Run the chosen races and print one line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=["puppet", "block"], help="default: both")
    parser.add_argument("--repeats", type=int, help="timed forwards of each side")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--step", action="store_true", help="guided steps, not single forwards")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name, size in SIZES.items():
        if options.size and not name.startswith(options.size):
            continue
        run = race_step if options.step else race
        outcome = run(size, options.repeats or size.repeats)
        print(
            f"{'guided step' if options.step else 'transformer forward'}, {name}, "
            f"{options.threads} thread(s): "
            f"ours/diffusers = {outcome.ratio:.3f} "
            f"({outcome.ours * 1e3:.1f} ms / {outcome.theirs * 1e3:.1f} ms), "
            f"outputs differ by {outcome.difference:.1e} of their range"
        )
        if outcome.difference > size.agreement:
            raise SystemExit(f"The outputs should agree within {size.agreement:.0e}.")


if __name__ == "__main__":
    main()
