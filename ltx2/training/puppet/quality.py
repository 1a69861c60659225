"""Judges whether a clip of the puppet world shows and sounds what was asked for.

A clip is judged from its pixels and samples alone: `seen` and `heard` name what they find, and
a verdict compares that with the scene. What is missing altogether (no puppet, no sound) counts
as wrong; only offsets, which have no meaning then, are left out.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d

from ltx2.training.puppet import heard, sync
from ltx2.training.puppet.heard import SAMPLE_RATE, HeardNote, HeardWord, Span
from ltx2.training.puppet.impacts import MATERIAL_SOUNDS
from ltx2.training.puppet.scenes import (
    LANGUAGES,
    NUM_NOTES,
    POSITIONS,
    BouncingBall,
    Line,
    Puppet,
    Scene,
    Talk,
    Xylophone,
)
from ltx2.training.puppet.seen import Seen, SeenBall, SeenPuppet, SeenXylophone, look
from ltx2.training.puppet.world import REPEAT_S
from ltx2.training.puppet.xylophone import KEY_X, NOTE_LENGTH_S, NOTE_S

Signal = NDArray[np.float64]

LEAST_MOUTH_MOVEMENT = 0.2
"""Least difference between a mouth's widest and narrowest opening that counts as movement."""
SPEAKING_PERCENTILE, LEAST_SPEAKING = 80, 0.2
"""A puppet speaks in a turn if its mouth is then often so much wider than it usually is."""
LEAST_FALL, LEAST_RISE = 0.1, 0.02
"""What makes a movement a bounce, as shares of the picture's shorter side."""
LEAST_AGREEMENT = {"mouth": 0.5, "impact": 0.3, "light": 0.3}
MOVING_OPENING, MOVING_MARGIN_S = 0.1, 0.2
"""From which opening on a mouth moves, and how long before and after a sound may be heard."""
LITTLE_BOUNCES_S = 0.6
"""How long after its last visible bounce a ball makes others too low to be seen."""
LOUDEST_QUIET = 0.1
"""Level, as a share of the clip's peak, up to which a moment counts as quiet."""


@dataclass(frozen=True)
class Verdict:
    """Whether one thing is as asked.

    Attributes:
        subject: "scene", "puppet", "talk", "line", "ball" or "xylophone".
        name: of what is judged.
        right: None where it could not be measured.
        found: what is seen or heard, or why nothing could be measured.
    """

    subject: str
    name: str
    right: bool | None
    found: str


@dataclass(frozen=True)
class OffsetVerdict:
    """How early the sound is.

    Attributes:
        subject: what moves: "mouth", "impact" or "light".
        offset_ms: positive where the sound is early; None where it could not be measured.
        agreement: how well sound and movement agree once the offset is undone, at most 1.
        reason: why there is no offset.
    """

    subject: str
    offset_ms: float | None
    agreement: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Judgement:
    """What is right about one clip; a clip with two puppets or lines has a verdict for each."""

    verdicts: tuple[Verdict, ...]
    offset: OffsetVerdict

    def wrong(self) -> dict[str, str]:
        """What is not right, or could not be measured, with what was found instead."""
        return {
            f"{verdict.subject} {verdict.name}": verdict.found
            for verdict in self.verdicts
            if verdict.right is False
        }


def judge(
    frames: NDArray[np.uint8],
    waveform: NDArray[np.float32],
    frame_rate: float,
    sample_rate: int,
    scene: Scene,
) -> Judgement:
    """What is right about a clip that was asked to show a scene.

    Args:
        frames: uint8 [F, H, W, 3].
        waveform: float32 [2, S], -1..1; S is 0 for a clip without sound, which is not the same
            as silence.
        frame_rate, sample_rate: Hz.
        scene: what was asked for.

    Raises:
        ResourceError: a word must be recognised and espeak-ng, which speaks the words that it is
            compared with, is missing.
    """
    stereo = heard.at_rate(waveform, sample_rate) if waveform.size else None
    mono = None if stereo is None else stereo.mean(axis=0)
    clip = _Perceived(
        seen=look(frames, frame_rate),
        stereo=stereo,
        mono=mono,
        ambience="none" if mono is None else heard.hear_ambience(mono),
        num_frames=len(frames),
        frame_rate=frame_rate,
        can_sound=waveform.size > 0,
    )
    match scene:
        case Talk():
            return _judge_talk(clip, scene)
        case BouncingBall():
            return _judge_ball(clip, scene)
        case Xylophone():
            return _judge_xylophone(clip, scene)


