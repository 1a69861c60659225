"""The puppet's small Gemma 3 text model: its tokenizer and its sizes.

Byte-level pieces are learnt from the captions, so that the words of the world are one or two
tokens each while any other text can still be read.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from ltx2.training.puppet.architecture import MAX_PROMPT_TOKENS, TEXT_WIDTH

VOCABULARY_SIZE = 1024
PAD, EOS, BOS = "<pad>", "<eos>", "<bos>"
TEXT_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json")
"""What a text encoder's folder holds beside its weights."""

GEMMA_CONFIG: dict[str, Any] = {
    "architectures": ["Gemma3ForCausalLM"],
    "model_type": "gemma3_text",
    "vocab_size": VOCABULARY_SIZE,
    "hidden_size": TEXT_WIDTH,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 32,
    "query_pre_attn_scalar": 32,
    "max_position_embeddings": MAX_PROMPT_TOKENS,
    "sliding_window": MAX_PROMPT_TOKENS,
    "layer_types": ["full_attention", "full_attention"],
    "rms_norm_eps": 1e-6,
    "hidden_activation": "gelu_pytorch_tanh",
    "attention_bias": False,
    "attention_dropout": 0.0,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": 2,
    "tie_word_embeddings": True,
}


def write_text_encoder_folder(folder: Path, captions: Iterable[str]) -> None:
    """Writes configuration and tokenizer in the layout that transformers reads.

    Args:
        folder: made when missing; weights are added by training.
        captions: text that the pieces are learnt from.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=[PAD, EOS, BOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(captions, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": MAX_PROMPT_TOKENS,
        "padding_side": "left",
        "pad_token": PAD,
        "eos_token": EOS,
        "bos_token": BOS,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1))
    (folder / "config.json").write_text(json.dumps(GEMMA_CONFIG, indent=1))
