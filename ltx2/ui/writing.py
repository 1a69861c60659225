"""Events around the prompt: dialogue, remarks, and improvement as a step to be seen."""

from collections.abc import Callable

import gradio as gr

from ltx2.serving.models import Offer
from ltx2.ui.enhance import ImprovementHandlers
from ltx2.ui.events import ANSWERED, QUIET
from ltx2.ui.form import Form
from ltx2.ui.hints import render_hints

TELL_JS = """
(value) => {
    const composer = document.querySelector("#composer .composer");
    composer?.dispatchEvent(new CustomEvent("NAME", {detail: value}));
    return [];
}
"""
"""The dialogue's fields follow the prompt, and offer what the model was taught."""


def bind_writing(form: Form, offer: Callable[[str | None], Offer]) -> gr.events.Dependency:
    """Binds them all.

    Args:
        form: what is written in.
        offer: the offer of a model's name.

    Returns:
        The event that puts an improved prompt in.
    """
    # Gradio answers the listeners of an event in turn: these ask no server, and come first.
    for name, field in (("prompt", form.prompt), ("model", form.model)):
        js = TELL_JS.replace("NAME", name)
        field.change(None, field, None, js=js, api_visibility="private")

    def hints_of(prompt: str, duration: float | None, model: str | None) -> str:
        vocabulary = offer(model).profile.vocabulary
        return render_hints(prompt, duration_s=duration, vocabulary=vocabulary)

    gr.on(
        [form.prompt.change, form.duration.change, form.model.change],
        hints_of,
        [form.prompt, form.duration, form.model],
        form.hints,
        trigger_mode="always_last",  # while one is answered, only the last of the others counts
        **QUIET,
    )
    return _bind_improvement(form, ImprovementHandlers(offer))


def _bind_improvement(form: Form, handlers: ImprovementHandlers) -> gr.events.Dependency:
    step = form.improvement
    step.improve.click(
        handlers.on_improve,
        [form.prompt, form.model],
        step.outputs,
        concurrency_limit=1,  # a language model answers one at a time
        api_visibility="private",
    )
    step.edited.input(
        handlers.on_edit,
        [step.edited, step.original],
        step.diff,
        trigger_mode="always_last",
        **QUIET,
    )
    step.discard.click(lambda: gr.update(visible=False), None, step.proposal, **QUIET)
    return step.use.click(
        handlers.on_use, [step.edited, step.original], [form.prompt, step.proposal], **ANSWERED
    )
