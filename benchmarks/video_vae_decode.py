"""Race: our video decoder against diffusers' on the same weights, time and memory.

The decoder has the published sizes and random weights. Ratios below 1 mean that ours needs less.
Memory is what a decode needs beyond the weights and latents, at its peak.

    python -m benchmarks.video_vae_decode [--grid F,H,W] [--dtype bfloat16|float32] [--rounds N]
        [--threads N]
"""

import argparse
from functools import partial
from typing import Any

import torch
from diffusers import AutoencoderKLLTX2Video

from benchmarks.turns import Contender, Run, take_turns
from ltx2.checkpoint.keymaps import to_diffusers
from ltx2.model.video_vae import VideoVAE
from ltx2.model.video_vae.config import VideoVAEConfig
from ltx2.model.video_vae.layers import lay_out

CPU = torch.device("cpu")

PUBLISHED = {
    "vae": {
        "latent_channels": 128,
        "patch_size": 4,
        "encoder_base_channels": 128,
        "decoder_base_channels": 128,
        "encoder_blocks": [["res_x", {"num_layers": 1}]],  # takes no part
        "decoder_blocks": [
            ["res_x", {"num_layers": 5}],
            ["compress_all", {"residual": True, "multiplier": 2}],
            ["res_x", {"num_layers": 5}],
            ["compress_all", {"residual": True, "multiplier": 2}],
            ["res_x", {"num_layers": 5}],
            ["compress_all", {"residual": True, "multiplier": 2}],
            ["res_x", {"num_layers": 5}],
        ],
        "decoder_spatial_padding_mode": "reflect",
    }
}
"""The decoder of the 19B model."""

AGREEMENT = {torch.bfloat16: 0.1, torch.float32: 1e-3}
"""Largest difference of the pictures that rounding explains, relative to their largest value."""


def build_pair(dtype: torch.dtype) -> tuple[VideoVAE, Any]:
    """Our autoencoder and diffusers' with the same random decoder."""
    torch.manual_seed(0)
    ours = VideoVAE(VideoVAEConfig.from_metadata(PUBLISHED)).to(dtype).eval()
    ours.per_channel_statistics.mean.zero_()
    ours.per_channel_statistics.std.fill_(1)
    theirs: Any = AutoencoderKLLTX2Video(decoder_causal=False)
    theirs.encoder = torch.nn.Identity()  # ours is of another size
    state = {f"vae.{name}": value for name, value in ours.state_dict().items()}
    names = to_diffusers(state)
    weights = {
        theirs_name: state[name]
        for name, (_, theirs_name) in names.items()
        if theirs_name.startswith("decoder.")
    }
    theirs.decoder.load_state_dict(
        {name.removeprefix("decoder."): value for name, value in weights.items()}, assign=True
    )
    return ours, theirs.to(dtype).eval()


def prepare_ours(dtype: torch.dtype, grid: tuple[int, int, int]) -> Run:
    """A decode of ours."""
    ours, _ = build_pair(dtype)
    lay_out(ours, CPU)
    latents = torch.randn(1, 128, *grid, dtype=dtype)

    return lambda: (ours.decode(latents),)


def prepare_theirs(dtype: torch.dtype, grid: tuple[int, int, int]) -> Run:
    """The same by diffusers."""
    _, theirs = build_pair(dtype)
    latents = torch.randn(1, 128, *grid, dtype=dtype)

    return lambda: (theirs.decode(latents, return_dict=False)[0],)


def main() -> None:
    """Run the race and print a line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--grid", default="4,8,8", help="latent frames, height and width")
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    frames, height, width = map(int, options.grid.split(","))
    grid, dtype = (frames, height, width), getattr(torch, options.dtype)
    contenders = [
        Contender("ours", partial(prepare_ours, dtype, grid)),
        Contender("diffusers", partial(prepare_theirs, dtype, grid)),
    ]
    race = take_turns(contenders, rounds=options.rounds, threads=options.threads)
    memory = {name: race.extra_bytes(name) / 2**20 for name in race.turns}
    difference = race.difference("ours", "diffusers")
    print(
        f"decode of {8 * frames - 7} frames {32 * width}x{32 * height}, {options.dtype}, "
        f"{options.threads} thread(s): ours/diffusers = {race.ratio('ours', 'diffusers'):.3f} "
        f"({race.seconds('ours'):.2f} s / {race.seconds('diffusers'):.2f} s); memory "
        f"{memory['ours'] / memory['diffusers']:.2f} ({memory['ours']:.0f} MiB / "
        f"{memory['diffusers']:.0f} MiB); pictures differ by {difference:.1e} of their range"
    )
    if difference > AGREEMENT[dtype]:
        raise SystemExit(f"The pictures should agree within {AGREEMENT[dtype]:.0e}.")


if __name__ == "__main__":
    main()
