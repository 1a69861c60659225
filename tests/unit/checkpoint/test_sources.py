"""One model in every layout that people have it in; all must be the same model."""

import json
import shutil

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ltx2
from ltx2.checkpoint import catalog, sources
from ltx2.checkpoint.catalog import find_model, name_of
from ltx2.checkpoint.components import COMPONENTS, TRANSFORMER
from ltx2.checkpoint.convert import write_diffusers_folder, write_single_file
from ltx2.checkpoint.reader import CheckpointFile, save_checkpoint
from ltx2.checkpoint.sources import known_transformer, official_names, open_checkpoint
from ltx2.errors import CheckpointError, RequestError
from tests.tiny_checkpoint import PROFILE, tiny_checkpoint, tiny_config_2_3, write_tiny_model


def a_config():
    """A tiny LTX-2.3 whose autoencoders diffusers can build."""
    config = tiny_config_2_3()
    config["audio_vae"]["model"]["params"]["ddconfig"] |= {
        "ch": 128,
        "ch_mult": [1, 1, 1],
        "num_res_blocks": 1,
    }
    config["vae"]["encoder_base_channels"] = 128
    for name, options in config["vae"]["encoder_blocks"]:
        if name.startswith("compress"):
            options["multiplier"] = 1
    return config


CHECKPOINT = tiny_checkpoint(config=a_config())
SIZES = {"height": 64, "spatial_multiple": 32, "min_size": 64}


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    """Folder of the official layout."""
    profile = PROFILE.model_copy(update=SIZES)
    return write_tiny_model(tmp_path_factory.mktemp("a") / "single", CHECKPOINT, profile=profile)


@pytest.fixture(scope="module")
def diffusers_folder(tmp_path_factory, single):
    folder = tmp_path_factory.mktemp("b") / "theirs"
    write_diffusers_folder(
        open_checkpoint(single / "model.safetensors"), folder, is_distilled=False
    )
    return folder


def same_tensors(file, other):
    assert file.tensors == other.tensors
    one, two = file.read(file.stored), other.read(other.stored)
    assert one.keys() == two.keys()
    return all(torch.equal(one[name], two[name]) for name in one)


def test_a_folder_of_diffusers_is_the_same_model(single, diffusers_folder):
    official, theirs = open_checkpoint(single), open_checkpoint(diffusers_folder)
    assert same_tensors(official, theirs)
    assert theirs.fingerprint == official.fingerprint
    assert theirs.digest == official.digest
    assert find_model(diffusers_folder).name == "theirs"


@pytest.mark.slow
def test_it_makes_the_same_clip_with_the_tokenizer_in_a_folder_of_its_own(
    single, diffusers_folder, tmp_path
):
    shutil.copytree(diffusers_folder, tmp_path / "theirs")
    shutil.copytree(single / "text_encoder", tmp_path / "theirs" / "text_encoder")
    (tmp_path / "theirs" / "tokenizer").mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "theirs/text_encoder" / name).rename(tmp_path / "theirs/tokenizer" / name)
    request = ltx2.Request(
        prompt="a ball", width=64, height=64, num_frames=9, num_steps=1, frame_rate=8.0, seed=1
    )
    guidance = {"video_guidance": ltx2.Guidance(), "audio_guidance": ltx2.Guidance()}
    request = request.model_copy(update=guidance | {"negative_prompt": ""})
    clips = [
        ltx2.load(folder, device="cpu", dtype="float32") for folder in (single, tmp_path / "theirs")
    ]
    one, two = (pipeline(request) for pipeline in clips)
    assert (one.frames == two.frames).all()
    assert (one.waveform == two.waveform).all()


