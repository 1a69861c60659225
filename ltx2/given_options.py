"""Options of the command line that name files to make a clip from, as parts of a request."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ltx2.errors import RequestError
from ltx2.geometry import ENLARGINGS, Enlarging

if TYPE_CHECKING:
    from ltx2.conditions import Span
    from ltx2.inputs import Inputs


@dataclass(frozen=True)
class GivenOptions:
    """What was said of given files; empty where nothing was.

    Attributes:
        images: "FILE", "FILE@SECONDS" or "FILE@SECONDS:STRENGTH".
        audio: a sound that the picture is made to.
        foley: a video that sound is made to.
        extend: a clip that goes on; `before` seconds are made ahead of it, `after` behind it.
        retake: a clip of which the parts `spans` ("START-END") are made anew, in the picture,
            the sound or both, as `only` says.
        inpaint: a clip whose picture is made anew where the image `mask` is white.
        reference: "FILE" or "FILE:STRENGTH" of a video to follow.
        reference_downscale: how much smaller it is shown.
    """

    images: Sequence[str] = ()
    audio: Path | None = None
    foley: Path | None = None
    extend: Path | None = None
    before: float = 0.0
    after: float = 0.0
    retake: Path | None = None
    spans: Sequence[str] = ()
    only: str = "both"
    inpaint: Path | None = None
    mask: Path | None = None
    reference: str | None = None
    reference_downscale: int = 1
    others: Sequence[Path] = field(default=())

    def to_request(self, inputs: "Inputs") -> dict[str, Any]:
        """Fields of a request; none where nothing was said. The files are read once.

        Raises:
            RequestError: options contradict each other or cannot be understood.
            MediaError: a file cannot be read.
        """
        from ltx2.conditions import Keyframe, Reference

        self._check()
        for path in self.others:
            inputs.add(path)
        values: dict[str, Any] = {}
        if self.images:
            keyframes = []
            for text in self.images:
                path, at_s, strength = _parse_image(text)
                keyframes.append(Keyframe(image=inputs.add(path), at_s=at_s, strength=strength))
            values["keyframes"] = tuple(keyframes)
        sources = self._sources(inputs, values)
        if sources:
            values["sources"] = sources
        if self.reference is not None:
            path, strength = _with_strength(self.reference)
            values["reference"] = Reference(
                file=inputs.add(path), strength=strength, downscale=self.reference_downscale
            )
        return values

    def _check(self) -> None:
        pairs = (
            ("--before and --after", bool(self.before or self.after), "--extend", self.extend),
            ("--span", bool(self.spans), "--retake", self.retake),
            ("--mask", self.mask is not None, "--inpaint", self.inpaint),
        )
        for option, is_said, of, value in pairs:
            if is_said != (value is not None):
                raise RequestError(
                    f"{option} and {of} belong together.", next_step="Say both or neither."
                )

    def _sources(self, inputs: "Inputs", values: dict[str, Any]) -> tuple[Any, ...]:
        from ltx2.conditions import Source

        sources = []
        if self.audio is not None:
            sources.append(Source(file=inputs.add(self.audio), use_video=False))
        if self.foley is not None:
            sources.append(Source(file=inputs.add(self.foley), use_audio=False))
        if self.extend is not None:
            file = inputs.add(self.extend)
            sources.append(Source(file=file, at_s=self.before))
            values["duration_s"] = self.before + file.duration_s + self.after
            values["num_frames"] = None
        if self.retake is not None:
            spans = tuple(map(_parse_span, self.spans))
            file = inputs.add(self.retake)
            video = spans if self.only in ("both", "picture") else ()
            audio = spans if self.only in ("both", "sound") and file.has_sound else ()
            sources.append(Source(file=file, remake_video=video, remake_audio=audio))
        if self.inpaint is not None and self.mask is not None:
            sources.append(Source(file=inputs.add(self.inpaint), mask=inputs.add(self.mask)))
        return tuple(sources)


def parse_upscale(text: str) -> tuple[Enlarging, ...]:
    """Stages of a list such as "space,space-1.5,time".

    Raises:
        RequestError: it is none.
    """
    said = [part.strip() for part in text.split(",")]
    stages = tuple(stage for part in said for stage in ENLARGINGS if part == stage)
    if len(stages) != len(said):
        raise RequestError(
            f"--upscale is {text!r}.",
            next_step='Write "space" for twice the size, "space-1.5" for 1.5 times and "time" for '
            "twice the frame rate, as in space,time.",
        )
    return stages


def _parse_image(text: str) -> tuple[Path, float, float]:
    if Path(text).exists():
        return Path(text), 0.0, 1.0
    found = re.fullmatch(r"(.+?)(?:@([0-9.]+))?(?::([0-9.]+))?", text)
    try:
        assert found is not None
        return Path(found[1]), float(found[2] or 0.0), float(found[3] or 1.0)
    except (AssertionError, ValueError) as error:
        raise RequestError(
            f"--image is {text!r}.", next_step="Write FILE, FILE@SECONDS or FILE@SECONDS:STRENGTH."
        ) from error


def _with_strength(text: str) -> tuple[Path, float]:
    path, at_s, strength = _parse_image(text)
    if at_s:
        raise RequestError(f"The reference is {text!r}.", next_step="Write FILE or FILE:STRENGTH.")
    return path, strength


def _parse_span(text: str) -> "Span":
    from ltx2.conditions import Span

    try:
        start, end = (float(part) for part in text.split("-"))
        return Span(start_s=start, end_s=end)
    except ValueError as error:
        raise RequestError(
            f"--span is {text!r}.", next_step="Write seconds from and to, as in 1.5-3."
        ) from error
