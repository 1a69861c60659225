"""Prompt enhancement by a Gemma 3 on this machine: the one that encodes the prompts of LTX-2."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ltx2.errors import CheckpointError, ResourceError

logger = logging.getLogger(__name__)

MAX_NEW_TOKENS = 512
TEMPERATURE = 0.7
SEED = 10
"""This and the two above are those of the official pipeline."""

SYSTEM_PROMPT = """\
You turn short ideas into prompts for a model that makes video with sound. The user sends one \
idea. Answer with the finished prompt and nothing else: no title, no list, no explanation.

Form
- One paragraph of plain English in the present tense, at most 200 words, even if the idea is in \
another language.
- Tell what happens in the order in which it happens.
- If the idea names a style of picture, begin with it, for example "Animation:". Otherwise do not.

Content
- Keep everything that the idea says: people, objects, actions, places, numbers, order.
- Make it concrete: what people look like and wear, where they stand, how they move, the light, \
the colours, the surroundings. Prefer things that a camera can see to words about feelings.
- Weave in what is heard, where it is heard: voices and how they sound, footsteps, wind, \
machines, the room. Music only if the idea has music.
- Use restrained words. Nothing is breathtaking or stunning unless the idea says so.
- Add no camera movement, no cut, no time stamp, no text on the screen, no extra person and no \
plot that the idea does not ask for.

Speech
- [LINE 1], [LINE 2] and so on stand for spoken lines that you cannot see. Write each of them \
exactly once, exactly like that, in the same order, without quotation marks around it, and say \
before it who speaks, in which language and how, as far as the idea tells.
- Write no other spoken words unless the idea asks for speech and contains no [LINE 1]; then put \
them in quotation marks.
"""


@dataclass(frozen=True)
class NoEnhancer:
    """There is no language model that could rewrite prompts, and why."""

    reason: str


class LocalEnhancer:
    """Rewrites prompts with the Gemma 3 of a folder, which is loaded at the first call.

    Args:
        folder: weights and tokenizer in the layout of transformers.
        device, dtype: where and in which numbers to compute, as PyTorch names them.
        seed: of the random choice of words; the same seed repeats the same text.
    """

    def __init__(
        self, folder: Path, *, device: str = "cpu", dtype: str = "bfloat16", seed: int = SEED
    ) -> None:
        self.folder = folder
        self.device = device
        self.dtype = dtype
        self.seed = seed
        self._loaded: tuple[Any, Any] | None = None

    def __call__(self, prompt: str) -> str:
        """What the language model answers to `prompt`.

        Raises:
            CheckpointError: the folder cannot be read.
            ResourceError: there is too little memory.
        """
        import torch

        try:
            if self._loaded is None:
                self._loaded = self._load()
            return self._generate(*self._loaded, prompt)
        except torch.OutOfMemoryError as error:
            self.release()
            raise ResourceError(
                "There is too little memory on the device for the language model.",
                next_step="Close other programs, or make the clip of the prompt as it is.",
            ) from error

    def release(self) -> None:
        """Frees the memory of the language model; the next call loads it again."""
        self._loaded = None

    def _load(self) -> tuple[Any, Any]:
        import torch
        from safetensors import SafetensorError
        from transformers import AutoModelForCausalLM, AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(self.folder, local_files_only=True)
            model = AutoModelForCausalLM.from_pretrained(
                self.folder,
                dtype=getattr(torch, self.dtype),
                local_files_only=True,
                use_safetensors=True,
            )
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            raise CheckpointError(
                f"The language model in {self.folder.name} cannot be read ({error}).",
                next_step="Download or copy the folder again.",
            ) from error
        logger.info("loaded the language model for enhancement on %s", self.device)
        network: torch.nn.Module = model
        return network.to(self.device).eval(), tokenizer

    def _generate(self, model: Any, tokenizer: Any, prompt: str) -> str:
        import torch

        messages = [
            {"role": "system", "content": SYSTEM_PROMPT},
            {"role": "user", "content": f"user prompt: {prompt}"},
        ]
        inputs = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_dict=True, return_tensors="pt"
        ).to(self.device)
        length = inputs["input_ids"].shape[1]
        # transformers draws from the global generator; whoever else uses it must not notice.
        devices = [self.device] if self.device.startswith("cuda") else []
        with torch.random.fork_rng(devices), torch.inference_mode():
            torch.manual_seed(self.seed)
            written = model.generate(
                **inputs,
                max_new_tokens=MAX_NEW_TOKENS,
                do_sample=True,
                temperature=TEMPERATURE,
            )
        answer: str = tokenizer.decode(written[0, length:], skip_special_tokens=True)
        return answer


def find_enhancer(
    folder: Path | None, *, device: str = "cpu", dtype: str = "bfloat16"
) -> LocalEnhancer | NoEnhancer:
    """The enhancer of a text encoder's folder, or why it cannot write; loads nothing.

    Args:
        folder: of the text encoder; None if the model has none.
        device, dtype: for the enhancer.
    """
    if folder is None or not (folder / "config.json").is_file():
        return NoEnhancer("No language model is installed beside this model.")
    try:
        kind = str(json.loads((folder / "config.json").read_text()).get("model_type"))
        tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    except (OSError, ValueError, AttributeError):
        return NoEnhancer("The text encoder's folder has no readable tokenizer or configuration.")
    if not kind.startswith("gemma3"):
        return NoEnhancer(f"The text encoder is {kind!r}; only Gemma 3 can rewrite prompts here.")
    if not any(folder.glob("*.safetensors")):
        return NoEnhancer("The weights of the text encoder are not in its folder.")
    templates = ("chat_template.jinja", "chat_template.json")
    if "chat_template" not in tokenizer and not any(
        (folder / name).is_file() for name in templates
    ):
        return NoEnhancer(
            "This model's text encoder reads prompts but was not trained to write: it has no chat "
            "template."
        )
    return LocalEnhancer(folder, device=device, dtype=dtype)
