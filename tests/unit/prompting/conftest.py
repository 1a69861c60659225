"""What the small model of the package knows, built from the world it was trained on."""

import numpy as np
import pytest

from ltx2.prompting.vocabulary import TalkWording, vocabulary_of
from ltx2.training.puppet import captions, scenes


@pytest.fixture(scope="session")
def puppet_talk():
    return TalkWording(
        noun="puppet",
        kinds=scenes.SKINS,
        features=(
            tuple(f"{hair} hair" for hair in scenes.HAIRS[1:]),
            tuple(f"a {hat}" for hat in scenes.HATS[1:]),
        ),
        voices=scenes.VOICES,
        settings=tuple(f"{background} background" for background in scenes.BACKGROUNDS),
        endings=(
            tuple(captions.ENGLISH_AMBIENCE[name][0].strip(" .") for name in scenes.AMBIENCES[1:]),
            tuple(captions.ENGLISH_CAMERA[name][0].strip(" .") for name in scenes.CAMERAS[1:]),
        ),
    )


@pytest.fixture(scope="session")
def puppet(puppet_talk):
    rng = np.random.default_rng(1)
    sampled = [scenes.sample_scene(rng) for _ in range(1500)]
    wordings = [captions.caption(scene, rng) for scene in sampled]
    wordings += [
        captions.translated(s, language) for s in sampled for language in ("es", "de", "fr", "it")
    ]
    return vocabulary_of(
        wordings,
        languages=captions.CAPTION_LANGUAGES,
        sayings=scenes.WORDS,
        talk=puppet_talk,
    )
