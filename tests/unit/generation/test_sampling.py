"""Work that is not repeated changes nothing."""

import pytest
import torch

from ltx2.diffusion.guidance import Pass
from ltx2.diffusion.state import Joint, draw_noise
from ltx2.generation import sampling
from ltx2.generation.sampling import ask, sample
from ltx2.generation.states import initial_states
from ltx2.request import Guidance

EVERYTHING = Guidance(
    cfg_scale=3.0, stg_scale=1.0, modality_scale=2.0, rescale=0.7, stg_blocks=(1,)
)
SCALES = Joint(EVERYTHING, EVERYTHING.model_copy(update={"cfg_scale": 5.0}))
SIGMAS = (1.0, 0.6, 0.2, 0.0)


@pytest.fixture
def walk(pipeline):
    networks = pipeline.networks
    states = initial_states(networks, (2, 3, 4), 12, frame_rate=8.0)
    noise = draw_noise(states, torch.Generator().manual_seed(0))
    states = Joint(*(s.noised(n) for s, n in zip(states, noise, strict=True)))
    width = networks.transformer.config.caption_channels
    generator = torch.Generator().manual_seed(1)
    contexts = {
        kind: Joint(*torch.randn(2, 1, 5, width, generator=generator))
        for kind in (Pass.CONDITIONAL, Pass.NEGATIVE)
    }

    def run():
        with torch.no_grad():
            return sample(networks.transformer, states, SIGMAS, contexts=contexts, guidance=SCALES)

    return run


def close(one, other):
    for left, right in zip(one, other, strict=True):
        torch.testing.assert_close(left.tokens, right.tokens, atol=1e-4, rtol=1e-4)


def test_passes_asked_together_answer_as_each_alone(walk, monkeypatch):
    together = walk()
    monkeypatch.setattr(sampling, "BATCHED_TOKENS", 1)
    close(together, walk())


def test_what_is_kept_between_steps_answers_as_if_computed_anew(walk, monkeypatch):
    kept = walk()

    def forgetful(*arguments):
        def network(*question):
            return ask(*arguments)(*question)

        return network

    monkeypatch.setattr(sampling, "ask", forgetful)
    close(kept, walk())


def test_the_text_is_read_once_in_a_walk(walk, pipeline):
    blocks = pipeline.networks.transformer.transformer_blocks
    read = []
    hook = blocks[0].attn2.to_k.register_forward_hook(lambda *_: read.append(1))
    walk()
    hook.remove()
    assert len(read) == 1
