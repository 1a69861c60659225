"""Any program that makes a clip, described by a small YAML file."""

import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evaluation.canonical import digest
from evaluation.suites.generators.base import Generator
from evaluation.suites.given import Given
from evaluation.suites.schema import Item
from evaluation.suites.yaml_lines import read_yaml
from ltx2 import Request
from ltx2.errors import GenerationCancelled, GenerationError, RequestError
from ltx2.progress import OnProgress, ShouldCancel

TEMPLATES = Path(__file__).parent / "templates"
POLL_S = 0.2
LAST_CHARACTERS = 600
_NAME = re.compile(r"\{(\w+)\}")


class CommandTemplate(BaseModel):
    """How to call a program.

    Attributes:
        name: of the model.
        arguments: the program and its arguments, as a list; `{prompt}`, `{negative_prompt}`,
            `{seed}`, `{duration_s}`, `{num_frames}`, `{width}`, `{height}`, `{frame_rate}`,
            `{num_steps}`, `{output}` and `{work}` (an empty folder) are filled in, and
            `{prompt_csv}`, the prompt as a cell of a CSV file. No shell reads them, so a prompt
            cannot be taken for a command. Files that an item gives are `{image}` (the first
            picture), `{audio}`, `{foley}`, `{extend}`, `{retake}`, `{inpaint}`, `{mask}` and
            `{reference}`; items with a file that the template does not name are left out.
        defaults: what is filled in where a request leaves it open.
        files: further files to write before, by name within `{work}`, with the same names.
        output: pattern of the clip within `{work}`, where the program does not write `{output}`.
        directory: where the program runs; the current folder if not said.
        timeout_s: after which it is stopped.
        version: whatever tells two versions of the program apart.
        speech_marks: what the model wants around spoken lines instead of quotation marks.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1]
    name: str
    arguments: Annotated[tuple[str, ...], Field(min_length=1)]
    defaults: dict[str, str | int | float] = Field(default_factory=dict)
    files: dict[Annotated[str, Field(pattern=r"^[\w.-]+$")], str] = Field(default_factory=dict)
    output: str | None = None
    directory: str | None = None
    timeout_s: float = Field(default=3_600.0, gt=0)
    version: str = ""
    speech_marks: tuple[str, str] | None = None


def load_template(name_or_path: str) -> CommandTemplate:
    """A template that is delivered, by name, or of a file.

    Raises:
        RequestError: there is none, or it is wrong; the line is named.
    """
    known = sorted(path.stem for path in TEMPLATES.glob("*.yaml"))
    path = TEMPLATES / f"{name_or_path}.yaml" if name_or_path in known else Path(name_or_path)
    if not path.is_file():
        raise RequestError(
            f"There is no command template {name_or_path}.",
            next_step=f"Give a YAML file or one of {', '.join(known)}.",
        )
    data, lines = read_yaml(path)
    try:
        return CommandTemplate.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise lines.error(first["loc"], f"{first['msg']}.", "Change it and try again.") from error


class CommandGenerator(Generator):
    """Calls a program once for every clip."""

    def __init__(self, template: CommandTemplate) -> None:
        self.name = template.name
        self._template = template

    def version(self) -> str:
        """Digest of the template."""
        return digest(self._template.model_dump(mode="json"))

    def describe(self) -> Mapping[str, Any]:
        """The template."""
        return {"kind": "command", "template": self._template.model_dump(mode="json")}

    def takes(self, given: Given) -> bool:
        """Files that the template names."""
        texts = (*self._template.arguments, *self._template.files.values())
        named = {name for text in texts for name in _NAME.findall(text)}
        return set(given.files) <= named and len(given.images) <= 1

    def __call__(
        self,
        item: Item,
        request: Request,
        output: Path,
        *,
        on_progress: OnProgress,
        should_cancel: ShouldCancel,
    ) -> None:
        """Runs the program and takes its clip."""
        template = self._template
        with tempfile.TemporaryDirectory(dir=output.parent) as folder:
            work = Path(folder)
            values = self._values(item, request, output, work)
            for name, text in template.files.items():
                (work / name).write_text(_filled(text, values), encoding="utf-8")
            arguments = [_filled(argument, values) for argument in template.arguments]
            self._run(arguments, work, should_cancel)
            if template.output is not None:
                found = sorted(work.glob(_filled(template.output, values)))
                if not found:
                    raise GenerationError(
                        f"{self.name} wrote no {template.output}.",
                        next_step="Correct the template's output.",
                    )
                found[-1].replace(output)

    def _values(self, item: Item, request: Request, output: Path, work: Path) -> dict[str, str]:
        asked = request.model_dump(exclude_none=True, exclude={"schema_version"})
        known = {**self._template.defaults, **asked}
        if "num_frames" not in asked and {"duration_s", "frame_rate"} <= set(known):
            known["num_frames"] = round(float(known["duration_s"]) * float(known["frame_rate"]))
        known.setdefault("negative_prompt", "")
        values = {name: str(value) for name, value in known.items()}
        if item.given is not None:
            values |= {name: str(path.absolute()) for name, path in item.given.files.items()}
        if self._template.speech_marks is not None:
            opening, closing = self._template.speech_marks
            for line in item.lines:
                values["prompt"] = values["prompt"].replace(
                    f'"{line.text}"', f"{opening}{line.text}{closing}"
                )
        values["prompt_csv"] = '"' + values["prompt"].replace('"', '""') + '"'
        return {**values, "output": str(output.absolute()), "work": str(work.absolute())}

    def _run(self, arguments: list[str], work: Path, should_cancel: ShouldCancel) -> None:
        template = self._template
        with (work / "program.log").open("w+b") as log:
            try:
                process = subprocess.Popen(
                    arguments,
                    cwd=template.directory,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                raise GenerationError(
                    f"{arguments[0]} cannot be started: {error.strerror}.",
                    next_step=f"Install {self.name}, or correct the template's arguments.",
                ) from error
            try:
                self._wait(process, should_cancel)
            finally:
                _end(process)
            if process.returncode != 0:
                log.seek(0)
                last = log.read().decode("utf-8", "replace").strip()[-LAST_CHARACTERS:]
                raise GenerationError(
                    f"{self.name} ended with code {process.returncode}: {last}",
                    next_step="Run it by hand to see what it lacks.",
                )

    def _wait(self, process: "subprocess.Popen[bytes]", should_cancel: ShouldCancel) -> None:
        deadline = time.monotonic() + self._template.timeout_s
        while True:
            try:
                process.wait(POLL_S)
                return
            except subprocess.TimeoutExpired as error:
                if should_cancel():
                    raise GenerationCancelled from error
                if time.monotonic() > deadline:
                    raise GenerationError(
                        f"{self.name} took more than {self._template.timeout_s:g} s.",
                        next_step="Give the template a larger timeout_s.",
                    ) from error


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Ends a program and all that it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _filled(text: str, values: Mapping[str, str]) -> str:
    missing = [name for name in _NAME.findall(text) if name not in values]
    if missing:
        raise RequestError(
            f"The request leaves {missing[0]} open, which the template needs.",
            next_step=f"Add {missing[0]} to the template's defaults, or to --settings.",
        )
    return _NAME.sub(lambda found: values[found[1]], text)
