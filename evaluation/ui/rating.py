"""What a server adds so that people can rate: studies, and the raters' page."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter

from evaluation.preference.http import preference_router
from evaluation.preference.keeper import Keeper
from evaluation.preference.opening import Opener
from evaluation.preference.place import database_url, studies_folder
from evaluation.preference.session import Sessions
from evaluation.preference.store import Store
from evaluation.ui.rate_page import rate_router
from evaluation.ui.sign_in import SpaceOwner, owner_of_space
from ltx2.serving.access import Door
from ltx2.settings import Settings


@dataclass(frozen=True)
class Rating:
    """The studies of a server.

    Attributes:
        store: keeps them.
        sessions: what raters do.
        opener: opens them in the background.
        folder: of their clips.
        settings: of the server. Without a password of the owner, the owner's part over HTTP,
            `/rating/studies`, does not exist, save on a Space that its owner can sign in to.
        space_owner: who that is; None elsewhere.
    """

    store: Store
    sessions: Sessions
    opener: Opener
    folder: Path
    settings: Settings
    space_owner: SpaceOwner | None


def open_rating(settings: Settings, environment: Mapping[str, str]) -> Rating:
    """Studies in the folder of data, or in the database that is set.

    Args:
        settings: of the server.
        environment: says whether this is a Space, where votes are committed to a dataset.

    Raises:
        ResourceError: the database cannot be used.
    """
    folder = studies_folder(settings)
    folder.mkdir(parents=True, exist_ok=True)
    store = Store(database_url(settings))
    keeper = None
    if environment.get("SPACE_ID"):
        keeper = Keeper.on_a_space(folder / "log", settings.votes_repo, environment.get("HF_TOKEN"))
    return Rating(
        store,
        Sessions(store, keeper=keeper),
        Opener(store, folder),
        folder,
        settings,
        owner_of_space(environment),
    )


def rating_routers(rating: Rating) -> tuple[APIRouter, ...]:
    """The raters' page, and studies over HTTP."""
    owner = rating.space_owner
    router = preference_router(
        rating.store,
        rating.sessions,
        rating.opener,
        owner_password=rating.settings.owner_password,
        signed_in_owner=None if owner is None else owner.is_asking,
        address_of=Door(rating.settings).address,
    )
    return router, rate_router()
