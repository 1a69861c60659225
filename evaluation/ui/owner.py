"""Who may run studies from the page: whoever knows the password, or sits at the server itself."""

import hmac
import secrets

import gradio as gr

from evaluation.preference.limits import Limiter, Limits
from evaluation.ui.language import phrase, say
from evaluation.ui.sign_in import SpaceOwner
from ltx2.errors import RequestError
from ltx2.serving.access import Door

STORAGE_KEY = "ltx2-owner"
STORAGE_SECRET = "ltx2-workbench"
"""Obfuscates what the browser stores; what is stored is worth something to this server alone."""

NEEDS_PASSWORD = phrase("Studies belong to whoever runs the server: enter the password.")
NEEDS_SIGNING_IN = phrase("Studies belong to the owner of this Space: sign in with Hugging Face.")
NOT_LOCAL = phrase(
    "The studies belong to whoever runs the server. No password is set (LTX2_OWNER_PASSWORD), so "
    "they can only be reached from the machine itself."
)


class NotTheOwnerError(RequestError):
    """Somebody else wants what is the owner's."""


class Owner:
    """Passes of this server, drawn when the password was right.

    Args:
        password: None lets in whoever may change the server anyway (see `Door.is_owner`).
        door: knows who that is.
        space: who may sign in with Hugging Face; None where nobody can.
        attempts: at the password, by address.
    """

    def __init__(
        self,
        password: str | None,
        door: Door,
        space: SpaceOwner | None = None,
        attempts: Limiter | None = None,
    ) -> None:
        self._password = password
        self._door = door
        self._space = space
        self._attempts = attempts or Limiter(Limits().passwords)
        self._passes: set[str] = set()

    @property
    def asks(self) -> bool:
        """Whether there is a password."""
        return self._password is not None

    @property
    def signs_in(self) -> bool:
        """Whether the owner of the Space can sign in."""
        return self._space is not None

    def enter(self, password: str, request: gr.Request) -> str:
        """The pass for the right password.

        Raises:
            NotTheOwnerError: it is wrong.
            RateLimitedError: too many were wrong.
        """
        if self._password is None or not hmac.compare_digest(
            password.encode(), self._password.encode()
        ):
            self._attempts.take(self._door.address(request))
            raise NotTheOwnerError(
                "This is not the password.", next_step="Ask whoever runs the server."
            )
        own = secrets.token_urlsafe(24)
        self._passes.add(own)
        return own

    def is_in(self, own_pass: str, request: gr.Request) -> bool:
        """Whether who asks is the owner."""
        if self._space is not None and self._space.is_asking(request):
            return True
        if self._password is None:
            return self._door.is_owner(request)
        return isinstance(own_pass, str) and own_pass in self._passes

    def require(self, own_pass: str, request: gr.Request) -> None:
        """Nothing, if who asks is the owner.

        Raises:
            NotTheOwnerError: they are not.
        """
        if not self.is_in(own_pass, request):
            raise NotTheOwnerError(
                "This is for the owner of the studies.", next_step="Enter the password first."
            )

    def why_not(self) -> str:
        """What a stranger is told."""
        if self.signs_in:
            return say(NEEDS_SIGNING_IN)
        return say(NEEDS_PASSWORD if self.asks else NOT_LOCAL)


def build_pass() -> gr.BrowserState:
    """The owner's pass, kept by their browser until the server stops."""
    return gr.BrowserState("", storage_key=STORAGE_KEY, secret=STORAGE_SECRET)