@dataclass(frozen=True)
class _Perceived:
    """A clip as seen and heard.

    Attributes:
        stereo, mono: its sound [2, S], [S]; None where nothing is heard.
        ambience: as heard.
    """

    seen: Seen
    stereo: Signal | None
    mono: Signal | None
    ambience: str
    num_frames: int
    frame_rate: float
    can_sound: bool

    @functools.cached_property
    def clear(self) -> Signal | None:
        """Both channels without the band of the ambience [2, S]."""
        return None if self.stereo is None else heard.clear_of(self.stereo, self.ambience)

    def around(self, scene: Scene, kind: str) -> Iterator[Verdict]:
        """What every scene has."""
        seen, asked = self.seen, scene.surroundings
        found = _kind(seen)
        yield Verdict("scene", "kind", found == kind, found)
        yield _seen("scene", "background", seen.background, asked.background)
        if self.num_frames > 1:
            yield _seen("scene", "camera", seen.camera, asked.camera)
        else:
            yield _one_picture("scene", "camera")
        yield _seen("scene", "ambience seen", seen.ambience, asked.ambience)
        ambience = self.ambience if self.mono is not None or asked.ambience == "none" else None
        yield self.heard("scene", "ambience heard", ambience, asked.ambience)

    def moving(self, subject: str, name: str, what: str, *, moves: bool) -> Verdict:
        if self.num_frames < 2:
            return _one_picture(subject, name)
        return Verdict(subject, name, moves, what if moves else f"no {what}")

    def heard(self, subject: str, name: str, found: str | None, asked: str) -> Verdict:
        if not self.can_sound:
            return Verdict(subject, name, None, "could not be measured: the clip has no sound")
        return Verdict(subject, name, found == asked, found or "not heard")

    def quiet(self, scene: Scene, spans: Sequence[Span], offset: OffsetVerdict) -> Verdict:
        """Whether nothing sounds while nothing moves.

        Args:
            scene: what was asked for.
            spans: when movement may be heard, in the picture's time.
            offset: of the sound; what is merely early or late is not counted here again.
        """
        if self.mono is None or self.clear is None:
            reason = "could not be measured: nothing is heard"
            return Verdict("scene", "quiet when still", None, reason)
        if {self.ambience, scene.surroundings.ambience} != {"none"}:
            reason = f"could not be measured: {self.ambience} is always heard"
            return Verdict("scene", "quiet when still", None, reason)
        level = heard.levels(self.mono)
        still = np.ones(level.size, bool)
        for start, end in spans:
            first, last = (
                round((moment - (offset.offset_ms or 0.0) / 1000) * SAMPLE_RATE / heard.HOP)
                for moment in (start, end)
            )
            still[max(0, first) : max(0, last)] = False
        loudest = float(np.percentile(level[still], 95) / level.max()) if still.any() else 0.0
        found = f"{20 * np.log10(loudest + 1e-6):.0f} dB beside the peak"
        return Verdict("scene", "quiet when still", loudest < LOUDEST_QUIET, found)


def _kind(seen: Seen) -> str:
    match seen.subject:
        case SeenBall():
            return "ball"
        case SeenXylophone():
            return "xylophone"
        case None:
            return "nothing known"
        case puppets:
            return "one puppet" if len(puppets) == 1 else "two puppets"


def _seen(subject: str, name: str, found: str | None, asked: str) -> Verdict:
    return Verdict(subject, name, found == asked, found or "not seen")


