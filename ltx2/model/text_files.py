"""How files of text encoders name what is in them, and where their tokenizers lie.

For whoever reads them, with PyTorch or without.
"""

from pathlib import Path

# Gemma 3 folders hold the text model alone, under a language model head, or beside a picture
# encoder (in an older and a newer order of prefixes).
TEXT_MODEL_PREFIX = r"^(language_model\.model|model\.language_model|language_model|model)\."

TOKENIZERS = ("tokenizer.json", "tokenizer.model")
"""Files that a tokenizer is in, the first of them preferred."""


def tokenizer_folder(path: Path) -> Path | None:
    """Where the tokenizer of a text encoder lies that is not inside of it; None if nowhere.

    A folder of transformers holds it, or diffusers has it in one beside; for a single file it lies
    beside, in a folder `tokenizer`, or in one that is called like the file.
    """
    beside = path.parent / "tokenizer"
    places = (path, beside) if path.is_dir() else (path.with_suffix(""), path.parent, beside)
    return next((p for p in places if any((p / name).is_file() for name in TOKENIZERS)), None)
