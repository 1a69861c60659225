"""Whose turn it is: round robin over visitors, first come first served within one."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Waiting:
    """A job in the queue.

    Attributes:
        id: of the job.
        owner: the visitor whose turn it takes.
        created_at: when it was asked, seconds since 1970.
    """

    id: str
    owner: str
    created_at: float


def in_turn(waiting: Sequence[Waiting], last_served: Mapping[str, float]) -> list[str]:
    """Ids in the order in which the jobs start.

    Visitors stand in a ring: whoever was served goes to its end, and so does a newcomer. So
    between two jobs of one visitor there is at most one of each other visitor who stood in it.

    Args:
        waiting: in the order in which they were asked.
        last_served: when each visitor's last job ended, infinity while one is being made;
            visitors who had none may be absent.
    """
    queues: dict[str, deque[Waiting]] = {}
    for job in waiting:
        queues.setdefault(job.owner, deque()).append(job)

    def joined(owner: str) -> float:
        return max(last_served.get(owner, float("-inf")), queues[owner][0].created_at)

    ring = deque(sorted(queues, key=joined))
    order = []
    while ring:
        owner = ring.popleft()
        order.append(queues[owner].popleft().id)
        if queues[owner]:
            ring.append(owner)
    return order
