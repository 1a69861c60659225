"""A denoising step of LTX-2 19B beside one of Wan 2.2 14B, 121 frames of 1280 x 704 or 720.

Operations of both are counted from their published configurations: Wan's as its A14B models have
them, of which one of two transformers of 14 billion parameters works in each step. One real-size
block of each is timed in bfloat16: ours at its full number of tokens; Wan's (diffusers', the named
peer) at one latent frame, whose linear work grows with the tokens, plus the attention of one of
its heads at all of its tokens, whose cost grows with their square. A step is all blocks, for one
pass. On a CPU processor seconds of one thread count, which leave out what other programs used. On
a CUDA device whole steps are timed, with random weights.

    python -m benchmarks.step_against_wan [--turns N]
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from diffusers.models.transformers.transformer_wan import WanTransformerBlock
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.transformer_forward import Size, build_inputs
from ltx2.model.config import TransformerConfig
from ltx2.model.transformer import Transformer
from ltx2.runtime.flops import Flops, Tokens, block_flops, transformer_flops

GRID, AUDIO_TOKENS, TEXT_TOKENS = (16, 22, 40), 126, 1024
"""Ours: 121 frames of 1280 x 704, one token for 8 x 32 x 32 pixels."""

# Wan 2.2 T2V-A14B (config.json of the published transformers).
WAN_LAYERS, WAN_HEADS, WAN_HEAD, WAN_FEED_FORWARD, WAN_TEXT = 40, 40, 128, 13_824, 512
WAN_DIM = WAN_HEADS * WAN_HEAD
WAN_FRAMES, WAN_FRAME_TOKENS = 31, 45 * 80
"""121 frames of 1280 x 720: a latent frame for 4 pictures, a token for 16 x 16 pixels."""
WAN_TOKENS = WAN_FRAMES * WAN_FRAME_TOKENS


def wan_block_flops(tokens: int) -> Flops:
    """One layer of Wan; the rest of the network is a thousandth of its layers.

    Self-attention 8 T D^2 + 4 T^2 D, attention to the text 4 T D^2 + 4 T_t D^2 + 4 T T_t D,
    feed-forward 4 T D F.
    """
    linear = 12 * tokens * WAN_DIM**2 + 4 * WAN_TEXT * WAN_DIM**2
    linear += 4 * tokens * WAN_DIM * WAN_FEED_FORWARD
    return Flops(linear, 4 * tokens * (tokens + WAN_TEXT) * WAN_DIM)


def check_counts() -> None:
    """Complain if PyTorch's own counter disagrees with the formula for Wan.

    The one for ours is tested with the package.
    """
    with FlopCounterMode(display=False) as counter:
        build_wan(WAN_FRAME_TOKENS, torch.device("meta"))()
    counted, formula = counter.get_total_flops(), wan_block_flops(WAN_FRAME_TOKENS).total
    if counted != formula:
        raise SystemExit(f"PyTorch counts {counted:,} operations of Wan's block, not {formula:,}.")


def seconds_of(run: Callable[[], object], device: torch.device) -> float:
    """Seconds of a GPU, or of the processor for a single thread."""
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    _finish(device)
    started = clock()
    run()
    _finish(device)
    return clock() - started


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def build_ours(num_layers: int, device: torch.device) -> Callable[[], object]:
    """A pass of our transformer with so many real-size layers."""
    config = replace(TransformerConfig(), num_layers=num_layers)
    with torch.device(device):
        torch.set_default_dtype(torch.bfloat16)
        network = Transformer(config).eval().requires_grad_(False)
        torch.set_default_dtype(torch.float32)
    size = Size(config, GRID, AUDIO_TOKENS, TEXT_TOKENS, torch.bfloat16, 1, 1.0)
    inputs = [_moved(part, device) for part in build_inputs(size)]
    return lambda: network(*inputs)


def _moved(part: object, device: torch.device) -> object:
    tensors = {name: x.to(device) for name, x in vars(part).items() if isinstance(x, Tensor)}
    return replace(part, **tensors)  # type: ignore[type-var]


def build_wan(tokens: int, device: torch.device) -> Callable[[], object]:
    """A pass of diffusers' Wan block, with its own rotary tables."""
    with torch.device(device):
        torch.set_default_dtype(torch.bfloat16)
        block = WanTransformerBlock(
            WAN_DIM, WAN_FEED_FORWARD, WAN_HEADS, cross_attn_norm=True
        ).requires_grad_(False)
        x, text = torch.randn(1, tokens, WAN_DIM), torch.randn(1, WAN_TEXT, WAN_DIM)
        torch.set_default_dtype(torch.float32)
        modulation = torch.randn(1, 6, WAN_DIM)
        angles = torch.rand(1, tokens, 1, WAN_HEAD)
    rotary = angles.cos(), angles.sin()
    return lambda: block(x, text, modulation, rotary)