def test_diffusers_loads_what_is_written(diffusers_folder):
    diffusers = pytest.importorskip("diffusers")
    from diffusers.pipelines.ltx2.connectors import LTX2TextConnectors
    from diffusers.pipelines.ltx2.vocoder import LTX2VocoderWithBWE

    kinds = {
        "transformer": diffusers.LTX2VideoTransformer3DModel,
        "connectors": LTX2TextConnectors,
        "vae": diffusers.AutoencoderKLLTX2Video,
        "audio_vae": diffusers.AutoencoderKLLTX2Audio,
        "vocoder": LTX2VocoderWithBWE,
    }
    for name, kind in kinds.items():
        module, told = kind.from_pretrained(diffusers_folder / name, output_loading_info=True)
        assert not told["missing_keys"], name
        assert not told["unexpected_keys"], name
        assert next(module.parameters()).isfinite().all()
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler.from_pretrained(
        diffusers_folder / "scheduler"
    )
    assert scheduler.config.use_dynamic_shifting


def test_back_in_one_file_every_byte_is_there_again(single, diffusers_folder, tmp_path):
    write_single_file(open_checkpoint(diffusers_folder), tmp_path / "again.safetensors")
    assert same_tensors(
        open_checkpoint(single), CheckpointFile.open(tmp_path / "again.safetensors")
    )
    with pytest.raises(RequestError, match="exists already"):
        write_single_file(open_checkpoint(single), tmp_path / "again.safetensors")
    with pytest.raises(RequestError, match="exists already"):
        write_diffusers_folder(open_checkpoint(single), diffusers_folder, is_distilled=True)


def test_in_one_file_a_distilled_model_is_still_one(single, tmp_path, monkeypatch):
    file = open_checkpoint(single)
    write_diffusers_folder(file, tmp_path / "theirs", is_distilled=True)
    write_single_file(open_checkpoint(tmp_path / "theirs"), tmp_path / "again.safetensors")
    monkeypatch.setattr(catalog, "FINGERPRINT_19B", file.fingerprint)
    assert name_of(open_checkpoint(tmp_path / "again.safetensors")) == "ltx-2-19b-distilled"


def test_a_configuration_that_says_nonsense_cannot_be_written(tmp_path):
    save_checkpoint(
        tmp_path / "x.safetensors", {"a": torch.ones(1)}, {"config": '{"transformer": 7}'}
    )
    with pytest.raises(CheckpointError, match=r"x\.safetensors cannot be used"):
        write_diffusers_folder(
            open_checkpoint(tmp_path / "x.safetensors"), tmp_path / "folder", is_distilled=False
        )
    assert not (tmp_path / "folder").exists()


def in_pieces(folder, count=3):
    """The model in pieces with an index, as the Hub's library writes it."""
    folder.mkdir()
    names = sorted(CHECKPOINT.tensors)
    places = {}
    for number in range(count):
        own = names[number::count]
        piece = f"model-{number + 1:05}-of-{count:05}.safetensors"
        metadata = {"config": json.dumps(CHECKPOINT.config)} if number == 1 else {}
        save_checkpoint(folder / piece, {n: CHECKPOINT.tensors[n] for n in own}, metadata)
        places |= dict.fromkeys(own, piece)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": places}))
    return index


def test_pieces_with_an_index_are_the_same_model(single, tmp_path):
    assert same_tensors(open_checkpoint(in_pieces(tmp_path / "pieces")), open_checkpoint(single))


def shortened(component, prefix=""):
    """A network's tensors as programs name them that take it out of the single file."""
    own = component.own(CHECKPOINT.tensors)
    return {prefix + name: CHECKPOINT.tensors[component.prefix + name] for name in own}


PARTS = {component.name: component for component in COMPONENTS}


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("transformer", ""),
        ("transformer", "diffusion_model."),
        ("video connector", "video_embeddings_connector."),
        ("audio connector", "diffusion_model.audio_embeddings_connector."),
        ("video autoencoder", ""),
        ("audio autoencoder", ""),
        ("vocoder", "vocoder."),
    ],
)
def test_networks_taken_out_of_the_file_are_known_by_their_tensors(name, prefix):
    component = PARTS[name]
    tensors = shortened(component, prefix)
    names = official_names(tensors)
    assert {names.get(own, own) for own in tensors} == {
        component.prefix + own for own in component.own(CHECKPOINT.tensors)
    }


