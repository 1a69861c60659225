"""What the tabs about studies share."""

from dataclasses import dataclass

import gradio as gr

from evaluation.ui.demo_study import Demo
from evaluation.ui.owner import Owner
from evaluation.ui.rating import Rating
from ltx2.serving.worker import JobQueue


@dataclass(frozen=True)
class Desk:
    """Of one page.

    Attributes:
        rating: keeps the studies.
        queue: knows the clips that were made here.
        owner: who may do more than rate.
        demo: what everybody may rate.
        own_pass: the owner's, kept by their browser.
    """

    rating: Rating
    queue: JobQueue
    owner: Owner
    demo: Demo
    own_pass: gr.BrowserState
