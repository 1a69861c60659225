"""Sound to files of its own."""

from pathlib import Path

import av
import numpy as np

from ltx2.clip import Clip
from ltx2.errors import MediaError
from ltx2.files import replaced
from ltx2.media.recipe_tag import AI_GENERATED, render_recipe


def write_sound(clip: Clip, path: str | Path) -> Path:
    """The path of the WAV file just written, with 16 bits per sample and the recipe as comment.

    Its title says that it is AI-generated, as the description of a clip does.

    Raises:
        MediaError: the clip has no sound, or the file cannot be written; no partial file is left.
    """
    path = Path(path)
    if not clip.waveform.shape[1]:
        raise MediaError("The clip has no sound.", next_step="Save it as an MP4 file.")
    samples = (np.clip(clip.waveform.T, -1.0, 1.0) * 32_767).round().astype(np.int16)
    try:
        with replaced(path) as part, av.open(str(part), "w", format="wav") as container:
            if clip.recipe is not None:
                container.metadata["comment"] = render_recipe(clip.recipe)
                container.metadata["title"] = f"{AI_GENERATED} Model: {clip.recipe.model}."
            stream = container.add_stream("pcm_s16le", rate=clip.sample_rate, layout="stereo")
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(samples).reshape(1, -1), format="s16", layout="stereo"
            )
            frame.sample_rate = clip.sample_rate
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    except (OSError, av.FFmpegError) as error:
        raise MediaError(
            f"The file {path.name} cannot be written ({error.strerror}).",
            next_step="Choose another folder, or make room.",
        ) from error
    return path
