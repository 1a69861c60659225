import pytest

from ltx2.generation.stages import GENTLE_SIGMAS, stages_of
from ltx2.geometry import VideoCompression
from ltx2.request import Request
from tests.tiny_checkpoint import PROFILE

COMPRESSION = VideoCompression(8, 16)


def stages(profile=PROFILE, *, few=False, **asked):
    request = Request(**{"prompt": "a ball", "num_frames": 9, "num_steps": 8, **asked})
    resolved = request.resolve(profile)
    return stages_of(resolved, profile, 9, COMPRESSION, refines_in_few_steps=few)


@pytest.mark.parametrize("few", [True, False])
def test_pictures_larger_than_a_model_makes_are_refined_from_little_noise(few):
    asked = {"upscale": ("space", "space")}
    first, second, third = stages(few=few, width=256, height=256, **asked)
    assert (first.height, second.height, third.height) == (64, 128, 256)
    assert second.sigmas[0] > 0.4
    assert third.sigmas == GENTLE_SIGMAS
    told = PROFILE.model_copy(update={"refine_sigmas": (0.5, 0.0)})
    assert stages(told, few=True, width=256, height=256, **asked)[2].sigmas == (0.5, 0.0)


def test_stages_have_the_sizes_of_their_enlargements():
    sizes = [
        (s.height, s.width, s.upscaled)
        for s in stages(width=192, height=96, upscale=("space-1.5",))
    ]
    assert sizes == [(64, 128, None), (96, 192, "space-1.5")]
