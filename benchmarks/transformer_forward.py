"""Race: our transformer against diffusers' on the same weights, one forward and one guided step.

Both are steps of a walk, as a pipeline takes them. A guided step asks in four ways (prompt,
negative prompt, disturbed self-attention, modalities apart): diffusers takes the two prompts as a
batch and the others one by one. Ours keeps between steps what positions and texts decide, so the
first step is not timed.

Ours runs as our pipeline runs it, which on CPUs keeps freed memory for its next operation
(`ltx2/runtime/allocator.py`). diffusers leaves that to its users; it takes part as it comes and,
to tell the one gain from the other, with our memory settings.

A ratio below 1 means that ours is faster. Beside it stands the share of the processor's matrix
peak: operations of the forward's matrix products and attentions in its time, relative to those of
one large product.

    python -m benchmarks.transformer_forward [--size puppet|small|block] [--step] [--rounds N]
        [--threads N]
"""

import argparse
import math
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from diffusers import LTX2VideoTransformer3DModel
from torch import Tensor

from benchmarks.turns import Contender, Outputs, Run, take_turns
from ltx2.checkpoint.keymaps import TRANSFORMER_TO_DIFFUSERS, rename
from ltx2.diffusion.guidance import Pass
from ltx2.diffusion.state import Joint, LatentState
from ltx2.generation.sampling import ask
from ltx2.model.config import StreamConfig, TransformerConfig
from ltx2.model.transformer import ModalityInput, Transformer
from ltx2.request import Guidance
from ltx2.runtime.allocator import memory_reused
from ltx2.runtime.flops import Tokens, transformer_flops
from ltx2.training.puppet import architecture

SIGMA = 0.7

CPU = torch.device("cpu")

Kind = Literal["forward", "step"]


@dataclass(frozen=True)
class Size:
    """One race.

    Attributes:
        video_grid: latent frames, height and width; their product is the number of tokens.
        audio_tokens, text_tokens: tokens of the other two sequences.
        rounds: timed runs of each side, by default.
        agreement: largest difference of the outputs that rounding explains, relative to the
            largest output.
    """

    config: TransformerConfig
    video_grid: tuple[int, int, int]
    audio_tokens: int
    text_tokens: int
    dtype: torch.dtype
    rounds: int
    agreement: float


def _puppet(dtype: torch.dtype, agreement: float) -> Size:
    config = TransformerConfig.from_metadata(architecture.CONFIG)
    return Size(config, (7, 6, 6), 51, 128, dtype, rounds=31, agreement=agreement)


