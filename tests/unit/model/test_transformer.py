import hashlib
from dataclasses import replace

import pytest
import torch

from ltx2.errors import CheckpointError
from ltx2.model.block import Perturbation, Perturbations, PerturbedAttention
from ltx2.model.config import CrossTimestep, StreamConfig, TransformerConfig
from ltx2.model.transformer import ModalityInput, Transformer

TINY = TransformerConfig(
    num_layers=2,
    video=StreamConfig(6, 6, 2, 12, (20.0, 2048.0, 2048.0)),
    audio=StreamConfig(5, 5, 2, 8, (20.0,)),
    caption_channels=10,
)

METADATA_19B = {
    "activation_fn": "gelu-approximate",
    "attention_bias": True,
    "attention_head_dim": 128,
    "audio_attention_head_dim": 64,
    "audio_cross_attention_dim": 2048,
    "audio_num_attention_heads": 32,
    "audio_out_channels": 128,
    "audio_positional_embedding_max_pos": [20],
    "av_ca_timestep_scale_multiplier": 1000.0,
    "av_cross_ada_norm": True,
    "caption_channels": 3840,
    "cross_attention_dim": 4096,
    "frequencies_precision": "float64",
    "in_channels": 128,
    "norm_eps": 1e-06,
    "num_attention_heads": 32,
    "num_layers": 48,
    "out_channels": 128,
    "positional_embedding_max_pos": [20, 2048, 2048],
    "positional_embedding_theta": 10000.0,
    "positional_embedding_type": "rope",
    "qk_norm": "rms_norm",
    "rope_type": "split",
    "timestep_scale_multiplier": 1000,
    "use_audio_video_cross_attention": True,
    "use_middle_indices_grid": True,
}


def fingerprint(module, prefix):
    names = {prefix + name: tensor.shape for name, tensor in module.state_dict().items()}
    shapes = [f"{name}:{'_'.join(map(str, shape))}" for name, shape in names.items()]
    return hashlib.md5(",".join(sorted([*names, *shapes])).encode()).hexdigest()


@pytest.fixture(scope="module")
def transformer():
    """A small transformer in which every parameter matters."""
    torch.manual_seed(0)
    transformer = Transformer(TINY)
    for name, parameter in transformer.named_parameters():
        if "table" in name:
            torch.nn.init.normal_(parameter)
    return transformer


def modality(channels, axes, *, batch=2, tokens=4, seed=1, sigmas=(0.8, 0.3)):
    generator = torch.Generator().manual_seed(seed)
    start = torch.rand(1, axes, tokens, 1, generator=generator)
    sigma = torch.tensor(sigmas[:batch])
    return ModalityInput(
        tokens=torch.randn(batch, tokens, channels, generator=generator),
        timesteps=sigma[:, None].expand(batch, tokens),
        sigma=sigma,
        positions=torch.cat([start, start + 0.1], dim=-1),
        context=torch.randn(batch, 3, 10, generator=generator),
    )


def a_batch():
    return modality(6, 3), modality(5, 1, tokens=3, seed=2)


def sample(batch_input, index):
    keep = slice(index, index + 1)
    return replace(
        batch_input,
        tokens=batch_input.tokens[keep],
        timesteps=batch_input.timesteps[keep],
        sigma=batch_input.sigma[keep],
        context=batch_input.context[keep],
    )


def with_clean_first_token(video):
    timesteps = video.timesteps.clone()
    timesteps[:, 0] = 0.0
    return replace(video, timesteps=timesteps)


def skipping(*samples):
    return Perturbations(tuple(tuple(Perturbation(a) for a in sample) for sample in samples))


@torch.no_grad()
def velocities(transformer, video, audio, *perturbations):
    return transformer(video, audio, *perturbations)


def test_the_default_architecture_has_the_published_names_and_shapes():
    with torch.device("meta"):
        transformer = Transformer(TransformerConfig())
    assert fingerprint(transformer, "model.diffusion_model.") == "c567aaa37d5ed7454c73aa6024458661"
    assert len(transformer.state_dict()) == 3510
    assert sum(p.numel() for p in transformer.parameters()) == 18_876_174_592


