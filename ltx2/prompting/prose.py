"""Dialogue as LTX-2 likes to read it: one paragraph in the present tense.

Every line names who says it by looks and place, in which language and how, then who is silent.
"""

import re
from dataclasses import dataclass, replace
from itertools import pairwise

from ltx2.errors import RequestError
from ltx2.prompting.languages import CODES, LANGUAGES
from ltx2.prompting.quotes import find_quotes, quoted
from ltx2.prompting.script import (
    Dialogue,
    Line,
    Place,
    Speaker,
    article,
    capitalised,
    check_shape,
    described,
    spoken,
)

MAX_SPEAKERS = 8
"""More cannot be told apart in one picture, and bounds the work of reading back."""

_OPENINGS: dict[Place | None, str] = {
    "left": "On the left is ",
    "centre": "In the centre is ",
    "right": "On the right is ",
    None: "In view is ",
}
_PLACES: dict[Place | None, str] = {
    "left": " on the left",
    "centre": " in the centre",
    "right": " on the right",
    None: "",
}
_SOMEONE = "someone"
_NAMED, _SPEAKING = ", named ", ", speaking with "
_ENDS = ".!?…。\uff01\uff1f؟"  # the last but one are the wide ! and ?

_DETERMINERS = frozenset(
    {"a", "an", "the", "one", "two", "three", "another", "someone", "somebody", "his", "her"}
    | {"my", "our", "their", "your", "its", "this", "that", "some"}
)
_OPENING = re.compile(f"(?:^|(?<= ))({'|'.join(_OPENINGS.values())})")
_VOICE = re.compile(f"^(?P<rest>.*){_SPEAKING}an? (?P<voice>.+) voice$")
_SAYS = re.compile(rf" says(?: in (?P<language>{'|'.join(CODES)}))?(?:, (?P<delivery>.+))?: $")


@dataclass(frozen=True)
class Prose:
    """Any number of speakers and lines, described in any words."""

    def normalise(self, dialogue: Dialogue) -> Dialogue:
        """The dialogue with every field in the form that prose can say.

        Raises:
            RequestError: a field cannot be said, or two speakers cannot be told apart.
        """
        check_shape(dialogue)
        if len(dialogue.speakers) > MAX_SPEAKERS:
            raise RequestError(
                f"The dialogue has {len(dialogue.speakers)} speakers.",
                next_step=f"Use at most {MAX_SPEAKERS}.",
            )
        speakers = tuple(
            _speaker(speaker, number) for number, speaker in enumerate(dialogue.speakers, start=1)
        )
        if len({_handle(speaker) for speaker in speakers}) < len(speakers):
            raise RequestError(
                "Two speakers cannot be told apart.",
                next_step="Give them different looks, places or names.",
            )
        return Dialogue(
            setting=capitalised(described(dialogue.setting, "The setting")),
            speakers=speakers,
            lines=tuple(_line(line, number) for number, line in enumerate(dialogue.lines, start=1)),
        )

    def compose(self, dialogue: Dialogue) -> str:
        """The paragraph of a normalised dialogue."""
        sentences = [_ended(dialogue.setting)] if dialogue.setting else []
        sentences += [f"{_introduction(speaker)}." for speaker in dialogue.speakers]
        for index, line in enumerate(dialogue.lines):
            sentences.append(f"{_lead(dialogue, index)}{_says(line)}{_ended_quote(line.text)}")
            sentences += _silence(dialogue.speakers, line.speaker)
        return " ".join(sentences)

    def parse(self, prompt: str) -> Dialogue | None:
        """The dialogue of a paragraph that `compose` made, or None."""
        quotes = find_quotes(prompt).quotes
        if not quotes:
            return None
        head = prompt[: quotes[0].start]
        openings = list(_OPENING.finditer(head))
        # The setting may hold words like an introduction's, so every place to end it is tried.
        for first in range(max(0, len(openings) - MAX_SPEAKERS), len(openings)):
            setting = head[: openings[first].start()].rstrip(" .")
            starts = [opening.start() for opening in openings[first:]]
            for speakers in _speakers(head, starts):
                lines = _lines(prompt, speakers)
                dialogue = Dialogue(setting, speakers, lines) if lines else None
                if dialogue is not None and self.compose(dialogue) == prompt:
                    return dialogue
        return None


# --- putting fields right ----------------------------------------------------------------------


def _speaker(speaker: Speaker, number: int) -> Speaker:
    name = described(speaker.name, f"The name of speaker {number}")
    looks = _with_article(described(speaker.looks, f"The looks of speaker {number}"))
    voice = described(speaker.voice, f"The voice of speaker {number}")
    voice = re.sub(r"^(?:an?\s+)+|(?:\s+voice)+$", "", voice, flags=re.IGNORECASE)
    if name and looks == _SOMEONE:
        looks = ""
    if not name and not looks:
        raise RequestError(
            f"Speaker {number} has neither looks nor a name.",
            next_step="Describe what this speaker looks like.",
        )
    return replace(speaker, name=name, looks=looks, voice=voice)


