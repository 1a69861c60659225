import numpy as np
import pytest
from PIL import Image

import ltx2
from ltx2.checkpoint.reader import save_checkpoint
from ltx2.clip import Clip
from ltx2.inputs import Inputs
from ltx2.media.decode import read_media
from ltx2.media.sound import write_sound
from tests.tiny_checkpoint import write_tiny_model, write_tiny_upsampler


@pytest.fixture(scope="package")
def pipeline(tmp_path_factory):
    folder = write_tiny_model(tmp_path_factory.mktemp("models") / "tiny")
    for enlarging in ("space", "space-1.5", "time"):
        write_tiny_upsampler(folder / f"{enlarging}.safetensors", enlarging)
    save_checkpoint(folder / "other.safetensors", {}, {})
    return ltx2.load(folder, device="cpu")


@pytest.fixture(scope="package")
def inputs():
    """Files read in this process, which takes no second for each."""
    return Inputs(read=read_media)


@pytest.fixture(scope="package")
def files(tmp_path_factory, inputs):
    """A video of two seconds with sound at a rate of its own, a picture, a mask and a sound."""
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)
    frames = np.kron(rng.integers(0, 256, (17, 6, 8, 3), np.uint8), np.ones((1, 8, 8, 1), np.uint8))
    tone = 0.3 * np.sin(np.arange(round(17 / 8 * 44_100)) / 44_100 * 2 * np.pi * 440)
    waveform = np.stack([tone, 0.5 * tone]).astype(np.float32)
    clip = Clip(frames, waveform, 8.0, 44_100)
    clip.save(folder / "video.mp4")
    write_sound(clip, folder / "sound.wav")
    Image.fromarray(frames[0]).save(folder / "picture.png")
    mask = np.zeros((48, 64), np.uint8)
    mask[:, 40:] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    return {path.stem: inputs.add(path) for path in sorted(folder.iterdir())}
