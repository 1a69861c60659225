"""The tabs that a page gets beside its own: Studies and Results."""

from pathlib import Path
from weakref import WeakKeyDictionary

import gradio as gr

from evaluation.reports.document import STYLES
from evaluation.ui.demo_study import Demo
from evaluation.ui.desk import Desk
from evaluation.ui.language import label
from evaluation.ui.owner import Owner, build_pass
from evaluation.ui.rating import Rating
from evaluation.ui.results import RESULTS, build_results
from evaluation.ui.studies import STUDIES, build_studies
from ltx2.ui.tabs import ExtraTab, Surroundings

OWN_STYLES = Path(__file__).parent / "studies.css"


def rating_tabs(rating: Rating) -> tuple[ExtraTab, ...]:
    """Both tabs, for `ltx2.ui.server.run_server`."""
    desks: WeakKeyDictionary[gr.Blocks, Desk] = WeakKeyDictionary()

    def desk(around: Surroundings) -> Desk:
        """What the tabs of one page share."""
        if around.page not in desks:
            owner = Owner(rating.settings.owner_password, around.door, rating.space_owner)
            demo = Demo(rating, around.queue)
            desks[around.page] = Desk(rating, around.queue, owner, demo, build_pass())
        return desks[around.page]

    return (
        ExtraTab(
            STUDIES,
            label("Studies"),
            lambda around: build_studies(desk(around), around),
            styles=(STYLES, OWN_STYLES),
        ),
        ExtraTab(
            RESULTS,
            label("Results"),
            lambda around: build_results(desk(around), around),
        ),
    )
