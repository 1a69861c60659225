"""Writes the levels of the puppet world's words.

`python -m evaluation.metrics.lip_sync.puppet_bank`; espeak-ng says them.
"""

import sys

import numpy as np

from evaluation.metrics.lip_sync.cartoons import BANK
from evaluation.metrics.lip_sync.voice_level import WINDOW, voice_level
from ltx2.puppet import spoken, vocabulary, voices


def main() -> None:
    """Every word in every voice, between silence, cut to where it sounds."""
    levels = []
    for language, words in vocabulary().items():
        for word in words:
            for voice in voices():
                sound = spoken(word, language=language, voice=voice)
                level = voice_level(np.pad(sound, WINDOW))
                loud = np.flatnonzero(level > 0.02 * level.max())
                levels.append(level[loud[0] : loud[-1] + 1] / level.max())
    BANK.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        BANK,
        levels=np.concatenate(levels).astype(np.float16),
        lengths=np.array([len(level) for level in levels], np.int32),
    )
    sys.stdout.write(f"{BANK.name}: {len(levels)} words\n")


if __name__ == "__main__":
    main()