def _one_picture(subject: str, name: str) -> Verdict:
    return Verdict(subject, name, None, "could not be measured: the clip is one picture")


# --- talks -----------------------------------------------------------------------------------


def _judge_talk(clip: _Perceived, scene: Talk) -> Judgement:
    found = clip.seen.subject
    puppets = found if isinstance(found, tuple) and len(found) == len(scene.puppets) else ()
    moves = any(float(np.ptp(puppet.opening)) > LEAST_MOUTH_MOVEMENT for puppet in puppets)
    offset = _mouth_offset(clip, puppets if moves else ())
    turns = _turns(clip, len(scene.lines))
    verdicts = list(clip.around(scene, "one puppet" if len(scene.puppets) == 1 else "two puppets"))
    for number, asked in enumerate(scene.puppets):
        verdicts += _looks(puppets[number] if puppets else None, asked)
    if len(scene.puppets) == 1:
        position = puppets[0].position if puppets else None
        verdicts.append(_seen("puppet", "position", position, scene.puppets[0].position))
        verdicts.append(clip.moving("talk", "mouth moves", "moving mouth", moves=moves))
    else:
        verdicts.append(_speaker(clip, scene, puppets, turns, offset))
    for line, span in zip(scene.lines, turns, strict=True):
        verdicts += _line(clip, line, span, scene.puppets[line.speaker])
    spans = _speaking(puppets, clip.frame_rate) if moves else ()
    verdicts.append(clip.quiet(scene, spans, offset))
    return Judgement(tuple(verdicts), offset)


def _looks(found: SeenPuppet | None, asked: Puppet) -> Iterator[Verdict]:
    yield _seen("puppet", "skin", found.skin if found else None, asked.skin)
    yield _seen("puppet", "hair", found.hair if found else None, asked.hair)
    yield _seen("puppet", "hat", found.hat if found else None, asked.hat)
    worn = ("no hat" if found.hat == "none" else "a hat") if found else None
    yield _seen("puppet", "hat or not", worn, "no hat" if asked.hat == "none" else "a hat")


def _turns(clip: _Perceived, num_lines: int) -> tuple[Span | None, ...]:
    """When each line is said; a longer clip only repeats them."""
    if clip.mono is None:
        return (None,) * num_lines
    return heard.spoken_spans(heard.cut(clip.mono, (0.0, REPEAT_S)), num_lines, clip.ambience)


def _line(clip: _Perceived, line: Line, span: Span | None, puppet: Puppet) -> Iterator[Verdict]:
    word: HeardWord | None = None
    side = None
    if span is not None and clip.mono is not None and clip.clear is not None:
        word = heard.hear_word(heard.cut(clip.mono, span), clip.ambience)
        side = heard.side_of(heard.cut(clip.clear, span))
    yield clip.heard("line", f"word ({line.language})", word.word if word else None, line.word)
    of_its_language = word.in_language[line.language] if word else None
    name = f"word among its language ({line.language})"
    yield clip.heard("line", name, of_its_language, line.word)
    yield clip.heard("line", "voice", word.voice if word else None, puppet.voice)
    yield clip.heard("line", "side", side, puppet.position)


def _speaker(
    clip: _Perceived,
    scene: Talk,
    puppets: Sequence[SeenPuppet],
    turns: Sequence[Span | None],
    offset: OffsetVerdict,
) -> Verdict:
    """Whether in each turn the asked puppet's mouth moves and the other's does not."""
    if clip.num_frames < 2:
        return _one_picture("talk", "speaker")
    if not clip.can_sound:
        return Verdict("talk", "speaker", None, "could not be measured: the clip has no sound")
    found = [_moving_in(span, puppets, clip, offset) for span in turns]
    asked = [scene.puppets[line.speaker].position for line in scene.lines]
    return Verdict("talk", "speaker", found == asked, ", then ".join(found))


