"""The health card as HTML, and what the page calls after every generation."""

from html import escape
from pathlib import Path

from evaluation.expectation import Expectation
from evaluation.metrics.finding import Finding, Verdict
from evaluation.metrics.health import HealthCard, health_card
from evaluation.ui.language import phrase, retold, say
from ltx2 import Clip, Request

MARKS = {"fine": "✓", "not measured": "?", "notice": "!", "problem": "✗"}
"""Shown beside the word, so that nothing depends on a colour."""


VERDICTS: dict[Verdict, str] = {
    "fine": phrase("fine"),
    "not measured": phrase("not measured"),
    "notice": phrase("notice"),
    "problem": phrase("problem"),
}
"""What they are called on the page."""


def examine(clip: Clip | Path, request: Request) -> str:
    """Health card of a clip that was asked for, as HTML.

    Args:
        clip: the clip, or the file that holds it.
        request: what was asked.

    Raises:
        MediaError: the file cannot be read.
    """
    if isinstance(clip, Path):
        clip = Clip.load(clip)
    return render_card(health_card(clip, expected_of(request)))


def expected_of(request: Request) -> Expectation:
    """What a request says about length and frame rate."""
    duration_s = request.duration_s
    if request.num_frames and request.frame_rate:
        duration_s = request.num_frames / request.frame_rate
    return Expectation(duration_s=duration_s, frame_rate=request.frame_rate)


def render_card(card: HealthCard) -> str:
    """One line that says whether all is well, then what is not, then the rest on request."""
    wrong = card.complaints
    rest = [finding for finding in card.findings if finding not in wrong]
    complaints = "".join(_render_finding(finding) for finding in wrong)
    others = "".join(_render_finding(finding) for finding in rest)
    return (
        f'<section class="health {card.verdict}" aria-label="{escape(say("Health of the clip"))}">'
        f"<p><strong>{escape(_headline(card))}</strong></p>"
        f"<ul>{complaints}</ul>"
        f"<details><summary>{escape(say('Everything measured'))}</summary>"
        f"<ul>{others}</ul></details>"
        "</section>"
    )


def _headline(card: HealthCard) -> str:
    number = len(card.complaints)
    if not number:
        return say("No technical fault was found.")
    if number == 1:
        return say("One thing to look at:")
    return say("{number} things to look at:", number=number)


def _render_finding(finding: Finding) -> str:
    advice = f" <em>{escape(retold(finding.advice))}</em>" if finding.advice else ""
    return (
        f'<li class="{finding.verdict.replace(" ", "-")}">'
        f'<span aria-hidden="true">{MARKS[finding.verdict]}</span> '
        f"<b>{escape(retold(finding.title))}</b> ({escape(say(VERDICTS[finding.verdict]))}): "
        f"{escape(retold(finding.sentence))}{advice}</li>"
    )
