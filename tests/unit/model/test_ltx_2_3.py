"""Every network of LTX-2.3 against diffusers', small, with the same random weights."""

import pytest
import torch

from ltx2.checkpoint.keymaps import to_diffusers
from ltx2.checkpoint.loader import load_networks
from ltx2.checkpoint.reader import CheckpointFile
from ltx2.model.block import Perturbation, Perturbations, PerturbedAttention
from ltx2.model.config import CrossTimestep
from ltx2.model.transformer import ModalityInput
from ltx2.model.video_vae.layers import Downsample
from tests.tiny_checkpoint import tiny_checkpoint, tiny_config_2_3

diffusers = pytest.importorskip("diffusers")

TOLERANCE = {"atol": 2e-5, "rtol": 2e-5}
"""Both compute in float32, in another order."""

CONFIG = tiny_config_2_3()
TRANSFORMER = CONFIG["transformer"]
STATES = 3


@pytest.fixture(scope="module")
def checkpoint():
    tiny = tiny_checkpoint(STATES, CONFIG)
    generator = torch.Generator().manual_seed(1)
    for name, tensor in tiny.tensors.items():
        if "table" in name or name.endswith(("alpha", "beta")):  # that zeros would hide
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.3)
        if "transformer_blocks" in name and name.endswith("norm.weight"):
            tensor.copy_(1 + torch.randn(tensor.shape, generator=generator) * 0.3)
    return tiny


@pytest.fixture(scope="module")
def networks(checkpoint, tmp_path_factory):
    path = checkpoint.write(tmp_path_factory.mktemp("model") / "model.safetensors")
    return load_networks(CheckpointFile.open(path), dtype=torch.float32, device="cpu")


@pytest.fixture(scope="module")
def of_diffusers(checkpoint):
    """Loads the weights of one folder into a module of diffusers, strictly."""
    places = to_diffusers(checkpoint.tensors)

    def load(folder, module):
        weights = {
            name: checkpoint.tensors[official].float()
            for official, (place, name) in places.items()
            if place == folder
        }
        module.load_state_dict(weights, strict=True)
        return module.eval()

    return load


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def their_transformer(of_diffusers):
    return of_diffusers(
        "transformer",
        diffusers.LTX2VideoTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=24,
            cross_attention_dim=48,
            audio_num_attention_heads=2,
            audio_attention_head_dim=16,
            audio_cross_attention_dim=32,
            num_layers=2,
            caption_channels=TRANSFORMER["caption_channels"],
            gated_attn=True,
            cross_attn_mod=True,
            audio_gated_attn=True,
            audio_cross_attn_mod=True,
            use_prompt_embeddings=False,
            perturbed_attn=True,
            rope_type="split",
        ),
    )


def modality(num_tokens, dim, axes, sigma, seed):
    positions = random(2, axes, num_tokens, 2, seed=seed).abs().cumsum(dim=2)
    timesteps = torch.full((2, num_tokens), sigma)
    timesteps[:, :2] = 0.0  # given tokens
    return ModalityInput(
        tokens=random(2, num_tokens, 128, seed=seed + 1),
        timesteps=timesteps,
        sigma=torch.tensor([sigma, sigma / 2]),
        positions=positions,
        context=random(2, 5, dim, seed=seed + 2),
    )


@pytest.mark.parametrize("perturbed", [False, True])
@torch.no_grad()
def test_the_transformer(networks, of_diffusers, perturbed):
    ours, theirs = networks.transformer, their_transformer(of_diffusers)
    video, audio = modality(12, 48, 3, 0.8, 10), modality(7, 32, 1, 0.6, 20)
    choice = CrossTimestep.OWN  # what diffusers has without `use_cross_timestep`
    object.__setattr__(ours.config, "cross_timestep", choice)
    skipped = tuple(
        Perturbation(kind, frozenset({1}))
        for kind in (PerturbedAttention.VIDEO_SELF, PerturbedAttention.AUDIO_SELF)
    )
    outputs = ours(video, audio, Perturbations((skipped, ())) if perturbed else Perturbations())
    expected = theirs(
        hidden_states=video.tokens,
        audio_hidden_states=audio.tokens,
        encoder_hidden_states=video.context,
        audio_encoder_hidden_states=audio.context,
        timestep=1000 * video.timesteps,
        audio_timestep=1000 * audio.timesteps,
        sigma=1000 * video.sigma,
        audio_sigma=1000 * audio.sigma,
        video_coords=video.positions,
        audio_coords=audio.positions,
        spatio_temporal_guidance_blocks=[1] if perturbed else None,
        perturbation_mask=torch.tensor([0.0, 1.0]) if perturbed else None,
        return_dict=False,
    )
    for actual, wanted in zip(outputs, expected, strict=True):
        assert wanted.std() > 0.1
        torch.testing.assert_close(actual, wanted, **TOLERANCE)


