"""A Hugging Face Space of this program: the folder that it is made of, and its upload."""

import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from huggingface_hub import HfApi, SpaceHardware
from huggingface_hub.errors import HfHubHTTPError, HTTPError

from ltx2.errors import RequestError, ResourceError

ROOT = Path(__file__).parents[2]

FILES = ("app.py", "requirements.txt", "README.md", "LICENSE", "NOTICE")
FOLDERS = ("ltx2", "evaluation", "prompts")
"""What the page needs to run, with the embedded weights; no tests, runs or caches."""

NEEDED = ("app.py", "requirements.txt", "README.md", "ltx2")

LEFT_OUT = ("__pycache__", "outputs")
"""Names of folders that running the program leaves behind."""

ZERO_GPU_TORCH = "torch>=2.8,<2.12"
"""What ZeroGPU knows; with a newer PyTorch its GPUs are not found."""

VARIABLES: Mapping[str, str] = {"LTX2_PROXIES": "1"}
"""The Hub's proxy stands in front of every Space, and tells a visitor's address."""


def list_space_files(root: Path = ROOT) -> tuple[Path, ...]:
    """Files of the Space, relative to the program's folder.

    Raises:
        ResourceError: the program was installed without them.
    """
    missing = [name for name in NEEDED if not (root / name).exists()]
    if missing:
        raise ResourceError(
            f"{root} lacks {', '.join(missing)}.",
            next_step="Run the command in a checkout of the whole repository.",
        )
    return tuple(sorted(path.relative_to(root) for path in _walk(root)))


def write_space(
    folder: Path, root: Path = ROOT, *, hardware: str | None = None
) -> tuple[Path, ...]:
    """Files just copied into a new or empty folder, relative to it.

    Args:
        folder: new or empty.
        root: the program's folder.
        hardware: as the Hub calls it; on ZeroGPU the requirements ask for a PyTorch that it knows.

    Raises:
        RequestError: the folder holds something.
        ResourceError: it cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RequestError(
            f"{folder} is not an empty folder.", next_step="Choose another one, or empty it."
        )
    files = list_space_files(root)
    try:
        for file in files:
            target = folder / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / file, target)
        if hardware is not None and hardware.startswith("zero"):
            _pin_torch(folder / "requirements.txt")
    except OSError as error:
        raise ResourceError(
            f"{folder} cannot be written ({error.strerror}).", next_step="Choose another folder."
        ) from error
    return files


def upload_space(
    folder: Path,
    name: str,
    *,
    is_private: bool,
    hardware: str | None,
    secrets: Mapping[str, str],
    api: HfApi | None = None,
) -> str:
    """Address of the Space, which is made if it is missing and then holds just this folder.

    Args:
        folder: as `write_space` made it.
        name: "owner/name".
        is_private: whether a new Space is seen by its owner alone.
        hardware: as the Hub calls it, "cpu-basic" or "zero-a10g"; None leaves it as it is.
        secrets: variables of the environment that nobody sees.
        api: of the Hub; HF_TOKEN says who asks.

    Raises:
        RequestError: there is no such hardware.
        ResourceError: the Hub refuses, or does not answer.
    """
    api = api or HfApi()
    try:
        wanted = None if hardware is None else SpaceHardware(hardware)
    except ValueError as error:
        raise RequestError(
            f"There is no hardware {hardware!r}.",
            next_step=f"Choose one of {', '.join(kind.value for kind in SpaceHardware)}.",
        ) from error
    try:
        api.create_repo(
            name, repo_type="space", space_sdk="gradio", private=is_private, exist_ok=True
        )
        # Before the upload, which builds and starts it.
        for variable, value in VARIABLES.items():
            api.add_space_variable(name, variable, value)
        for secret, value in secrets.items():
            api.add_space_secret(name, secret, value)
        if wanted is not None:
            api.request_space_hardware(name, wanted)
        api.upload_folder(
            repo_id=name,
            folder_path=folder,
            repo_type="space",
            commit_message="Deploy the page",
            delete_patterns=["*"],
        )
    except HfHubHTTPError as error:
        raise ResourceError(
            f"The Hub refuses the Space {name} (HTTP {error.response.status_code}).",
            next_step="Log in with `hf auth login`, or give a token that may write as HF_TOKEN.",
        ) from error
    except HTTPError as error:
        raise ResourceError(
            "The Hub does not answer.", next_step="Check the network and try again."
        ) from error
    return f"https://huggingface.co/spaces/{name}"


def _pin_torch(requirements: Path) -> None:
    text = requirements.read_text("utf-8")
    requirements.write_text(re.sub(r"(?m)^torch\b.*$", ZERO_GPU_TORCH, text), "utf-8")


def _walk(root: Path) -> Iterator[Path]:
    yield from (root / name for name in FILES if (root / name).is_file())
    for folder in FOLDERS:
        for path in (root / folder).rglob("*"):
            parts = path.relative_to(root).parts
            is_left_out = any(part in LEFT_OUT or part.startswith(".") for part in parts)
            if path.is_file() and not is_left_out and path.suffix not in (".pyc", ".part"):
                yield path