def _moving_in(
    span: Span | None, puppets: Sequence[SeenPuppet], clip: _Perceived, offset: OffsetVerdict
) -> str:
    """Whose mouths move while a line is heard."""
    if span is None:
        return "not heard"
    first, last = (
        round((moment + (offset.offset_ms or 0.0) / 1000) * clip.frame_rate) for moment in span
    )
    first = min(max(0, first), clip.num_frames - 1)
    moving = []
    for puppet in puppets:
        usual = np.percentile(puppet.opening, 10)
        opening = np.percentile(puppet.opening[first : max(last, first + 1)], SPEAKING_PERCENTILE)
        if opening - usual > LEAST_SPEAKING:
            moving.append(puppet.position)
    return " and ".join(moving) or "nobody"


def _speaking(puppets: Sequence[SeenPuppet], frame_rate: float) -> tuple[Span, ...]:
    """When any mouth moves, with a margin."""
    opening = np.max([puppet.opening - np.percentile(puppet.opening, 10) for puppet in puppets], 0)
    reach = 1 + 2 * round(MOVING_MARGIN_S * frame_rate)
    moving = np.flatnonzero(maximum_filter1d(opening, reach, mode="constant") > MOVING_OPENING)
    return tuple((frame / frame_rate, (frame + 1) / frame_rate) for frame in moving)


def _mouth_offset(clip: _Perceived, puppets: Sequence[SeenPuppet]) -> OffsetVerdict:
    if not puppets:
        return OffsetVerdict("mouth", None, reason="could not be measured: no mouth moves")
    if clip.mono is None:
        return OffsetVerdict("mouth", None, reason="could not be measured: nothing is heard")
    opening = np.sum([puppet.opening for puppet in puppets], axis=0)
    level = heard.voice_level(clip.mono, clip.ambience)
    return _trusted("mouth", sync.mouth_offset(opening, level, clip.frame_rate))


# --- balls and xylophones --------------------------------------------------------------------


def _judge_ball(clip: _Perceived, scene: BouncingBall) -> Judgement:
    ball = clip.seen.subject if isinstance(clip.seen.subject, SeenBall) else None
    material = side = None
    if clip.mono is not None and clip.clear is not None:
        material = heard.hear_material(clip.mono, clip.ambience)
        side = heard.side_of(clip.clear)
    falls = ball is not None and ball.fall > LEAST_FALL
    bounces = falls and ball is not None and ball.rise > LEAST_RISE
    frames = ball.contact_frames if ball and falls else ()
    strengths = ball.contact_strengths if ball and falls else ()
    offset = _stroke_offset("impact", clip, frames, strengths)
    sounding_s = MATERIAL_SOUNDS[scene.material].duration_s
    verdicts = [
        *clip.around(scene, "ball"),
        _seen("ball", "colour", ball.colour if ball else None, scene.colour),
        _seen("ball", "floor", ball.material if ball else None, scene.material),
        _seen("ball", "position", ball.position if ball else None, scene.position),
        clip.moving("ball", "bounces", "bouncing ball", moves=bounces),
        clip.heard("ball", "material", material, scene.material),
        clip.heard("ball", "side", side, scene.position),
        clip.quiet(scene, _sounding(frames, clip.frame_rate, sounding_s, LITTLE_BOUNCES_S), offset),
    ]
    return Judgement(tuple(verdicts), offset)


def _judge_xylophone(clip: _Perceived, scene: Xylophone) -> Judgement:
    played = clip.seen.subject if isinstance(clip.seen.subject, SeenXylophone) else None
    lit = played.keys if played else ()
    frames = played.frames if played else ()
    notes = heard.hear_notes(clip.stereo) if clip.stereo is not None else ()
    offset = _stroke_offset("light", clip, frames, (1.0,) * len(frames))
    melody = ", ".join(scene.melody)
    seen_keys = _first_melody(lit, tuple(frame / clip.frame_rate for frame in frames))
    heard_keys = _first_melody([note.key for note in notes], [note.time_s for note in notes])
    lights = _seen("xylophone", "melody seen", seen_keys or None, melody)
    verdicts = [
        *clip.around(scene, "xylophone"),
        lights if clip.num_frames > 1 else _one_picture("xylophone", "melody seen"),
        clip.heard("xylophone", "melody heard", heard_keys or None, melody),
        *_note_sides(clip, notes[:NUM_NOTES]),
        clip.quiet(scene, _sounding(frames, clip.frame_rate, NOTE_LENGTH_S), offset),
    ]
    return Judgement(tuple(verdicts), offset)


