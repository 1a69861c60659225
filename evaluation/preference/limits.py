"""How often one rater or one address may ask."""

import math
from dataclasses import dataclass

from ltx2 import rates
from ltx2.errors import RequestError
from ltx2.rates import Rate


class RateLimitedError(RequestError):
    """Too many requests.

    Args:
        retry_after_s: how long to wait.
    """

    def __init__(self, message: str, *, next_step: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message, next_step=next_step)
        self.retry_after_s = retry_after_s


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


class Limiter(rates.Limiter):
    """Refuses those who ask too often."""

    def take(self, name: str) -> None:
        """Nothing, if the caller may.

        Raises:
            RateLimitedError: says when it may again.
        """
        wait_s = self.wait_s(name)
        if wait_s > 0.0:
            raise RateLimitedError(
                "Too many requests.",
                next_step=f"Wait {math.ceil(wait_s)} s and try again.",
                retry_after_s=wait_s,
            )
