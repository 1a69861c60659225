"""How long a clip will take, learnt from how long others took on the same machine."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from ltx2.geometry import VideoCompression, growth
from ltx2.progress import Progress
from ltx2.request import Guidance, ModelProfile, Request

USUAL_SPREAD = 0.15
"""Standard deviation of log seconds assumed before runs tell: a shared machine's usual one."""

CERTAINTY = 1.64
"""Standard deviations on each side of an interval that holds nine in ten."""


Stage = Literal["load", "encode", "denoise", "decode"]
"""What time is spent on, in order."""


@dataclass(frozen=True)
class Work:
    """What a clip asks of a model.

    Attributes:
        steps: of denoising.
        passes: of the network in each step.
        tokens: of the picture in each pass, as its profile counts them; voxels to decode.
    """

    steps: int
    passes: int
    tokens: int


@dataclass(frozen=True)
class Run:
    """A clip that was made, and the seconds that its stages took.

    Attributes:
        model: name of the offer.
        device: where it ran.
        load_s: of loading; None if the model was there.
        encode_s: of the prompt.
        denoise_s: of all steps.
        decode_s: of picture and sound, and of writing the file.
    """

    model: str
    device: str
    work: Work
    load_s: float | None
    encode_s: float
    denoise_s: float
    decode_s: float

    @property
    def seconds(self) -> float:
        """All stages together."""
        return (self.load_s or 0.0) + self.encode_s + self.denoise_s + self.decode_s


@dataclass(frozen=True)
class Forecast:
    """Seconds that a clip is likely to take, by stage.

    Attributes:
        load_s, encode_s, denoise_s, decode_s: most likely ones; loading is 0 where it is loaded.
        low_s, high_s: between them lie nine in ten clips.
    """

    load_s: float
    encode_s: float
    denoise_s: float
    decode_s: float
    low_s: float
    high_s: float

    @property
    def seconds(self) -> float:
        """All stages together."""
        return self.load_s + self.without_loading

    @property
    def without_loading(self) -> float:
        """Of a clip whose model is there."""
        return self.encode_s + self.denoise_s + self.decode_s


def stage_of(name: str) -> Stage:
    """The kind of work that a stage of progress belongs to."""
    kinds: dict[str, Stage] = {
        "start": "encode",
        "load": "load",
        "encode prompt": "encode",
        "read files": "encode",
        "denoise": "denoise",
        "enlarge space": "denoise",
        "enlarge space-1.5": "denoise",
        "enlarge time": "denoise",
        "refine": "denoise",
    }
    return kinds.get(name, "decode")


def seconds_left(expected: Forecast | None, progress: Progress, elapsed_s: float) -> float | None:
    """Seconds until a clip is there; None while nothing is known.

    Args:
        expected: for this clip; without it only the steps still to be taken are counted.
        progress: how far it is.
        elapsed_s: since this kind of stage began.
    """
    stage = stage_of(progress.stage)
    share = progress.step / progress.total if stage == "denoise" else 0.0
    if expected is None:
        return elapsed_s * (1.0 - share) / share if share > 0.0 else None
    stages = {
        "load": expected.load_s,
        "encode": expected.encode_s,
        "denoise": expected.denoise_s,
        "decode": expected.decode_s,
    }
    later = sum(list(stages.values())[list(stages).index(stage) + 1 :])
    if share > 0.0:  # its own steps tell more than other clips do
        return elapsed_s * (1.0 - share) / share + later
    return max(0.0, stages[stage] - elapsed_s) + later


def work_of(request: Request, profile: ModelProfile) -> Work:
    """What a request asks of a model.

    Raises:
        RequestError: the model cannot make it.
    """
    resolved = request.resolve(profile)
    assert resolved.num_frames is not None
    assert resolved.height is not None
    assert resolved.width is not None
    assert resolved.num_steps is not None
    # The profile's multiples may be coarser than the latents, by the same factor for every clip.
    compression = VideoCompression(profile.temporal_multiple, profile.spatial_multiple)
    tokens = math.prod(
        compression.latent_grid(resolved.num_frames, resolved.height, resolved.width)
    )
    passes = num_passes(resolved)
    shown = sum(keyframe.at_s > 0.0 for keyframe in resolved.keyframes)
    per_frame = tokens / compression.latent_grid(resolved.num_frames, 1, 1)[0]
    if not resolved.upscale:
        followed = tokens / resolved.reference.downscale**2 if resolved.reference else 0.0
        return Work(resolved.num_steps, passes, round(tokens + shown * per_frame + followed))
    return Work(_steps_of_all_stages(resolved, profile, passes), passes, tokens)


def _steps_of_all_stages(resolved: Request, profile: ModelProfile, passes: int) -> int:
    """Steps at the final size that take as long as those of all stages at theirs."""
    assert resolved.num_steps is not None
    assert resolved.height is not None
    assert resolved.width is not None
    cost = 0.0
    for index in range(len(resolved.upscale) + 1):
        shrink, slow = growth(resolved.upscale[index:])
        share = float(1 / (shrink * shrink * slow))
        # A distilled network refines in three steps without guidance; others take more, and one
        # where they never make such a size by themselves.
        refining = 3.0 / passes if profile.sigmas is not None else resolved.num_steps * 0.5625
        is_beyond = max(resolved.height, resolved.width) / shrink > profile.max_size
        if is_beyond and profile.refine_sigmas is None:
            refining = 1.0
        cost += share * (refining if index else resolved.num_steps)
    return max(1, math.ceil(cost))


