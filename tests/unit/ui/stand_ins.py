"""A queue around the stand-in model, and what a visitor fills in."""

from dataclasses import replace

import gradio as gr

from ltx2.request import Recipe, Request
from ltx2.serving.models import Models, Offer
from ltx2.serving.store import Store
from ltx2.serving.worker import JobQueue, Limits
from ltx2.ui.form import Asked
from ltx2.ui.generate import GenerateHandlers
from ltx2.ui.modes import TEXT
from ltx2.ui.video import GivenVideo
from tests.fakes.model import PROFILE, FakeModel

VISITOR, OTHER = "v" * 32, "o" * 32

ASKED = Asked(
    prompt='A red puppet says "hello".',
    duration=0.4,
    seed=7,
    randomize_seed=False,
    height=96,
    width=64,
    negative_prompt="",
    num_steps=2,
    video_cfg_scale=3.0,
    audio_cfg_scale=4.0,
    model="stand-in",
    lora="None",
    lora_strength=1.0,
)

GIVEN = [None, *vars(GivenVideo()).values()]
"""Values of the areas for files, in which there are none."""

SHOWING = (
    "status",
    "preview",
    "video",
    "details",
    "summary",
    "recipe",
    "stop",
    "timer",
    "shown",
    "use_failed",
)
"""What a handler that shows a job answers, in its order."""


def an_offer(maker=None, name="stand-in", profile=PROFILE, **values):
    maker = maker or FakeModel()
    return Offer(name, profile, lambda loras: maker, **values)


def a_queue(folder, *offers, limits=None, score=None):
    """A queue whose worker has not begun."""
    models = Models(offers or [an_offer()], device="cpu")
    store = Store(folder / "jobs.sqlite")
    return JobQueue(store, [models], folder / "clips", limits=limits or Limits(), score=score)


def handlers(queue):
    return GenerateHandlers(queue, queue.folder.parent / "cache")


def values(asked=ASKED, **changes):
    """The form's fields, as Gradio hands them over."""
    return list(vars(replace(asked, **changes)).values())


def submitted(queue, owner=VISITOR, copies=1, **changes):
    """The job just asked for through the page."""
    _, job_id, _ = handlers(queue).on_submit(
        owner, copies, False, TEXT, {}, *values(**changes), *GIVEN
    )
    return queue.find(owner, job_id)


def made(queue, owner=VISITOR, **changes):
    """A job that was asked for and has ended."""
    return queue.make_now(submitted(queue, owner, **changes), queue.models[0])


def by_name(updates, names=SHOWING):
    """What the page changes, by component."""
    return dict(zip(names, updates, strict=True))


POLLING = ("status", "preview", "shown", "turn")
"""What the handler that is asked often answers."""


def is_kept(update):
    return update == gr.skip()


def a_recipe(profile=PROFILE, model="stand-in", loras=(), **request):
    asked = Request(**{"prompt": "a ball", "seed": 3, **request}).resolve(profile)
    return Recipe(software="test", model=model, fingerprint="f", request=asked, loras=loras)
