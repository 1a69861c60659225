import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ltx2.diffusion.guidance import (
    Pass,
    batched_perturbations,
    guided,
    guided_prediction,
    needed_passes,
    perturbations,
)
from ltx2.diffusion.state import Joint, LatentState
from ltx2.model.block import PerturbedAttention
from ltx2.request import Guidance

OFF = Guidance()
EVERYTHING = Guidance(
    cfg_scale=3.0, stg_scale=1.0, modality_scale=3.0, rescale=0.7, stg_blocks=(1,)
)


def estimates(*passes):
    generator = torch.Generator().manual_seed(0)
    return {kind: torch.randn(1, 6, 4, generator=generator) for kind in passes or Pass}


def a_state(num_tokens=6, mask=None):
    clean = torch.zeros(1, num_tokens, 4)
    mask = torch.ones(1, num_tokens, 1) if mask is None else mask
    tokens = torch.randn(1, num_tokens, 4, generator=torch.Generator().manual_seed(3))
    return LatentState(tokens, clean, mask, torch.zeros(1, 1, num_tokens, 2))


@given(st.floats(0.0, 1.0))
def test_scales_that_are_off_are_the_identity(rescale):
    passes = estimates()
    assert torch.equal(guided(passes, Guidance(rescale=rescale)), passes[Pass.CONDITIONAL])
    alone = estimates(Pass.CONDITIONAL)
    assert torch.equal(guided(alone, OFF), alone[Pass.CONDITIONAL])


@pytest.mark.parametrize(
    ("scales", "factor", "against"),
    [
        (Guidance(cfg_scale=4.0), 3.0, Pass.NEGATIVE),
        (Guidance(cfg_scale=0.0), -1.0, Pass.NEGATIVE),
        (Guidance(stg_scale=1.5, stg_blocks=(0,)), 1.5, Pass.PERTURBED),
        (Guidance(modality_scale=3.0), 2.0, Pass.ISOLATED),
    ],
)
def test_each_scale_moves_away_from_its_own_pass(scales, factor, against):
    passes = estimates()
    conditional = passes[Pass.CONDITIONAL]
    expected = conditional + factor * (conditional - passes[against])
    assert torch.allclose(guided(passes, scales), expected)
    assert needed_passes(Joint(scales, OFF)) == (Pass.CONDITIONAL, against)


def test_full_rescale_restores_the_spread_of_the_conditional_estimate():
    passes = estimates()
    scales = Guidance(cfg_scale=7.0)
    strong = guided(passes, scales)
    full = guided(passes, scales.model_copy(update={"rescale": 1.0}))
    half = guided(passes, scales.model_copy(update={"rescale": 0.5}))
    assert float(full.std()) == pytest.approx(float(passes[Pass.CONDITIONAL].std()), rel=1e-5)
    assert torch.allclose(half, (strong + full) / 2, atol=1e-5)


def test_a_pass_that_nobody_needs_is_not_made():
    assert needed_passes(Joint(OFF, OFF)) == (Pass.CONDITIONAL,)
    assert needed_passes(Joint(OFF, EVERYTHING)) == tuple(Pass)
    # Disturbing no block would repeat the conditional pass.
    assert needed_passes(Joint(Guidance(stg_scale=1.0), OFF)) == (Pass.CONDITIONAL,)


def test_a_pass_that_only_the_sound_needs_leaves_the_picture_alone():
    asked = []

    def network(states, sigma, passes):
        asked.extend(passes)
        return {
            kind: Joint(*(torch.full_like(state.tokens, offset) for state in states))
            for offset, kind in enumerate(passes, start=1)
        }

    states = Joint(a_state(), a_state(3))
    predict = guided_prediction(network, Joint(OFF, Guidance(cfg_scale=2.0)))
    denoised = predict(states, 0.5)
    assert asked == [Pass.CONDITIONAL, Pass.NEGATIVE]
    assert torch.allclose(denoised.video, states.video.tokens - 0.5)
    assert torch.allclose(denoised.audio, states.audio.tokens - 0.5 + 0.5)


