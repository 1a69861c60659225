"""What a server adds so that people can rate: the raters' page, and studies over HTTP."""

from collections.abc import Mapping

from fastapi import APIRouter

from evaluation.preference.http import preference_router
from evaluation.preference.keeper import Keeper
from evaluation.preference.opening import Opener
from evaluation.preference.place import database_url, studies_folder
from evaluation.preference.session import Sessions
from evaluation.preference.store import Store
from evaluation.ui.rate_page import rate_router
from evaluation.ui.sign_in import owner_of_space
from ltx2.serving.access import Door
from ltx2.settings import Settings


def rating_routers(settings: Settings, environment: Mapping[str, str]) -> tuple[APIRouter, ...]:
    """Routers over the studies in the folder of data, or in the database that is set.

    Args:
        settings: of the server. Without a password of the owner, the owner's part,
            `/rating/studies`, does not exist, save on a Space that its owner can sign in to.
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
    sessions = Sessions(store, keeper=keeper)
    owner = owner_of_space(environment)
    rating = preference_router(
        store,
        sessions,
        Opener(store, folder),
        owner_password=settings.owner_password,
        signed_in_owner=None if owner is None else owner.is_asking,
        address_of=Door(settings).address,
    )
    return rating, rate_router()
