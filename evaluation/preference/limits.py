"""How often one rater or one address may ask."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from ltx2.errors import RequestError

MAX_KEYS = 20_000
"""Callers remembered at once; full again after a while, the oldest are forgotten first."""


class RateLimitedError(RequestError):
    """Too many requests.

    Args:
        retry_after_s: how long to wait.
    """

    def __init__(self, message: str, *, next_step: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message, next_step=next_step)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True)
class Rate:
    """How often.

    Attributes:
        per_s: requests per second in the long run.
        burst: requests at once.
    """

    per_s: float
    burst: int


@dataclass(frozen=True)
class Limits:
    """Rates of a server; each process counts for itself.

    Attributes:
        rater: requests with one session's link.
        address: requests of one address; many raters may share one.
        joins: new sessions of one address.
        passwords: attempts of one address at the owner's password.
    """

    rater: Rate = Rate(10.0, 40)
    address: Rate = Rate(100.0, 400)
    joins: Rate = Rate(0.05, 40)
    passwords: Rate = Rate(0.2, 10)


class Limiter:
    """Token buckets, one for each caller.

    Args:
        rate: of each.
        clock: seconds that never go back.
    """

    def __init__(self, rate: Rate, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._lock = threading.Lock()
        self._left: dict[str, tuple[float, float]] = {}

    def take(self, key: str) -> None:
        """Nothing, if the caller may.

        Raises:
            RateLimitedError: says when it may again.
        """
        with self._lock:
            now = self._clock()
            left, then = self._left.pop(key, (float(self._rate.burst), now))
            left = min(self._rate.burst, left + (now - then) * self._rate.per_s)
            allowed = left >= 1.0
            self._left[key] = (left - 1.0 if allowed else left, now)
            if len(self._left) > MAX_KEYS:
                del self._left[next(iter(self._left))]
        if not allowed:
            wait_s = (1.0 - left) / self._rate.per_s
            raise RateLimitedError(
                "Too many requests.",
                next_step=f"Wait {math.ceil(wait_s)} s and try again.",
                retry_after_s=wait_s,
            )
