"""Judges whether a clip of the puppet world shows and sounds what was asked for.

A clip is judged from its pixels and samples alone: `seen` and `heard` name what they find, and
a verdict compares that with the scene. What is missing altogether (no face, no sound) counts as
wrong; only offsets, which have no meaning then, are left out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ltx2.training.puppet.heard import (
    hear_material,
    hear_side,
    hear_word,
    to_mono,
)
from ltx2.training.puppet.scenes import BouncingBall, Scene, TalkingFace
from ltx2.training.puppet.seen import SeenBall, SeenFace, look
from ltx2.training.puppet.sync import LONGEST_OFFSET_S, Offset, impact_offset, mouth_offset

LEAST_MOUTH_MOVEMENT = 0.2
"""Least difference between a mouth's widest and narrowest opening that counts as movement."""
LEAST_FALL, LEAST_RISE = 0.1, 0.02
"""What makes a movement a bounce, as shares of the picture's shorter side."""
LEAST_MOUTH_AGREEMENT = 0.5
LEAST_IMPACT_AGREEMENT = 0.3


@dataclass(frozen=True)
class Verdict:
    """Whether one thing is as asked.

    Attributes:
        right: None where it could not be measured.
        found: what is seen or heard, or why nothing could be measured.
    """

    right: bool | None
    found: str


@dataclass(frozen=True)
class OffsetVerdict:
    """How early the sound is.

    Attributes:
        offset_ms: positive where the sound is early; None where it could not be measured.
        agreement: how well sound and movement agree once the offset is undone, at most 1.
        reason: why there is no offset.
    """

    offset_ms: float | None
    agreement: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class FaceJudgement:
    """What is right about the clip of a talking face.

    Attributes:
        kind: a face is seen.
        skin, hat, background, position: as seen.
        mouth_moves: the mouth opens and closes.
        word, voice, side: as heard.
        word_margin: by what share the second nearest word is further away; None without a word.
        offset: of the sound from the mouth.
    """

    kind: Verdict
    skin: Verdict
    hat: Verdict
    background: Verdict
    position: Verdict
    mouth_moves: Verdict
    word: Verdict
    voice: Verdict
    side: Verdict
    word_margin: float | None
    offset: OffsetVerdict


@dataclass(frozen=True)
class BallJudgement:
    """What is right about the clip of a bouncing ball.

    Attributes:
        kind: a ball's scene is seen.
        colour, floor, background, position: as seen.
        bounces: the ball falls to its floor and comes up again.
        material, side: as heard.
        offset: of the sound from the impacts.
    """

    kind: Verdict
    colour: Verdict
    floor: Verdict
    background: Verdict
    position: Verdict
    bounces: Verdict
    material: Verdict
    side: Verdict
    offset: OffsetVerdict


Judgement = FaceJudgement | BallJudgement


def verdicts(judgement: Judgement) -> Iterator[tuple[str, Verdict]]:
    """The judgement's verdicts with their names."""
    for field in dataclasses.fields(judgement):
        value = getattr(judgement, field.name)
        if isinstance(value, Verdict):
            yield field.name, value


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
    clip = _Perceived(
        seen=look(frames),
        mono=to_mono(waveform, sample_rate),
        side=hear_side(waveform),
        frame_rate=frame_rate,
        can_move=len(frames) > 1,
        can_sound=waveform.size > 0,
    )
    match scene:
        case TalkingFace():
            return _judge_face(clip, scene)
        case BouncingBall():
            return _judge_ball(clip, scene)


@dataclass(frozen=True)
class _Perceived:
    """A clip as seen and heard."""

    seen: SeenFace | SeenBall | None
    mono: NDArray[np.float64] | None
    side: str | None
    frame_rate: float
    can_move: bool
    can_sound: bool

    def kind(self, asked: str) -> Verdict:
        match self.seen:
            case SeenFace():
                return Verdict(asked == "face", "face")
            case SeenBall():
                return Verdict(asked == "ball", "ball")
            case None:
                return Verdict(False, "nothing known")

    def moving(self, what: str, *, moves: bool) -> Verdict:
        if not self.can_move:
            return Verdict(None, "could not be measured: the clip is one picture")
        return Verdict(moves, what if moves else f"no {what}")

    def heard(self, found: str | None, asked: str) -> Verdict:
        if not self.can_sound:
            return Verdict(None, "could not be measured: the clip has no sound")
        return Verdict(found == asked, found or "not heard")


def _judge_face(clip: _Perceived, scene: TalkingFace) -> FaceJudgement:
    face = clip.seen if isinstance(clip.seen, SeenFace) else None
    word = hear_word(clip.mono) if clip.mono is not None else None
    moves = face is not None and float(np.ptp(face.opening)) > LEAST_MOUTH_MOVEMENT
    return FaceJudgement(
        kind=clip.kind("face"),
        skin=_seen(face.skin if face else None, scene.skin),
        hat=_seen(face.hat if face else None, scene.hat),
        background=_seen(face.background if face else None, scene.background),
        position=_seen(face.position if face else None, scene.position),
        mouth_moves=clip.moving("moving mouth", moves=moves),
        word=clip.heard(word.word if word else None, scene.word),
        voice=clip.heard(word.voice if word else None, scene.voice),
        side=clip.heard(clip.side, scene.position),
        word_margin=word.margin if word else None,
        offset=_mouth_offset(face if moves else None, clip),
    )


