"""Dialogue, composed: speakers and their lines write the prompt, and are read back of it.

What is typed lives in the browser (`static/composer.js`), which asks the server one question at a
time, and the next only if something has changed since: no answer takes the place of what was typed
meanwhile. Gradio's own events are not used for it, as two of them may be answered in any order.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict

import gradio as gr
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ltx2.errors import LTX2Error, RequestError
from ltx2.prompting.dialogue import read, write
from ltx2.prompting.languages import LANGUAGES
from ltx2.prompting.quotes import find_quotes
from ltx2.prompting.script import PLACES, Dialogue, Line, NotReadable, Place, Speaker
from ltx2.prompting.vocabulary import Vocabulary
from ltx2.request import MAX_PROMPT_CHARACTERS
from ltx2.serving.models import Models, Offer
from ltx2.ui.errors import error_in_words
from ltx2.ui.language import phrase, retold, say, words_of

STATIC = Path(__file__).parent / "static"

MAX_SPEAKERS, MAX_LINES = 6, 12
"""Of one dialogue; a clip of the longest kind holds no more."""


REPLACES = phrase("What you write here replaces the prompt.")
TOO_MANY = phrase("The prompt has more than {speakers} speakers or {lines} lines: edit it as text.")

WORDS = (
    phrase("Around them"),
    phrase("Speaker {number}"),
    phrase("Looks"),
    phrase("Name"),
    phrase("Place"),
    phrase("anywhere"),
    phrase("left"),
    phrase("centre"),
    phrase("right"),
    phrase("Voice"),
    phrase("Remove speaker {number}"),
    phrase("Add a speaker"),
    phrase("Line {number}"),
    phrase("Who"),
    phrase("Line"),
    phrase("What is said"),
    phrase("Language"),
    phrase("not said"),
    phrase("Delivery"),
    phrase("Move line {number} up"),
    phrase("Remove line {number}"),
    phrase("Add a line"),
)
"""What `static/composer.js` says."""


class _Draft(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", str_max_length=MAX_PROMPT_CHARACTERS)


class DraftSpeaker(_Draft):
    """A speaker as far as it is written."""

    name: str = ""
    looks: str = ""
    place: Place | Literal[""] = ""
    voice: str = ""

    @property
    def is_blank(self) -> bool:
        """Whether nothing tells this speaker from others."""
        return not (self.name.strip() or self.looks.strip())


class DraftLine(_Draft):
    """A line as far as it is written; `speaker` is the index of who says it."""

    speaker: int = 0
    text: str = ""
    language: str = ""
    delivery: str = ""


class Draft(_Draft):
    """A dialogue as far as it is written, as it travels between browser and server.

    Attributes:
        leads: the fields were changed last, so the prompt follows them; false after the prompt was.
    """

    setting: str = ""
    speakers: tuple[DraftSpeaker, ...] = Field(default=(), max_length=MAX_SPEAKERS)
    lines: tuple[DraftLine, ...] = Field(default=(), max_length=MAX_LINES)
    leads: bool = False

    @classmethod
    def of(cls, value: Any) -> "Draft":
        """The draft that a browser sent; an empty one where it sent something else."""
        try:
            return cls.model_validate(value or {})
        except ValidationError:
            return cls()

    def to_dialogue(self, vocabulary: Vocabulary | None = None) -> Dialogue | None:
        """What is complete of it; None while nobody says anything.

        Who has no line is silent.

        Raises:
            RequestError: a line has nobody to say it.
        """
        spoken = [line for line in self.lines if line.text.strip()]
        speaking = {line.speaker for line in spoken}
        for number, line in enumerate(spoken, start=1):
            if not 0 <= line.speaker < len(self.speakers) or self.speakers[line.speaker].is_blank:
                raise RequestError(
                    f"Nobody says line {number} yet.",
                    next_step="Write what the speaker looks like, or a name.",
                )
        if not spoken:
            return None
        there = [
            index
            for index, speaker in enumerate(self.speakers)
            if index in speaking or not speaker.is_blank
        ]
        return Dialogue(
            self.setting,
            tuple(
                Speaker(speaker.name.strip(), speaker.looks, speaker.place or None, speaker.voice)
                for speaker in (self.speakers[index] for index in there)
            ),
            tuple(
                Line(
                    there.index(line.speaker),
                    line.text,
                    line.language or _heard_in(line.text, vocabulary),
                    line.delivery,
                )
                for line in spoken
            ),
        )

    def taking(self, dialogue: Dialogue) -> "Draft":
        """The draft of a dialogue, in the place of this one."""
        return Draft(
            setting=dialogue.setting,
            speakers=tuple(
                DraftSpeaker(name=s.name, looks=s.looks, place=s.place or "", voice=s.voice)
                for s in dialogue.speakers
            ),
            lines=tuple(
                DraftLine(speaker=i.speaker, text=i.text, language=i.language, delivery=i.delivery)
                for i in dialogue.lines
            ),
        )


def written(draft: Draft, prompt: str, vocabulary: Vocabulary | None) -> str:
    """The prompt that a draft makes; `prompt` where it makes none or that one says the same.

    Raises:
        RequestError: something in it cannot be said.
    """
    dialogue = draft.to_dialogue(vocabulary)
    # A prompt that says the same in the visitor's own words stays as it is.
    if dialogue is None or (prompt.strip() and read(prompt, vocabulary) == dialogue):
        return prompt
    return write(dialogue, vocabulary)


def build_composer(models: Models) -> gr.HTML:
    """The fields; lists of what a small model was taught, free text for others."""

    def follow(asked: Any) -> Answer | None:
        try:
            return answer(Question.model_validate(asked), models.offer)
        except ValidationError:
            return None  # no browser of ours asks so

    taught = {
        offer.name: known
        for offer in models.offers
        if (known := describe_taught(offer.profile.vocabulary)) is not None
    }
    return gr.HTML(
        {},
        html_template='<div class="composer"></div><p role="status"></p>',
        css_template=(STATIC / "composer.css").read_text("utf-8"),
        js_on_load=(STATIC / "composer.js").read_text("utf-8"),
        server_functions=[follow],
        apply_default_css=False,
        elem_id="composer",
        taught=taught,
        model=models.offers[0].name,
        words=words_of(WORDS),
        languages=LANGUAGES,
        places=list(PLACES),
        most={"speakers": MAX_SPEAKERS, "lines": MAX_LINES},
    )


def describe_taught(vocabulary: Vocabulary | None) -> dict[str, Any] | None:
    """What can be chosen where a model knows only the wording of its captions; None for others.

    Looks and settings come as all of them, in the order of the groups they are made of.
    """
    if vocabulary is None or vocabulary.talk is None:
        return None
    talk = vocabulary.talk
    return {
        "looks": {
            "all": list(talk.all_looks()),
            "groups": [list(talk.kinds), *(["", *group] for group in talk.features)],
        },
        "setting": {
            "all": list(talk.all_settings()),
            "groups": [list(talk.settings), *(["", *group] for group in talk.endings)],
        },
        "voices": list(talk.voices),
        "sayings": {code: list(said) for code, said in vocabulary.sayings.items()},
        "most": {"speakers": 2, "lines": 2},
    }


class Question(BaseModel):
    """What the browser asks: the other side of what was changed last.

    Attributes:
        draft: the fields.
        prompt: as it stands above them.
        model: name of the model that is chosen; None for the usual one.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", str_max_length=MAX_PROMPT_CHARACTERS)

    draft: Draft = Draft()
    prompt: str = ""
    model: str | None = None