def test_estimates_use_each_tokens_own_noise_level():
    mask = torch.ones(1, 6, 1)
    mask[:, :2] = 0.0

    def network(states, sigma, passes):
        return {kind: Joint(*(torch.ones_like(s.tokens) for s in states)) for kind in passes}

    states = Joint(a_state(mask=mask), a_state(3))
    denoised = guided_prediction(network, Joint(OFF, OFF))(states, 0.5)
    assert torch.equal(denoised.video[:, :2], states.video.tokens[:, :2])
    assert torch.allclose(denoised.video[:, 2:], states.video.tokens[:, 2:] - 0.5)


def test_the_perturbed_pass_disturbs_the_blocks_of_each_modality():
    guidance = Joint(
        Guidance(stg_scale=1.0, stg_blocks=(2, 3)), Guidance(stg_scale=1.0, stg_blocks=(4,))
    )
    plan = perturbations(Pass.PERTURBED, guidance)
    video, audio = PerturbedAttention.VIDEO_SELF, PerturbedAttention.AUDIO_SELF
    assert [plan.in_block(block).skips(video) for block in (2, 3, 4)] == [
        (True,),
        (True,),
        (False,),
    ]
    assert [plan.in_block(block).skips(audio) for block in (2, 3, 4)] == [
        (False,),
        (False,),
        (True,),
    ]
    assert not any(plan.in_block(2).skips(PerturbedAttention.AUDIO_TO_VIDEO))
    only_video = perturbations(Pass.PERTURBED, Joint(guidance.video, OFF))
    assert not any(only_video.in_block(4).skips(audio))


def test_the_isolated_pass_cuts_both_directions_in_every_block():
    plan = perturbations(Pass.ISOLATED, Joint(EVERYTHING, OFF))
    for attention in (PerturbedAttention.AUDIO_TO_VIDEO, PerturbedAttention.VIDEO_TO_AUDIO):
        assert plan.in_block(0).skips(attention) == plan.in_block(47).skips(attention) == (True,)
    assert not any(plan.in_block(1).skips(PerturbedAttention.VIDEO_SELF))


@pytest.mark.parametrize("kind", [Pass.CONDITIONAL, Pass.NEGATIVE])
def test_passes_with_text_disturb_nothing(kind):
    plan = perturbations(kind, Joint(EVERYTHING, EVERYTHING))
    assert not any(any(plan.in_block(1).skips(attention)) for attention in PerturbedAttention)


def test_a_modality_that_skips_steps_takes_its_last_estimate_again():
    asked = []

    def network(states, sigma, passes):
        asked.append(passes)
        value = float(len(asked))
        return {kind: Joint(*(torch.full_like(s.tokens, value) for s in states)) for kind in passes}

    scales = Joint(Guidance(cfg_scale=2.0, skip_steps=2), Guidance(skip_steps=1))
    predict = guided_prediction(network, scales)
    states = Joint(a_state(), a_state(3))
    estimates = [predict(states, 0.5) for _ in range(6)]
    # The picture is due at steps 0 and 3, the sound at 0, 2 and 4; nobody asks at 1 and 5.
    both, alone = (Pass.CONDITIONAL, Pass.NEGATIVE), (Pass.CONDITIONAL,)
    assert asked == [both, alone, both, alone]
    for modality, sources in ((0, (0, 0, 0, 3, 3, 3)), (1, (0, 0, 2, 2, 4, 4))):
        for step, source in enumerate(sources):
            assert torch.equal(estimates[step][modality], estimates[source][modality])
    assert not torch.equal(estimates[3].video, estimates[0].video)


@pytest.mark.parametrize(("mode", "is_asked"), [("values", True), ("drop", True), ("none", False)])
def test_each_published_meaning_of_a_disturbed_pass_is_one_setting(mode, is_asked):
    scales = Guidance(stg_scale=1.0, stg_blocks=(1,), stg_mode=mode)
    assert (Pass.PERTURBED in needed_passes(Joint(scales, OFF))) == is_asked
    plan = batched_perturbations(tuple(Pass), Joint(scales, OFF))
    assert plan.drop_self_attention == (mode == "drop")
    if is_asked:
        skips = plan.in_block(1).skips(PerturbedAttention.VIDEO_SELF)
        assert skips == (False, False, True, False)
