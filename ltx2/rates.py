"""How often somebody may ask: token buckets, one for each name."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

MAX_NAMES = 20_000
"""Names remembered at once; whoever invents more of them to be forgotten only makes room for
others, as the oldest are forgotten first and their buckets are full again by then."""


@dataclass(frozen=True)
class Rate:
    """How often.

    Attributes:
        per_s: in the long run, per second.
        burst: at once.
    """

    per_s: float
    burst: int

    @classmethod
    def per_minute(cls, count: int) -> "Rate":
        """So many a minute, all of which may come at once."""
        return cls(count / 60.0, count)


class Limiter:
    """A bucket for each name that fills at a rate, and from which everything asked takes one.

    Args:
        rate: of each.
        clock: seconds that never go back.
    """

    def __init__(self, rate: Rate, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self._clock = clock
        self._lock = threading.Lock()
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, name: str) -> float:
        """Takes one and answers 0, or takes nothing and answers the seconds until there is one."""
        with self._lock:
            now = self._clock()
            left, then = self._left.pop(name, (float(self.rate.burst), now))
            left = min(float(self.rate.burst), left + (now - then) * self.rate.per_s)
            may = left >= 1.0 - 1e-9  # sums of small steps fall a little short
            self._left[name] = (left - 1.0 if may else left, now)
            if len(self._left) > MAX_NAMES:
                self._left.popitem(last=False)
        return 0.0 if may else (1.0 - left) / self.rate.per_s
