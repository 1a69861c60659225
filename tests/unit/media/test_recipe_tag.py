import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltx2.errors import MediaError
from ltx2.media.recipe_tag import parse_recipe, render_recipe
from tests.builders import a_recipe


@given(st.text(min_size=1).filter(str.strip))
def test_any_prompt_comes_back_from_the_tag(prompt):
    recipe = a_recipe(prompt, seed=3)
    assert parse_recipe(render_recipe(recipe)) == recipe


def test_the_tag_holds_no_control_characters():
    tag = render_recipe(a_recipe("one\ntwo\0three\tfour\x1b"))
    assert all(character.isprintable() for character in tag)


@pytest.mark.parametrize(
    "comment", ["", "holiday 2024", "{", "[]", "3", "{}", '{"request": 1}', "[" * 100_000]
)
def test_other_comments_are_no_recipe(comment):
    assert parse_recipe(comment) is None


@pytest.mark.parametrize(
    "change",
    [
        {"schema_version": 2},
        {"request": {"prompt": ""}},
        {"request": None},
        {"ai_generated": False},
        {"software": None},
        {"new_field": 1},
    ],
)
def test_a_recipe_that_is_not_understood_is_an_error(change):
    values = {**json.loads(render_recipe(a_recipe())), **change}
    with pytest.raises(MediaError, match="this version cannot read"):
        parse_recipe(json.dumps(values))
