import json
import subprocess
import sys

import pytest

from ltx2.errors import CheckpointError
from ltx2.prompting.enhance import Refused, propose
from ltx2.prompting.local_enhancer import (
    SYSTEM_PROMPT,
    LocalEnhancer,
    NoEnhancer,
    find_enhancer,
)
from tests.conftest import ROOT

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}"
    "{% endfor %}{% if add_generation_prompt %}<model>{% endif %}"
)


@pytest.fixture(scope="module")
def gemma(tmp_path_factory):
    """The folder of a Gemma 3 with random weights that was told how to chat."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("gemma")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<pad>", "<eos>", "<bos>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([SYSTEM_PROMPT], trainer)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<eos>",
        bos_token="<bos>",
        chat_template=TEMPLATE,
    ).save_pretrained(folder)
    torch.manual_seed(1)
    config = Gemma3TextConfig(
        vocab_size=400,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        max_position_embeddings=8192,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=2,
    )
    Gemma3ForCausalLM(config).save_pretrained(folder)
    return folder


def test_a_gemma_writes_and_the_same_seed_writes_the_same(gemma):
    import torch

    torch.manual_seed(3)
    before = torch.get_rng_state()
    enhancer = LocalEnhancer(gemma, dtype="float32")
    written = enhancer("A dog runs.")
    assert len(written) > 10
    assert enhancer("A dog runs.") == written
    assert LocalEnhancer(gemma, dtype="float32", seed=11)("A dog runs.") != written
    assert enhancer("A cat sleeps.") != written
    assert torch.equal(torch.get_rng_state(), before)


def test_what_a_gemma_forgets_to_say_is_refused(gemma):
    refused = propose('A man says "Yes".', LocalEnhancer(gemma, dtype="float32"))
    assert refused == Refused("The language model left out quoted line 1.")


def test_an_enhancer_can_be_released_and_called_again(gemma):
    enhancer = LocalEnhancer(gemma, dtype="float32")
    written = enhancer("A dog")
    enhancer.release()
    assert enhancer("A dog") == written


def test_finding_loads_nothing(gemma):
    code = (
        "import sys, pathlib; from ltx2.prompting.local_enhancer import find_enhancer;"
        "print(type(find_enhancer(pathlib.Path(sys.argv[1]))).__name__,"
        " 'torch' in sys.modules, 'transformers' in sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, gemma], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ran.stdout.split() == ["LocalEnhancer", "False", "False"]


def damaged(folder, source, *, without=(), config=None, tokenizer=None):
    folder.mkdir(exist_ok=True)
    for path in source.iterdir():
        if path.name not in without:
            (folder / path.name).write_bytes(path.read_bytes())
    for name, changes in (("config.json", config), ("tokenizer_config.json", tokenizer)):
        if changes is not None:
            fields = json.loads((folder / name).read_text())
            (folder / name).write_text(json.dumps({**fields, **changes}))
    return folder


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"without": ("config.json",)}, "No language model is installed"),
        ({"without": ("tokenizer_config.json",)}, "no readable tokenizer"),
        ({"config": {"model_type": "t5"}}, "'t5'; only Gemma 3"),
        ({"without": ("model.safetensors",)}, "weights"),
        ({"without": ("chat_template.jinja",)}, "was not trained to write"),
    ],
)
def test_why_there_is_no_enhancer_is_said(tmp_path, gemma, changes, reason):
    found = find_enhancer(damaged(tmp_path / "copy", gemma, **changes))
    assert isinstance(found, NoEnhancer)
    assert reason in found.reason


def test_without_a_folder_there_is_no_enhancer():
    assert isinstance(find_enhancer(None), NoEnhancer)


def test_the_text_encoder_of_the_small_model_cannot_write():
    found = find_enhancer(ROOT / "ltx2" / "weights" / "puppet" / "text_encoder")
    assert isinstance(found, NoEnhancer)
    assert "was not trained to write" in found.reason


def test_damaged_weights_are_named(tmp_path, gemma):
    folder = damaged(tmp_path / "copy", gemma)
    (folder / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match="language model in copy cannot be read"):
        LocalEnhancer(folder, dtype="float32")("A dog")
