"""Dialogue in prompts that people wrote: quoted lines and who says them, as well as possible."""

import re
from dataclasses import dataclass, field, replace

from ltx2.prompting.languages import CODES, LANGUAGES, UNKNOWN, guess_language
from ltx2.prompting.quotes import Quote, find_quotes
from ltx2.prompting.script import Dialogue, Line, NotReadable, Place, Speaker, article

_VERBS = (
    "says|said|say|asks|asked|replies|replied|answers|answered|whispers|whispered|shouts|"
    "shouted|yells|yelled|adds|added|exclaims|exclaimed|mutters|muttered|murmurs|murmured|"
    "responds|responded|calls|called|announces|announced|speaks|continues|begins|sings|"
    "cries|screams|declares|explains|greets|laughs|sighs|jokes|sagt|fragt|antwortet|ruft|"
    "flüstert|schreit|dice|pregunta|responde|susurra|grita|contesta|dit|demande|répond|"
    "chuchote|crie|murmure|chiede|risponde|sussurra|diz|pergunta"
)
_VERB = rf"\b(?:{_VERBS})\b"
_BEFORE = re.compile(rf"(?P<who>[^\n]*?)\s*{_VERB}(?P<how>[^.!?\n]*?)[\s:,\u2014\u2013-]*$")
_AFTER = re.compile(
    rf"^[\s,.\u2014\u2013-]*(?:{_VERB}\s+(?P<who>[^.,;:!?]+)|(?P<first>[^.,;:!?]+?)\s+{_VERB})"
    r"(?P<how>[^.;:!?]*)"
)
_OPENING = re.compile(
    r"^(?:.*\b(?:and then|and|then|while|after which|when|as)\b,?\s+|.*,\s+(?=the\b|an?\b)"
    r"|(?:first|finally|next|suddenly|meanwhile|afterwards)\b,?\s+)",
    re.IGNORECASE,
)
_PLACE = re.compile(
    r",?\s*\b(?:(?:standing|sitting|seated) )?"
    r"(?:(?:(?:on|at|to|from) )?the (?P<side>left|right)(?: one| side)?"
    r"|in the (?P<middle>cent(?:er|re)|middle))\b",
    re.IGNORECASE,
)
_IN_LANGUAGE = re.compile(rf"\bin ({'|'.join(LANGUAGES.values())})\b")
_VOICE = re.compile(r"\b(?:in|with) (?:an? )(?P<voice>[^,.;]+?) voice\b", re.IGNORECASE)
_NAME = re.compile(r"^[A-Z]\w+(?: [A-Z]\w+)?$")
_NAMED = re.compile(r"^(?P<name>[A-Z]\w+(?: [A-Z]\w+)?), (?P<looks>.+)$")
_MALE = ["man", "boy", "guy", "gentleman", "father", "grandfather", "brother", "king"]
_FEMALE = ["woman", "girl", "lady", "mother", "grandmother", "sister", "queen"]
_PRONOUNS = {"he": _MALE, "she": _FEMALE, "it": [], "they": [], "who": [], "voice": []}
_PEOPLE = [*_MALE, *_FEMALE, "person", "child", "kid", "puppet", "robot", "teacher", "doctor"]
_PERSON = re.compile(
    rf"\b(?:an?|the) (?:[\w-]+ ){{0,4}}?(?:{'|'.join(_PEOPLE)})\b"
    r"(?: (?:with|in|wearing)(?: (?!\w+s\b)\w+){1,5})?",
    re.IGNORECASE,
)
_EMPTY = {"a", "an", "the", "one", "someone"}
_MAX_WHO = 160
"""Characters of a sentence that may name who speaks; more is a whole scene."""

_BETWEEN = " ,.;:-\u2013\u2014"
"""What may stand between a line and who says it."""
_NEAR = 600
"""Characters before a pronoun in which whom it means is sought."""


@dataclass
class _Cast:
    """Speakers found so far."""

    speakers: list[Speaker] = field(default_factory=list)
    last: int | None = None

    def find(self, who: str, before: str) -> int | None:
        """Index of the speaker that `who` means, added if new; None if that cannot be told."""
        words = who.lower().split()
        if words and words[0] in _PRONOUNS and len(words) == 1:
            return self._pronoun(_PRONOUNS[words[0]], before)
        speaker = _speaker(who)
        if speaker.looks or speaker.name:
            return self._add(speaker)
        return self._add(replace(speaker, looks="someone")) if speaker.place else None

    def _pronoun(self, gender: list[str], before: str) -> int | None:
        near = before[-_NEAR:]
        people = [_speaker(found.group()) for found in _PERSON.finditer(near)]
        fitting = [p for p in people if not gender or set(gender) & set(p.looks.lower().split())]
        if fitting:
            return self._add(fitting[-1])
        known = [
            index
            for index, speaker in enumerate(self.speakers)
            if not gender or set(gender) & set(speaker.looks.lower().split())
        ]
        if not known and len(self.speakers) == 1:
            known = [0]
        return self.last if self.last in known else known[0] if len(known) == 1 else None

    def _add(self, speaker: Speaker) -> int:
        for index, known in enumerate(self.speakers):
            if _same(known, speaker):
                self.speakers[index] = Speaker(
                    known.name or speaker.name,
                    max(known.looks, speaker.looks, key=len),
                    known.place or speaker.place,
                    known.voice or speaker.voice,
                )
                return index
        self.speakers.append(speaker)
        return len(self.speakers) - 1


