"""The Gemma 3 text model and its tokenizer: a prompt in, the hidden states of all layers out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    AutoConfig,
    AutoTokenizer,
    Gemma3TextConfig,
    Gemma3TextModel,
    PreTrainedTokenizerFast,
)
from transformers.utils.logging import disable_progress_bar

from ltx2.errors import CheckpointError, RequestError
from ltx2.model.quantized import EightBits, quantize_linears
from ltx2.model.text.sentencepiece import gemma_tokenizer
from ltx2.model.text_files import TEXT_MODEL_PREFIX, tokenizer_folder

MAX_PROMPT_TOKENS = 1024
"""Context length that the released model was trained with."""

_NOT_TEXT = ("vision_tower", "multi_modal_projector", "lm_head")

# Loading reports its progress through the caller, not on the terminal.
disable_progress_bar()


@dataclass(frozen=True)
class EncodedPrompts:
    """What the text model makes of a batch of prompts, padded on the left.

    Attributes:
        hidden_states: [B, T_c, H, layers + 1]; the scaled embedding, the output of every layer
            but the last, and the normalised output of the last. Padding is zero.
        mask: [B, T_c], 1 for real tokens.
    """

    hidden_states: Tensor
    mask: Tensor


class _TextModel(Gemma3TextModel):
    """Gemma 3 that expects to find a picture encoder and an output head beside itself."""

    _keys_to_ignore_on_load_unexpected = list(_NOT_TEXT)  # noqa: RUF012 - as in the base class


class TextEncoder(nn.Module):
    """A frozen or trainable Gemma 3 with the tokenizer that belongs to it.

    Args:
        model: the text model.
        tokenizer: turns a list of prompts into lists of token ids (`input_ids`).
        max_tokens: length that every prompt is padded to, and the limit of its tokens.
    """

    def __init__(self, model: Gemma3TextModel, tokenizer: Any, max_tokens: int) -> None:
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens

    @property
    def device(self) -> torch.device:
        """Where it runs, wherever its weights are meanwhile."""
        return next(self.model.rotary_emb.buffers()).device

    @property
    def num_states(self) -> int:
        """Hidden states per token: one per layer, and the embedding."""
        return self.model.config.num_hidden_layers + 1

    @classmethod
    def load(
        cls,
        folder: Path,
        dtype: torch.dtype = torch.bfloat16,
        device: torch.device | str = "cpu",
        *,
        quantization: EightBits | None = None,
        stays: bool = False,
    ) -> "TextEncoder":
        """The text encoder of a folder in the layout of transformers, tokenizer included.

        Args:
            folder: that holds it.
            dtype: what to compute in.
            device: where it goes.
            quantization: how the weights of its layers are kept; None as they are.
            stays: leaves the weights in their files, for whoever streams them.

        Raises:
            CheckpointError: the folder is missing, damaged or holds another model.
        """
        model = load_text_model(folder, dtype, stays=stays)
        if quantization is not None and not stays:
            quantize_linears(model, quantization, lambda name, _: name.startswith("layers."))
        encoder = cls.of(model, read_tokenizer(tokenizer_folder(folder) or folder))
        return encoder if stays else encoder.to(device)

    @classmethod
    def of(cls, model: Gemma3TextModel, tokenizer: Any) -> "TextEncoder":
        """A text encoder that reads as many tokens as its tokenizer and the model were made for.

        Args:
            model: the text model.
            tokenizer: that belongs to it.
        """
        return cls(model, tokenizer, min(MAX_PROMPT_TOKENS, tokenizer.model_max_length))

    def tokenize(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Token ids and mask [B, T], padded on the left to the longest of `prompts`.

        Raises:
            RequestError: a prompt has more tokens than the model reads.
            CheckpointError: the tokenizer belongs to another model.
        """
        stripped = [prompt.strip() for prompt in prompts]
        rows: list[list[int]] = self.tokenizer(stripped, verbose=False)["input_ids"]
        pad = self.tokenizer.pad_token_id or 0
        # A tokenizer that adds no first token makes nothing of an empty negative prompt.
        rows = [row or [pad] for row in rows]
        longest = max(len(row) for row in rows)
        if longest > self.max_tokens:
            raise RequestError(
                f"The prompt has {longest:,} tokens; the text encoder reads at most "
                f"{self.max_tokens:,}.",
                next_step="Shorten the prompt.",
            )
        if max(map(max, rows)) >= self.model.config.vocab_size:
            raise CheckpointError(
                "The tokenizer knows tokens that the text encoder does not.",
                next_step="Put the tokenizer of the same model beside it.",
            )
        ids = [[pad] * (longest - len(row)) + row for row in rows]
        mask = [[0] * (longest - len(row)) + [1] * len(row) for row in rows]
        device = self.device
        return torch.tensor(ids, device=device), torch.tensor(mask, device=device)

    def forward(self, input_ids: Tensor, mask: Tensor) -> EncodedPrompts:
        """All hidden states of `input_ids` [B, T], padded on the left to `max_tokens`.

        The padding is not computed: real tokens only get the positions they have behind it.
        """
        missing = self.max_tokens - input_ids.shape[1]
        positions = torch.arange(missing, self.max_tokens, device=input_ids.device).unsqueeze(0)
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=mask,
            position_ids=positions,
            output_hidden_states=True,
            use_cache=False,
        )
        states = torch.stack(outputs.hidden_states, dim=-1)  # [B, T, H, layers + 1]
        states = states * mask[:, :, None, None].to(states.dtype)
        return EncodedPrompts(
            F.pad(states, (0, 0, 0, 0, missing, 0)),  # [B, T_c, H, layers + 1]
            F.pad(mask, (missing, 0)),
        )

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> EncodedPrompts:
        """Hidden states of `prompts`, without gradients.

        Raises:
            RequestError: a prompt has more tokens than the model reads.
        """
        return self(*self.tokenize(prompts))