SIZES = {
    "puppet float32": _puppet(torch.float32, 1e-4),
    "puppet bfloat16": _puppet(torch.bfloat16, 5e-2),
    "small bfloat16": Size(
        TransformerConfig(
            num_layers=2,
            video=StreamConfig(128, 128, 8, 128, (20.0, 2048.0, 2048.0)),
            audio=StreamConfig(128, 128, 8, 64, (20.0,)),
        ),
        (16, 11, 20),
        126,
        1024,
        torch.bfloat16,
        rounds=9,
        agreement=5e-2,
    ),
    "block bfloat16": Size(
        TransformerConfig(num_layers=1), (16, 11, 20), 126, 1024, torch.bfloat16, 7, 5e-2
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


def prepare_ours(kind: Kind, size: Size) -> Run:
    """Our forward or guided step, in memory that is used again."""
    ours, _ = build_pair(size)
    video, audio = build_inputs(size)
    network = ask(ours, _contexts(video, audio), Joint(GUIDANCE, GUIDANCE))
    states = Joint(_state(video), _state(audio))
    passes = {"forward": (Pass.CONDITIONAL,), "step": tuple(Pass)}[kind]
    memory_reused(CPU).__enter__()  # for as long as the process lasts

    def run() -> Outputs:
        answer = network(states, SIGMA, passes)[Pass.CONDITIONAL]
        return answer.video, answer.audio

    return run


def prepare_theirs(kind: Kind, size: Size, *, reuses_memory: bool) -> Run:
    """The same by diffusers."""
    _, theirs = build_pair(size)
    video, audio = build_inputs(size)
    contexts = _contexts(video, audio)
    if reuses_memory:
        memory_reused(CPU).__enter__()

    def call(*passes: Pass, **options: Any) -> Outputs:
        video_text = torch.cat([contexts[each].video for each in passes])
        audio_text = torch.cat([contexts[each].audio for each in passes])
        count = len(passes)
        return theirs(
            hidden_states=video.tokens.expand(count, -1, -1),
            audio_hidden_states=audio.tokens.expand(count, -1, -1),
            encoder_hidden_states=video_text,
            audio_encoder_hidden_states=audio_text,
            timestep=1000 * video.sigma.expand(count),
            video_coords=video.positions.expand(count, -1, -1, -1),
            audio_coords=audio.positions.expand(count, -1, -1, -1),
            return_dict=False,
            **options,
        )

    def step() -> Outputs:
        first, second = call(Pass.CONDITIONAL, Pass.NEGATIVE)
        call(Pass.CONDITIONAL, spatio_temporal_guidance_blocks=[0])
        call(Pass.CONDITIONAL, isolate_modalities=True)
        return first[:1], second[:1]

    def forward() -> Outputs:
        return call(Pass.CONDITIONAL)

    return {"forward": forward, "step": step}[kind]


GUIDANCE = Guidance(cfg_scale=3.0, stg_scale=1.0, modality_scale=3.0, stg_blocks=(0,))


def _contexts(video: ModalityInput, audio: ModalityInput) -> dict[Pass, Joint[Tensor]]:
    """Texts of the prompt and of the negative one."""
    other = Joint(*(torch.randn_like(modality.context) for modality in (video, audio)))
    return {Pass.CONDITIONAL: Joint(video.context, audio.context), Pass.NEGATIVE: other}


def _state(modality: ModalityInput) -> LatentState:
    mask = torch.ones_like(modality.tokens[..., :1])
    return LatentState(modality.tokens, modality.tokens, mask, modality.positions)


def prepare_peak(dtype: torch.dtype) -> Run:
    """One large matrix product, which shows what the processor can do."""
    a, b = (torch.randn(PEAK_SIDE, PEAK_SIDE, dtype=dtype) for _ in range(2))
    out = torch.empty_like(a)
    return lambda: (torch.mm(a, b, out=out)[:1],)


PEAK_SIDE = 4096


def main() -> None:
    """Run the chosen races and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=["puppet", "small", "block"], help="default: all")
    parser.add_argument("--rounds", type=int, help="timed runs of each side")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--step", action="store_true", help="guided steps, not single forwards")
    options = parser.parse_args()
    kind: Kind = "step" if options.step else "forward"
    for name, size in SIZES.items():
        if options.size and not name.startswith(options.size):
            continue
        contenders = [
            Contender("ours", partial(prepare_ours, kind, size)),
            Contender("diffusers", partial(prepare_theirs, kind, size, reuses_memory=False)),
            Contender("reusing", partial(prepare_theirs, kind, size, reuses_memory=True)),
            Contender("peak", partial(prepare_peak, size.dtype)),
        ]
        race = take_turns(contenders, rounds=options.rounds or size.rounds, threads=options.threads)
        line = (
            f"{kind}, {name}, {options.threads} thread(s): ours/diffusers = "
            f"{race.ratio('ours', 'diffusers'):.3f} ({race.seconds('ours') * 1e3:.1f} ms / "
            f"{race.seconds('diffusers') * 1e3:.1f} ms); with our memory settings "
            f"{race.ratio('ours', 'reusing'):.3f}"
        )
        if kind == "forward":
            tokens = Tokens(math.prod(size.video_grid), size.audio_tokens, size.text_tokens)
            work = transformer_flops(size.config, tokens).total / (2 * PEAK_SIDE**3)
            shares = (work * race.ratio("peak", each) for each in ("ours", "diffusers"))
            line += "; of the peak {:.0%} and {:.0%}".format(*shares)
        difference = race.difference("ours", "diffusers")
        print(f"{line}; outputs differ by {difference:.1e} of their range", flush=True)
        if difference > size.agreement:
            raise SystemExit(f"The outputs should agree within {size.agreement:.0e}.")


if __name__ == "__main__":
    main()
