"""Dialogue in the wording of a small model's own captions.

One speaker, or a left and a right one; each says at most one line, and everything is chosen from
the model's vocabulary. Names are left out, for captions have none.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from ltx2.errors import RequestError
from ltx2.prompting.languages import CODES, LANGUAGES
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
from ltx2.prompting.vocabulary import TalkWording, nearest

_SAID = r'"(?P<text{0}>[^"]+)"(?: in (?P<language{0}>[A-Z]\w+))? in an? (?P<voice{0}>.+?) voice'
_END = r"\.(?P<endings>(?: [^\"]+\.)?)$"
_ALONE = re.compile(
    r"(?P<looks0>An? [^\"]+?)(?: on the (?P<place0>left|right))? on an? (?P<setting>[^\".]+?) says "
    + _SAID.format(0)
    + _END
)
_PAIR = re.compile(
    r"(?P<looks0>An? [^\"]+?) on the left and (?P<looks1>an? [^\"]+?) on the right on an? "
    r"(?P<setting>[^\".]+?)\. The one on the (?P<place0>left|right) says "
    + _SAID.format(0)
    + r"(?:, then the one on the (?P<place1>left|right) "
    + _SAID.format(1)
    + ")?"
    + _END
)


@dataclass(frozen=True)
class Captions:
    """What `wording` allows, with lines of `sayings`: by the code of their language."""

    wording: TalkWording
    sayings: Mapping[str, tuple[str, ...]]

    def normalise(self, dialogue: Dialogue) -> Dialogue:
        """The dialogue with every field as the captions say it, the left speaker first.

        Raises:
            RequestError: the model was not taught one of the fields.
        """
        check_shape(dialogue)
        dialogue = _placed(dialogue)
        if len({line.speaker for line in dialogue.lines}) < len(dialogue.lines):
            raise RequestError(
                "Somebody has two lines, and this model was taught one for each speaker.",
                next_step="Keep one of them.",
            )
        setting = described(dialogue.setting, "The setting")
        return Dialogue(
            setting=_known(setting, self._settings, "The setting"),
            speakers=tuple(
                self._speaker(speaker, speaks=any(line.speaker == index for line in dialogue.lines))
                for index, speaker in enumerate(dialogue.speakers)
            ),
            lines=tuple(
                self._line(line, number) for number, line in enumerate(dialogue.lines, start=1)
            ),
        )

    def compose(self, dialogue: Dialogue) -> str:
        """The caption of a normalised dialogue."""
        background, *endings = dialogue.setting.split(". ")
        ground = f"on {article(background)} {background}"
        who = [f"{speaker.looks}{_on_side(speaker)}" for speaker in dialogue.speakers]
        said = [self._said(line, dialogue.speakers[line.speaker]) for line in dialogue.lines]
        if len(who) == 1:
            sentence = f"{capitalised(who[0])} {ground} says {said[0]}"
        else:
            sides = [dialogue.speakers[line.speaker].place for line in dialogue.lines]
            first = f"The one on the {sides[0]} says {said[0]}"
            # The captions leave out the second "says".
            then = [
                f"then the one on the {side} {words}"
                for side, words in zip(sides[1:], said[1:], strict=True)
            ]
            pair = f"{capitalised(who[0])} and {who[1]} {ground}. "
            sentence = pair + ", ".join([first, *then])
        return ". ".join([sentence, *endings]) + "."

    def parse(self, prompt: str) -> Dialogue | None:
        """The dialogue of a caption that `compose` made, or None."""
        found = _ALONE.match(prompt) or _PAIR.match(prompt)
        if found is None:
            return None
        parts = found.groupdict()
        try:
            dialogue = self.normalise(_dialogue(parts))
        except RequestError:
            return None
        return dialogue if self.compose(dialogue) == prompt else None

    @cached_property
    def _looks(self) -> tuple[str, ...]:
        return self.wording.all_looks()

    @cached_property
    def _settings(self) -> tuple[str, ...]:
        return self.wording.all_settings()

    @property
    def _own_language(self) -> str:
        """The language that captions do not name."""
        return next(iter(self.sayings), "")

    def _speaker(self, speaker: Speaker, *, speaks: bool) -> Speaker:
        looks = described(speaker.looks, "The looks")
        noun = re.sub(r"^(an?|the) ", "", looks, flags=re.IGNORECASE)
        voice = re.sub(r" voice$", "", described(speaker.voice, "The voice"))
        voice = _known(voice or self.wording.voices[0], self.wording.voices, "The voice")
        return Speaker(
            looks=_known(f"{article(noun)} {noun}", self._looks, "The looks"),
            place=speaker.place,
            voice=voice if speaks else "",
        )

    def _line(self, line: Line, number: int) -> Line:
        language = line.language or self._own_language
        if language not in self.sayings:
            raise RequestError(
                f"This model does not speak {LANGUAGES.get(language, language)}.",
                next_step=f"Choose one of {', '.join(LANGUAGES.get(c, c) for c in self.sayings)}.",
            )
        if line.delivery.strip():
            raise RequestError(
                f"Line {number} says how it is said, which this model was not taught.",
                next_step="Choose a voice for the speaker and leave the delivery empty.",
            )
        text = spoken(line.text, number).strip(' .,!?¡¿…"')
        text = _known(text, self.sayings[language], f"Line {number}")
        return replace(line, text=text, language=language, delivery="")

    def _said(self, line: Line, speaker: Speaker) -> str:
        named = line.language != self._own_language
        language = f" in {LANGUAGES[line.language]}" if named else ""
        return f'"{line.text}"{language} in {article(speaker.voice)} {speaker.voice} voice'


def _placed(dialogue: Dialogue) -> Dialogue:
    """The dialogue with its speakers in the places that captions know, from left to right."""
    speakers, lines = dialogue.speakers, dialogue.lines
    if len(speakers) == 1:
        return replace(
            dialogue, speakers=(replace(speakers[0], place=speakers[0].place or "centre"),)
        )
    sides = tuple(speaker.place for speaker in speakers)
    if None in sides and {"left", "right"} & set(sides):  # who is told leaves one side
        sides = tuple(side or ("left" if "right" in sides else "right") for side in sides)
    if sides == ("right", "left"):
        speakers = speakers[::-1]
        lines = tuple(replace(line, speaker=1 - line.speaker) for line in lines)
    elif sides not in {("left", "right"), (None, None)}:
        raise RequestError(
            "This model was taught one speaker, or one on the left and one on the right.",
            next_step="Use one of the two.",
        )
    left, right = speakers
    speakers = (replace(left, place="left"), replace(right, place="right"))
    return Dialogue(dialogue.setting, speakers, lines)


def _known(wanted: str, known: Iterable[str], what: str) -> str:
    """The member of `known` that is `wanted` but for capitals."""
    by_lower = {text.lower(): text for text in known}
    if wanted.lower() in by_lower:
        return by_lower[wanted.lower()]
    like = nearest(wanted, by_lower.values())
    few = f"one of {', '.join(by_lower.values())}" if len(by_lower) <= 12 else "one that it knows"
    raise RequestError(
        f"{what} is {wanted!r}, which this model was not taught.",
        next_step=f"Choose {few}{f', perhaps {like!r}' if like else ''}.",
    )


def _on_side(speaker: Speaker) -> str:
    return "" if speaker.place == "centre" else f" on the {speaker.place}"


def _dialogue(parts: Mapping[str, str | None]) -> Dialogue:
    """A dialogue of the groups of `_ALONE` or `_PAIR`."""
    setting = f"{parts['setting']}.{parts['endings']}"
    places: tuple[Place, ...] = ("left", "right")
    if not parts.get("looks1"):
        place: Place = "left" if parts["place0"] == "left" else "right"
        places = (place if parts["place0"] else "centre",)
    voices: dict[int, str] = {}
    lines = []
    for number in (0, 1):
        if text := parts.get(f"text{number}"):
            speaker = 1 if len(places) == 2 and parts[f"place{number}"] == "right" else 0
            language = CODES.get(parts[f"language{number}"] or "", "")
            lines.append(Line(speaker, text, language))
            voices[speaker] = parts[f"voice{number}"] or ""
    speakers = tuple(
        Speaker(looks=parts[f"looks{index}"] or "", place=place, voice=voices.get(index, ""))
        for index, place in enumerate(places)
    )
    return Dialogue(setting, speakers, tuple(lines))