def build_attention(tokens: int, heads: int, device: torch.device) -> Callable[[], object]:
    """Attention of some of Wan's heads."""
    x = torch.randn(1, heads, tokens, WAN_HEAD, device=device).bfloat16()
    return lambda: scaled_dot_product_attention(x, x, x)


def measure(turns: int, device: torch.device) -> tuple[float, float]:
    """Median seconds of a step of both, which take turns."""
    if device.type == "cuda":
        ours = build_ours(TransformerConfig().num_layers, device)
        theirs = build_wan(WAN_TOKENS, device)
        runs = [ours, theirs]
        factors = [1, WAN_LAYERS]
    else:
        # With fewer layers the same few operations around them: their difference is a layer.
        runs = [
            build_ours(1, device),
            build_wan(WAN_FRAME_TOKENS, device),
            build_attention(WAN_FRAME_TOKENS, WAN_HEADS, device),
            build_attention(WAN_TOKENS, 1, device),
        ]
        factors = [
            TransformerConfig().num_layers,
            WAN_LAYERS * WAN_FRAMES,
            -WAN_LAYERS * WAN_FRAMES,
            WAN_LAYERS * WAN_HEADS,
        ]
    with torch.inference_mode():
        for run in runs if device.type == "cuda" else runs[:0]:
            run()
        taken = [[seconds_of(run, device) for run in runs] for _ in range(turns)]
    medians = [statistics.median(column) for column in zip(*taken, strict=True)]
    parts = [seconds * factor for seconds, factor in zip(medians, factors, strict=True)]
    return parts[0], sum(parts[1:])


def main() -> None:
    """Count, time, and print a table with what it assumes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(1)
    check_counts()
    config = TransformerConfig()
    tokens = Tokens(torch.Size(GRID).numel(), AUDIO_TOKENS, TEXT_TOKENS)
    ours, theirs = transformer_flops(config, tokens), wan_block_flops(WAN_TOKENS) * WAN_LAYERS
    our_s, their_s = measure(options.turns, device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "one thread of a CPU"
    rows = (
        ("LTX-2 19B, with sound", config.num_layers, tokens.video + tokens.audio, ours, our_s),
        ("Wan 2.2 14B, no sound", WAN_LAYERS, WAN_TOKENS, theirs, their_s),
    )
    print("| model | layers | tokens | TFLOP a step | of them attention | seconds a step |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for model, layers, count, flops, seconds in rows:
        print(
            f"| {model} | {layers} | {count:,} | {flops.total / 1e12:,.0f} "
            f"| {flops.attention / 1e12:,.0f} | {seconds:,.1f} |"
        )
    print(
        f"Wan / LTX-2: {theirs.total / ours.total:.1f} times the operations, "
        f"{their_s / our_s:.1f} times the time\n"
        f"One pass of the network without guidance, bfloat16, on {name}, median of "
        f"{options.turns} turns; "
        + (
            "LTX-2's step whole, Wan's as 40 times a block."
            if device.type == "cuda"
            else f"LTX-2 as {config.num_layers} times a block of "
            f"{block_flops(config, tokens).total / 1e12:.1f} TFLOP at all its tokens, Wan from its "
            "block at one of 31 latent frames and one of 40 heads at all of its tokens."
        )
    )


if __name__ == "__main__":
    main()