def num_passes(request: Request) -> int:
    """How often each step of a resolved request asks the network."""
    scales = [request.video_guidance or Guidance(), request.audio_guidance or Guidance()]
    return (
        1
        + any(scale.uses_negative for scale in scales)
        + any(scale.uses_perturbed for scale in scales)
        + any(scale.uses_isolated for scale in scales)
    )


def forecast(runs: Sequence[Run], work: Work, *, is_loaded: bool) -> Forecast | None:
    """How long a clip is likely to take; None before anything is known.

    Denoising grows between linearly and quadratically with the tokens (linear layers and
    attention), decoding at most linearly. How fast is fitted by least squares where runs of
    several sizes tell; beyond the sizes seen so far the interval holds both extremes.

    Args:
        runs: of the same model on the same device.
        work: of the clip.
        is_loaded: whether the model is there.
    """
    loads = [run.load_s for run in runs if run.load_s is not None]
    if not runs or not (is_loaded or loads):
        return None
    # The first prompt after loading waits for the text encoder; later ones may be remembered.
    alike = [run.encode_s for run in runs if (run.load_s is None) == is_loaded]
    encode_s = median(alike or [run.encode_s for run in runs])
    load_s = 0.0 if is_loaded else median(loads)

    tokens = [run.work.tokens for run in runs]
    evaluations = [run.work.steps * run.work.passes for run in runs]
    per_evaluation = [run.denoise_s / n for run, n in zip(runs, evaluations, strict=True)]
    denoise = _fit(tokens, per_evaluation, powers=(1, 2))
    decode = _fit(tokens, [run.decode_s for run in runs], powers=(1, 0))

    def miss(run: Run) -> float:
        evaluations = run.work.steps * run.work.passes
        fitted_s = evaluations * denoise.at(run.work.tokens) + decode.at(run.work.tokens)
        return math.log(_positive(run.denoise_s + run.decode_s) / fitted_s)

    # As if two clips with the usual spread had been seen before; the curves, bent to fit those
    # that were seen, hide about as much.
    squares = 2 * USUAL_SPREAD**2 + sum(miss(run) ** 2 for run in runs)
    spread = math.sqrt(squares / max(2, len(runs)) * (1 + 2 / len(runs)))
    factor = math.exp(CERTAINTY * spread)

    num_evaluations = work.steps * work.passes
    denoise_bounds, decode_bounds = denoise.bounds(work.tokens), decode.bounds(work.tokens)
    low, high = (
        load_s + encode + num_evaluations * denoising + decoding
        for encode, denoising, decoding in zip(
            (encode_s if alike else 0.0, encode_s), denoise_bounds, decode_bounds, strict=True
        )
    )
    return Forecast(
        load_s=load_s,
        encode_s=encode_s,
        denoise_s=num_evaluations * denoise.at(work.tokens),
        decode_s=decode.at(work.tokens),
        low_s=low / factor,
        high_s=high * factor,
    )


@dataclass(frozen=True)
class _Curve:
    """Seconds over tokens, a sum of two powers; known from `smallest` to `largest`."""

    powers: tuple[int, int]
    factors: tuple[float, float]
    smallest: int
    largest: int

    def at(self, tokens: int) -> float:
        return sum(f * tokens**p for f, p in zip(self.factors, self.powers, strict=True))

    def bounds(self, tokens: int) -> tuple[float, float]:
        """Least and most, if one power or the other ruled beyond what is known."""
        edge = min(max(tokens, self.smallest), self.largest)
        low, high = sorted((tokens / edge) ** power for power in self.powers)
        return self.at(edge) * low, self.at(edge) * high


def _fit(tokens: Sequence[int], seconds: Sequence[float], *, powers: tuple[int, int]) -> _Curve:
    """The curve with the least relative squared error; where data allow many, one power alone."""
    inverse = [1 / _positive(s) for s in seconds]
    first, second = (
        [t**power * weight for t, weight in zip(tokens, inverse, strict=True)] for power in powers
    )
    candidates = [(_ratio(first), 0.0), (0.0, _ratio(second)), *_both(first, second)]

    def error(factors: tuple[float, float]) -> float:
        a, b = factors
        return sum((a * x + b * y - 1) ** 2 for x, y in zip(first, second, strict=True))

    # Of equal ones the first: rounding must not choose.
    best = min(candidates, key=lambda factors: round(error(factors), 9))
    return _Curve(powers, best, min(tokens), max(tokens))


def _ratio(x: Sequence[float]) -> float:
    """The factor f with the least sum of (f x - 1)^2."""
    return sum(x) / sum(value**2 for value in x)


def _both(x: Sequence[float], y: Sequence[float]) -> list[tuple[float, float]]:
    """The factors of both with the least sum of (f x + g y - 1)^2, if they are unique and > 0."""
    xx, yy = sum(v * v for v in x), sum(v * v for v in y)
    xy = sum(v * w for v, w in zip(x, y, strict=True))
    determinant = xx * yy - xy * xy
    if determinant <= 1e-9 * xx * yy:
        return []
    f = (sum(x) * yy - sum(y) * xy) / determinant
    g = (sum(y) * xx - sum(x) * xy) / determinant
    return [(f, g)] if f > 0.0 and g > 0.0 else []


def _positive(seconds: float) -> float:
    return max(seconds, 1e-6)