def _first_melody(keys: Sequence[str], times_s: Sequence[float]) -> str:
    """The keys up to where the melody would be repeated, as one text."""
    end = times_s[0] + REPEAT_S - NOTE_S / 2 if times_s else 0.0
    return ", ".join(key for key, time in zip(keys, times_s, strict=True) if time < end)


def _note_sides(clip: _Perceived, notes: Sequence[HeardNote]) -> Iterator[Verdict]:
    for note in notes:
        asked = POSITIONS[1 + int(np.sign(KEY_X[note.key]))]
        yield clip.heard("xylophone", "side", note.side, asked)
    for _ in range(NUM_NOTES - len(notes)):
        yield clip.heard("xylophone", "side", None, "any")


def _sounding(
    frames: Sequence[float], frame_rate: float, sounding_s: float, more_s: float = 0.0
) -> tuple[Span, ...]:
    """When strokes on these frames may be heard, and more after the last."""
    starts = [frame / frame_rate - MOVING_MARGIN_S / 2 for frame in frames]
    ends = [frame / frame_rate + sounding_s for frame in frames]
    return (*zip(starts, ends, strict=True), *((end, end + more_s) for end in ends[-1:]))


def _stroke_offset(
    subject: str, clip: _Perceived, frames: Sequence[float], strengths: Sequence[float]
) -> OffsetVerdict:
    if not frames:
        return OffsetVerdict(subject, None, reason=f"could not be measured: no {subject} is seen")
    if clip.clear is None:
        return OffsetVerdict(subject, None, reason="could not be measured: nothing is heard")
    mono = clip.clear.mean(axis=0)
    times_s = np.array(frames) / clip.frame_rate
    return _trusted(subject, sync.impact_offset(times_s, np.array(strengths), mono))


def _trusted(subject: str, offset: sync.Offset) -> OffsetVerdict:
    too_far = abs(offset.offset_ms) > 990 * sync.LONGEST_OFFSET_S
    if offset.agreement < LEAST_AGREEMENT[subject] or too_far:
        reason = "could not be measured: sound and movement do not agree at any offset"
        return OffsetVerdict(subject, None, offset.agreement, reason)
    return OffsetVerdict(subject, offset.offset_ms, offset.agreement)


# --- many clips ------------------------------------------------------------------------------

SHARE_ORDER = (
    *(("scene", name) for name in ("kind", "background", "camera")),
    *(("scene", name) for name in ("ambience seen", "ambience heard", "quiet when still")),
    *(("puppet", name) for name in ("skin", "hair", "hat", "hat or not", "position")),
    ("talk", "mouth moves"),
    ("talk", "speaker"),
    *(("line", f"word ({language})") for language in LANGUAGES),
    *(("line", f"word among its language ({language})") for language in LANGUAGES),
    ("line", "voice"),
    ("line", "side"),
    *(("ball", name) for name in ("colour", "floor", "position", "bounces", "material", "side")),
    *(("xylophone", name) for name in ("melody seen", "melody heard", "side")),
)
"""Rows of a table, from the whole scene to its parts."""

LEAST_SHARES = {
    ("scene", "kind"): 0.98,
    ("scene", "background"): 0.9,
    ("puppet", "skin"): 0.9,
    ("puppet", "hair"): 0.9,
    ("puppet", "hat or not"): 0.95,
    ("ball", "colour"): 0.9,
    ("talk", "speaker"): 0.85,
    ("line", "word (en)"): 0.8,
    ("line", "side"): 0.95,
    ("ball", "material"): 0.95,
    ("ball", "side"): 0.95,
    ("xylophone", "side"): 0.95,
}
"""What a good model reaches."""
LARGEST_MEDIAN_MS, LARGEST_P90_MS = 40.0, 80.0
"""Sizes of the offsets that a good model does not exceed."""
LEAST_OFFSETS_MEASURED = 0.9
"""Share of the clips that must have an offset at all before their sizes say something good."""


