"""Pictures as arrays."""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ltx2.errors import MediaError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
"""Read; a GIF is a video."""

_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
_BEGINNINGS = (b"\x89PNG", b"\xff\xd8\xff", b"BM")
"""How pictures are called, and how their files begin."""

_OTHERS = (".heic", ".heif", ".avif", ".tif", ".tiff", ".svg", ".psd", ".jxl")
"""Pictures that are not read."""

MAX_PIXELS = 8192 * 8192
"""Largest picture read, before it is scaled to a clip's size."""


def read_image(path: str | Path) -> np.ndarray | None:
    """A picture as uint8 RGB [H, W, 3], upright, over white where it is transparent.

    None for a file that is no picture.

    Raises:
        MediaError: it is one, but damaged or too large.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(path, formats=FORMATS)
    except Image.UnidentifiedImageError:
        return None
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise MediaError(
            f"The file {path} cannot be opened: {error.strerror}.",
            next_step="Check the name and that you may read it.",
        ) from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise _damaged() from error
    with image:
        if image.width * image.height > MAX_PIXELS:
            raise MediaError(
                f"The picture has {image.width} x {image.height} pixels.",
                next_step=f"Make it smaller, at most {MAX_PIXELS:,} pixels.",
            )
        try:
            upright = ImageOps.exif_transpose(image)
            if upright.has_transparency_data:
                clear = upright.convert("RGBA")
                upright = Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear)
            return np.array(upright.convert("RGB"))
        except (OSError, ValueError, SyntaxError, EOFError) as error:
            raise _damaged() from error


def refuse_unread(path: str | Path) -> None:
    """Says of a file that nothing could read what kind of picture it was meant to be, if any.

    Raises:
        MediaError: it is called like a picture, or begins like one.
    """
    suffix = Path(path).suffix.lower()
    if suffix in _OTHERS:
        raise MediaError(
            f"Pictures of the kind {suffix[1:].upper()} are not read.",
            next_step="Save it as PNG or JPEG.",
        )
    if suffix in _SUFFIXES or begins_like_picture(path):
        raise _damaged()


def begins_like_picture(path: str | Path) -> bool:
    """Whether a file has the first bytes of a picture, whatever its name."""
    with Path(path).open("rb") as file:
        start = file.read(12)
    is_webp = start.startswith(b"RIFF") and start.endswith(b"WEBP")
    return is_webp or start.startswith(_BEGINNINGS)


def _damaged() -> MediaError:
    return MediaError(
        "The picture is damaged.", next_step="Choose another file, or copy or download it again."
    )
