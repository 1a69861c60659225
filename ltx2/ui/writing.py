"""Events around the prompt: dialogue in rows, remarks, and improvement as a step to be seen."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import gradio as gr

from ltx2.serving.models import Offer
from ltx2.ui.composer import ComposerHandlers
from ltx2.ui.enhance import ImprovementHandlers
from ltx2.ui.events import ANSWERED, QUIET
from ltx2.ui.form import Form
from ltx2.ui.hints import render_hints


def bind_writing(
    form: Form, offer: Callable[[str | None], Offer], filled: Sequence[gr.events.Dependency]
) -> list[gr.events.Dependency]:
    """Binds them all.

    Args:
        form: what is written in.
        offer: the offer of a model's name.
        filled: events that put a prompt in, which the rows follow.

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
    return [taken, *_bind_composer(form, ComposerHandlers(offer), [*filled, taken])]


def _bind_composer(
    form: Form, handlers: ComposerHandlers, filled: Sequence[gr.events.Dependency]
) -> list[gr.events.Dependency]:
    """Rows write the prompt; a prompt that is typed or restored is read back into them."""
    composer = form.composer
    everything = [form.mode, form.model, form.prompt, *composer.inputs]
    writing: dict[str, Any] = {
        "fn": handlers.on_write,
        "inputs": everything,
        "outputs": [form.prompt, composer.message],
        **QUIET,
    }
    reading: dict[str, Any] = {
        "fn": handlers.on_read,
        "inputs": everything,
        "outputs": composer.outputs,
        **QUIET,
    }
    form.mode.change(**reading)
    for event in filled:
        event.success(**reading)
    form.prompt.input(trigger_mode="always_last", **reading)
    rows = composer.inputs[1:]
    written = [part.change(trigger_mode="always_last", **writing) for part in rows]
    composer.add.click(handlers.on_add, composer.inputs, composer.outputs, **QUIET)
    for number, row in enumerate(composer.rows):
        removed = row.remove.click(
            partial(handlers.on_remove, number), composer.inputs, composer.outputs, **QUIET
        )
        written.append(removed.success(**writing))
    return written


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
