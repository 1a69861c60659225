"""The health card: what is wrong with a clip that a program can tell in a second, and what to try.

It needs no connection and takes a second, so it runs after every generation. All but the text in
the picture, which small networks read where their package is installed, are rules.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluation.expectation import Expectation
from evaluation.measurement import Measured, Metric, NotMeasurable, Outcome
from evaluation.metrics import picture_health, sound_health, text_health
from evaluation.metrics.finding import Finding, Verdict
from ltx2 import Clip

VERSION = 2
SEVERITY: tuple[Verdict, ...] = ("fine", "not measured", "notice", "problem")
LENGTH_TOLERANCE = 0.05
"""Share of the length asked; models that fold eight frames into one cannot hit every length."""
LENGTH_TOLERANCE_FRAMES = 8
RATE_TOLERANCE = 0.002
"""24 and 23.976 pictures per second are the same to everybody."""


@dataclass(frozen=True)
class HealthCard:
    """All findings about a clip, in the order in which they are shown.

    Attributes:
        findings: one a question; their names are unique.
    """

    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst problem or notice; "fine" where there is neither."""
        wrong = self.complaints
        return wrong[0].verdict if wrong else "fine"

    @property
    def complaints(self) -> tuple[Finding, ...]:
        """What is wrong, the worst first."""
        wrong = [f for f in self.findings if f.verdict in ("notice", "problem")]
        return tuple(sorted(wrong, key=lambda f: -SEVERITY.index(f.verdict)))

    def to_json(self) -> dict[str, Any]:
        """JSON values: version, verdict and findings."""
        findings = [finding.to_json() for finding in self.findings]
        return {"version": VERSION, "verdict": self.verdict, "findings": findings}


def health_card(clip: Clip, expectation: Expectation) -> HealthCard:
    """What is found in a clip; a clip that lacks picture or sound gets a card all the same."""
    return HealthCard((*_of_picture(clip), *_of_sound(clip), *_of_request(clip, expectation)))


def health(clip: Clip, expectation: Expectation) -> Outcome:
    """Number of problems and notices, with the card as details."""
    if not len(clip.frames) and not clip.waveform.size:
        return NotMeasurable("The clip has neither picture nor sound.")
    card = health_card(clip, expectation)
    return Measured(float(len(card.complaints)), "findings", details=card.to_json())


METRIC = Metric("health", VERSION, "rules on small pictures and samples; PP-OCRv4 for text", health)


def _of_picture(clip: Clip) -> tuple[Finding, ...]:
    if not len(clip.frames):
        return (
            Finding("picture", "Picture", "problem", "The clip has no picture.", 0.0, "frames"),
        )
    small = picture_health.small_pictures(clip.frames)
    return (
        picture_health.stillness(small, clip.frame_rate),
        picture_health.end_jump(small),
        picture_health.black_frames(small, clip.frame_rate),
        text_health.burnt_in_text(clip.frames),
    )


def _of_sound(clip: Clip) -> tuple[Finding, ...]:
    heard = sound_health.silence(clip.waveform)
    if heard.verdict != "fine" or not np.isfinite(clip.waveform).all():
        return (heard,)
    return (
        heard,
        sound_health.clipping(clip.waveform),
        sound_health.loudness(clip.waveform, clip.sample_rate),
        sound_health.sound_length(clip.waveform, clip.sample_rate, clip.duration_s),
    )


def _of_request(clip: Clip, expectation: Expectation) -> tuple[Finding, ...]:
    return (_duration(clip, expectation.duration_s), _frame_rate(clip, expectation.frame_rate))


def _duration(clip: Clip, asked: float | None) -> Finding:
    name, title, length = "duration", "Length", clip.duration_s
    if asked is None:
        return Finding(name, title, "fine", f"The clip lasts {length:.2f} s.", length, "s")
    tolerance = max(LENGTH_TOLERANCE * asked, LENGTH_TOLERANCE_FRAMES / clip.frame_rate)
    sentence = f"The clip lasts {length:.2f} s; asked were {asked:.2f} s."
    if abs(length - asked) <= tolerance:
        return Finding(name, title, "fine", sentence, length, "s")
    advice = "Ask for a length that the model can make, or cut the clip."
    return Finding(name, title, "notice", sentence, length, "s", advice)


def _frame_rate(clip: Clip, asked: float | None) -> Finding:
    name, title, rate, unit = "frame_rate", "Frame rate", clip.frame_rate, "frames/s"
    if asked is None:
        return Finding(name, title, "fine", f"{rate:g} pictures a second.", rate, unit)
    sentence = f"{rate:g} pictures a second; asked were {asked:g}."
    if abs(rate - asked) <= RATE_TOLERANCE * asked:
        return Finding(name, title, "fine", sentence, rate, unit)
    advice = "Lips and sound may seem apart in an editor set to the rate asked; set it to this one."
    return Finding(name, title, "notice", sentence, rate, unit, advice)