def read_freely(prompt: str) -> Dialogue | NotReadable:
    """Quoted lines of `prompt` with their speakers, or why they cannot be told.

    English wordings are read best; a few verbs of other languages are known.
    """
    found = find_quotes(prompt)
    if not found.quotes:
        return NotReadable("Nothing stands in quotation marks.")
    if found.unbalanced:
        return NotReadable("A quotation mark has no partner.")
    cast = _Cast()
    lines: list[Line] = []
    used = 0  # up to here the text names the speaker of an earlier line
    for number, quote in enumerate(found.quotes):
        ends = found.quotes[number + 1].start if number + 1 < len(found.quotes) else len(prompt)
        gap = prompt[found.quotes[number - 1].end if number else 0 : quote.start]
        attribution = _attribution(prompt, quote, max(used, quote.start - len(gap)), ends)
        if attribution is None and number and _runs_on(gap):
            lines.append(replace(lines[-1], text=quote.text.strip()))
            continue
        if attribution is None:
            return _unclear(quote)
        speaker = cast.find(attribution.who, _unquoted(prompt, found.quotes, quote.start))
        if speaker is None:
            return _unclear(quote)
        cast.last, used = speaker, attribution.end
        line, voice = _line(speaker, quote.text, attribution.how)
        lines.append(line)
        if voice and not cast.speakers[speaker].voice:
            cast.speakers[speaker] = replace(cast.speakers[speaker], voice=voice)
    return Dialogue(_setting(prompt, found.quotes[0]), tuple(cast.speakers), tuple(lines))


@dataclass(frozen=True)
class _Attribution:
    """Who says a line and how; `end` is where the words that tell it end."""

    who: str
    how: str
    end: int


def _attribution(prompt: str, quote: Quote, start: int, stop: int) -> _Attribution | None:
    sentence = re.split(r"(?<=[.!?;])\s+", prompt[start : quote.start])[-1][-_MAX_WHO:]
    if (found := _BEFORE.match(sentence)) and found["who"].strip(" ,.;"):
        return _Attribution(_bare(found["who"]), found["how"], quote.end)
    after = prompt[quote.end : min(stop, quote.end + _MAX_WHO)]
    if found := _AFTER.match(after):
        who = found["who"] or found["first"]
        return _Attribution(_bare(who), found["how"], quote.end + found.end())
    return None


def _bare(who: str) -> str:
    who = who.strip(_BETWEEN)
    while (shorter := _OPENING.sub("", who, count=1)) not in ("", who):
        # "Anna, the woman in red" is one speaker.
        if _NAMED.match(who):
            break
        who = shorter
    return who


def _speaker(who: str) -> Speaker:
    place: Place | None = None
    if found := _PLACE.search(who):
        place = (
            "centre" if found["middle"] else "left" if found["side"].lower() == "left" else "right"
        )
        who = (who[: found.start()] + who[found.end() :]).strip(" ,")
    if named := _NAMED.match(who):
        return Speaker(named["name"], _indefinite(named["looks"]), place)
    if _NAME.match(who) and who.split()[0] not in ("A", "An", "The", "One"):
        return Speaker(name=who, place=place)
    return Speaker(looks=_indefinite(who), place=place)


def _indefinite(looks: str) -> str:
    """The first mention of somebody whom a sentence calls "the woman"."""
    noun = re.sub(r"^the ", "", looks, flags=re.IGNORECASE)
    return looks if noun == looks else f"{article(noun)} {noun}"


def _same(known: Speaker, speaker: Speaker) -> bool:
    if known.name and speaker.name:
        return known.name == speaker.name
    if known.place and speaker.place and known.place != speaker.place:
        return False
    one, other = (set(re.findall(r"\w+", s.looks.lower())) - _EMPTY for s in (known, speaker))
    if not one or not other:
        return bool(known.place and known.place == speaker.place)
    return one <= other or other <= one


def _line(speaker: int, text: str, how: str) -> tuple[Line, str]:
    """The line, and the voice that its attribution names."""
    language = ""
    if named := _IN_LANGUAGE.search(how):
        language = CODES[named.group(1)]
        how = how[: named.start()] + how[named.end() :]
    elif (guess := guess_language(text)) != UNKNOWN:
        language = guess
    voice = ""
    if found := _VOICE.search(how):
        voice = found["voice"]
        how = how[: found.start()] + how[found.end() :]
    delivery = re.sub(r"\s*,\s*(?:,\s*)*", ", ", how).strip(" ,:")
    return Line(speaker, text.strip(), language, delivery), voice


def _runs_on(gap: str) -> bool:
    """Whether a speaker goes on after `gap`: nothing, or an attribution in the middle of a line."""
    return not gap.strip(_BETWEEN) or gap.rstrip().endswith(",")


def _unquoted(prompt: str, quotes: tuple[Quote, ...], end: int) -> str:
    parts, position = [], 0
    for quote in quotes:
        if quote.end <= end:
            parts.append(prompt[position : quote.start])
            position = quote.end
    return "".join([*parts, prompt[position:end]])


def _setting(prompt: str, first: Quote) -> str:
    """The whole sentences before the one with the first quoted line."""
    return " ".join(re.split(r"(?<=[.!?])\s+", prompt[: first.start])[:-1])


def _unclear(quote: Quote) -> NotReadable:
    text = quote.text if len(quote.text) <= 40 else f"{quote.text[:39]}…"
    return NotReadable(f"It is not clear who says “{text}”.", (quote.start, quote.end))
