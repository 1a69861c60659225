"""Who signed in with Hugging Face, and whether the studies of this Space are theirs.

A Space whose README says `hf_oauth: true` gets an OpenID client in its environment. With Gradio's
login button on the page, Gradio signs people in and keeps what it learned in a signed cookie.
"""

import time
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

NEEDED = ("OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET", "OAUTH_SCOPES", "OPENID_PROVIDER_URL")
MAY_WRITE = ("admin", "write")
"""Roles in an organisation that may change its Spaces, and so its studies."""

READING = ("GET", "HEAD")


def owner_of_space(environment: Mapping[str, str]) -> "SpaceOwner | None":
    """Whose Space this is; None where nobody can sign in.

    Args:
        environment: of the process.
    """
    if environment.get("SYSTEM") != "spaces" or not all(map(environment.get, NEEDED)):
        return None
    if find_spec("authlib") is None or find_spec("itsdangerous") is None:
        return None
    name = environment.get("SPACE_AUTHOR_NAME") or environment.get("SPACE_ID", "").split("/")[0]
    return SpaceOwner(name) if name else None


class SpaceOwner:
    """The account, a person's or an organisation's, that a Space belongs to.

    Args:
        name: of the account.
    """

    def __init__(self, name: str) -> None:
        self._name = name.lower()

    def is_asking(self, request: Any) -> bool:
        """Whether who asks has signed in as the owner, or as one who may write for them.

        Args:
            request: Starlette's, or Gradio's.
        """
        request = getattr(request, "request", None) or request
        known = getattr(request, "scope", {}).get("session", {}).get("oauth_info") or {}
        if known.get("expires_at", 0) < time.time() or not _from_own_page(request):
            return False
        person = known.get("userinfo") or {}
        names = [person.get("preferred_username")]
        for organisation in person.get("orgs") or ():
            if organisation.get("roleInOrg") in MAY_WRITE:
                names.append(organisation.get("preferred_username"))
        return any(isinstance(name, str) and name.lower() == self._name for name in names)


def _from_own_page(request: Any) -> bool:
    """The cookie comes with whatever any page sends here; to change something, it must be ours."""
    if request.scope.get("method", "GET") in READING:
        return True
    origin = urlsplit(request.headers.get("origin", ""))
    return bool(origin.netloc) and origin.netloc == request.headers.get("host")
