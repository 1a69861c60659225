"""Whether letters stand in the pictures: subtitles, logos, watermarks."""

import numpy as np
from PIL import Image

from evaluation.metrics.finding import Finding
from evaluation.metrics.text_model import TextLine, text_models
from ltx2.errors import ResourceError

PICTURES = 4
"""Looked at, evenly over the clip; each costs about a tenth of a second."""
LEAST_CONFIDENCE, LEAST_LETTERS = 0.85, 4
"""Of a line that is believed: textures are found as well, but read as nothing or as a letter or
two. Clips of AVGen-Bench with text read 0.91 and more, those without 0.33 at most."""
LONGEST_QUOTE = 40


def burnt_in_text(frames: np.ndarray) -> Finding:
    """Whether a line of text can be read in some of the pictures [F, H, W, 3].

    The value is the share of the pictures looked at. Scripts that the reader knows are Latin and
    Chinese; others are found by chance only.
    """
    name, title = "text", "Text in the picture"
    try:
        models = text_models()
    except ResourceError as error:
        return Finding(
            name, title, "not measured", error.message, advice=error.next_step or "", unit="share"
        )
    chosen = np.unique(np.linspace(0, len(frames) - 1, PICTURES).round().astype(int))
    read = [
        [line.text for line in models.lines(Image.fromarray(frames[number])) if _is_text(line)]
        for number in chosen
    ]
    share = sum(bool(texts) for texts in read) / len(read)
    if not share:
        return Finding(name, title, "fine", "No text is seen.", share, "share")
    first = next(texts[0] for texts in read if texts)
    quote = first if len(first) <= LONGEST_QUOTE else f"{first[:LONGEST_QUOTE]}..."
    sentence = f'Text is seen in {sum(map(bool, read))} of {len(read)} pictures: "{quote}".'
    advice = (
        "If you did not ask for it, add subtitles, text, watermark to the negative prompt, leave "
        "quotation marks to spoken lines, or use another seed."
    )
    return Finding(name, title, "notice", sentence, share, "share", advice)


def _is_text(line: TextLine) -> bool:
    letters = sum(character.isalnum() for character in line.text)
    return line.confidence >= LEAST_CONFIDENCE and letters >= LEAST_LETTERS
