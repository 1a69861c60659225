"""Runs with measurements written by hand, so that every number of a report is known."""

import hashlib
import json

from evaluation.suites.records import RunFolder, ScoredRecord
from evaluation.suites.runner import run_suite
from evaluation.suites.schema import Item, Shape, Speaker, SpokenLine, Suite
from tests.unit.evaluation.suites.makers import Maker

SUITE = Suite(
    name="two-sides",
    title="Two <sides>",
    description="For tests.",
    licence="CC0-1.0",
    world="filmed",
    items=tuple(
        Item(
            id=f"{language}-{place}-{number}",
            prompt=f'The one on the {place} says "line {number}" ({language}).',
            language=language,
            speakers=(Speaker(name="a", place=place),),
            lines=(SpokenLine(text=f"line {number}", speaker="a"),),
            shape=Shape(duration_s=0.4, width=64, height=64, frame_rate=25),
            group=f"{place}-{number}",
            variant={"place": place},
        )
        for language in ("en", "de")
        for place in ("left", "right")
        for number in range(2)
    ),
)


def row(record, metric, value=None, *, reason="", unit="", evidence=(), clip="", **details):
    """A line of the measurements: a number, or why there is none."""
    return {
        "key": record.key,
        "item": record.item,
        "metric": metric,
        "version": 1,
        "measured_by": "a test",
        "clip_sha256": clip,
        **(
            {"status": "unmeasurable", "reason": reason}
            if value is None
            else {"status": "ok", "value": value, "unit": unit}
        ),
        "details": details,
        "evidence": list(evidence),
    }


def run_of(path, name, rows_of, *, suite=SUITE, seeds=(1,), fails=None, kind="test"):
    """A folder with clips and with `rows_of(record, number, sha256)` of every clip."""
    folder = RunFolder(path)
    maker = Maker(name=name, kind=kind, fails=fails or {})
    run_suite(suite, maker, folder, seeds=seeds, arguments=["run"])
    records = [folder.read_item(key) for key in folder.read_run().keys]
    made = [record for record in records if record.status == "ok"]
    lines = [
        json.dumps(found)
        for number, record in enumerate(made)
        for found in rows_of(record, number, sha256_of(folder, record))
    ]
    (path / "measurements.jsonl").write_text("".join(f"{line}\n" for line in lines))
    folder.write_scored(
        ScoredRecord(
            environment={"numpy": "2"},
            weights={"net.safetensors": "ab" * 32},
            arguments=("score",),
            started="2100-01-01T00:00:00+00:00",
            finished="2100-01-01T00:00:01+00:00",
        )
    )
    return path


def sha256_of(folder, record):
    return hashlib.sha256(folder.clip(record.key).read_bytes()).hexdigest()


def usual(record, number, clip):
    """German half wrong, lips 10 ms early or not measurable, the left face always speaks."""
    place = record.expected.lines[0].place
    wrong = 0.5 if record.language == "de" else 0.0
    yield row(
        record, "language.word_error", wrong, unit="share", clip=clip, text="l", recogniser="r"
    )
    yield row(
        record, "language.match", 1.0, clip=clip, asked=record.language, identified=record.language
    )
    if number % 2:
        yield row(record, "lip_sync.landmarks", reason="No face is seen.", clip=clip)
    else:
        curve = {
            "name": "fit",
            "x": [0, 1, 2],
            "y": [0.1, None, 0.3],
            "x_label": "s",
            "y_label": "",
        }
        yield row(record, "lip_sync.landmarks", 10.0, unit="ms", clip=clip, evidence=[curve])
    right = place == "left"
    line = {"line": 0, "verdict": "right" if right else "wrong face", "place": "left"}
    yield row(record, "speakers.accuracy", float(right), clip=clip, lines=[line])
    yield row(record, "health", 0.0, clip=clip, verdict="fine")
