"""What weights in fewer bits cost and save: memory, error, and time on this machine.

One block of the published size (D = 4096, random weights, bfloat16) in each way to keep its
weights, against the same block whole, which is the peer: bytes of its weights, relative error of
its outputs, and the median ratio of processor seconds of runs that take turns. NVFP4 is encoded
here, to the nearest, as no file has this block.

Then the clips of the embedded model, whose weights are trained: how far the pictures and the sound
are from those of whole weights, in dB of peak signal to noise.

    python -m benchmarks.quantised_weights [--tokens N] [--rounds N] [--threads N]
"""

import argparse
import copy
import math
import statistics
import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

import ltx2
from benchmarks.transformer_forward import Size, build_inputs
from ltx2.model.config import TransformerConfig
from ltx2.model.quantized import (
    E2M1_VALUES,
    NVFP4_BLOCK,
    NVFP4Linear,
    QuantizedLinear,
    linears_of,
    put,
)
from ltx2.model.transformer import Transformer

REQUESTS = tuple(
    ltx2.Request(prompt=prompt, seed=seed)
    for seed, prompt in enumerate(("A red puppet says hello.", "A yellow ball bounces."))
)


def as_nvfp4(linear: nn.Linear) -> NVFP4Linear:
    """A layer in four bits, rounded to the nearest."""
    weight = linear.weight.detach().float()
    rows, columns = weight.shape
    second = weight.abs().max() / 2688
    blocks = weight.view(rows, -1, NVFP4_BLOCK)
    scales = (blocks.abs().amax(dim=2) / 6 / second).to(torch.float8_e4m3fn)
    wanted = blocks / (scales.float() * second).clamp_min(1e-12)[..., None]
    edges = torch.tensor([(a + b) / 2 for a, b in pairwise(E2M1_VALUES)])
    codes = torch.bucketize(wanted.abs(), edges) + 8 * (wanted < 0)
    codes = codes.view(rows, columns)
    # Scales in tiles of 128 rows and 4 blocks.
    high, across = -(-rows // 128), -(-(columns // NVFP4_BLOCK) // 4)
    padded = torch.zeros(high * 128, across * 4)
    padded[:rows, : columns // NVFP4_BLOCK] = scales.float()
    tiled = padded.view(high, 4, 32, across, 4).permute(0, 3, 2, 1, 4)
    bits = {
        "weight": (codes[:, 0::2] * 16 + codes[:, 1::2]).to(torch.uint8),
        "weight_scale": tiled.reshape(high * 128, across * 4).to(torch.float8_e4m3fn),
        "weight_scale_2": second,
    }
    return NVFP4Linear(bits, linear.bias, dtype=linear.weight.dtype)


WAYS: dict[str, Callable[[nn.Linear], nn.Module]] = {
    "int8": lambda linear: QuantizedLinear.of(linear, "int8"),
    "fp8": lambda linear: QuantizedLinear.of(linear, "fp8"),
    "nvfp4": as_nvfp4,
}


def in_fewer_bits(transformer: Transformer, way: str) -> Transformer:
    """A copy with the layers of its blocks in a way."""
    quantised = copy.deepcopy(transformer)
    for name, linear in linears_of(quantised).items():
        if "blocks." in name:
            put(quantised, name, WAYS[way](linear))
    return quantised


def block_bytes(transformer: Transformer) -> int:
    """Bytes of the blocks."""
    tensors = transformer.transformer_blocks.state_dict().values()
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


@torch.inference_mode()
def race_block(tokens: int, rounds: int) -> None:
    """The block whole and in every way, in turns."""
    torch.manual_seed(0)
    whole = Transformer(TransformerConfig(num_layers=1)).to(torch.bfloat16).eval()
    for name, parameter in whole.named_parameters():
        if "table" in name:
            nn.init.normal_(parameter, std=0.3)
    size = Size(whole.config, (1, 1, tokens), max(1, tokens // 28), 128, torch.bfloat16, 1, 1.0)
    inputs = build_inputs(size)
    contenders = {"whole": whole} | {way: in_fewer_bits(whole, way) for way in WAYS}
    times: dict[str, list[float]] = {name: [] for name in contenders}
    outputs: dict[str, Tensor] = {}
    for turn in range(rounds + 1):
        for name, transformer in contenders.items():
            started = time.process_time()
            video, audio = transformer(*inputs)
            assert video is not None
            assert audio is not None
            if turn:  # the first warms up
                times[name].append(time.process_time() - started)
            outputs[name] = torch.cat([video.flatten(), audio.flatten()]).float()
    print(
        f"one block, D = 4096, {tokens} video tokens, bfloat16, {torch.get_num_threads()} threads"
    )
    for name, transformer in contenders.items():
        error = (outputs[name] - outputs["whole"]).norm() / outputs["whole"].norm()
        pairs = zip(times[name], times["whole"], strict=True)
        ratio = statistics.median(own / other for own, other in pairs)
        size_mb = block_bytes(transformer) / 1e6
        print(f"  {name:<6} {size_mb:8.1f} MB   error {error:8.4%}   time {ratio:5.2f} of whole")


def psnr(one: np.ndarray, other: np.ndarray, peak: float) -> float:
    """Peak signal to noise, dB."""
    error = float(np.square(one.astype(np.float64) - other).mean())
    return math.inf if error == 0.0 else 10 * math.log10(peak**2 / error)


def compare_clips(model: str) -> None:
    """Clips of the embedded model with its weights in 8 bits."""
    whole = [ltx2.load(model, device="cpu")(request) for request in REQUESTS]
    print(f"clips of {model} against those of whole weights, {len(whole)} prompts")
    for way in ("int8", "fp8"):
        pipeline = ltx2.load(model, device="cpu", quantization=way)
        clips = [pipeline(request) for request in REQUESTS]
        pairs = list(zip(clips, whole, strict=True))
        frames = statistics.mean(psnr(a.frames, b.frames, 255.0) for a, b in pairs)
        sound = statistics.mean(psnr(a.waveform, b.waveform, 1.0) for a, b in pairs)
        print(f"  {way:<6} pictures {frames:5.1f} dB   sound {sound:5.1f} dB")


def main() -> None:
    """Both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    race_block(options.tokens, options.rounds)
    compare_clips("puppet-distilled")


if __name__ == "__main__":
    main()
