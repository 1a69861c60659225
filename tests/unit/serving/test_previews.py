import io
import wave
from dataclasses import replace

import av
import numpy as np
from PIL import Image

from ltx2.serving.previews import MAX_HEIGHT, MAX_PICTURES, sketch
from tests.unit.serving.stand_ins import a_preview


def picture(sketched):
    return Image.open(io.BytesIO(sketched.pictures))


def test_a_clip_is_a_strip_of_pictures_in_order_with_its_sound():
    sketched = sketch(a_preview(step=2, total=3))
    strip = picture(sketched)
    assert (sketched.step, sketched.total, sketched.num_pictures) == (2, 3, MAX_PICTURES)
    assert (strip.format, strip.size) == ("JPEG", (64 * MAX_PICTURES, 96))
    reds = [strip.getpixel((32 + 64 * index, 48))[0] for index in range(MAX_PICTURES)]
    assert reds == sorted(reds)
    assert reds[0] < 10
    assert reds[-1] > 240
    with wave.open(io.BytesIO(sketched.sound)) as sound:
        assert (sound.getnchannels(), sound.getframerate()) == (2, 16_000)
        samples = np.frombuffer(sound.readframes(16_000), "<i2")
    assert len(samples) == 2 * 16_000
    assert abs(int(samples.mean()) - 16_383) <= 1


def test_large_pictures_are_made_small_in_their_shape():
    large = replace(a_preview(), frames=np.zeros((3, 512, 768, 3), np.uint8))
    assert picture(sketch(large)).size == (3 * 240, MAX_HEIGHT)


def test_a_single_picture_has_no_sound():
    one = replace(a_preview(num_frames=1), waveform=None)
    sketched = sketch(one)
    assert (sketched.num_pictures, sketched.sound) == (1, None)
    assert picture(sketched).size == (64, 96)


def test_a_preview_says_that_it_was_generated():
    sketched = sketch(a_preview())
    assert picture(sketched).info["comment"].startswith(b"AI-generated")
    with av.open(io.BytesIO(sketched.sound)) as container:
        assert container.metadata["comment"].startswith("AI-generated")
        assert sum(frame.samples for frame in container.decode(audio=0)) == 16_000
