"""A study is read strictly, and its hash changes with anything in it."""

import pytest

from evaluation.preference.study import OVERALL, Study, read_study
from ltx2.errors import RequestError

TEXT = """
name: Two settings
models:
  - {name: ann, folder: clips/ann}
  - {name: bob, clips: {p1: other/one.mp4}}
raters: 12
session: {pairs: 6, repeats: 1}
"""


def test_a_study_is_read_with_paths_from_its_file(tmp_path):
    (tmp_path / "study.yaml").write_text(TEXT)
    study = read_study(tmp_path / "study.yaml")
    assert study.models[0].folder == tmp_path / "clips" / "ann"
    assert study.models[1].clips["p1"] == tmp_path / "other" / "one.mp4"
    assert study.raters == 12
    assert [axis.key for axis in study.axes] == [
        "visual_realism",
        "sound",
        "sync",
        "prompt_adherence",
        OVERALL,
    ]
    assert study.axes[-1].answers == (
        "left_much",
        "left",
        "tie",
        "right",
        "right_much",
        "both_bad",
    )
    assert study.axes[0].answers == ("left", "tie", "right")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("rater: 3", r"rater: Extra inputs"),
        ("raters: 0", r"raters: "),
        ("axes: [{key: sync}]", "last of the axes must be 'overall'"),
        ("models: [{name: a, folder: a}]", "models: "),
        ("models: [{name: a, folder: a}, {name: a, folder: b}]", "models name a twice"),
        ("models: [{name: a}, {name: b, folder: b}]", "either a folder or a list"),
        ("prompts: [{id: ../x}]", "prompts.0.id"),
        ("session: {pairs: 1, repeats: 2}", "cannot exceed pairs"),
        ("schema_version: 2", "schema_version"),
        ("stimulus: {loudness_lufs: 0}", "stimulus.loudness_lufs"),
        ("name: [", "not valid YAML in line"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    key = change.split(":")[0]
    if key == "name":
        text = TEXT.replace("name: Two settings", change)
    elif key == "models":
        text = f"name: x\n{change}"
    else:
        kept = [line for line in TEXT.splitlines() if not line.startswith(f"{key}:")]
        text = "\n".join([*kept, change])
    with pytest.raises(RequestError, match=message):
        Study.from_yaml(text)


def test_yaml_runs_nothing():
    with pytest.raises(RequestError):
        Study.from_yaml("!!python/object/apply:os.system ['true']")
    with pytest.raises(RequestError, match="has no fields"):
        Study.from_yaml("just words")


def test_the_digest_follows_the_content_and_not_its_order():
    study = Study.from_yaml(TEXT)
    same = Study.from_fields(dict(reversed(study.model_dump(mode="json").items())))
    assert same.digest == study.digest
    for change in ({"raters": 13}, {"seed": 2}, {"name": "x"}, {"reveal_models": True}):
        assert study.model_copy(update=change).digest != study.digest
    assert Study.model_validate_json(study.model_dump_json()) == study
