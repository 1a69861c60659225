"""What a preference study asks of whom, as people write it down before the first vote.

A study is a YAML file. Its canonical JSON is hashed into the log when the study opens, so that
nobody can change the question, the sample size or the exclusion rules after seeing answers
(pre-registration).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from evaluation.canonical import digest
from ltx2.errors import RequestError

OVERALL = "overall"
"""The axis asked last: what one would choose, all things considered."""

PROMPT_ADHERENCE = "prompt_adherence"
"""The axis that needs the prompts' texts; a study whose prompts have none is opened without it."""

BOTH_BAD = "both_bad"

THREE_ANSWERS = ("left", "tie", "right")
FIVE_ANSWERS = ("left_much", "left", "tie", "right", "right_much")
"""Comparison category rating with five points, from left to right."""

SIGNS = {"left_much": 1, "left": 1, "tie": 0, BOTH_BAD: 0, "right": -1, "right_much": -1}
"""Whom an answer prefers: 1 the left clip, -1 the right one."""

Name = Annotated[str, Field(min_length=1, max_length=120)]
PromptId = Annotated[str, Field(min_length=1, max_length=120, pattern=r"^[^/\\\x00-\x1f]+$")]
Key = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StudyModel(_Part):
    """One of the systems compared.

    Attributes:
        name: as results show it; raters never see it before the study allows it.
        folder: of its clips, `PROMPT_ID.mp4`, with or without a manifest.
        clips: prompt id to file, instead of a folder.
        recognisable: its clips show who made them, by a mark that `stimulus.masks` do not cover;
            votes on its pairs are marked as unblinded.
    """

    name: Name
    folder: Path | None = None
    clips: Mapping[PromptId, Path] = Field(default_factory=dict)
    recognisable: bool = False

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.folder is None) == (not self.clips):
            raise ValueError("give either a folder or a list of clips")
        return self


class StudyPrompt(_Part):
    """A prompt that every model has a clip of.

    Attributes:
        id: the file name of its clips without the ending.
        text: shown to raters where prompt adherence is asked.
        language, suite: what results can be cut by.
    """

    id: PromptId
    text: Annotated[str, Field(max_length=5_000)] = ""
    language: Annotated[str, Field(max_length=40)] = ""
    suite: Annotated[str, Field(max_length=120)] = ""


class Axis(_Part):
    """A question asked of every pair.

    Attributes:
        key: column value of the export.
        question: language code to words; where a language is missing the page has its own.
        points: 3 (left, tie, right) or 5 (much or slightly better, or the same).
        both_bad: offer "both bad", which counts as a tie and is counted apart.
    """

    key: Key
    question: Mapping[str, str] = Field(default_factory=dict)
    points: Literal[3, 5] = 3
    both_bad: bool = False

    @property
    def answers(self) -> tuple[str, ...]:
        """What may be answered, from left to right."""
        scale = THREE_ANSWERS if self.points == 3 else FIVE_ANSWERS
        return (*scale, BOTH_BAD) if self.both_bad else scale


class Region(_Part):
    """A rectangle of the picture, in shares of width and height from the upper left corner."""

    left: Share
    top: Share
    right: Share
    bottom: Share

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not (self.left < self.right and self.top < self.bottom):
            raise ValueError("left must be less than right, and top less than bottom")
        return self


class StimulusPlan(_Part):
    """How both clips of a pair are made alike.

    Attributes:
        max_width, max_height: largest picture in pixels; clips are never enlarged.
        picture: "crop" shows of both clips the central region that both have, so no bars tell
            their shapes; "pad" shows whole pictures on black, whose bars do tell.
        masks: rectangles painted grey on both clips (visible watermarks).
        frame_rate: pictures per second of both; None takes the lower of the two.
        max_duration_s: longest clip; None cuts only to the shorter of the two.
        trim_start_s: cut from the start of both (a first picture that is black, a fade).
        loudness_lufs: integrated loudness of both (EBU R 128).
        max_true_peak_dbtp: where a peak would exceed it, both clips get softer alike.
    """

    max_width: Annotated[int, Field(ge=64, le=4096)] = 1280
    max_height: Annotated[int, Field(ge=64, le=4096)] = 720
    picture: Literal["crop", "pad"] = "crop"
    masks: tuple[Region, ...] = ()
    frame_rate: Annotated[float, Field(ge=1.0, le=120.0)] | None = None
    max_duration_s: Annotated[float, Field(ge=1.0)] | None = None
    trim_start_s: Annotated[float, Field(ge=0.0)] = 0.0
    loudness_lufs: Annotated[float, Field(ge=-40.0, le=-14.0)] = -23.0
    max_true_peak_dbtp: Annotated[float, Field(ge=-20.0, le=-0.5)] = -1.0


