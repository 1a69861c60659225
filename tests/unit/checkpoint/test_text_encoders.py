"""Single files of Gemma 3 as ComfyUI has them, with and without their tokenizer."""

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Gemma3TextConfig, Gemma3TextModel
from typer.testing import CliRunner

import ltx2
from ltx2.__main__ import app
from ltx2.checkpoint.catalog import find_model
from ltx2.checkpoint.layouts import describe
from ltx2.checkpoint.text_encoders import (
    GEMMA_3,
    find_text_encoder,
    identity_of_text_encoder,
    open_text_encoder,
)
from ltx2.checkpoint.text_loader import load_text_encoder
from ltx2.errors import CheckpointError
from ltx2.model.quantized import quantize
from ltx2.model.text.encoder import build_text_model
from ltx2.runtime.offload import stream_text_encoder
from ltx2.training.puppet.architecture import TEXT_WIDTH
from tests.conftest import ROOT
from tests.tiny_checkpoint import write_tiny_model
from tests.unit.checkpoint.test_quantized import nvfp4

NO_FIT = "cannot be used|not fit"
SPIECE = (ROOT / "tests" / "fixtures" / "sentencepiece" / "tokenizer.model").read_bytes()
PROMPT = "a red puppet says hello"


def a_gemma():
    torch.manual_seed(0)
    config = Gemma3TextConfig(
        **GEMMA_3,
        vocab_size=460,
        hidden_size=TEXT_WIDTH,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        query_pre_attn_scalar=16,
    )
    return Gemma3TextModel(config).eval()


def tensors_of(gemma, *, spiece=True, prefix="model."):
    """As ComfyUI writes them: the picture encoder beside, and the tokenizer in bytes."""
    tensors = {f"{prefix}{n}": t.bfloat16().contiguous() for n, t in gemma.state_dict().items()}
    tensors["vision_model.embeddings.patch_embedding.weight"] = torch.zeros(4, 3)
    tensors["multi_modal_projector.mm_soft_emb_norm.weight"] = torch.zeros(4)
    if spiece:
        tensors["spiece_model"] = torch.frombuffer(bytearray(SPIECE), dtype=torch.uint8)
    return tensors


def in_fewer_bits(tensors, kind):
    """Weights of layers as `fp8_scaled` files of both ages and `fp4_mixed` ones have them."""
    made = {"scaled_fp8": torch.zeros(2, dtype=torch.float8_e4m3fn)} if kind == "old fp8" else {}
    for name, tensor in tensors.items():
        module = name.removesuffix(".weight")
        if "layers." not in name or tensor.ndim != 2:
            made[name] = tensor
        elif kind == "nvfp4":
            made |= nvfp4(name, tensor.float())[0]
        else:
            bits = quantize(tensor, "fp8")
            scale = bits["weight_scale"].amax()
            values = (tensor.float() / scale).clamp(-448, 448).to(torch.float8_e4m3fn)
            ending = "scale_weight" if kind == "old fp8" else "weight_scale"
            made |= {name: values, f"{module}.{ending}": scale}
            if kind != "old fp8":
                made[f"{module}.comfy_quant"] = torch.zeros(3, dtype=torch.uint8)
    return made