@pytest.mark.parametrize("section", [METADATA_19B, {}])
def test_published_metadata_and_absent_keys_both_mean_the_published_model(section):
    assert TransformerConfig.from_metadata({"transformer": section}) == TransformerConfig()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rope_type", "interleaved"),
        ("frequencies_precision", "float32"),
        ("apply_gated_attention", "yes"),
        ("cross_attention_adaln", 1),
        ("use_prompt_adaln_single", False),
        ("qk_norm", "layer_norm"),
        ("cross_attention_dim", 1024),
        ("use_middle_indices_grid", False),
    ],
)
def test_metadata_that_would_change_the_computation_is_refused_by_name(key, value):
    with pytest.raises(CheckpointError, match=key):
        TransformerConfig.from_metadata({"transformer": METADATA_19B | {key: value}})


def test_a_checkpoint_without_a_transformer_section_is_refused():
    with pytest.raises(CheckpointError, match="transformer"):
        TransformerConfig.from_metadata({"vae": {}})


def test_velocities_have_the_shape_of_the_tokens_and_their_own_channels():
    config = replace(TINY, video=replace(TINY.video, out_channels=7))
    video, audio = velocities(Transformer(config), *a_batch())
    assert video.shape == (2, 4, 7)
    assert audio.shape == (2, 3, 5)


def test_every_parameter_takes_part_in_the_result(transformer):
    transformer.zero_grad()
    video, audio = transformer(*a_batch())
    (video.square().sum() + audio.square().sum()).backward()
    without = [
        name
        for name, parameter in transformer.named_parameters()
        if parameter.grad is None or parameter.grad.abs().max() == 0
    ]
    assert without == []