class Answer(TypedDict):
    """Both sides as they are to be, and a remark: empty if there is nothing to say."""

    draft: dict[str, Any]
    prompt: str
    remark: str


def answer(question: Question, offer: Callable[[str | None], Offer]) -> Answer:
    """The prompt that the fields make, or the fields of a prompt that was changed last.

    What cannot be written or read leaves the other side as it is, and the remark says why.

    Args:
        question: from a browser.
        offer: the offer of a model's name.
    """
    draft, prompt, remark = question.draft, question.prompt, ""
    try:
        vocabulary = offer(question.model).profile.vocabulary
        if draft.leads:
            prompt = written(draft, prompt, vocabulary)
        else:
            draft, remark = _read(draft, prompt, vocabulary)
    except LTX2Error as error:
        remark = error_in_words(error)
    return {"draft": draft.model_dump(mode="json"), "prompt": prompt, "remark": remark}


def _read(draft: Draft, prompt: str, vocabulary: Vocabulary | None) -> tuple[Draft, str]:
    """The draft of a prompt and a message; `draft` where it need not or cannot change."""
    if not prompt.strip() or _makes(draft, prompt, vocabulary):
        return draft, ""
    found = read(prompt, vocabulary)
    if isinstance(found, NotReadable):
        if not find_quotes(prompt).quotes and vocabulary is None and _is_new(draft):
            # Nobody speaks in it: it is where they stand.
            return draft.taking(Dialogue(prompt, (), ())), ""
        return draft, f"{retold(found.reason)} {say(REPLACES)}"
    if len(found.speakers) > MAX_SPEAKERS or len(found.lines) > MAX_LINES:
        return draft, say(TOO_MANY, speakers=MAX_SPEAKERS, lines=MAX_LINES)
    return draft.taking(found), ""


def _makes(draft: Draft, prompt: str, vocabulary: Vocabulary | None) -> bool:
    try:
        return written(draft, "", vocabulary) == prompt
    except LTX2Error:
        return False  # what is not complete makes no prompt


def _is_new(draft: Draft) -> bool:
    return not (
        draft.setting.strip()
        or any(line.text.strip() for line in draft.lines)
        or any(not speaker.is_blank for speaker in draft.speakers)
    )


def _heard_in(text: str, vocabulary: Vocabulary | None) -> str:
    """The language in which a small model heard a line; empty if it is one of many, or none."""
    sayings: Mapping[str, Sequence[str]] = {} if vocabulary is None else vocabulary.sayings
    return next((code for code, said in sayings.items() if text in said), "")
