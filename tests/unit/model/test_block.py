import pytest
import torch

from ltx2.model.block import Stream, TransformerBlock
from ltx2.model.config import StreamConfig, TransformerConfig
from ltx2.model.modulation import Modulation, Timesteps
from ltx2.model.rope import rotary_table

CONFIG = TransformerConfig(
    num_layers=1,
    video=StreamConfig(6, 6, 2, 12, (20.0, 2048.0, 2048.0)),
    audio=StreamConfig(5, 5, 2, 8, (20.0,)),
)


@pytest.fixture(scope="module")
def block():
    torch.manual_seed(0)
    block = TransformerBlock(CONFIG, 0).requires_grad_(False)
    for name, parameter in block.named_parameters():
        if "table" in name:
            torch.nn.init.normal_(parameter)
    return block


def a_stream(config, tokens):
    def modulation(count):
        values = torch.randn(1, count, config.dim)
        return Modulation(Timesteps(torch.ones(1), None), values, torch.zeros(1, config.dim))

    times = torch.rand(1, tokens, 1)
    positions = times.expand(-1, -1, len(config.max_positions))
    return Stream(
        hidden=torch.randn(1, tokens, config.dim),
        context=torch.randn(1, 3, config.dim),
        context_mask=None,
        rope=rotary_table(positions, CONFIG.rope(config)),
        cross_rope=rotary_table(times, CONFIG.cross_rope),
        modulation=modulation(6),
        cross_modulation=modulation(4),
        cross_gate=modulation(1),
        enabled=True,
    )


def norm(x):
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()


def attended(stream, attn1, attn2, table):
    """A stream after self-attention and text attention, by the published formulas."""
    shift, scale, gate = (stream.modulation.values[0] + table)[:3]
    x = norm(stream.hidden) * (1 + scale) + shift
    hidden = stream.hidden + attn1(x, rope=stream.rope, context_rope=stream.rope) * gate
    return hidden + attn2(norm(hidden), stream.context)


def fed_forward(hidden, stream, network, table):
    shift, scale, gate = (stream.modulation.values[0] + table)[3:]
    return hidden + network(norm(hidden) * (1 + scale) + shift) * gate


def test_a_block_is_the_published_sequence_of_formulas(block):
    torch.manual_seed(1)
    video, audio = a_stream(CONFIG.video, 4), a_stream(CONFIG.audio, 3)
    x_v = attended(video, block.attn1, block.attn2, block.scale_shift_table)
    x_a = attended(audio, block.audio_attn1, block.audio_attn2, block.audio_scale_shift_table)

    # Rows: scale and shift of audio-to-video, scale and shift of video-to-audio, gate.
    table_v, table_a = block.scale_shift_table_a2v_ca_video, block.scale_shift_table_a2v_ca_audio
    v = video.cross_modulation.values[0] + table_v[:4]
    a = audio.cross_modulation.values[0] + table_a[:4]
    n_v, n_a = norm(x_v), norm(x_a)
    to_video = block.audio_to_video_attn(
        n_v * (1 + v[0]) + v[1],
        n_a * (1 + a[0]) + a[1],
        rope=video.cross_rope,
        context_rope=audio.cross_rope,
    )
    to_audio = block.video_to_audio_attn(
        n_a * (1 + a[2]) + a[3],
        n_v * (1 + v[2]) + v[3],
        rope=audio.cross_rope,
        context_rope=video.cross_rope,
    )
    x_v = x_v + to_video * (video.cross_gate.values[0] + table_v[4])
    x_a = x_a + to_audio * (audio.cross_gate.values[0] + table_a[4])

    x_v = fed_forward(x_v, video, block.ff, block.scale_shift_table)
    x_a = fed_forward(x_a, audio, block.audio_ff, block.audio_scale_shift_table)

    new_video, new_audio = block(video, audio)
    torch.testing.assert_close(new_video.hidden, x_v, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(new_audio.hidden, x_a, atol=1e-5, rtol=1e-5)
