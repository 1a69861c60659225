"""What the environment says; nothing else in the package reads it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

from ltx2.errors import RequestError

DTYPES = ("auto", "float32", "bfloat16", "float16")
"""Numbers that a network may compute with; "auto" asks the device."""


@dataclass(frozen=True)
class Settings:
    """Choices of whoever starts the page or a command; `LTX2_MODEL` and so on set them.

    Address and port are Gradio's own: GRADIO_SERVER_NAME and GRADIO_SERVER_PORT.

    Attributes:
        model: name of a known model, or the path of a model folder or file.
        text_encoder: folder of the text encoder, where the model does not bring its own.
        device: "auto", or a device as PyTorch writes it ("cuda:1").
        dtype: "auto", or what to compute with, one of `DTYPES`.
        open_browser: show the page on this machine's screen once it is up.
        data: folder of the clips made and of what is known about them.
    """

    model: str = "puppet"
    text_encoder: Path | None = None
    device: str = "auto"
    dtype: str = "auto"
    open_browser: bool = False
    data: Path = Path("outputs")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Settings of the variables that are set and not empty; defaults for the others.

        Raises:
            RequestError: a variable has a value that is none of those possible.
        """
        given = {
            field.name: environment[f"LTX2_{field.name.upper()}"]
            for field in fields(cls)
            if environment.get(f"LTX2_{field.name.upper()}")
        }
        text_encoder = given.get("text_encoder")
        return cls(
            model=given.get("model", cls.model),
            text_encoder=None if text_encoder is None else Path(text_encoder),
            device=given.get("device", cls.device),
            dtype=_choice("LTX2_DTYPE", given.get("dtype", cls.dtype), DTYPES),
            open_browser=_choice("LTX2_OPEN_BROWSER", given.get("open_browser", "0"), "01") == "1",
            data=Path(given.get("data", cls.data)),
        )


def _choice(variable: str, value: str, choices: Collection[str]) -> str:
    if value not in choices:
        raise RequestError(
            f"The environment variable {variable} is {value!r}.",
            next_step=f"Set it to one of {', '.join(choices)}, or unset it.",
        )
    return value
