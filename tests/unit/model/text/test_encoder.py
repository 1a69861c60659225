import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import Gemma3TextConfig, Gemma3TextModel

from ltx2.errors import CheckpointError, RequestError
from ltx2.model.config import ConnectorConfig, FeatureProjectionConfig
from ltx2.model.text import Connector, FeatureProjection, TextPath
from ltx2.model.text.encoder import TextEncoder, load_text_model

WORDS = ["<pad>", "<bos>", "<unk>", "a", "red", "ball", "says", "hello"]
MAX_TOKENS = 12


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A text encoder folder with three layers of width 16 and a vocabulary of a few words."""
    folder = tmp_path_factory.mktemp("text_encoder")
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", 1)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": MAX_TOKENS,
        "pad_token": "<pad>",
        "bos_token": "<bos>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    torch.manual_seed(0)
    config = Gemma3TextConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        query_pre_attn_scalar=8,
        layer_types=["sliding_attention", "sliding_attention", "full_attention"],
        sliding_window=4,
        initializer_range=0.5,
    )
    Gemma3TextModel(config).save_pretrained(folder)
    return folder


@pytest.fixture
def folder(original, tmp_path):
    return shutil.copytree(original, tmp_path / "text_encoder")


@pytest.fixture(scope="module")
def encoder(original):
    return TextEncoder.load(original, torch.float32)


def test_prompts_are_padded_on_the_left_to_the_full_length(encoder):
    encoded = encoder.encode(["a red ball", "hello"])
    assert encoded.hidden_states.shape == (2, MAX_TOKENS, 16, 4)
    assert encoded.mask.tolist() == [[0] * 8 + [1] * 4, [0] * 10 + [1] * 2]
    assert encoded.hidden_states[0, :8].abs().max() == 0
    assert encoded.hidden_states[0, 8:].abs().amax((1, 2)).min() > 0


def test_states_are_those_of_the_model_on_the_fully_padded_prompt(encoder):
    encoded = encoder.encode(["a red ball says hello"])
    ids, mask = encoder.tokenize(["a red ball says hello"])
    missing = MAX_TOKENS - ids.shape[1]
    with torch.no_grad():
        outputs = encoder.model(
            input_ids=torch.nn.functional.pad(ids, (missing, 0)),
            attention_mask=torch.nn.functional.pad(mask, (missing, 0)),
            output_hidden_states=True,
        )
    ours = encoded.hidden_states[:, missing:]
    for layer, states in enumerate(outputs.hidden_states):
        torch.testing.assert_close(ours[..., layer], states[:, missing:], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        ours[..., -1], outputs.last_hidden_state[:, missing:], atol=1e-4, rtol=1e-4
    )
    embedded = encoder.model.embed_tokens(ids).detach()
    torch.testing.assert_close(ours[..., 0], embedded)


def test_prompts_of_a_batch_do_not_change_each_other(encoder):
    together = encoder.encode(["hello", "a red ball says hello"])
    alone = encoder.encode(["hello"])
    torch.testing.assert_close(together.hidden_states[:1], alone.hidden_states)


def test_space_around_a_prompt_does_not_count(encoder):
    assert encoder.tokenize(["  hello\n"])[0].tolist() == encoder.tokenize(["hello"])[0].tolist()


def test_an_empty_prompt_is_a_prompt(encoder):
    assert encoder.encode([""]).mask.sum() == 1


def test_a_prompt_that_is_too_long_is_refused_with_both_counts(encoder):
    with pytest.raises(RequestError, match=r"10,001 tokens.*at most 12"):
        encoder.encode(["hello " * 10_000])


def test_gradients_reach_the_text_model(encoder):
    encoded = encoder(*encoder.tokenize(["a red ball"]))
    encoded.hidden_states.square().sum().backward()
    assert encoder.model.embed_tokens.weight.grad.abs().max() > 0


@pytest.mark.parametrize("prefix", ["", "model.", "language_model.model.", "model.language_model."])
def test_every_layout_of_gemma_folders_loads_without_its_picture_encoder(folder, encoder, prefix):
    weights = folder / "model.safetensors"
    state = {prefix + name: tensor for name, tensor in load_file(weights).items()}
    state["vision_tower.encoder.weight"] = torch.zeros(2)
    state["multi_modal_projector.weight"] = torch.zeros(2)
    save_file(state, weights, metadata={"format": "pt"})
    loaded = load_text_model(folder, torch.float32).state_dict()
    assert loaded.keys() == encoder.model.state_dict().keys()
    for name, tensor in encoder.model.state_dict().items():
        torch.testing.assert_close(loaded[name], tensor)


def test_a_missing_tensor_is_named(folder):
    weights = folder / "model.safetensors"
    state = load_file(weights)
    del state["layers.1.mlp.up_proj.weight"]
    save_file(state, weights, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"layers\.1\.mlp\.up_proj\.weight"):
        TextEncoder.load(folder)


def damage_weights(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])


def remove_weights(folder):
    (folder / "model.safetensors").unlink()


def offer_a_pickle(folder):
    state = load_file(folder / "model.safetensors")
    remove_weights(folder)
    torch.save(state, folder / "pytorch_model.bin")


def change_model(folder):
    (folder / "config.json").write_text('{"model_type": "bert"}')


def damage_config(folder):
    (folder / "config.json").write_text("{")


def remove_config(folder):
    (folder / "config.json").unlink()


def damage_tokenizer(folder):
    (folder / "tokenizer.json").write_text("{")


def change_size(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 64}))


@pytest.mark.parametrize(
    "damage",
    [
        damage_weights,
        remove_weights,
        offer_a_pickle,
        change_model,
        damage_config,
        remove_config,
        damage_tokenizer,
        change_size,
    ],
)
def test_a_damaged_folder_is_refused_with_a_next_step(folder, damage):
    damage(folder)
    with pytest.raises(CheckpointError) as caught:
        TextEncoder.load(folder)
    assert caught.value.next_step


def test_the_text_path_turns_prompts_into_two_contexts(encoder):
    torch.manual_seed(0)
    sizes = ConnectorConfig(num_layers=1, num_heads=2, head_dim=8, num_registers=4)
    projection = FeatureProjection(FeatureProjectionConfig(16, encoder.num_states, 16))
    text = TextPath(encoder, projection, Connector(sizes), Connector(sizes))
    video, audio = text.contexts(["a red ball", "hello"])
    assert video.shape == audio.shape == (2, MAX_TOKENS, 16)
    assert (video - audio).abs().max() > 1e-3
    assert (video[0] - video[1]).abs().max() > 1e-3
    assert not video.requires_grad
