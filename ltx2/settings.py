"""What the environment and the command line say; nothing else in the package reads them."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Self, get_type_hints

from ltx2.errors import RequestError

DTYPES = ("auto", "float32", "bfloat16", "float16")
"""Numbers that a network may compute with; "auto" asks the device."""

OFFLOADS = ("auto", "none", "cpu", "disk")
"""Where weights may wait that a device does not need at the moment."""

THEMES = ("system", "light", "dark")
"""Looks of the page; "system" asks each browser."""

QUANTIZATIONS = ("none", "int8", "fp8")
"""How the weights of blocks may be kept that a file holds whole; "none" keeps them so."""

ATTENTIONS = ("auto", "flash", "cudnn", "efficient", "math")
"""PyTorch's kernels of attention; "auto" takes the fastest way there is."""

COMPILATIONS = ("none", "blocks", "graphs")
"""Whether the transformer's blocks are compiled, and recorded as CUDA graphs."""

PREFIX = "LTX2_"


def _text(value: str) -> str:
    return value


def _one_of(choices: tuple[str, ...]) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value not in choices:
            raise ValueError(f"one of {', '.join(choices)}")
        return value

    return parse


def _switch(value: str) -> bool:
    if value not in ("0", "1"):
        raise ValueError("0 or 1")
    return value == "1"


def _whole(value: str) -> int:
    if not value.isdecimal():
        raise ValueError("a whole number from 0 on")
    return int(value)


def _port(value: str) -> int:
    if not value.isdecimal() or not 1 <= int(value) <= 65_535:
        raise ValueError("a port, 1 to 65535")
    return int(value)


def _size(value: str) -> str:
    number = value.lower().removesuffix("b").rstrip("kmg")
    if not number.isdecimal() or int(number) == 0:
        raise ValueError("a size such as 500kb, 100mb or 1gb")
    return value


def _login(value: str) -> tuple[str, str]:
    user, colon, password = value.partition(":")
    if not (user and colon and password):
        raise ValueError("USER:PASSWORD")
    return user, password


def _paths(value: str) -> tuple[Path, ...]:
    return tuple(Path(part) for part in value.split(os.pathsep) if part)


def _root_path(value: str) -> str:
    if not value.startswith("/"):
        raise ValueError("a path that begins with a slash, as in /clips")
    return value.rstrip("/")


