import pytest
from PIL import Image

from evaluation.expectation import ExpectedLine
from evaluation.suites.given import Given
from evaluation.suites.schema import given_fields, json_schema_text, load_suite, request_of
from ltx2.errors import RequestError
from ltx2.inputs import Inputs
from tests.conftest import ROOT

HEAD = """schema_version: 1
name: small
title: Small
description: For tests.
licence: CC0-1.0
defaults: {duration_s: 4, frame_rate: 24}
"""
ITEM = """items:
  - id: greeting
    prompt: 'A man on the left says "Yes, no." and laughs.'
    language: en-IN
    speakers: [{name: man, place: left}, {name: dog}]
    lines: [{text: "Yes, no.", speaker: man}]
    shape: {duration_s: 6}
"""
SCENE = """scenes:
  - item:
      id: "{who}-{n}-{order}"
      prompt: 'A {who}, {first}, says "{line}".'
      language: en
      lines: [{text: "{line}"}]
      group: "{who}-{n}"
      variant: {order: "{order}"}
    vary:
      - - {who: man, other: dog, line: [yes, no]}
      - - {order: a, first: "{who} before {other}"}
        - {order: b, first: "{other} before {who}"}
"""


@pytest.fixture
def suite_of(tmp_path):
    def load(text):
        path = tmp_path / "small.yaml"
        path.write_text(text, encoding="utf-8")
        return load_suite(path)

    return load


def test_an_item_becomes_a_request_with_its_own_shape_before_the_suites(suite_of):
    (item,) = suite_of(HEAD + ITEM).items
    request = request_of(item, seed=7)
    assert (request.prompt, request.seed) == (item.prompt, 7)
    assert (request.duration_s, request.frame_rate) == (6, 24)


def test_settings_go_before_the_item_and_a_number_of_frames_replaces_its_seconds(suite_of):
    (item,) = suite_of(HEAD + ITEM).items
    request = request_of(item, 1, {"num_frames": 49, "num_steps": 3, "frame_rate": 25})
    assert (request.num_frames, request.duration_s) == (49, None)
    assert (request.num_steps, request.frame_rate) == (3, 25)
    with pytest.raises(RequestError, match="num_stepz"):
        request_of(item, 1, {"num_stepz": 3})


def test_an_item_becomes_what_a_measurement_expects(suite_of):
    suite = suite_of(HEAD + ITEM)
    expected = suite.expectation(suite.items[0])
    assert expected.lines == (ExpectedLine("Yes, no.", "en-IN", "man", "left"),)
    assert (expected.duration_s, expected.frame_rate, expected.is_cartoon) == (6, 24, False)


def test_a_scene_makes_an_item_of_every_combination_of_rows_and_listed_lines(suite_of):
    items = suite_of(HEAD + SCENE).items
    assert [item.id for item in items] == ["man-01-a", "man-01-b", "man-02-a", "man-02-b"]
    assert items[3].prompt == 'A man, dog before man, says "no".'
    assert items[3].lines[0].text == "no"  # a word, not a truth value
    assert {item.group for item in items} == {"man-01", "man-02"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("left}", "above}", r"small.yaml:11: items.0.speakers.0.place: item greeting: "),
        ("speaker: man", "speaker: cat", r"items.0: item greeting: line 1 is said by 'cat'"),
        ('says "Yes, no."', "speaks", r"line 1 is not in the prompt"),
        ("    shape:", "    shapes:", r"small.yaml:13: items.0.shapes: .*not permitted"),
        ("duration_s: 6", "duration_s: -6", r"small.yaml:13: items.0.shape.duration_s"),
        (
            "    shape:",
            "    id: again\n    shape:",
            r"small.yaml:13: items.0.id: this is said twice",
        ),
        ("greeting", "*x", r"small.yaml:8: this is no YAML: an alias is used"),
        ("title: Small", "title: [", r"small.yaml:\d+: this is no YAML"),
        ("title: Small\n", "", r"small.yaml:1: title: field required"),
        ("language: en-IN", "language: English", r"small.yaml:10: items.0.language"),
    ],
)
def test_what_is_wrong_is_named_with_file_line_item_and_field(suite_of, old, new, message):
    assert old in HEAD + ITEM
    with pytest.raises(RequestError, match=message):
        suite_of((HEAD + ITEM).replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{first},", "{frist},", r"scenes.0.item.prompt: no table has 'frist'"),
        ("{who} before", "{first} before", "its names lead in a circle"),
        ("line: [yes, no]", "line: [yes, no], other2: [x]", "small.yaml:16: .*not equally long"),
        ('-{order}"\n      prompt', '"\n      prompt', "two items have the id 'man-01'"),
        ("order: a,", "who: a, order: a,", "two tables have 'who'"),
        ('first: "{who}', 'n: "{who}', "this name counts lists|no table has"),
    ],
)
def test_scenes_that_cannot_be_made_into_items_are_refused(suite_of, old, new, message):
    assert old in HEAD + SCENE
    with pytest.raises(RequestError, match=message):
        suite_of((HEAD + SCENE).replace(old, new))


