import json
from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ltx2.model.config import StreamConfig, TransformerConfig
from ltx2.model.transformer import ModalityInput, Transformer
from ltx2.model.video_vae import VideoVAE, VideoVAEConfig
from ltx2.runtime.flops import Tokens, block_flops, decoder_flops, transformer_flops
from ltx2.training.plan import _WithoutValues
from tests.conftest import ROOT

TINY = TransformerConfig(
    num_layers=2,
    video=StreamConfig(8, 8, 2, 24, (20.0, 64.0, 64.0)),
    audio=StreamConfig(6, 6, 2, 16, (20.0,)),
    caption_channels=20,
)
NEWER = replace(TINY, caption_channels=None, gated_attention=True, text_modulation=True)
"""With what LTX-2.3 adds."""


def counted(config, tokens):
    """Operations that PyTorch counts in a pass without values."""
    with torch.device("meta"):
        network = Transformer(config)

        def part(count, stream, axes):
            if not count:
                return None
            return ModalityInput(
                tokens=torch.empty(1, count, stream.in_channels),
                timesteps=torch.empty(1, count),
                sigma=torch.empty(1),
                positions=torch.empty(1, axes, count, 2),
                context=torch.empty(1, tokens.text, config.context_channels(stream)),
            )

        inputs = part(tokens.video, config.video, 3), part(tokens.audio, config.audio, 1)
    with _AllTheSame(), FlopCounterMode(display=False) as counter:
        network(*inputs)
    return counter.get_total_flops()


class _AllTheSame(_WithoutValues):
    """Answers questions about values, but leaves attention to be counted."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.Tensor.__bool__:
            return True
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("config", [TINY, NEWER], ids=["19B", "2.3"])
@pytest.mark.parametrize("tokens", [Tokens(30, 5, 16), Tokens(30, 0, 16), Tokens(0, 5, 16)])
def test_the_formula_is_what_pytorch_counts(config, tokens):
    assert transformer_flops(config, tokens).total == counted(config, tokens)


def test_the_real_size_is_what_pytorch_counts_and_the_published_analysis_says():
    tokens = Tokens(14_080, 126, 1024)
    two, three = (transformer_flops(TransformerConfig(num_layers=n), tokens).total for n in (2, 3))
    assert two == counted(TransformerConfig(num_layers=2), tokens)
    assert three - two == block_flops(TransformerConfig(), tokens).total
    whole = transformer_flops(TransformerConfig(), tokens)
    assert whole.total / 1e12 == pytest.approx(537, rel=0.01)
    smaller = transformer_flops(TransformerConfig(), Tokens(3520, 126, 1024))
    assert smaller.total / 1e12 == pytest.approx(109, rel=0.01)


@pytest.mark.parametrize("name", ["ltx_2_19b_config", "ltx_2_3_22b_config"])
def test_decoding_is_what_pytorch_counts(name):
    metadata = json.loads((ROOT / f"tests/fixtures/{name}.json").read_text())
    config = VideoVAEConfig.from_metadata(metadata)
    with torch.device("meta"):
        decoder = VideoVAE(config).decoder
        latents = torch.empty(1, config.latent_channels, 3, 4, 5)
    with FlopCounterMode(display=False) as counter:
        decoder(latents)
    assert decoder_flops(config, (3, 4, 5)) == counter.get_total_flops()