@dataclass(frozen=True)
class Setting:
    """How the text of a setting is read, and what it is.

    Attributes:
        parse: raises ValueError that says what would be right.
        help: for the command line.
        is_secret: its value is not repeated in messages.
        also: further flags, as other programs of this field call it.
    """

    parse: Callable[[str], Any]
    help: str
    is_secret: bool = False
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Settings:
    """Choices of whoever starts the page or a command.

    Each is a variable of the environment (`LTX2_MODEL`) and a flag of `python -m ltx2 serve`
    (`--model`), which goes first.
    """

    model: Annotated[
        str,
        Setting(
            _text,
            "Name of a known model, or the path of a model folder or file.",
            also=("--checkpoint-path",),
        ),
    ] = "puppet"
    text_encoder: Annotated[
        Path | None,
        Setting(
            Path,
            "Folder of the text encoder, or its file as ComfyUI has it, where the model does not "
            "bring its own.",
            also=("--text-encoder-path", "--gemma-root"),
        ),
    ] = None
    device: Annotated[str, Setting(_text, 'Where to compute: "auto", "cpu", "cuda:1", ...')] = (
        "auto"
    )
    dtype: Annotated[
        str, Setting(_one_of(DTYPES), f"What to compute with: {', '.join(DTYPES)}.")
    ] = "auto"
    offload: Annotated[
        str,
        Setting(
            _one_of(OFFLOADS),
            'Where weights wait that are not needed at the moment: "none" keeps all on the device, '
            '"cpu" in main memory, "disk" in their files.',
        ),
    ] = "auto"
    quantization: Annotated[
        str,
        Setting(
            _one_of(QUANTIZATIONS),
            "How large weights are kept: none as in their file, int8 or fp8 in half the memory.",
        ),
    ] = "none"
    attention: Annotated[
        str, Setting(_one_of(ATTENTIONS), f"Kernel of attention: {', '.join(ATTENTIONS)}.")
    ] = "auto"
    compile: Annotated[
        str,
        Setting(
            _one_of(COMPILATIONS),
            "Whether the transformer is compiled: none, blocks, or graphs (CUDA graphs as well); "
            "the first step of each size takes a minute longer.",
        ),
    ] = "none"
    data: Annotated[
        Path, Setting(Path, "Folder of the clips, of what is known about them, and of downloads.")
    ] = Path("outputs")
    ray: Annotated[
        str | None,
        Setting(
            _text,
            "Ray cluster that runs of suites may be made on: auto, or HOST:PORT; it has the model "
            "under the same name or path.",
        ),
    ] = None
    comfyui_models: Annotated[
        Path | None, Setting(Path, "Models folder of ComfyUI, whose files are used as well.")
    ] = None
    lora: Annotated[
        tuple[Path, ...],
        Setting(
            _paths,
            f"Files of LoRAs that are offered beside those of the model, with {os.pathsep!r} "
            "between them.",
        ),
    ] = ()
    host: Annotated[
        str | None,
        Setting(
            _text,
            "Address to listen at. Usually 127.0.0.1, which other machines cannot reach.",
            also=("--server-name",),
        ),
    ] = None
    listen: Annotated[
        bool, Setting(_switch, "Listen at every address, so that other machines reach the page.")
    ] = False
    port: Annotated[
        int | None,
        Setting(
            _port,
            "Port to listen at. Usually 7860, or the next free one.",
            also=("--server-port",),
        ),
    ] = None
    root_path: Annotated[
        str, Setting(_root_path, "Path of the page behind a proxy, as in /clips.")
    ] = ""
    proxies: Annotated[
        int, Setting(_whole, "Proxies in front that add a visitor's address to X-Forwarded-For.")
    ] = 0
    share: Annotated[
        bool, Setting(_switch, "Lend the page a public address of Gradio's for a while.")
    ] = False
    open_browser: Annotated[
        bool, Setting(_switch, "Show the page on this machine's screen once it is up.")
    ] = False
    theme: Annotated[str, Setting(_one_of(THEMES), f"Look of the page: {', '.join(THEMES)}.")] = (
        "system"
    )
    mcp_server: Annotated[
        bool,
        Setting(_switch, "Offer the page's endpoint as an MCP tool, where gradio[mcp] is there."),
    ] = True
    login: Annotated[
        tuple[str, str] | None,
        Setting(_login, "USER:PASSWORD that the whole page is behind.", is_secret=True),
    ] = None
    api_key: Annotated[
        str | None,
        Setting(_text, "Key that programs send to /v1 as a bearer token.", is_secret=True),
    ] = None
    max_file_size: Annotated[str, Setting(_size, "Largest file that a visitor may upload.")] = (
        "100mb"
    )
    visitor_rate: Annotated[
        int, Setting(_whole, "Submits per minute of one visitor; 0 for no limit.")
    ] = 30
    address_rate: Annotated[
        int,
        Setting(_whole, "Submits per minute from one address, whoever they are; 0 for no limit."),
    ] = 60
    visitor_queue: Annotated[int, Setting(_whole, "Clips of one visitor that may wait.")] = 16
    queue_size: Annotated[int, Setting(_whole, "Clips that may wait in all.")] = 200
    database_url: Annotated[
        str | None,
        Setting(
            _text,
            "Database of the ratings, as SQLAlchemy writes it. Usually a file beside the clips.",
            is_secret=True,
        ),
    ] = None
    owner_password: Annotated[
        str | None,
        Setting(_text, "Password of whoever owns the studies, at /rating/studies.", is_secret=True),
    ] = None
    votes_repo: Annotated[
        str | None,
        Setting(_text, "Dataset on Hugging Face that a Space commits its votes to, with HF_TOKEN."),
    ] = None
    c2pa_certificate: Annotated[
        Path | None,
        Setting(Path, "PEM file with the certificates that sign each clip's C2PA manifest."),
    ] = None
    c2pa_key: Annotated[
        Path | None, Setting(Path, "PEM file with the private key that belongs to it.")
    ] = None
    process: Annotated[
        Path | None,
        Setting(
            Path, "Instead of a page: a grid as JSON lines or CSV, whose clips are made at once."
        ),
    ] = None
    output_dir: Annotated[
        Path, Setting(Path, "Folder of the clips of --process; those that are there are kept.")
    ] = Path("clips")
    dry_run: Annotated[
        bool, Setting(_switch, "With --process: say what would be made, and whether it fits.")
    ] = False

    @property
    def prompt_cache(self) -> Path:
        """Folder of what prompts mean to large models."""
        return self.data / "prompts"

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str], changed: Mapping[str, str] | None = None
    ) -> Self:
        """Settings of the variables that are set and not empty; defaults for the others.

        Args:
            environment: variables and their values.
            changed: texts of settings that a command line changes, by name.

        Raises:
            RequestError: a text is none of those possible.
        """
        changed = changed or {}
        said = described()
        values: dict[str, Any] = {}
        for name, kind in said.items():
            text = changed.get(name) or environment.get(variable_of(name))
            if not text:
                continue
            try:
                values[name] = kind.parse(text)
            except ValueError as error:
                where = flag_of(name) if name in changed else variable_of(name)
                shown = "not what it has to be" if kind.is_secret else repr(text)
                raise RequestError(
                    f"{where} is {shown}.", next_step=f"Give it {error}, or leave it out."
                ) from error
        if ("c2pa_certificate" in values) != ("c2pa_key" in values):
            raise RequestError(
                "Only one of the C2PA certificate and its key is given.",
                next_step="Give both, or neither.",
            )
        if values.get("listen") and "host" in values:
            raise RequestError(
                "Both an address to listen at and every one are asked for.",
                next_step="Keep --host or --listen.",
            )
        return cls(**values)

    @property
    def address(self) -> str | None:
        """Address to listen at; None for the usual one."""
        return "0.0.0.0" if self.listen else self.host


def described() -> dict[str, Setting]:
    """What is said about every setting, by name."""
    hints = get_type_hints(Settings, include_extras=True)
    return {item.name: hints[item.name].__metadata__[0] for item in fields(Settings)}


def variable_of(name: str) -> str:
    """The environment variable of a setting."""
    return f"{PREFIX}{name.upper()}"


def flag_of(name: str) -> str:
    """The flag of a setting on the command line."""
    return f"--{name.replace('_', '-')}"
