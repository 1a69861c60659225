"""Who makes the clips of a run, by a short name."""

from pathlib import Path
from typing import TYPE_CHECKING

from ltx2.errors import RequestError

if TYPE_CHECKING:
    from evaluation.suites.generators.base import Generator

KINDS = {
    "folder": "clips that are made already, folder:PATH",
    "command": "any program, command:ovi, command:wan2.2 or command:FILE.yaml",
    "diffusers": "Wan 2.2, diffusers:NAME_OR_FOLDER",
    "veo": "Google's service, veo:veo-3.1-generate-preview",
    "sora": "OpenAI's service, sora:sora-2",
}


def find_generator(name: str) -> "Generator":
    """The generator of "KIND:WHICH", or the model of our own pipeline that is called so.

    Raises:
        RequestError: it does not say which.
    """
    kind, colon, which = name.partition(":")
    if not colon or kind not in KINDS:
        from evaluation.suites.generators.pipeline import PipelineGenerator

        return PipelineGenerator(name)
    if not which:
        raise RequestError(f"--model {name} does not say which.", next_step=f"Give {KINDS[kind]}.")
    if kind == "folder":
        from evaluation.suites.generators.folder import FolderGenerator

        return FolderGenerator(Path(which))
    if kind == "command":
        from evaluation.suites.generators.command import CommandGenerator, load_template

        return CommandGenerator(load_template(which))
    if kind == "diffusers":
        from evaluation.suites.generators.diffusers_wan import WanGenerator

        return WanGenerator(which)
    from evaluation.suites.generators.cloud import SoraGenerator, VeoGenerator

    return VeoGenerator(which) if kind == "veo" else SoraGenerator(which)