def _judge_ball(clip: _Perceived, scene: BouncingBall) -> BallJudgement:
    ball = clip.seen if isinstance(clip.seen, SeenBall) else None
    material = hear_material(clip.mono) if clip.mono is not None else None
    falls = ball is not None and ball.fall > LEAST_FALL
    bounces = ball is not None and falls and ball.rise > LEAST_RISE
    return BallJudgement(
        kind=clip.kind("ball"),
        colour=_seen(ball.colour if ball else None, scene.colour),
        floor=_seen(ball.material if ball else None, scene.material),
        background=_seen(ball.background if ball else None, scene.background),
        position=_seen(ball.position if ball else None, scene.position),
        bounces=clip.moving("bouncing ball", moves=bounces),
        material=clip.heard(material, scene.material),
        side=clip.heard(clip.side, scene.position),
        offset=_impact_offset(ball if falls else None, clip),
    )


def _seen(found: str | None, asked: str) -> Verdict:
    return Verdict(found == asked, found or "not seen")


def _mouth_offset(face: SeenFace | None, clip: _Perceived) -> OffsetVerdict:
    if face is None:
        return OffsetVerdict(None, reason="could not be measured: no mouth moves")
    if clip.mono is None:
        return OffsetVerdict(None, reason="could not be measured: nothing is heard")
    offset = mouth_offset(face.opening, clip.mono, clip.frame_rate)
    return _trusted(offset, LEAST_MOUTH_AGREEMENT)


def _impact_offset(ball: SeenBall | None, clip: _Perceived) -> OffsetVerdict:
    if ball is None:
        return OffsetVerdict(None, reason="could not be measured: no impact is seen")
    if clip.mono is None:
        return OffsetVerdict(None, reason="could not be measured: nothing is heard")
    times_s = np.array(ball.contact_frames) / clip.frame_rate
    offset = impact_offset(times_s, np.array(ball.contact_strengths), clip.mono)
    return _trusted(offset, LEAST_IMPACT_AGREEMENT)


def _trusted(offset: Offset, least_agreement: float) -> OffsetVerdict:
    if offset.agreement < least_agreement or abs(offset.offset_ms) > 990 * LONGEST_OFFSET_S:
        reason = "could not be measured: sound and movement do not agree at any offset"
        return OffsetVerdict(None, offset.agreement, reason)
    return OffsetVerdict(offset.offset_ms, offset.agreement)


@dataclass(frozen=True)
class Share:
    """How often one thing is right.

    Attributes:
        subject: "face" or "ball".
        name: of the verdict.
        num_right, num_measured: clips; those that could not be measured are in neither.
    """

    subject: str
    name: str
    num_right: int
    num_measured: int


@dataclass(frozen=True)
class OffsetSummary:
    """How far sound and picture are apart.

    Attributes:
        subject: "face" or "ball".
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


@dataclass(frozen=True)
class Summary:
    """Many judgements in numbers."""

    shares: tuple[Share, ...]
    offsets: tuple[OffsetSummary, ...]

    def to_markdown(self) -> str:
        """A table with a line for each verdict and each kind of offset."""
        lines = ["| clip | what | result | clips measured |", "| --- | --- | ---: | ---: |"]
        for share in self.shares:
            percent = "not measured"
            if share.num_measured:
                percent = f"{share.num_right / share.num_measured:.0%} right"
            name = share.name.replace("_", " ")
            lines.append(f"| {share.subject} | {name} | {percent} | {share.num_measured} |")
        for offset in self.offsets:
            size = "not measured"
            if offset.num_measured:
                size = (
                    f"{offset.median_size_ms:.0f} ms median, {offset.p90_size_ms:.0f} ms 90th "
                    f"percentile (signed median {offset.median_ms:+.0f} ms)"
                )
            measured = f"{offset.num_measured} of {offset.num_clips}"
            lines.append(f"| {offset.subject} | sound to picture | {size} | {measured} |")
        return "\n".join(lines) + "\n"


def summarise(judgements: Sequence[Judgement]) -> Summary:
    """Shares of right verdicts and the sizes of the offsets, faces first, then balls."""
    shares: list[Share] = []
    offsets: list[OffsetSummary] = []
    for subject, kind in (("face", FaceJudgement), ("ball", BallJudgement)):
        chosen = [judgement for judgement in judgements if isinstance(judgement, kind)]
        if not chosen:
            continue
        found: dict[str, list[bool]] = {}
        for judgement in chosen:
            for name, verdict in verdicts(judgement):
                rights = found.setdefault(name, [])
                if verdict.right is not None:
                    rights.append(verdict.right)
        shares += [Share(subject, name, sum(rights), len(rights)) for name, rights in found.items()]
        offsets.append(_summarise_offsets(subject, [judgement.offset for judgement in chosen]))
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
