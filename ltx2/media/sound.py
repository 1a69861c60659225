"""Sound to files of its own."""

from pathlib import Path

import numpy as np
from scipy.io import wavfile

from ltx2.clip import Clip
from ltx2.errors import MediaError
from ltx2.files import replaced


def write_sound(clip: Clip, path: str | Path) -> Path:
    """The path of the WAV file just written, with 16 bits per sample; it carries no recipe.

    Raises:
        MediaError: the clip has no sound, or the file cannot be written; no partial file is left.
    """
    path = Path(path)
    if not clip.waveform.shape[1]:
        raise MediaError("The clip has no sound.", next_step="Save it as an MP4 file.")
    samples = (np.clip(clip.waveform.T, -1.0, 1.0) * 32_767).round().astype(np.int16)
    try:
        with replaced(path) as part:
            wavfile.write(part, clip.sample_rate, samples)
    except OSError as error:
        raise MediaError(
            f"The file {path.name} cannot be written ({error.strerror}).",
            next_step="Choose another folder, or make room.",
        ) from error
    return path
