"""Who may come in, how often they may ask, and who owns the server."""

import hmac
import ipaddress
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ltx2.rates import Limiter, Rate
from ltx2.serving.jobs import QueueFullError
from ltx2.settings import Settings

UNKNOWN = "unknown"
"""Address of a request that tells none; all of them share one limit."""


class Asking(Protocol):
    """A request of Starlette's or of Gradio's."""

    @property
    def client(self) -> Any:
        """Where it came from; its `host` is the address."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """What came with it."""
        ...


class TooOftenError(QueueFullError):
    """Somebody asks more often than the server allows."""


class Door:
    """What stands between visitors and the queue.

    Args:
        settings: login, key, proxies and limits.
        clock: seconds.
    """

    def __init__(
        self, settings: Settings | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        settings = settings or Settings()
        self.login = settings.login
        self._proxies = settings.proxies
        self._is_shared = settings.share
        self._visitors = Limiter(Rate.per_minute(settings.visitor_rate), clock=clock)
        self._addresses = Limiter(Rate.per_minute(settings.address_rate), clock=clock)
        self._passes = []
        if settings.api_key:
            self._passes.append(f"Bearer {settings.api_key}")
        if settings.login:
            pair = b64encode(":".join(settings.login).encode()).decode()
            self._passes.append(f"Basic {pair}")

    def address(self, request: Asking | None) -> str:
        """Address of who asks; of `X-Forwarded-For` only what trusted proxies wrote is believed."""
        if request is None or request.client is None:
            return UNKNOWN
        if self._proxies:
            passed = [
                part.strip() for part in request.headers.get("x-forwarded-for", "").split(",")
            ]
            if len(passed) >= self._proxies and passed[-self._proxies]:
                return passed[-self._proxies]
        return str(request.client.host)

    def admit(self, visitor: str, request: Asking | None) -> None:
        """Counts a submit.

        Raises:
            TooOftenError: the visitor, or everybody at the address, asks too often.
        """
        self._count(self._addresses, self.address(request), "from your network")
        self._count(self._visitors, visitor, "from you")

    def opens_for(self, authorization: str | None, request: Asking | None = None) -> bool:
        """Whether a program may come in: its bearer token, or name and password, are right.

        Raises:
            TooOftenError: it guesses.
        """
        if not self._passes:
            return True
        given = (authorization or "").encode()
        # All are compared, each in constant time, so that the time tells nothing.
        if sum(hmac.compare_digest(given, known.encode()) for known in self._passes):
            return True
        self._count(self._addresses, f"guess {self.address(request)}", "from your network")
        return False

    def is_owner(self, request: Asking | None) -> bool:
        """Whether who asks may change the server: behind a login everybody, else this machine.

        An address that came through a proxy, or through Gradio's tunnel, is nobody's.
        """
        if self.login is not None:
            return True
        if request is None or request.client is None or self._is_shared:
            return False
        if any(name in request.headers for name in ("x-forwarded-for", "forwarded", "x-real-ip")):
            return False
        # Another site's page could send its visitor's browser here under a name of its own.
        host = request.headers.get("host", "").rpartition(":")[0] or request.headers.get("host", "")
        return is_local(str(request.client.host)) and is_local(host.strip("[]"))

    def _count(self, limit: Limiter, name: str, whose: str) -> None:
        if not limit.rate.burst:  # 0 is no limit
            return
        seconds = limit.wait_s(name)
        if seconds > 0.0:
            raise TooOftenError(
                f"More than {limit.rate.burst} clips a minute {whose} are not taken.",
                next_step=f"Try again in {max(1, round(seconds))} s.",
            )


def is_local(host: str) -> bool:
    """Whether an address or a name is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
