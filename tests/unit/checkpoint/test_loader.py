import contextlib
import copy
import json
import time
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ltx2.checkpoint.catalog import FINGERPRINT_2_3, FINGERPRINT_EARLY_DISTILLED
from ltx2.checkpoint.components import COMPONENTS, TRANSFORMER, VOCODER
from ltx2.checkpoint.loader import (
    build_audio_connector,
    build_audio_vae,
    build_transformer,
    build_video_connector,
    build_video_vae,
    build_vocoder,
    load_component,
    load_networks,
    load_upsampler,
)
from ltx2.checkpoint.reader import CheckpointFile, fingerprint_of, save_checkpoint
from ltx2.errors import CheckpointError
from ltx2.model.config import FeatureProjectionConfig, UpsamplerConfig
from ltx2.model.text import FeatureProjection, ModalityProjections
from ltx2.model.upsampler import LatentUpsampler
from ltx2.model.video_vae import VideoVAE, VideoVAEConfig
from tests.conftest import ROOT
from tests.tiny_checkpoint import tiny_checkpoint, tiny_config_2_3

CONFIG_2_3 = json.loads((ROOT / "tests" / "fixtures" / "ltx_2_3_22b_config.json").read_text())
CONFIG_19B = json.loads((ROOT / "tests" / "fixtures" / "ltx_2_19b_config.json").read_text())
CHECKPOINT = tiny_checkpoint()


def load(path):
    return load_networks(CheckpointFile.open(path), dtype=torch.float32, device="cpu")


def write(folder, **changes):
    return replace(CHECKPOINT, **changes).write(folder / "model.safetensors")


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    return load(write(tmp_path_factory.mktemp("models")))


def test_every_tensor_of_the_file_arrives_where_it_belongs(networks):
    modules = {
        "transformer": networks.transformer,
        "video connector": networks.video_connector,
        "audio connector": networks.audio_connector,
        "feature projection": networks.projection,
        "video autoencoder": networks.video_vae,
        "audio autoencoder": networks.audio_vae,
        "vocoder": networks.vocoder,
    }
    arrived = {
        component.prefix + name: tensor
        for component in COMPONENTS
        for name, tensor in modules[component.name].state_dict().items()
    }
    assert arrived.keys() == CHECKPOINT.tensors.keys()
    for name, tensor in CHECKPOINT.tensors.items():
        assert arrived[name].dtype == torch.float32
        assert torch.equal(arrived[name], tensor.float()), name


def test_networks_are_ready_to_run_and_not_to_train(networks):
    for module in vars(networks).values():
        assert not module.training
        assert not any(parameter.requires_grad for parameter in module.parameters())
        assert not any(tensor.is_meta for tensor in [*module.parameters(), *module.buffers()])


def names_of(component):
    return [name for name in CHECKPOINT.tensors if component.own({name: None})]


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda c: c.name)
def test_a_missing_tensor_is_named(tmp_path, component):
    missing = names_of(component)[0]
    tensors = {k: v for k, v in CHECKPOINT.tensors.items() if k != missing}
    with pytest.raises(CheckpointError, match=component.name) as caught:
        load(write(tmp_path, tensors=tensors))
    if len(names_of(component)) > 1:
        assert repr(missing.removeprefix(component.prefix)) in str(caught.value)


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda c: c.name)
def test_a_tensor_too_many_is_named(tmp_path, component):
    tensors = CHECKPOINT.tensors | {f"{component.prefix}surprise": torch.zeros(1)}
    with pytest.raises(CheckpointError, match="'surprise' too many"):
        load(write(tmp_path, tensors=tensors))


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda c: c.name)
def test_a_wrong_shape_is_named_with_both_shapes(tmp_path, component):
    name = names_of(component)[0]
    wrong = torch.zeros(3, 5, 7)
    right = list(CHECKPOINT.tensors[name].shape)
    with pytest.raises(CheckpointError) as caught:
        load(write(tmp_path, tensors=CHECKPOINT.tensors | {name: wrong}))
    assert repr(name.removeprefix(component.prefix)) in str(caught.value)
    if component.name != "feature projection":  # its width is read from the tensor
        assert f"[3, 5, 7] instead of {right}" in str(caught.value)


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda c: c.name)
def test_a_file_without_a_component_says_which(tmp_path, component):
    left_out = set(names_of(component))
    tensors = {k: v for k, v in CHECKPOINT.tensors.items() if k not in left_out}
    with pytest.raises(CheckpointError, match=f"has no {component.name}"):
        load(write(tmp_path, tensors=tensors))