def test_nothing_and_files_that_are_not_there_are_refused(suite_of, tmp_path):
    with pytest.raises(RequestError, match="this is no suite"):
        suite_of("")
    with pytest.raises(RequestError, match="the suite has no item"):
        suite_of(HEAD)
    with pytest.raises(RequestError, match="cannot be read"):
        load_suite(tmp_path / "other.yaml")


def test_items_are_chosen_by_all_of_their_tags(suite_of):
    suite = suite_of(HEAD + ITEM.replace("    shape:", "    tags: [a, b]\n    shape:"))
    assert len(suite.chosen(["a", "b"]).items) == 1
    with pytest.raises(RequestError, match="Its tags are a, b"):
        suite.chosen(["a", "c"])


def test_the_schema_beside_the_suites_is_that_of_the_code():
    assert (ROOT / "prompts" / "suite.schema.json").read_text() == json_schema_text()


def test_two_items_that_ask_for_the_same_clip_are_refused(suite_of):
    again = ITEM.removeprefix("items:\n").replace("greeting", "again")
    with pytest.raises(RequestError, match=r"greeting and again ask for the same clip"):
        suite_of(HEAD + ITEM + again)
    assert len(suite_of(HEAD + ITEM + again.replace("duration_s: 6", "duration_s: 7")).items) == 2


GIVEN = """
schema_version: 1
name: given
title: Given
description: For tests.
licence: CC0-1.0
items:
  - {id: a, prompt: A puppet., given: {images: [{file: first.png, strength: 0.5}]}}
  - {id: b, prompt: A puppet.}
"""


def test_files_of_an_item_are_found_beside_the_suite_and_named_in_its_requests(tmp_path):
    suite = tmp_path / "given.yaml"
    suite.write_text(GIVEN)
    with pytest.raises(RequestError, match=r"given.yaml:\d+.*item a: the file first.png"):
        load_suite(suite)
    Image.new("RGB", (64, 64), "red").save(tmp_path / "first.png")
    first, second = load_suite(suite).items  # one prompt, but not one clip
    assert (first.mode, second.mode) == ("images", "text")
    inputs = Inputs()
    request = request_of(first, 1, given=given_fields(first, inputs))
    (keyframe,) = request.keyframes
    assert keyframe.strength == 0.5
    assert inputs.path(keyframe.image) == tmp_path / "first.png"
    assert str(tmp_path) not in first.model_dump_json()
    assert request_of(second, 1, given=given_fields(second, inputs)).keyframes == ()


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({}, "no file is given"),
        ({"extend": "a.mp4"}, "extend belongs together"),
        ({"audio": "a.wav", "spans": ["0-1"]}, "retake and spans"),
        ({"inpaint": "a.mp4"}, "inpaint and mask"),
    ],
)
def test_files_without_what_belongs_to_them_are_refused(given, reason):
    with pytest.raises(ValueError, match=reason):
        Given.model_validate(given)
