"""One line of a clip's health card."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

Verdict = Literal["fine", "not measured", "notice", "problem"]
"""From the best to the worst; "not measured" where there is nothing to measure."""


@dataclass(frozen=True)
class Finding:
    """What was measured, and what it means for whoever made the clip.

    Attributes:
        name: stable identifier ("end_jump").
        title: a few words for people.
        verdict: how bad it is.
        sentence: what was found, with the number.
        value: in `unit`; None exactly where the verdict is "not measured".
        unit: "LUFS", "share"; empty for a count or a ratio.
        advice: what to try; empty where nothing is wrong.
    """

    name: str
    title: str
    verdict: Verdict
    sentence: str
    value: float | None = None
    unit: str = ""
    advice: str = ""

    def to_json(self) -> dict[str, Any]:
        """JSON values by attribute."""
        return asdict(self)