def test_many_missing_tensors_are_counted(tmp_path):
    tensors = {k: v for k, v in CHECKPOINT.tensors.items() if "transformer_blocks.1.attn1" not in k}
    with pytest.raises(CheckpointError, match="and 7 more"):
        load(write(tmp_path, tensors=tensors))


def test_tensors_of_nobody_do_no_harm(tmp_path):
    load(write(tmp_path, tensors=CHECKPOINT.tensors | {"other.weight": torch.zeros(1)}))


@pytest.mark.parametrize("section", ["transformer", "vae", "audio_vae", "vocoder"])
@pytest.mark.parametrize("value", [None, {}, [], "text", 5])
def test_a_section_that_says_nonsense_is_refused(tmp_path, section, value):
    config = dict(CHECKPOINT.config) | {section: value}
    with pytest.raises(CheckpointError):
        load(write(tmp_path, config=config))


@given(data=st.data())
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_value_of_another_kind_in_the_configuration_is_refused_or_ignored(tmp_path, data):
    section = data.draw(st.sampled_from(["transformer", "vae", "vocoder"]))
    values = dict(CHECKPOINT.config[section])
    key = data.draw(st.sampled_from(sorted(values)))
    values[key] = data.draw(
        st.sampled_from([None, "x", -1, 0, 1.5, [], {}, [[]], [-3], True, {"a": 1}])
    )
    path = write(tmp_path, config=dict(CHECKPOINT.config) | {section: values})
    with contextlib.suppress(CheckpointError):
        load(path)


@pytest.mark.parametrize(
    ("section", "key", "component"),
    [
        ("transformer", "num_layers", "transformer"),
        ("transformer", "connector_num_layers", "video connector"),
        ("vae", "decoder_blocks", "video autoencoder"),
        ("audio_vae", "num_res_blocks", "audio autoencoder"),
    ],
)
def test_more_layers_than_tensors_are_refused_before_they_are_built(
    tmp_path, section, key, component
):
    config = copy.deepcopy(dict(CHECKPOINT.config))
    values = config[section]
    if section == "audio_vae":
        values = values["model"]["params"]["ddconfig"]
    values[key] = [["res_x", {"num_layers": 10**9}]] if section == "vae" else 10**9
    path = write(tmp_path, config=config)
    start = time.perf_counter()
    with pytest.raises(CheckpointError, match=f"{component}.* = 1,000,000,000, more than"):
        load(path)
    assert time.perf_counter() - start < 1.0


def test_an_upsampler_file_is_loaded_strictly(tmp_path):
    config = {"in_channels": 4, "mid_channels": 32, "num_blocks_per_stage": 1, "dims": 3}
    upsampler = LatentUpsampler(UpsamplerConfig.from_metadata(config))
    path = tmp_path / "upsampler.safetensors"
    save_checkpoint(path, upsampler.state_dict(), {"config": json.dumps(config)})
    loaded = load_upsampler(CheckpointFile.open(path), dtype=torch.float32, device="cpu")
    latents = torch.randn(1, 4, 2, 3, 3)
    assert torch.equal(loaded(latents), upsampler(latents))
    with pytest.raises(CheckpointError, match="latent upsampler"):
        load_upsampler(CheckpointFile.open(write(tmp_path)), dtype=torch.float32, device="cpu")


def test_weights_come_in_the_asked_type_and_integers_stay(tmp_path):
    file = CheckpointFile.open(write(tmp_path))
    for dtype in (torch.bfloat16, torch.float32):
        vocoder = load_component(file, VOCODER, build_vocoder, dtype=dtype, device="cpu")
        assert {tensor.dtype for tensor in vocoder.state_dict().values()} == {dtype}
    transformer = load_component(
        file, TRANSFORMER, build_transformer, dtype=torch.bfloat16, device="cpu"
    )
    assert transformer.transformer_blocks[0].scale_shift_table.dtype == torch.bfloat16


def full_size(config=CONFIG_19B):
    """Names and shapes of everything in the published file, as our classes have them."""
    projection = FeatureProjectionConfig.from_metadata(config)
    is_later = projection.audio_dim is not None
    vae = replace(VideoVAEConfig.from_metadata(config), unused_statistics=not is_later)
    with torch.device("meta"):
        modules = {
            "model.diffusion_model.": build_transformer(config),
            "model.diffusion_model.video_embeddings_connector.": build_video_connector(config),
            "model.diffusion_model.audio_embeddings_connector.": build_audio_connector(config),
            "text_embedding_projection.": (ModalityProjections if is_later else FeatureProjection)(
                projection
            ),
            "vae.": VideoVAE(vae),
            "audio_vae.": build_audio_vae(config),
            "vocoder.": build_vocoder(config),
        }
    return {
        prefix + name: tuple(tensor.shape)
        for prefix, module in modules.items()
        for name, tensor in module.state_dict().items()
    }


