import re
from dataclasses import replace

import numpy as np
import pytest

from evaluation.expectation import Expectation
from evaluation.measurement import Measured
from evaluation.metrics import drift_people
from evaluation.metrics.drift import Series, bend, bends_most_at
from evaluation.metrics.faces import share_faces
from evaluation.reports.measured.drift import drift
from evaluation.reports.measured.estimates import crossed_mean_of
from evaluation.reports.measured.results import load_results
from evaluation.reports.parts import Folded, Notes, Plot, Spans, Table
from ltx2 import Clip
from ltx2.training.puppet.scenes import Line, Puppet, Surroundings, Talk
from ltx2.training.puppet.world import render
from tests.unit.evaluation.reports.measured.runs import row, run_of

TIMES = np.arange(2.0, 40.0, 2.0)
SYNC = next(metric for metric in drift_people.METRICS if metric.name == "drift.sync")


def rows_of(series_of, metric="drift.sharpness"):
    """A measurement of every clip: the curve of `series_of`, its mean slope as the value."""

    def rows(record, number, clip):
        y = series_of(record, number)
        curve = {"name": "s", "x": TIMES.tolist(), "y": y.tolist()}
        curve |= {"x_label": "time (s)", "y_label": "dB"}
        slope = float(np.polyfit(TIMES, y, 1)[0])
        yield row(record, metric, slope, unit="dB/s", evidence=[curve])

    return rows


def section_of(tmp_path, series_of, **options):
    folder = run_of(tmp_path / "run", "one", rows_of(series_of), **options)
    return drift(load_results([folder])).parts


def only(parts, kind):
    (found,) = [part for part in parts if isinstance(part, kind)]
    return found


def falling_after_20_s(record, number):
    return 50 - 0.01 * number * TIMES - 1.5 * np.maximum(TIMES - 20, 0)


def test_slopes_breaks_survival_and_curves_are_shown(tmp_path):
    parts = section_of(tmp_path, falling_after_20_s)
    (slope,) = only(parts, Spans).rows
    assert slope.span.high < 0
    (broken,) = only(parts, Table).rows
    assert broken[:3] == ["sharpness: one", "8 of 8 prompts", "-1.5 dB/s"]
    assert broken[4] == "20 s"
    survival = only(parts, Plot)
    assert survival.table.rows[-1][:3] == ["one", "26.0", "0%"]  # 1.5 a second for six
    (over_time,) = only(parts, Folded).parts
    assert len(over_time.table.rows) == len(TIMES)


def test_what_holds_everywhere_is_one_row_of_a_table(tmp_path):
    parts = section_of(tmp_path, lambda record, number: 50 + 0.1 * TIMES)
    held = [p for p in parts if isinstance(p, Table)][-1]
    assert held.rows == [["sharpness", "-6 to +6 of the first window's", "one", "8", "38"]]
    assert not any(isinstance(part, Plot) for part in parts)


def wobble(record, number):
    """What the noise of a seed does, the same for every prompt, and a little of its own."""
    common = np.random.default_rng(record.seed).normal(0, 1, TIMES.size)
    return 50 + common + np.random.default_rng(number + 100).normal(0, 0.1, TIMES.size)


def test_what_the_noise_of_one_seed_does_in_all_clips_is_not_called_drift(tmp_path):
    parts = section_of(tmp_path, wobble, kind="pipeline")
    assert "--seeds 1,2,3,4" in only(parts, Notes).sentences[0]
    assert only(parts, Spans).rows[0].span is None
    assert parts[2].rows[0][3] == "one seed: none"


def test_several_seeds_have_intervals_that_know_of_their_noise(tmp_path):
    parts = section_of(tmp_path, wobble, kind="pipeline", seeds=(1, 2, 3, 4))
    assert not any(isinstance(part, Notes) for part in parts)
    span = only(parts, Spans).rows[0].span
    assert span.low < 0 < span.high
    low, high = (float(end) for end in re.findall(r"[-+][\d.e-]+", parts[1].rows[0][3]))
    assert low < 0 < high


def rendered(word, skin, seconds=26):
    scene = Talk(
        surroundings=Surroundings("cyan"),
        variation=1,
        puppets=(Puppet(skin, "none", "none", "low", "centre"),),
        lines=(Line(0, word),),
        start_s=0.6,
    )
    made = render(scene, num_frames=seconds * 25 + 1, height=96, width=96)
    return Clip(made.frames, made.waveform, made.frame_rate, made.sample_rate)


def sliding(clip, ms_per_s):
    """The clip with sound that falls behind from 20 s on."""
    count = clip.waveform.shape[1]
    time_s = np.arange(count) / clip.sample_rate
    heard_s = time_s - ms_per_s / 1000 * np.maximum(time_s - 20, 0)
    late = [np.interp(heard_s, time_s, side) for side in clip.waveform]
    found = replace(clip, waveform=np.array(late, np.float32))
    share_faces(clip, found)
    return found


@pytest.mark.exhaustive
def test_sound_that_slides_from_20_s_on_is_found_and_a_steady_clip_is_not_accused():
    clips = {
        word: rendered(word, skin) for word, skin in (("tomorrow", "orange"), ("banana", "green"))
    }
    for ms_per_s in (0, 30):
        bends, series = [], []
        for word, clip in clips.items():
            outcome = SYNC.measure(sliding(clip, ms_per_s), Expectation(is_cartoon=True))
            assert isinstance(outcome, Measured)
            curve = outcome.evidence[0]
            series.append(Series(curve.x, curve.y))
            bends.append((word, word, bend(series[-1])))
        found = crossed_mean_of(bends)
        if ms_per_s:
            # Sound that is late is a negative offset. Windows that reach over 20 s smooth the bend.
            assert found.value == pytest.approx(-ms_per_s, abs=6)
            assert found.high < 0
            assert bends_most_at(series) == pytest.approx(20, abs=2)
        else:
            assert found.value == pytest.approx(0, abs=1)
            assert found.low < 0 < found.high