class SessionPlan(_Part):
    """What one rater goes through.

    Attributes:
        pairs: that count.
        training: pairs before them that do not count.
        attention: pairs whose right answer is known; half of them the same clip twice, half with
            the sound of one side a second late.
        repeats: pairs shown again with the sides swapped.
        break_after: pairs before a break; 0 for none.
        blinding_guesses: pairs for which the rater guesses at the end who made a clip.
        played_share: of each clip that must have been played before a vote is taken.
    """

    pairs: Annotated[int, Field(ge=1, le=200)] = 24
    training: Annotated[int, Field(ge=0, le=20)] = 3
    attention: Annotated[int, Field(ge=0, le=40)] = 2
    repeats: Annotated[int, Field(ge=0, le=40)] = 2
    break_after: Annotated[int, Field(ge=0)] = 12
    blinding_guesses: Annotated[int, Field(ge=0, le=20)] = 4
    played_share: Annotated[float, Field(gt=0.0, le=1.0)] = 0.95

    @model_validator(mode="after")
    def _parts_of_the_pairs(self) -> Self:
        if max(self.repeats, self.blinding_guesses) > self.pairs:
            raise ValueError("repeats and blinding_guesses cannot exceed pairs")
        return self


class ScreeningRules(_Part):
    """Whose votes are left out of the second reading of the results; the first leaves none out.

    Nobody is left out for an effect that is only significant, nor for one that a few trials show
    by bad luck: where a rule has a share and a chance, both must hold.

    Attributes:
        min_attention: share of attention trials answered right.
        min_repeat_consistency: share of repeats answered as before (left, tie, right).
        max_luck: chance that a rater who keeps to one of these shares does as badly or worse; a
            rater above it stays (one slip of two attention trials has a chance of 0.44).
        min_time_share: median time per vote over the length of the clip.
        min_log_likelihood_z: against the fit of all others; and the votes must be told better by
            guessing with everybody's shares of answers than by that fit.
        max_same_side_p: binomial p-value of choosing sides evenly.
        min_same_side_share: of decisive votes on one side.
        max_anomaly_p: of Fisher's test that the votes are unlikely together, over all the times
            it is made; guessing must tell them better here too.
        anomaly_after: numbers of votes after which it is made.
    """

    min_attention: Share = 0.75
    min_repeat_consistency: Share = 0.6
    max_luck: Share = 0.2
    min_time_share: Annotated[float, Field(ge=0.0)] = 1.0
    min_log_likelihood_z: float = -3.0
    max_same_side_p: Share = 0.001
    min_same_side_share: Share = 0.8
    max_anomaly_p: Share = 0.001
    anomaly_after: tuple[Annotated[int, Field(ge=1)], ...] = (10, 20, 40, 80)


class StoppingRule(_Part):
    """When enough has been collected.

    Attributes:
        kind: "planned" stops when every planned rater is done; "e_value" also when the evidence
            allows it at any time; "width" also when the intervals are narrow enough.
        alpha: of the e-value.
        standard_error: of a strength, on the logit scale, for "width".
    """

    kind: Literal["planned", "e_value", "width"] = "planned"
    alpha: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.05
    standard_error: Annotated[float, Field(gt=0.0)] = 0.15


def _usual_axes() -> tuple[Axis, ...]:
    return (
        *(Axis(key=key) for key in ("visual_realism", "sound", "sync", PROMPT_ADHERENCE)),
        Axis(key=OVERALL, points=5, both_bad=True),
    )


