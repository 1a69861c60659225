"""Floating-point operations of the networks, by formula: a multiplication and an addition are two.

Only matrix products and convolutions are counted, as PyTorch's own counter does; the rest is a
thousandth of them. Letters: `T` tokens, `D` width; `v`, `a`, `t` video, audio, text.
"""

from dataclasses import dataclass
from math import prod

from ltx2.model.config import StreamConfig, TransformerConfig
from ltx2.model.modulation import EMBEDDING_CHANNELS
from ltx2.model.video_vae.config import ResidualStage, VideoVAEConfig

FEED_FORWARD = 4
"""How much wider the feed-forward network is inside."""


@dataclass(frozen=True)
class Tokens:
    """How many tokens a pass of the transformer sees; 0 for a modality that is absent."""

    video: int
    audio: int
    text: int = 1024


@dataclass(frozen=True)
class Flops:
    """Operations by what limits them.

    Attributes:
        linear: in products with weights, which grow with the tokens.
        attention: in products of tokens with tokens, which grow with their square.
    """

    linear: int
    attention: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.linear + self.attention

    def __add__(self, other: "Flops") -> "Flops":
        return Flops(self.linear + other.linear, self.attention + other.attention)

    def __mul__(self, count: int) -> "Flops":
        return Flops(self.linear * count, self.attention * count)


def transformer_flops(config: TransformerConfig, tokens: Tokens) -> Flops:
    """One pass for one clip whose tokens all have the same noise level.

    layers * block + patches in and velocities out (2 T C D each) + projection of the text
    (2 T_t (C_t D + D D)) + modulation, one row per embedder (2 (256 D + D D + n D D)).
    """
    total = block_flops(config, tokens) * config.num_layers
    both = bool(tokens.video and tokens.audio)
    for stream, count in ((config.video, tokens.video), (config.audio, tokens.audio)):
        if not count:
            continue
        ends = 2 * count * stream.dim * (stream.in_channels + stream.out_channels)
        text = 0
        if config.caption_channels is not None:
            text = 2 * tokens.text * stream.dim * (config.caption_channels + stream.dim)
        rows = [9, 2] if config.text_modulation else [6]
        rows += [4, 1] if both else []
        embedders = sum(2 * stream.dim * (EMBEDDING_CHANNELS + stream.dim * (1 + n)) for n in rows)
        total += Flops(ends + text + embedders, 0)
    return total


def block_flops(config: TransformerConfig, tokens: Tokens) -> Flops:
    """One layer of the transformer.

    For each stream: self-attention 8 T D^2 + 4 T^2 D, attention to the text 4 T D^2 + 4 T_t D^2
    + 4 T T_t D, feed-forward 16 T D^2. Between them, in the audio's width, for each direction:
    queries and output 4 T D D_a, keys and values 4 T' D' D_a, products 4 T T' D_a.
    """
    total = Flops(0, 0)
    streams = ((config.video, tokens.video), (config.audio, tokens.audio))
    for stream, count in streams:
        if not count:
            continue
        total += _attention(config, stream, stream, stream, count, count)
        total += _attention(config, stream, stream, stream, count, tokens.text)
        total += Flops(2 * 2 * FEED_FORWARD * count * stream.dim**2, 0)
    if tokens.video and tokens.audio:
        for (asks, own), (answers, others) in (streams, streams[::-1]):
            total += _attention(config, asks, answers, config.audio, own, others)
    return total


def _attention(
    config: TransformerConfig,
    asks: StreamConfig,
    answers: StreamConfig,
    heads: StreamConfig,
    own: int,
    others: int,
) -> Flops:
    """Queries and output 4 T D H, keys and values 4 T' D' H, products 4 T T' H; H of all heads."""
    linear = 4 * own * asks.dim * heads.dim + 4 * others * answers.dim * heads.dim
    if config.gated_attention:
        linear += 2 * own * asks.dim * heads.num_heads
    return Flops(linear, 4 * own * others * heads.dim)


def decoder_flops(config: VideoVAEConfig, grid: tuple[int, int, int]) -> int:
    """Decoding latents of size `grid` (f, h, w) to pictures at once, without tiles.

    Every 3x3x3 convolution takes 2 * 27 * C_in * C_out for each voxel that it gives. Where time is
    doubled, the first frame is not.
    """
    strides = [s for s in config.decoder_stages if not isinstance(s, ResidualStage)]
    channels = config.decoder_channels * prod(stage.multiplier for stage in strides)
    size = grid
    total = _convolution(config.latent_channels, channels, size)
    for stage in reversed(config.decoder_stages):
        if isinstance(stage, ResidualStage):
            total += 2 * stage.num_layers * _convolution(channels, channels, size)
            continue
        out = channels * prod(stage.stride) // stage.multiplier
        total += _convolution(channels, out, size)
        channels //= stage.multiplier
        time, height, width = (s * n for s, n in zip(stage.stride, size, strict=True))
        size = (time - (stage.stride[0] == 2), height, width)
    return total + _convolution(channels, 3 * config.patch_size**2, size)


def _convolution(inside: int, outside: int, size: tuple[int, int, int]) -> int:
    return 2 * 27 * inside * outside * prod(size)