@dataclass(frozen=True)
class Share:
    """How often one thing is right.

    Attributes:
        subject, name: of the verdicts.
        num_right, num_measured: verdicts; those that could not be measured are in neither.
    """

    subject: str
    name: str
    num_right: int
    num_measured: int

    @property
    def target(self) -> str:
        """What a good model reaches, in words; empty where nothing is fixed."""
        least = LEAST_SHARES.get((self.subject, self.name))
        return f">= {least:.0%}" if least else ""

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None without a target or a measurement."""
        least = LEAST_SHARES.get((self.subject, self.name))
        if least is None or not self.num_measured:
            return None
        return self.num_right >= least * self.num_measured

    @property
    def percent(self) -> float:
        """How much is right, NaN where nothing was measured."""
        return 100 * self.num_right / self.num_measured if self.num_measured else float("nan")


@dataclass(frozen=True)
class OffsetSummary:
    """How far sound and picture are apart.

    Attributes:
        subject: "mouth", "impact" or "light".
        median_ms: with its sign; positive where the sound is early. NaN where none was measured.
        median_size_ms, p90_size_ms: of the offsets without their signs.
        num_measured, num_clips: clips with an offset, and all.
    """

    subject: str
    median_ms: float
    median_size_ms: float
    p90_size_ms: float
    num_measured: int
    num_clips: int

    @property
    def target(self) -> str:
        """What a good model reaches, in words."""
        clips = f"measurable in >= {LEAST_OFFSETS_MEASURED:.0%}"
        return f"<= {LARGEST_MEDIAN_MS:.0f} and {LARGEST_P90_MS:.0f} ms, {clips}"

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None without a measurement."""
        if not self.num_measured:
            return None
        enough = self.num_measured >= LEAST_OFFSETS_MEASURED * self.num_clips
        small = self.median_size_ms <= LARGEST_MEDIAN_MS and self.p90_size_ms <= LARGEST_P90_MS
        return enough and small


@dataclass(frozen=True)
class Summary:
    """Many judgements in numbers."""

    shares: tuple[Share, ...]
    offsets: tuple[OffsetSummary, ...]


def summarise(judgements: Sequence[Judgement]) -> Summary:
    """Shares of right verdicts and the sizes of the offsets; what was never asked is left out."""
    found: dict[tuple[str, str], list[bool]] = {}
    for verdict in (verdict for judgement in judgements for verdict in judgement.verdicts):
        rights = found.setdefault((verdict.subject, verdict.name), [])
        if verdict.right is not None:
            rights.append(verdict.right)
    shares = [Share(*key, sum(found[key]), len(found[key])) for key in SHARE_ORDER if key in found]
    offsets = []
    for subject in LEAST_AGREEMENT:
        chosen = [judged.offset for judged in judgements if judged.offset.subject == subject]
        if chosen:
            offsets.append(_summarise_offsets(subject, chosen))
    return Summary(tuple(shares), tuple(offsets))


def _summarise_offsets(subject: str, found: Sequence[OffsetVerdict]) -> OffsetSummary:
    measured = np.array([offset.offset_ms for offset in found if offset.offset_ms is not None])
    if measured.size == 0:
        return OffsetSummary(subject, np.nan, np.nan, np.nan, 0, len(found))
    sizes = np.abs(measured)
    return OffsetSummary(
        subject,
        median_ms=float(np.median(measured)),
        median_size_ms=float(np.median(sizes)),
        p90_size_ms=float(np.percentile(sizes, 90)),
        num_measured=measured.size,
        num_clips=len(found),
    )
