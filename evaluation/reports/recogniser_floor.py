"""What the recogniser gets wrong of sentences that a program reads, by language.

`python -m evaluation.reports.recogniser_floor` has espeak-ng read lines of the suite "multilingual"
and writes `evaluation/reports/data/recogniser_floor.yaml`. No person spoke: a formant synthesiser
is harder to understand than people in some languages and hopeless in others, so these are no floor
to take off a model's errors. They tell in which languages an error says little of the model.
"""

import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from evaluation.expectation import Expectation, ExpectedLine
from evaluation.measurement import Measured
from evaluation.metrics.language import word_error
from evaluation.metrics.recogniser import BASE
from evaluation.suites.commands import SUITES
from evaluation.suites.schema import load_suite
from ltx2 import Clip

TARGET = Path(__file__).parent / "data" / "recogniser_floor.yaml"
LINES = 10
VOICES = {"zh": "cmn", "en": "en-us", "pt": "pt-br"}
"""Voices of espeak-ng that are not called like their language."""
WORDS_PER_MINUTE = "150"
SAMPLE_RATE, HEADER_BYTES = 22_050, 44
"""Of what espeak-ng writes."""


def main() -> None:
    """Have every language read, and write what was understood."""
    lines: dict[str, list[str]] = defaultdict(list)
    for item in load_suite(SUITES / "multilingual.yaml").items:
        for line in item.lines:
            language = line.language or item.language
            if line.text not in lines[language] and len(lines[language]) < LINES:
                lines[language].append(line.text)
    version = subprocess.run(
        ["espeak-ng", "--version"], capture_output=True, text=True, check=True
    ).stdout.split()[3]
    rows = [
        "# Written by python -m evaluation.reports.recogniser_floor.",
        f"recogniser: {BASE}",
        f"source: espeak-ng {version} reading lines of the suite multilingual, {WORDS_PER_MINUTE} "
        "words a minute",
        "languages:",
    ]
    for language, texts in lines.items():
        errors = [_error(text, language) for text in texts]
        known = [error for error in errors if error is not None]
        share = f"{np.mean(np.minimum(known, 1)):.3f}" if known else "null"
        rows.append(f"  {language}: {{error: {share}, lines: {len(known)}, of: {len(texts)}}}")
        sys.stdout.write(f"{rows[-1]}\n")
    TARGET.write_text("\n".join(rows) + "\n", encoding="utf-8")


def _error(text: str, language: str) -> float | None:
    """Share of the words of a line, as espeak-ng reads it, that are not understood."""
    command = ["espeak-ng", "-v", VOICES.get(language, language), "-s", WORDS_PER_MINUTE]
    spoken = subprocess.run([*command, "--stdout", text], capture_output=True, check=True).stdout
    # The header does not know the length of what follows it.
    sound = np.frombuffer(spoken[HEADER_BYTES:], "<i2")
    waveform = (sound / 32768).astype(np.float32)[None].repeat(2, axis=0)
    clip = Clip(np.zeros((1, 16, 16, 3), np.uint8), waveform, 1.0, SAMPLE_RATE)
    expected = Expectation(lines=(ExpectedLine(text, language),))
    outcome = word_error(clip, expected)
    return outcome.value if isinstance(outcome, Measured) else None


if __name__ == "__main__":
    main()
