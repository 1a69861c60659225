"""What the puppet was taught to read: the vocabulary in the profile of its checkpoints."""

import numpy as np

from ltx2.prompting.vocabulary import TalkWording, Vocabulary, vocabulary_of
from ltx2.request import ModelProfile
from ltx2.training.puppet import captions, scenes

NUM_SCENES, SEED = 1_500, 1
"""Sampled scenes whose captions together use every word; twice as many add none."""


def puppet_talk() -> TalkWording:
    """How captions tell who says what."""
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


def puppet_vocabulary(num_scenes: int = NUM_SCENES) -> Vocabulary:
    """The vocabulary of captions of sampled scenes, in every language of captions."""
    rng = np.random.default_rng(SEED)
    sampled = [scenes.sample_scene(rng) for _ in range(num_scenes)]
    wordings = [captions.caption(scene, rng) for scene in sampled]
    wordings += [
        captions.translated(scene, language)
        for scene in sampled
        for language in captions.CAPTION_LANGUAGES[1:]
    ]
    return vocabulary_of(
        wordings,
        languages=captions.CAPTION_LANGUAGES,
        sayings=scenes.WORDS,
        talk=puppet_talk(),
    )


def with_vocabulary(profile: ModelProfile) -> ModelProfile:
    """The same profile, which now says what the puppet was taught to read."""
    return profile.model_copy(update={"vocabulary": puppet_vocabulary()})
