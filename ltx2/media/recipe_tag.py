"""The recipe of a clip as the text of a file's comment tag."""

import json

from pydantic import ValidationError

from ltx2.errors import MediaError, RequestError
from ltx2.request import Recipe

AI_GENERATED = "AI-generated pictures and sound."
"""What every file that is made says about itself."""


def render_recipe(recipe: Recipe) -> str:
    """JSON text of a recipe, control characters escaped, other scripts as they are."""
    return json.dumps(recipe.model_dump(mode="json"), ensure_ascii=False)


def parse_recipe(comment: str) -> Recipe | None:
    """Recipe in a comment; None if the comment is not one of our recipes.

    Raises:
        MediaError: it is a recipe, but damaged or of a version that this code does not know.
    """
    try:
        values = json.loads(comment)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict) or not {"fingerprint", "request"} <= values.keys():
        return None
    try:
        return Recipe.model_validate(values)
    except (ValidationError, RequestError) as error:
        raise MediaError(
            "The file carries a recipe that this version cannot read.",
            next_step="Read it with the version that wrote it, or type the settings in again.",
        ) from error