@pytest.fixture
def comfyui(tmp_path, monkeypatch):
    """ComfyUI's folder of models with the networks in files of their own, and others between."""
    root = tmp_path / "models"
    for name in ("diffusion_models/ltx", "vae", "text_encoders", "checkpoints"):
        (root / name).mkdir(parents=True)
    save_checkpoint(
        root / "diffusion_models/ltx/transformer_only.safetensors",
        shortened(TRANSFORMER, "model.diffusion_model."),
        {},
    )
    save_checkpoint(root / "vae/video.safetensors", shortened(PARTS["video autoencoder"]), {})
    sound = shortened(PARTS["audio autoencoder"], "audio_vae.")
    save_checkpoint(
        root / "vae/sound.safetensors", sound | shortened(PARTS["vocoder"], "vocoder."), {}
    )
    text = shortened(PARTS["feature projection"], "text_embedding_projection.")
    for modality in ("video", "audio"):
        text |= shortened(PARTS[f"{modality} connector"], f"{modality}_embeddings_connector.")
    save_checkpoint(root / "text_encoders/text.safetensors", text, {})
    save_checkpoint(root / "vae/another.safetensors", {"encoder.x": torch.zeros(1)}, {})
    (root / "vae/broken.safetensors").write_bytes(b"no")
    whole = CheckpointFile.of([(_whole(tmp_path), {})], {})
    parts = {
        sources._fingerprint({c.prefix + n: i for n, i in c.own(whole.tensors).items()})
        for c in COMPONENTS
    }
    monkeypatch.setattr(sources, "_KNOWN_TRANSFORMERS", {known_transformer(whole): "tiny.json"})
    monkeypatch.setattr(sources, "_PARTS", {"tiny.json": parts})
    monkeypatch.setattr(sources, "CONFIGS", tmp_path)
    (tmp_path / "tiny.json").write_text(json.dumps(CHECKPOINT.config))
    return root


def _whole(folder):
    from ltx2.checkpoint.reader import Part

    return Part.open(CHECKPOINT.write(folder / "whole.safetensors"))


def test_a_transformer_in_comfyuis_folders_finds_what_belongs_to_it(comfyui, single):
    path = comfyui / "diffusion_models/ltx/transformer_only.safetensors"
    file = open_checkpoint(path)
    assert same_tensors(file, open_checkpoint(single))
    assert file.config == CHECKPOINT.config
    assert file.path == path
    (comfyui / "vae/video.safetensors").unlink()
    lacking = open_checkpoint(path)
    assert not PARTS["video autoencoder"].own(lacking.tensors)


@pytest.mark.parametrize(
    ("listed", "said"),
    [
        ("{", "cannot be read"),
        ("[]", "not a JSON object"),
        ("{}", "lists no files"),
        ('{"weight_map": {"a": 1}}', "lists no files"),
        ('{"weight_map": {"a": "../a.safetensors"}}', "not the name of a file beside it"),
        ('{"weight_map": {"a": "a.safetensors"}}', "no file"),
        ('{"weight_map": {"gone": "model-00001-of-00003.safetensors"}}', "'gone'"),
    ],
)
def test_an_index_that_lies_is_refused(tmp_path, listed, said):
    index = in_pieces(tmp_path / "pieces")
    index.write_text(listed)
    with pytest.raises(CheckpointError, match=said):
        open_checkpoint(index)


@given(data=st.data())
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_damage_to_a_folder_of_diffusers_is_an_error_of_ours(diffusers_folder, tmp_path, data):
    folder = tmp_path / "broken"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(diffusers_folder, folder, copy_function=_linked)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    victim = data.draw(st.sampled_from(files))
    raw = bytearray(victim.read_bytes())
    victim.unlink()
    change = data.draw(st.sampled_from(["away", "cut", "byte"]))
    if change == "cut":
        victim.write_bytes(raw[: data.draw(st.integers(0, len(raw) - 1))])
    elif change == "byte":
        raw[data.draw(st.integers(0, min(len(raw), 4_000) - 1))] = data.draw(st.integers(0, 255))
        victim.write_bytes(raw)
    try:
        file = open_checkpoint(folder)
        file.fingerprint, file.config  # noqa: B018 - computed when asked for
    except CheckpointError:
        pass


def _linked(source, target):
    import os

    os.link(source, target)