def read_tokenizer(folder: Path) -> Any:
    """The tokenizer of a folder.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    try:
        if (folder / "tokenizer.model").is_file() and not (folder / "tokenizer.json").is_file():
            return sentencepiece_tokenizer((folder / "tokenizer.model").read_bytes())
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # the tokenizers library raises bare Exception
        raise CheckpointError(
            f"The tokenizer in {folder.name} cannot be read.",
            next_step="Put tokenizer.json and tokenizer_config.json of the same model there.",
        ) from error


def sentencepiece_tokenizer(model: bytes) -> Any:
    """Gemma's tokenizer from the bytes of SentencePiece's file.

    Raises:
        CheckpointError: they are damaged, or not Gemma's.
    """
    made: Any = PreTrainedTokenizerFast(
        tokenizer_object=gemma_tokenizer(model),
        pad_token="<pad>",
        bos_token="<bos>",
        unk_token="<unk>",
    )
    return made


def load_text_model(folder: Path, dtype: torch.dtype, *, stays: bool = False) -> Gemma3TextModel:
    """The Gemma 3 text model of `folder`; a picture encoder beside it is left out.

    Args:
        folder: that holds it.
        dtype: what to compute in.
        stays: reads no weight; they are on the meta device.

    Raises:
        CheckpointError: the folder is missing, damaged or holds another model.
    """
    if not (folder / "config.json").is_file():
        raise CheckpointError(
            f"There is no text encoder in {folder.name}: config.json is missing.",
            next_step="Give the folder of a Gemma 3 text encoder.",
        )
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        config = getattr(config, "text_config", config)
        if not isinstance(config, Gemma3TextConfig):
            raise CheckpointError(
                f"The text encoder in {folder.name} is {config.model_type!r}, not Gemma 3.",
                next_step="Give the folder of the Gemma 3 model the checkpoint was trained with.",
            )
        if stays:
            return _without_weights(config, dtype)
        loaded: Any = _TextModel.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            key_mapping={TEXT_MODEL_PREFIX: ""},
            output_loading_info=True,
            local_files_only=True,
            use_safetensors=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(
            f"The text encoder in {folder.name} cannot be read ({error}).",
            next_step="Download or copy the folder again.",
        ) from error
    model, report = loaded
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise CheckpointError(
            f"The text encoder in {folder.name} lacks {len(missing)} tensors, the first is "
            f"{missing[0]}.",
            next_step="Download or copy the folder again.",
        )
    return model.eval()


def _without_weights(config: Gemma3TextConfig, dtype: torch.dtype) -> Gemma3TextModel:
    """The model on the meta device, but for what it computes by itself."""
    with torch.device("meta"):
        model: Any = _TextModel(config)
        model = model.to(dtype)
    compute_buffers(model)
    empty: Gemma3TextModel = model.eval()
    return empty


def build_text_model(config: Mapping[str, Any]) -> Gemma3TextModel:
    """The text model of a configuration of Gemma 3, as the device has it.

    Raises:
        ValueError: its sizes do not fit each other.
    """
    try:
        return _TextModel(Gemma3TextConfig(**config))
    except StrictDataclassError as error:
        raise ValueError(str(error)) from error


def compute_buffers(model: Any) -> None:
    """Makes what a model without memory lacks that is computed instead of stored."""
    model.rotary_emb = type(model.rotary_emb)(model.config)
    model.embed_tokens.embed_scale = torch.tensor(model.embed_tokens.scalar_embed_scale)


def build_text_encoder(folder: Path) -> TextEncoder:
    """A text encoder with random weights, of the size that a folder's `config.json` asks for.

    For training small models from nothing; the folder also holds the tokenizer.
    """
    model = Gemma3TextModel(AutoConfig.from_pretrained(folder, local_files_only=True))
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return TextEncoder(model, tokenizer, min(MAX_PROMPT_TOKENS, tokenizer.model_max_length))