CONNECTORS = (
    "model.diffusion_model.video_embeddings_connector.",
    "model.diffusion_model.audio_embeddings_connector.",
    "text_embedding_projection.",
)


def test_the_published_model_has_exactly_the_published_names_and_shapes():
    shapes = full_size()
    assert len(shapes) == 4052
    assert sum(torch.Size(shape).numel() for shape in shapes.values()) == 21_638_971_237
    assert fingerprint_of(shapes.items()) == "aca7b0bbf8415e9c98360750268915fc"


def test_ltx_2_3_has_exactly_the_published_names_and_shapes():
    shapes = full_size(CONFIG_2_3)
    assert len(shapes) == 5947
    assert fingerprint_of(shapes.items()) == FINGERPRINT_2_3 == "f3a83ecf3995dcc4fae2d27e08ad5767"


def test_every_tensor_of_ltx_2_3_arrives_where_it_belongs(tmp_path):
    checkpoint = tiny_checkpoint(config=tiny_config_2_3())
    networks = load(checkpoint.write(tmp_path / "model.safetensors"))
    modules = (
        networks.transformer,
        networks.video_connector,
        networks.audio_connector,
        networks.projection,
        networks.video_vae,
        networks.audio_vae,
        networks.vocoder,
    )
    arrived = {
        component.prefix + name: tensor
        for component, module in zip(COMPONENTS, modules, strict=True)
        for name, tensor in module.state_dict().items()
    }
    assert arrived.keys() == checkpoint.tensors.keys()
    for name, tensor in checkpoint.tensors.items():
        assert torch.equal(arrived[name], tensor.float()), name


@pytest.mark.parametrize(
    ("prefixes", "fingerprint"),
    [
        (("vae.encoder.", "vae.per_channel_"), "7f7e904a53260ec0351b05f32153754b"),
        (("vae.decoder.", "vae.per_channel_"), "dc6029ca2825147872b45e35a2dc3a97"),
        (("audio_vae.encoder.", "audio_vae.per_channel_"), "29338f3b95e7e312a3460a482e4f4554"),
        (("audio_vae.decoder.", "audio_vae.per_channel_"), "7d7823dde8f1ea0b50fb07ac329dd4cb"),
        (("vocoder.",), "f471360f6b24bef702ab73133d9f8bb9"),
        (CONNECTORS, "981629689c8be92a712ab3c5eb4fc3f6"),
    ],
)
def test_each_part_of_the_published_model_has_its_recorded_fingerprint(prefixes, fingerprint):
    part = [(name, shape) for name, shape in full_size().items() if name.startswith(prefixes)]
    assert fingerprint_of(part) == fingerprint


def test_all_tensors_but_the_connectors_under_its_prefix_are_the_transformers():
    names = dict.fromkeys(full_size())
    own = TRANSFORMER.own(names)
    assert len(own) == 3510
    assert not any("connector" in name for name in own)
    assert sum(len(component.own(names)) for component in COMPONENTS) == len(names)


def test_the_first_upload_of_the_distilled_file_has_a_decoder_that_expects_a_noise_level():
    published = full_size()
    early = {**CONFIG_19B, "vae": {**CONFIG_19B["vae"], "timestep_conditioning": True}}
    with torch.device("meta"):
        vae = build_video_vae(early)
    shapes = published | {f"vae.{n}": tuple(t.shape) for n, t in vae.state_dict().items()}
    assert len(shapes) - len(published) == 42
    assert fingerprint_of(shapes.items()) == FINGERPRINT_EARLY_DISTILLED


@pytest.mark.parametrize("said", [True, None])
def test_the_tensors_tell_of_such_a_decoder_where_the_configuration_does_not(tmp_path, said):
    config = copy.deepcopy(dict(CHECKPOINT.config))
    config["vae"]["timestep_conditioning"] = True
    vae = build_video_vae(config)
    if said is None:
        del config["vae"]["timestep_conditioning"]
    tensors = {n: t for n, t in CHECKPOINT.tensors.items() if not n.startswith("vae.")}
    tensors |= {f"vae.{name}": tensor for name, tensor in vae.state_dict().items()}
    networks = load(write(tmp_path, tensors=tensors, config=config))
    assert networks.video_vae.decoder.conditioned