def test_a_batch_gives_what_its_samples_give_alone(transformer):
    video, audio = a_batch()
    video = with_clean_first_token(video)
    together = velocities(transformer, video, audio)
    for index in range(2):
        alone = velocities(transformer, sample(video, index), sample(audio, index))
        torch.testing.assert_close(together[0][index], alone[0][0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(together[1][index], alone[1][0], atol=1e-5, rtol=1e-5)


def test_a_token_on_another_noise_level_changes_the_result(transformer):
    video, audio = a_batch()
    usual = velocities(transformer, video, audio)
    mixed = velocities(transformer, with_clean_first_token(video), audio)
    assert (usual[0] - mixed[0]).abs().max() > 1e-3


def test_timestep_conventions_agree_at_one_noise_level_and_differ_with_clean_tokens(transformer):
    video, audio = a_batch()
    conditioned = with_clean_first_token(video)
    uniform, mixed = [], []
    for choice in CrossTimestep:
        variant = Transformer(replace(TINY, cross_timestep=choice))
        variant.load_state_dict(transformer.state_dict())
        uniform.append(velocities(variant, video, audio)[0])
        mixed.append(velocities(variant, conditioned, audio)[0])
    torch.testing.assert_close(uniform[0], uniform[1])
    torch.testing.assert_close(uniform[0], uniform[2])
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert (mixed[one] - mixed[other]).abs().max() > 1e-4


def test_one_modality_alone_is_as_if_the_two_could_not_see_each_other(transformer):
    video, audio = a_batch()
    both = (PerturbedAttention.AUDIO_TO_VIDEO, PerturbedAttention.VIDEO_TO_AUDIO)
    apart = velocities(transformer, video, audio, skipping(both, both))
    video_alone, nothing = velocities(transformer, video, None)
    assert nothing is None
    torch.testing.assert_close(video_alone, apart[0])
    torch.testing.assert_close(velocities(transformer, None, audio)[1], apart[1])
    together = velocities(transformer, video, audio)
    assert (together[0] - apart[0]).abs().max() > 1e-3
    assert (together[1] - apart[1]).abs().max() > 1e-3


def test_a_disabled_modality_is_heard_but_does_not_listen(transformer):
    video, audio = a_batch()
    frozen = replace(audio, enabled=False)
    other_video = replace(video, tokens=video.tokens + 1)
    one = velocities(transformer, video, frozen)
    other = velocities(transformer, other_video, frozen)
    torch.testing.assert_close(one[1], other[1])
    louder = velocities(transformer, video, replace(frozen, tokens=audio.tokens * 3))
    assert (one[0] - louder[0]).abs().max() > 1e-3


@pytest.mark.parametrize("attention", list(PerturbedAttention))
def test_a_perturbation_changes_the_samples_it_names_and_no_other(transformer, attention):
    video, audio = a_batch()
    usual = velocities(transformer, video, audio)
    perturbed = velocities(transformer, video, audio, skipping((attention,), ()))
    everywhere = velocities(transformer, video, audio, skipping((attention,), (attention,)))
    changes = [(a - b).abs().amax((1, 2)) for a, b in zip(usual, perturbed, strict=True)]
    assert max(change[0] for change in changes) > 1e-3
    assert max(change[1] for change in changes) < 1e-5
    torch.testing.assert_close(perturbed[0][0], everywhere[0][0])
    torch.testing.assert_close(perturbed[1][0], everywhere[1][0])


def test_a_perturbation_is_confined_to_its_blocks(transformer):
    video, audio = a_batch()
    usual = velocities(transformer, video, audio)[0]
    attention = PerturbedAttention.VIDEO_SELF
    absent = Perturbations(((Perturbation(attention, frozenset({7})),),) * 2)
    torch.testing.assert_close(velocities(transformer, video, audio, absent)[0], usual)
    second = Perturbations(((Perturbation(attention, frozenset({1})),),) * 2)
    assert (velocities(transformer, video, audio, second)[0] - usual).abs().max() > 1e-3


def test_dropping_self_attention_is_not_the_same_as_passing_its_values(transformer):
    video, audio = a_batch()
    passing = skipping((PerturbedAttention.VIDEO_SELF,), (PerturbedAttention.VIDEO_SELF,))
    dropping = replace(passing, drop_self_attention=True)
    passed = velocities(transformer, video, audio, passing)[0]
    dropped = velocities(transformer, video, audio, dropping)[0]
    assert (passed - dropped).abs().max() > 1e-3


def test_masked_text_has_no_influence(transformer):
    video, audio = a_batch()
    mask = torch.tensor([[1, 1, 0], [0, 1, 1]])
    changed = video.context + 5 * (1 - mask)[:, :, None]
    one = velocities(transformer, replace(video, context_mask=mask), audio)[0]
    other = velocities(transformer, replace(video, context_mask=mask, context=changed), audio)[0]
    torch.testing.assert_close(one, other)
    unmasked = velocities(transformer, replace(video, context=changed), audio)[0]
    assert (unmasked - one).abs().max() > 1e-3


def test_a_step_in_mixed_precision_trains_and_leaves_the_batch_alone(transformer):
    transformer.zero_grad()
    video, audio = a_batch()
    before = video.tokens.clone()
    with torch.autocast("cpu", torch.bfloat16):
        outputs = transformer(video, audio)
        loss = sum(output.float().square().mean() for output in outputs)
    loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in transformer.parameters())
    torch.testing.assert_close(video.tokens, before)
    exact = velocities(transformer, video, audio)
    for output, expected in zip(outputs, exact, strict=True):
        torch.testing.assert_close(output.float(), expected, atol=0.1, rtol=0.1)


def test_building_without_memory_and_assigning_weights_gives_the_same_network(transformer):
    with torch.device("meta"):
        other = Transformer(TINY)
    other.load_state_dict(transformer.state_dict(), assign=True)
    expected = velocities(transformer, *a_batch())
    torch.testing.assert_close(velocities(other, *a_batch()), expected)


def test_the_modalities_meet_in_time_only(transformer):
    video, audio = a_batch()
    # Without its self-attention a picture's tokens know their place from meeting the sound only.
    blind = skipping((PerturbedAttention.VIDEO_SELF,), (PerturbedAttention.VIDEO_SELF,))
    elsewhere, later = video.positions.clone(), video.positions.clone()
    elsewhere[:, 1:, 0] += 700
    later[:, 0, 0] += 7
    usual = velocities(transformer, video, audio, blind)[0]
    moved = velocities(transformer, replace(video, positions=elsewhere), audio, blind)[0]
    torch.testing.assert_close(moved, usual)
    delayed = velocities(transformer, replace(video, positions=later), audio, blind)[0]
    assert (delayed - usual).abs().max() > 1e-4


def test_the_gates_between_the_modalities_have_their_own_timestep_scale(transformer):
    variant = Transformer(replace(TINY, cross_gate_timestep_scale=1.0))
    variant.load_state_dict(transformer.state_dict())
    video, audio = a_batch()
    alone = velocities(variant, video, None)[0]
    torch.testing.assert_close(alone, velocities(transformer, video, None)[0])
    difference = velocities(variant, video, audio)[0] - velocities(transformer, video, audio)[0]
    assert difference.abs().max() > 1e-3
