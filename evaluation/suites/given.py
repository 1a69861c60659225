"""Files that an item's clip is made from: pictures, sounds and clips beside the suite."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer
from pydantic import model_validator as checked_after

if TYPE_CHECKING:
    from ltx2.inputs import Inputs

File = Annotated[Path, PlainSerializer(lambda path: path.name, return_type=str)]
"""A file, relative to the suite's; digests and records have its name without the folder."""

Seconds = Annotated[float, Field(ge=0, le=600)]
Mode = Literal[
    "text", "images", "audio", "foley", "extend", "retake", "inpaint", "reference", "several"
]


class _Written(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class GivenImage(_Written):
    """A picture that the clip shows at a moment.

    Attributes:
        file: of the picture.
        at_s: the moment in seconds; at 0 it is the first one.
        strength: 1 holds it exactly, 0 leaves it free.
    """

    file: File
    at_s: Seconds = 0.0
    strength: float = Field(default=1.0, ge=0, le=1)


class Given(_Written):
    """Files and what is done with them, by the names of `python -m ltx2 generate`.

    Attributes:
        images: pictures that the clip shows.
        audio: a sound that the picture is made to.
        foley: a video that the sound is made to.
        extend: a clip that goes on; `before` seconds are made ahead of it, `after` behind it.
        retake: a clip of which the parts `spans` ("START-END", seconds) are made anew.
        only: of a retake.
        inpaint: a clip whose picture is made anew where the image `mask` is white.
        reference: a video to follow, for LoRAs that were trained so.
        reference_downscale: how much smaller it is shown.
    """

    images: tuple[GivenImage, ...] = ()
    audio: File | None = None
    foley: File | None = None
    extend: File | None = None
    before: Seconds = 0.0
    after: Seconds = 0.0
    retake: File | None = None
    spans: tuple[Annotated[str, Field(pattern=r"^[\d.]+-[\d.]+$")], ...] = ()
    only: Literal["both", "picture", "sound"] = "both"
    inpaint: File | None = None
    mask: File | None = None
    reference: File | None = None
    reference_downscale: int = Field(default=1, ge=1, le=8)

    @checked_after(mode="after")
    def _check(self) -> Self:
        if not self.files:
            raise ValueError("no file is given")
        if bool(self.before or self.after) != (self.extend is not None):
            raise ValueError("extend belongs together with before or after")
        if bool(self.spans) != (self.retake is not None):
            raise ValueError("retake and spans belong together")
        if (self.mask is None) != (self.inpaint is None):
            raise ValueError("inpaint and mask belong together")
        return self

    @property
    def files(self) -> Mapping[str, Path]:
        """Every file by what it is for; the first picture as "image"."""
        named = {
            name: getattr(self, name)
            for name in ("audio", "foley", "extend", "retake", "inpaint", "mask", "reference")
        }
        if self.images:
            named["image"] = self.images[0].file
        return {name: path for name, path in named.items() if path is not None}

    @property
    def mode(self) -> Mode:
        """What is asked of the model, in one word."""
        said = [name for name in self.files if name not in ("mask", "image")]
        if self.images:
            said.append("images")
        return said[0] if len(said) == 1 else "several"  # type: ignore[return-value]

    def within(self, folder: Path) -> "Given":
        """The same with every file found from a folder."""
        update: dict[str, Any] = {
            name: folder / path for name, path in self.files.items() if name != "image"
        }
        update["images"] = tuple(
            image.model_copy(update={"file": folder / image.file}) for image in self.images
        )
        return self.model_copy(update=update)

    def missing(self) -> Iterator[Path]:
        """Files that are not there."""
        paths = [*self.files.values(), *(image.file for image in self.images[1:])]
        return (path for path in paths if not path.is_file())

    def to_request(self, inputs: "Inputs") -> dict[str, Any]:
        """Fields of a request; the files can then be found by `inputs`.

        Raises:
            MediaError: a file cannot be read.
        """
        from ltx2.given_options import GivenOptions

        images = [f"{image.file}@{image.at_s}:{image.strength}" for image in self.images]
        options = GivenOptions(
            images=images,
            audio=self.audio,
            foley=self.foley,
            extend=self.extend,
            before=self.before,
            after=self.after,
            retake=self.retake,
            spans=self.spans,
            only=self.only,
            inpaint=self.inpaint,
            mask=self.mask,
            reference=None if self.reference is None else str(self.reference),
            reference_downscale=self.reference_downscale,
        )
        return options.to_request(inputs)