def _with_article(looks: str) -> str:
    first, _, rest = looks.partition(" ")
    if first.lower() in _DETERMINERS:
        return f"{first.lower()} {rest}".strip()
    # A capital may be a name, another script has other articles.
    return f"{article(looks)} {looks}" if "a" <= first[:1] <= "z" else looks


def _line(line: Line, number: int) -> Line:
    if line.language and line.language not in LANGUAGES:
        raise RequestError(
            f"The language {line.language!r} of line {number} is not known.",
            next_step=f"Choose one of {', '.join(LANGUAGES)}.",
        )
    text = spoken(line.text, number)
    quoted(text)  # refuses what no pair of marks can hold
    return replace(
        line, text=text, delivery=described(line.delivery, f"The delivery of line {number}")
    )


# --- wording -----------------------------------------------------------------------------------


def _introduction(speaker: Speaker) -> str:
    name = f"{_NAMED}{speaker.name}" if speaker.name else ""
    voice = f"{_SPEAKING}{article(speaker.voice)} {speaker.voice} voice" if speaker.voice else ""
    return f"{_OPENINGS[speaker.place]}{speaker.looks or _SOMEONE}{name}{voice}"


def _handle(speaker: Speaker) -> str:
    """How a line names its speaker, "Anna, the woman with red hair on the left,"."""
    place = _PLACES[speaker.place]
    looks = re.sub(r"^an? ", "the ", speaker.looks)
    if not looks:
        return f"{speaker.name}{place}"
    return f"{speaker.name}, {looks}{place}," if speaker.name else f"{looks}{place}"


def _lead(dialogue: Dialogue, index: int) -> str:
    """Everything up to "says", the turn's number included."""
    handle = _handle(dialogue.speakers[dialogue.lines[index].speaker])
    turn = _turn(index, len(dialogue.lines))
    return f"{turn}{handle}" if turn else capitalised(handle)


def _turn(index: int, count: int) -> str:
    if count == 1:
        return ""
    if index == 0:
        return "First, "
    return "Finally, " if index == count - 1 and count > 2 else "Then "


def _says(line: Line) -> str:
    language = f" in {LANGUAGES[line.language]}" if line.language else ""
    delivery = f", {line.delivery}" if line.delivery else ""
    return f" says{language}{delivery}: "


def _ended(sentences: str) -> str:
    return sentences if sentences[-1] in _ENDS else f"{sentences}."


def _ended_quote(text: str) -> str:
    return quoted(text) + ("" if text[-1] in _ENDS else ".")


def _silence(speakers: tuple[Speaker, ...], speaker: int) -> list[str]:
    others = [other for index, other in enumerate(speakers) if index != speaker]
    if not others:
        return []
    if len(others) == 1:
        return [f"Meanwhile {_handle(others[0])} stays silent."]
    return ["Meanwhile the others stay silent."]


# --- reading back ------------------------------------------------------------------------------


def _speakers(head: str, starts: list[int]) -> list[tuple[Speaker, ...]]:
    """Speakers introduced from each of `starts`, for every place where the last one may end."""
    before = [head[start:end].strip() for start, end in pairwise(starts)]
    first = tuple(_read_introduction(sentence.removesuffix(".")) for sentence in before)
    last = head[starts[-1] :]
    found = []
    for end in re.finditer(r"\. ", last):
        speakers = (*first, _read_introduction(last[: end.start()]))
        leads = {f"First, {_handle(speaker)} says" for speaker in speakers}
        leads |= {f"{capitalised(_handle(speaker))} says" for speaker in speakers}
        if last.startswith(tuple(leads), end.end()):
            found.append(speakers)
    return found


def _read_introduction(sentence: str) -> Speaker:
    place = next(place for place, opening in _OPENINGS.items() if sentence.startswith(opening))
    rest, voice = sentence[len(_OPENINGS[place]) :], ""
    if found := _VOICE.match(rest):
        rest, voice = found["rest"], found["voice"]
    looks, _, name = rest.partition(_NAMED)
    return Speaker(name, "" if name and looks == _SOMEONE else looks, place, voice)


def _lines(prompt: str, speakers: tuple[Speaker, ...]) -> tuple[Line, ...]:
    """Lines of `prompt`; empty if one is said by none of the speakers."""
    lines: list[Line] = []
    start = 0
    for quote in find_quotes(prompt).quotes:
        line = _read_line(prompt[start : quote.start], speakers, quote.text)
        if line is None:
            return ()
        lines.append(line)
        start = quote.end
    return tuple(lines)


def _read_line(lead: str, speakers: tuple[Speaker, ...], text: str) -> Line | None:
    # Of two handles that end alike the longer one is meant, and of two in a row the later one.
    matches = [
        (end, len(handle), index, found)
        for index, speaker in enumerate(speakers)
        for handle in {_handle(speaker), capitalised(_handle(speaker))}
        for end in (lead.rfind(f"{handle} says") + len(handle),)
        if lead[end - len(handle) : end] == handle and (found := _SAYS.match(lead, end))
    ]
    if not matches:
        return None
    *_, speaker, found = max(matches, key=lambda match: match[:2])
    language = CODES.get(found["language"] or "", "")
    return Line(speaker, text, language, found["delivery"] or "")