class Study(_Part):
    """The whole plan.

    Attributes:
        name: for people.
        instructions: language code to a text shown before the first pair; the page has its own.
        models: two or more.
        prompts: none given means those that the clips and manifests of any model name.
        axes: questions; `overall` is asked last, the others in an order drawn for each rater.
        reasons: codes that may be ticked with the overall answer.
        raters: planned number of people.
        reserve_raters: further sessions designed for those who drop out.
        seed: of the design.
        pair_choice: "planned" draws all pairs before the first vote; "active" chooses the pair of a
            test when it is shown, by what votes have left open, and logs with which probability.
        session, stimulus, screening, stopping: see there.
        reveal_models: whether raters learn at the very end who made what.
    """

    schema_version: Literal[1] = 1
    name: Name
    instructions: Mapping[str, str] = Field(default_factory=dict)
    models: Annotated[tuple[StudyModel, ...], Field(min_length=2, max_length=60)]
    prompts: tuple[StudyPrompt, ...] = ()
    axes: Annotated[tuple[Axis, ...], Field(min_length=1)] = Field(default_factory=_usual_axes)
    reasons: tuple[Key, ...] = (
        "prompt_match",
        "av_consistency",
        "audio_quality",
        "video_quality",
        "coherence",
        "other",
    )
    raters: Annotated[int, Field(ge=1, le=100_000)] = 35
    reserve_raters: Annotated[int, Field(ge=0, le=100_000)] = 0
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1
    pair_choice: Literal["planned", "active"] = "planned"
    session: SessionPlan = Field(default_factory=SessionPlan)
    stimulus: StimulusPlan = Field(default_factory=StimulusPlan)
    screening: ScreeningRules = Field(default_factory=ScreeningRules)
    stopping: StoppingRule = Field(default_factory=StoppingRule)
    reveal_models: bool = False

    @model_validator(mode="after")
    def _each_name_once(self) -> Self:
        for what, names in (
            ("models", [model.name for model in self.models]),
            ("prompts", [prompt.id for prompt in self.prompts]),
            ("axes", [axis.key for axis in self.axes]),
            ("reasons", list(self.reasons)),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{what} name {', '.join(twice)} twice")
        if self.axes[-1].key != OVERALL:
            raise ValueError(f"the last of the axes must be {OVERALL!r}")
        return self

    @classmethod
    def from_yaml(cls, text: str) -> Self:
        """Study that a YAML (or JSON) text describes.

        Raises:
            RequestError: it is no YAML, or a field is unknown, missing or out of range.
        """
        try:
            fields = yaml.safe_load(text)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            place = f" in line {mark.line + 1}" if mark else ""
            raise RequestError(
                f"The study is not valid YAML{place}.", next_step="Correct that line."
            ) from error
        return cls.from_fields(fields)

    @classmethod
    def from_fields(cls, fields: Any) -> Self:
        """Study of plain data.

        Raises:
            RequestError: as `from_yaml`.
        """
        if not isinstance(fields, dict):
            raise RequestError(
                "The study has no fields.", next_step="Give name, models and what else differs."
            )
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"]) or "the study"
            reason = first["msg"].removeprefix("Value error, ")
            raise RequestError(
                f"The study's {place}: {reason}.", next_step="Correct it in the study's file."
            ) from error

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON, hexadecimal: what pre-registration publishes."""
        return digest(self.model_dump(mode="json"))

    def axis(self, key: str) -> Axis | None:
        """The axis of this key, if there is one."""
        return next((axis for axis in self.axes if axis.key == key), None)

    def prompt_of(self, prompt_id: str) -> StudyPrompt:
        """What is known about a prompt, perhaps only its id."""
        found = (prompt for prompt in self.prompts if prompt.id == prompt_id)
        return next(found, StudyPrompt(id=prompt_id))


def read_study(path: Path) -> Study:
    """Study of a YAML file; its folders and clips are relative to the file.

    Raises:
        RequestError: it cannot be read, or as `Study.from_yaml`.
    """
    try:
        study = Study.from_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(
            f"The study {path} cannot be read.", next_step="Check the path; it is a text file."
        ) from error
    return with_paths_from(study, path.absolute().parent)


def with_paths_from(study: Study, folder: Path) -> Study:
    """The study with the paths of its clips absolute."""
    models = tuple(
        model.model_copy(
            update={
                "folder": None if model.folder is None else folder / model.folder,
                "clips": {prompt: folder / path for prompt, path in model.clips.items()},
            }
        )
        for model in study.models
    )
    return study.model_copy(update={"models": models})


def with_prompts(study: Study, prompts: Sequence[StudyPrompt]) -> Study:
    """The study with its prompts written out, as they are hashed."""
    return study.model_copy(update={"prompts": tuple(prompts)})
