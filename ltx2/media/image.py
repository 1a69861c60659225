"""Pictures as arrays."""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ltx2.errors import MediaError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
"""Read; a GIF is a video."""

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


def _damaged() -> MediaError:
    return MediaError(
        "The picture is damaged.", next_step="Choose another file, or copy or download it again."
    )
