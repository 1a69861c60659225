"""A picture as it looks after video compression, which is what a model was trained on."""

import io

import av
import numpy as np


def recompressed(picture: np.ndarray, crf: int | None) -> np.ndarray:
    """Picture uint8 [H, W, 3] encoded as one H.264 frame and decoded again, at even sizes.

    The released pipelines do this at CRF 33 to pictures that a clip begins with: frames of their
    training videos have such traces, and a flawless first frame makes clips stand still.

    Args:
        picture: of any size.
        crf: 0 for none to 51 for most compression; None leaves the picture as it is.
    """
    if crf is None:
        return picture
    height, width = (side // 2 * 2 for side in picture.shape[:2])
    if not height or not width:
        return picture
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=1, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": str(crf), "preset": "veryfast"}
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:height, :width]))
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    file.seek(0)
    with av.open(file, "r") as written:
        return next(written.decode(video=0)).to_ndarray(format="rgb24")
