"""Improving the prompt as a step that can be seen: what would change, then the writer decides."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from ltx2.checkpoint.catalog import find_model
from ltx2.errors import LTX2Error, RequestError
from ltx2.prompting.enhance import Enhancer, Proposal, Refused, Run, diff_words, propose
from ltx2.prompting.local_enhancer import LocalEnhancer, NoEnhancer, find_enhancer
from ltx2.prompting.quotes import find_quotes
from ltx2.prompting.tidying import Tidying
from ltx2.serving.models import Offer
from ltx2.ui.errors import errors_on_page
from ltx2.ui.language import label, phrase, retold, say

IMPROVE = phrase("Improve the prompt")
USE = phrase("Use this prompt")
DISCARD = phrase("Discard")
EMPTY = "Write a prompt first."
NOTHING_TO_DO = phrase("Nothing to put right was found.")
WITHOUT_MODEL = phrase("Without one, spelling and punctuation are checked, and nothing is made up.")
LOCKED = phrase("Lines in quotation marks stay as they are.")
CHANGED_LINE = "The lines in quotation marks are not those of your prompt any more."
ADDED, REMOVED = phrase("added"), phrase("removed")

FindEnhancer = Callable[[Offer], LocalEnhancer | NoEnhancer]


@dataclass(frozen=True)
class Improvement:
    """Components of the step.

    Attributes:
        proposal: all of it, hidden until there is one.
        original: the prompt that the proposal is for.
    """

    improve: gr.Button
    proposal: gr.Column
    diff: gr.HTML
    edited: gr.Textbox
    use: gr.Button
    discard: gr.Button
    original: gr.State

    @property
    def outputs(self) -> list[Any]:
        """What a proposal fills in."""
        return [self.proposal, self.diff, self.edited, self.use, self.original]


def build_improvement() -> Improvement:
    """Layout: the button, and below it what would change."""
    improve = gr.Button(label(IMPROVE), size="sm", elem_id="improve")
    with gr.Column(visible=False, elem_id="proposal") as proposal:
        diff = gr.HTML("", elem_id="diff")
        edited = gr.Textbox(
            label=label("Improved prompt"), info=label(LOCKED), lines=3, max_lines=12
        )
        with gr.Row():
            use = gr.Button(label(USE), size="sm", variant="primary", min_width=120)
            discard = gr.Button(label(DISCARD), size="sm", min_width=120)
    return Improvement(improve, proposal, diff, edited, use, discard, gr.State(""))


def enhancer_beside(offer: Offer) -> LocalEnhancer | NoEnhancer:
    """The language model among the files of an offer, or why there is none; loads nothing."""
    try:
        folder = find_model(offer.name).text_encoder
    except LTX2Error:
        folder = None
    return find_enhancer(folder)


def improved(prompt: str, offer: Offer) -> str:
    """The prompt as the offer's language model writes it; as it is where there is none."""
    found = enhancer_beside(offer)
    if isinstance(found, NoEnhancer) or not prompt.strip():
        return prompt
    proposed = propose(prompt, found)
    return prompt if isinstance(proposed, Refused) else proposed.enhanced


@dataclass(frozen=True)
class ImprovementHandlers:
    """What happens when a visitor presses one of the buttons.

    Attributes:
        offer: the offer of a model's name.
        find: the language model of an offer.
    """

    offer: Callable[[str | None], Offer]
    find: FindEnhancer = enhancer_beside

    def on_improve(self, prompt: str, model: str | None) -> tuple[Any, ...]:
        """Proposal, diff, text to edit, button to take it, and what it was made of."""
        with errors_on_page():
            if not prompt.strip():
                raise RequestError("The prompt is empty.", next_step=EMPTY)
            offer = self.offer(model)
            found = self.find(offer)
            note, enhancer = say(LOCKED), None
            if isinstance(found, NoEnhancer):
                note = f"{retold(found.reason)} {say(WITHOUT_MODEL)}"
            else:
                enhancer = found
            proposed = propose(prompt, enhancer or _tidying(offer))
            if isinstance(proposed, Refused):
                return _answer(prompt, f"{note} {retold(proposed.reason)}", ())
            if proposed.enhanced == prompt:
                return _answer(prompt, f"{note} {say(NOTHING_TO_DO)}", ())
            return _answer(prompt, note, proposed.diff, proposed)

    def on_edit(self, edited: str, original: str) -> str:
        """The diff of what was typed into the proposal."""
        return render_diff(say(LOCKED), diff_words(original, edited))

    def on_use(self, edited: str, original: str) -> tuple[str, dict[str, Any]]:
        """The prompt, and the step closed.

        Raises:
            gr.Error: a quoted line is not what it was.
        """
        with errors_on_page():
            lines = _lines(original)
            if lines and _lines(edited) != lines:
                raise RequestError(
                    CHANGED_LINE, next_step="Put them back, or change them in the prompt itself."
                )
            return edited, gr.update(visible=False)


def _tidying(offer: Offer) -> Enhancer:
    return Tidying(offer.profile.vocabulary)


def _answer(
    prompt: str, note: str, diff: Sequence[Run], proposed: Proposal | None = None
) -> tuple[Any, ...]:
    is_there = proposed is not None
    text = proposed.enhanced if proposed is not None else ""
    return (
        gr.update(visible=True),
        render_diff(note, diff),
        gr.update(value=text, visible=is_there),
        gr.update(visible=is_there),
        prompt,
    )


def _lines(prompt: str) -> list[str]:
    return [prompt[quote.start : quote.end] for quote in find_quotes(prompt).quotes]


def render_diff(note: str, diff: Sequence[Run]) -> str:
    """A note and the words that come and go, marked by signs and lines as well as by colour."""
    words = " ".join(_render_run(run) for run in diff)
    shown = f'<p class="words">{words}</p>' if diff else ""
    return f'<div role="status"><p>{escape(note)}</p>{shown}</div>'


def _render_run(run: Run) -> str:
    text = escape(run.text)
    match run.kind:
        case "added":
            return f'<ins aria-label="{escape(say(ADDED))}: {text}">+{text}</ins>'
        case "removed":
            return f'<del aria-label="{escape(say(REMOVED))}: {text}">\u2212{text}</del>'
        case "kept":
            return text