def states(encoder):
    return encoder.encode([PROMPT]).hidden_states


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of files, by what is in them."""
    folder = tmp_path_factory.mktemp("text_encoders")
    whole = tensors_of(a_gemma())
    save_file(whole, folder / "whole.safetensors")
    save_file(tensors_of(a_gemma(), spiece=False), folder / "mute.safetensors")
    save_file(tensors_of(a_gemma(), prefix="language_model.model."), folder / "other.safetensors")
    for kind in ("fp8", "old fp8", "nvfp4"):
        save_file(in_fewer_bits(whole, kind), folder / f"{kind}.safetensors")
    return folder


def expected(ids):
    """All hidden states, by the weights as they are stored."""
    gemma = a_gemma()
    for weights in gemma.parameters():
        weights.data = weights.data.bfloat16().float()
    with torch.no_grad():
        outputs = gemma(input_ids=torch.tensor([ids]), output_hidden_states=True, use_cache=False)
    return torch.stack(outputs.hidden_states, dim=-1)


@pytest.mark.parametrize("name", ["whole", "other"])
def test_a_single_file_reads_prompts_as_its_gemma_and_its_tokenizer_do(folder, name):
    encoder = load_text_encoder(folder / f"{name}.safetensors", dtype=torch.float32, device="cpu")
    ids, mask = encoder.tokenize([PROMPT])
    assert ids[0, 0] == 2
    assert mask.all()
    assert encoder.max_tokens == 1024
    made = states(encoder)[:, -ids.shape[1] :]
    torch.testing.assert_close(made, expected(ids[0].tolist()), atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize(("kind", "error"), [("fp8", 0.1), ("old fp8", 0.1), ("nvfp4", 0.3)])
def test_fewer_bits_stay_so_and_differ_little(folder, kind, error):
    path = folder / f"{kind}.safetensors"
    narrow = load_text_encoder(path, dtype=torch.float32, device="cpu")
    whole = load_text_encoder(folder / "whole.safetensors", dtype=torch.float32, device="cpu")
    kinds = {type(m).__name__ for m in narrow.model.layers[0].modules()}
    assert ("NVFP4Linear" if kind == "nvfp4" else "QuantizedLinear") in kinds
    a, b = states(narrow), states(whole)
    assert 0.0 < float((a - b).norm() / b.norm()) < error
    assert describe(path).quantized == {"nvfp4" if kind == "nvfp4" else "fp8": 14}


@pytest.mark.parametrize("name", ["whole", "fp8"])
def test_weights_that_stay_in_the_file_visit_with_the_same_result(folder, name):
    path = folder / f"{name}.safetensors"
    here = load_text_encoder(path, dtype=torch.bfloat16, device="cpu")
    visiting = load_text_encoder(path, dtype=torch.bfloat16, device="cpu", stays=True)
    assert visiting.model.layers[0].mlp.up_proj.weight.is_meta
    stream_text_encoder(visiting, torch.device("cpu"), path)
    assert torch.equal(states(visiting), states(here))


def test_whole_weights_can_be_kept_in_8_bits(folder):
    path = folder / "whole.safetensors"
    whole = load_text_encoder(path, dtype=torch.float32, device="cpu")
    narrow = load_text_encoder(path, dtype=torch.float32, device="cpu", quantization="int8")
    a, b = states(narrow), states(whole)
    assert 0.0 < float((a - b).norm() / b.norm()) < 0.02


def test_a_tokenizer_lies_beside_where_it_is_not_inside(folder, tmp_path):
    path = tmp_path / "mute.safetensors"
    shutil.copy(folder / "mute.safetensors", path)
    with pytest.raises(CheckpointError, match=r"holds no tokenizer.*tokenizer\.json"):
        load_text_encoder(path, dtype=torch.float32, device="cpu")
    assert "tokenizer    missing" in str(describe(path))
    without = identity_of_text_encoder(path)
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "tokenizer.model").write_bytes(SPIECE)
    beside = load_text_encoder(path, dtype=torch.float32, device="cpu")
    inside = load_text_encoder(folder / "whole.safetensors", dtype=torch.float32, device="cpu")
    assert torch.equal(states(beside), states(inside))
    assert identity_of_text_encoder(path) != without


def test_another_tokenizer_or_other_bits_are_another_text_encoder(folder, tmp_path):
    names = ("whole", "mute", "fp8", "nvfp4")
    assert len({identity_of_text_encoder(folder / f"{n}.safetensors") for n in names}) == 4
    model = write_tiny_model(tmp_path / "tiny") / "text_encoder"
    before = identity_of_text_encoder(model)
    text = (model / "tokenizer.json").read_text()
    (model / "tokenizer.json").write_text(text.replace("puppet", "pupqet"))
    assert identity_of_text_encoder(model) != before


def test_a_tokenizer_beside_one_that_is_inside_is_not_read(folder, tmp_path):
    path = tmp_path / "whole.safetensors"
    path.write_bytes((folder / path.name).read_bytes())
    before = identity_of_text_encoder(path)
    (tmp_path / "tokenizer.json").write_text("of another model")
    assert identity_of_text_encoder(path) == before
    encoder = load_text_encoder(path, dtype=torch.float32, device="cpu")
    assert encoder.tokenize([PROMPT])[0].numel() > 1


def test_what_shapes_do_not_tell_is_that_of_gemma_3_12b():
    with torch.device("meta"):
        model = build_text_model(
            {
                **GEMMA_3,
                "vocab_size": 262_208,
                "hidden_size": 3840,
                "intermediate_size": 15_360,
                "num_hidden_layers": 48,
                "num_attention_heads": 16,
                "num_key_value_heads": 8,
                "head_dim": 256,
                "query_pre_attn_scalar": 256,
            }
        )
    # All of Gemma 3 12B but its picture encoder and what brings pictures to it.
    num_others = 416_866_032 + 4_424_832
    assert sum(p.numel() for p in model.parameters()) == 12_187_325_040 - num_others
    config = model.config
    assert [kind == "full_attention" for kind in config.layer_types] == [
        number % 6 == 5 for number in range(48)
    ]
    assert config.rope_parameters["full_attention"]["factor"] == 8.0
    assert config.rope_parameters["full_attention"]["rope_theta"] == 1_000_000
    assert config.rope_parameters["sliding_attention"]["rope_theta"] == 10_000
    assert config.sliding_window == 1024


def test_a_file_is_described_by_its_header(folder):
    shown = describe(folder / "whole.safetensors")
    assert shown.kind == "text encoder"
    for words in (
        f"Gemma 3      2 layers of {TEXT_WIDTH}",
        "tokenizer    inside",
        "picture encoder",
    ):
        assert words in str(shown)


def test_a_folder_in_pieces_is_described_too(tmp_path):
    a_gemma().save_pretrained(tmp_path, max_shard_size="200KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    (tmp_path / "tokenizer.model").write_bytes(SPIECE)
    shown = describe(tmp_path)
    assert shown.kind == "text encoder"
    assert f"Gemma 3      2 layers of {TEXT_WIDTH}" in str(shown)
    assert f"tokenizer    in {tmp_path}" in str(shown)


def test_a_model_in_comfyuis_folders_finds_its_text_encoder(folder, tmp_path):
    checkpoints = tmp_path / "models" / "checkpoints"
    checkpoints.mkdir(parents=True)
    model = checkpoints / "any.safetensors"
    texts = shutil.copytree(folder, tmp_path / "models" / "text_encoders" / "gemma")
    (texts / "broken.safetensors").write_bytes(b"no")
    assert (
        find_text_encoder(model, TEXT_WIDTH * 3) == texts / "fp8.safetensors"
    )  # the first by name
    assert find_text_encoder(model, 3840 * 49) is None
    assert find_text_encoder(tmp_path / "any.safetensors", TEXT_WIDTH * 3) is None


def test_a_clip_is_made_with_a_single_file(folder, tmp_path):
    """The tiny model takes as many values as this Gemma gives."""
    model = write_tiny_model(tmp_path / "tiny")
    shutil.rmtree(model / "text_encoder")
    path = folder / "fp8.safetensors"
    assert find_model(model, text_encoder=path).text_encoder == path
    request = ltx2.Request(prompt=PROMPT, num_frames=9, width=64, height=64, num_steps=1)
    clip = ltx2.load(model, text_encoder=path, device="cpu")(request)
    assert clip.frames.shape == (9, 64, 64, 3)
    options = ["--text-encoder", path, "--prompt", PROMPT, "--frames", "9", "--width", "64"]
    options += ["--height", "64", "--steps", "1", "--output", tmp_path / "a.mp4"]
    result = CliRunner().invoke(app, ["generate", "--model", str(model), *map(str, options)])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("change", ["another model", "cut", "layer"])
def test_a_damaged_file_is_refused(folder, tmp_path, change):
    path = tmp_path / "bad.safetensors"
    tensors = load_file(folder / "whole.safetensors")
    if change == "another model":
        tensors = {"model.layers.0.self_attn.q_proj.weight": torch.zeros(2, 2)}
    if change == "layer":
        del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, path)
    if change == "cut":
        path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match=r"bad\.safetensors"):
        load_text_encoder(path, dtype=torch.float32, device="cpu")
    with pytest.raises(CheckpointError):
        open_text_encoder(tmp_path / "nowhere.safetensors")


@pytest.mark.parametrize(
    ("name", "tensor", "said"),
    [
        ("spiece_model", torch.zeros(9, dtype=torch.bfloat16), "no tokens"),
        ("spiece_model", torch.tensor([12], dtype=torch.uint8), "damaged"),
        ("model.layers.0.self_attn.q_norm.weight", torch.zeros(0), NO_FIT),
        (
            "model.layers.0.self_attn.q_proj.weight",
            torch.zeros(99, TEXT_WIDTH),
            NO_FIT,
        ),
        ("model.embed_tokens.weight", torch.zeros(5, TEXT_WIDTH), "knows tokens"),
    ],
)
def test_tensors_of_another_kind_are_refused(folder, tmp_path, name, tensor, said):
    path = tmp_path / "bad.safetensors"
    tensors = load_file(folder / "whole.safetensors")
    assert name in tensors
    save_file(tensors | {name: tensor}, path)
    with pytest.raises(CheckpointError, match=said):
        load_text_encoder(path, dtype=torch.float32, device="cpu").tokenize([PROMPT])
