"""What a clip is made from: the pills above the prompt.

A mode is a line in `MODES`, an area of the form of its own, and a rule in `static/page.css` that
shows the area while the mode is chosen, so that changing it asks nothing of the server.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ltx2.request import Request
from ltx2.serving.models import Offer
from ltx2.ui.language import label, phrase


@dataclass(frozen=True)
class Mode:
    """One way to ask for a clip.

    Attributes:
        name: kept in browsers and in `static/page.css`.
        title: as visitors see it, in English.
        fits: whether a model can do it; pills are offered for those that can.
    """

    name: str
    title: str
    fits: Callable[[Offer], bool] = lambda offer: True


TEXT, IMAGE, AUDIO, VIDEO, DIALOGUE = "text", "image", "audio", "video", "dialogue"

MODES = (
    Mode(TEXT, phrase("Text")),
    Mode(IMAGE, phrase("Image")),
    Mode(AUDIO, phrase("Audio")),
    Mode(VIDEO, phrase("Video")),
    Mode(DIALOGUE, phrase("Dialogue")),
)
"""In their order on the page."""


def mode_of(request: Request) -> str | None:
    """The mode that asks for files as a request's clip was made from; None where it had none."""
    if request.keyframes:
        return IMAGE
    if request.reference or any(source.gives_video for source in request.sources):
        return VIDEO
    return AUDIO if request.sources else None


def describe_modes(offer: Offer) -> dict[str, Any]:
    """Gradio arguments of the pills for a model."""
    choices = [(label(mode.title), mode.name) for mode in MODES if mode.fits(offer)]
    return {"choices": choices, "visible": len(choices) > 1}