@torch.no_grad()
def test_the_text_features_and_connectors(networks, of_diffusers):
    from diffusers.pipelines.ltx2.connectors import LTX2TextConnectors

    width = TRANSFORMER["caption_channels"]
    theirs = of_diffusers(
        "connectors",
        LTX2TextConnectors(
            caption_channels=width,
            text_proj_in_factor=STATES,
            video_connector_num_attention_heads=2,
            video_connector_attention_head_dim=24,
            video_connector_num_layers=2,
            video_connector_num_learnable_registers=128,
            video_gated_attn=True,
            audio_connector_num_attention_heads=2,
            audio_connector_attention_head_dim=16,
            audio_connector_num_layers=2,
            audio_connector_num_learnable_registers=128,
            audio_gated_attn=True,
            connector_rope_base_seq_len=4096,
            rope_theta=10000.0,
            rope_double_precision=True,
            causal_temporal_positioning=False,
            rope_type="split",
            per_modality_projections=True,
            video_hidden_dim=48,
            audio_hidden_dim=32,
            proj_bias=True,
        ),
    )
    states, mask = random(2, 256, width, STATES), torch.ones(2, 256, dtype=torch.long)
    mask[0, :200] = mask[1, :90] = 0
    video, audio = networks.projection(states, mask)
    actual = networks.video_connector(video, mask), networks.audio_connector(audio, mask)
    for ours, wanted in zip(actual, theirs(states, mask)[:2], strict=True):
        torch.testing.assert_close(ours, wanted, **TOLERANCE)


@torch.no_grad()
def test_the_video_decoder(networks, checkpoint):
    from diffusers.models.autoencoders.autoencoder_kl_ltx2 import LTX2VideoDecoder3d

    theirs = LTX2VideoDecoder3d(
        in_channels=128,
        block_out_channels=(16, 32, 32, 64),
        spatio_temporal_scaling=(True, True, True, True),
        layers_per_block=(1, 1, 1, 1, 1),
        upsample_type=("spatiotemporal", "spatiotemporal", "temporal", "spatial"),
        inject_noise=(False, False, False, False, False),
        upsample_residual=(False, False, False, False),
        upsample_factor=(2, 2, 1, 2),
        spatial_padding_mode="zeros",
    )
    weights = {
        name.removeprefix("decoder."): checkpoint.tensors[official].float()
        for official, (place, name) in to_diffusers(checkpoint.tensors).items()
        if place == "vae" and name.startswith("decoder.")
    }
    theirs.load_state_dict(weights, strict=True)
    vae = networks.video_vae
    latents = random(1, 128, 3, 2, 3)
    expected = theirs(vae.denormalise(latents), causal=False)
    assert expected.shape == (1, 3, 17, 64, 96)
    # Norms of each pixel amplify differences of rounding, as in the recorded cases.
    torch.testing.assert_close(vae.decode(latents), expected, atol=2e-4, rtol=2e-4)


@torch.no_grad()
def test_a_step_of_the_video_encoder_that_keeps_its_channels():
    """The one part of the encoder that the 19B does not have."""
    from diffusers.models.autoencoders.autoencoder_kl_ltx2 import LTX2VideoDownsampler3d

    theirs = LTX2VideoDownsampler3d(
        in_channels=16, out_channels=16, stride=(2, 2, 2), spatial_padding_mode="zeros"
    )
    ours = Downsample(16, 16, stride=(2, 2, 2), padding="zeros")
    ours.load_state_dict(theirs.state_dict())
    features = random(1, 16, 5, 6, 4)
    torch.testing.assert_close(ours(features), theirs(features, causal=True), **TOLERANCE)


@torch.no_grad()
def test_the_vocoder_up_to_48_khz(networks, of_diffusers):
    from diffusers.pipelines.ltx2.vocoder import LTX2VocoderWithBWE

    theirs = of_diffusers(
        "vocoder",
        # The released code limits the first waveform, which diffusers' configuration leaves out.
        LTX2VocoderWithBWE(hidden_channels=128, bwe_hidden_channels=64, final_act_fn="clamp"),
    )
    mel = random(2, 2, 11, 64) * 2
    expected = theirs(mel)
    assert networks.vocoder.sample_rate == 48_000
    assert expected.shape == (2, 2, 11 * 480)
    assert expected.std() > 1e-3
    torch.testing.assert_close(networks.vocoder(mel), expected, **TOLERANCE)


def test_the_filters_and_bases_are_the_ones_that_files_store():
    """What this code draws where nothing is loaded, for training and tests."""
    from diffusers.pipelines.ltx2.vocoder import DownSample1d, UpSample1d

    from ltx2.model import wideband_vocoder as ours

    stored = DownSample1d(ratio=2, kernel_size=12).filter
    torch.testing.assert_close(ours._halfband_filter(), stored, atol=1e-6, rtol=1e-5)
    resampler = UpSample1d(ratio=3, window_type="hann")
    waveform = random(1, 2, 400)
    torch.testing.assert_close(ours.resampled(waveform, 3), resampler(waveform), **TOLERANCE)
