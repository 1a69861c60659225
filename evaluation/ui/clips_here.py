"""Clips that were made on this page, as the models of a study."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluation.preference.study import StudyModel, StudyPrompt
from ltx2.errors import RequestError
from ltx2.serving.jobs import Done, Job
from ltx2.serving.worker import JobQueue

WAYS = ("model", "guidance", "steps", "LoRA")
"""What clips may be compared by."""

USUAL = "usual"

MOST = 2_000
"""Newest clips of a visitor that are looked at."""


@dataclass(frozen=True)
class Comparison:
    """Clips that differ in one thing.

    Attributes:
        models: one for each of its values, with the same prompts.
        prompts: all of them.
        left_out: clips without a counterpart.
    """

    models: tuple[StudyModel, ...]
    prompts: tuple[StudyPrompt, ...]
    left_out: int


def clips_of(queue: JobQueue, visitor: str, group: str = "") -> list[Job]:
    """A visitor's clips that are done, newest first; of one grid, or all."""
    if group:
        jobs = [each.job for each in queue.group(visitor, group)]
    else:
        jobs = list(queue.store.search(visitor, "", limit=MOST).jobs)
    return [
        job
        for job in jobs
        if isinstance(job.state, Done) and (path := queue.path(job)) is not None and path.is_file()
    ]


def compare(queue: JobQueue, jobs: Sequence[Job], way: str) -> Comparison:
    """Clips that are alike in prompt, seed, size and everything but `way`.

    Of clips that differ in nothing the newest counts.

    Args:
        jobs: newest first.
        way: one of `WAYS`.

    Raises:
        RequestError: there are no two values, or no prompt that has a clip of every value.
    """
    found: dict[str, dict[str, Path]] = {}
    texts: dict[str, str] = {}
    for job in jobs:
        path = queue.path(job)
        if path is None:
            continue
        same, value = _sorted_out(job, way)
        key = hashlib.sha256(json.dumps(same, sort_keys=True).encode()).hexdigest()[:12]
        texts[key] = job.request.prompt
        found.setdefault(f"{way} {value}" if way != "model" else value, {}).setdefault(key, path)
    if len(found) < 2:
        raise RequestError(
            f"These clips do not differ in {way}.",
            next_step="Make a grid that varies it, or compare by something else.",
        )
    shared = sorted(set.intersection(*(set(clips) for clips in found.values())))
    if not shared:
        raise RequestError(
            f"No prompt has clips of all of {', '.join(sorted(found))} with the same seed.",
            next_step="Make a grid with these values: it makes every combination.",
        )
    models = tuple(
        StudyModel(name=name, clips={key: clips[key] for key in shared})
        for name, clips in sorted(found.items())
    )
    prompts = tuple(StudyPrompt(id=key, text=texts[key][:5_000]) for key in shared)
    return Comparison(models, prompts, len(jobs) - len(models) * len(shared))


def _sorted_out(job: Job, way: str) -> tuple[dict[str, object], str]:
    """What two clips of a pair must have in common, and the value in which they differ."""
    request = job.request
    guidance = request.video_guidance
    values: dict[str, str] = {
        "model": job.choice.model or USUAL,
        "guidance": USUAL if guidance is None else f"{guidance.cfg_scale:g}",
        "steps": USUAL if request.num_steps is None else str(request.num_steps),
        "LoRA": " ".join(f"{lora.name} {lora.strength:g}" for lora in job.choice.loras) or "none",
    }
    value = values.pop(way)
    if way == "model":
        values = {"LoRA": values["LoRA"]}  # models have their own usual steps and guidance
    size = request.width, request.height, request.duration_s, request.num_frames
    return {**values, "prompt": request.prompt, "seed": request.seed, "size": size}, value
