"""Events around the prompt: dialogue, remarks, and improvement as a step to be seen."""

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from ltx2.serving.models import Offer
from ltx2.ui.composer import ComposerHandlers
from ltx2.ui.enhance import ImprovementHandlers
from ltx2.ui.events import ANSWERED, QUIET
from ltx2.ui.form import Form
from ltx2.ui.hints import render_hints

PROMPT_LEADS_JS = "(draft) => ({...draft, leads: false})"
"""Who types the prompt means that one, from the first letter on."""

MODEL_JS = """
(model) => {
    const composer = document.querySelector("#composer .composer");
    composer?.dispatchEvent(new CustomEvent("model", {detail: model}));
    return [];
}
"""
"""The composer offers what the model was taught."""


def bind_writing(
    form: Form, offer: Callable[[str | None], Offer], filled: Sequence[gr.events.Dependency]
) -> list[gr.events.Dependency]:
    """Binds them all.

    Args:
        form: what is written in.
        offer: the offer of a model's name.
        filled: events that put a prompt in, which the dialogue's fields follow.

    Returns:
        Events that change the prompt in turn.
    """

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
    taken = _bind_improvement(form, ImprovementHandlers(offer))
    return [taken, _bind_composer(form, ComposerHandlers(offer), [*filled, taken])]


def _bind_composer(
    form: Form, handlers: ComposerHandlers, filled: Sequence[gr.events.Dependency]
) -> gr.events.Dependency:
    """Speakers and lines write the prompt; one that is typed or restored is read back."""
    reading: dict[str, Any] = {
        "fn": handlers.on_read,
        "inputs": [form.composer, form.prompt, form.model, form.mode],
        "outputs": [form.composer, form.note],
        **QUIET,
    }
    form.mode.change(**reading)
    for event in filled:
        event.success(**reading)
    form.prompt.input(
        None, form.composer, form.composer, js=PROMPT_LEADS_JS, api_visibility="private"
    )
    form.prompt.input(trigger_mode="always_last", **reading)
    form.model.change(None, form.model, None, js=MODEL_JS, api_visibility="private")
    return form.composer.input(
        handlers.on_write,
        [form.composer, form.prompt, form.model],
        [form.prompt, form.note],
        trigger_mode="always_last",
        **QUIET,
    )


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
