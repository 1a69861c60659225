"""Many raters voting at once over HTTP, with SQLite and with PostgreSQL.

    python -m benchmarks.preference_load [--raters 200] [--seconds 60] [--pace 25]

Simulated raters look at a pair for `pace` seconds on average (an exponential time, as people come
and go), report both clips as played, and vote; some send the vote twice, as a double click does.
Printed are the times of a vote as the rater sees them, and whether each acknowledged vote is there
exactly once. Raters and server share the machine, so the load average stands beside, and what the
server itself took: processor time for a pair (two reports of what was played, and the vote), and
how much of one core that is.

PostgreSQL is a server of its own that waits for the disk, or the one in LTX2_DATABASE_URL.
"""

import argparse
import asyncio
import os
import random
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

from evaluation.preference.export import last_votes
from evaluation.preference.store import Store
from tests.postgresql import NoPostgreSQLError, postgresql_server

ROOT = Path(__file__).parents[1]
SERVER = "tests.unit.evaluation.preference.served"
TRIES = 3
LONGEST_VOTE_MS = 300.0
"""The 95th percentile that is allowed."""


@dataclass
class Seen:
    """What the raters saw, and the processor time that the server took meanwhile."""

    vote_ms: list[float] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    server_s: float = 0.0


def main() -> None:
    """Prints one line per database."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--raters", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--pace", type=float, default=25.0, help="seconds per pair")
    arguments = parser.parse_args()
    for name, url in _databases():
        print(_line(name, url, arguments.raters, arguments.seconds, arguments.pace), flush=True)


def _line(name: str, url: str, raters: int, seconds: float, pace: float) -> str:
    with tempfile.TemporaryDirectory() as folder, _served(url, Path(folder), raters) as server:
        study_id, base, process = server
        seen = asyncio.run(_all(base, study_id, raters, seconds, pace, process))
    store = Store(url)
    kept = [str(vote.trial) for vote in last_votes(store, study_id)]
    entries = store.verify(study_id)
    store.close()
    lost = len(set(seen.acknowledged) - set(kept))
    doubled = len(kept) - len(set(kept))
    p50, p95, p99 = np.percentile(seen.vote_ms, [50, 95, 99])
    verdict = "ok" if p95 <= LONGEST_VOTE_MS and not lost and not doubled else "TOO SLOW OR LOST"
    votes = len(seen.vote_ms)
    return (
        f"{name:10} {raters} raters, {votes} votes in {seconds:.0f} s: "
        f"p50 {p50:.0f} ms, p95 {p95:.0f} ms, p99 {p99:.0f} ms; lost {lost}, doubled {doubled}, "
        f"errors {len(seen.errors)} {seen.errors[:1]}; {entries} entries verified: {verdict}\n"
        f"{'':10} server {1000 * seen.server_s / votes:.1f} ms of processor time a pair, "
        f"{100 * seen.server_s / seconds:.0f} % of a core; load average {os.getloadavg()[0]:.1f} "
        f"on {os.cpu_count()} cores"
    )


async def _all(
    base: str, study_id: str, raters: int, seconds: float, pace: float, server: psutil.Process
) -> Seen:
    seen = Seen()
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(base_url=base, timeout=60, limits=limits) as client:
        ready = [await _joined(client, study_id) for _ in range(raters)]
        end = time.monotonic() + seconds
        before = server.cpu_times()
        await asyncio.gather(
            *(_rate(client, *one, seen, end, pace, random.Random(i)) for i, one in enumerate(ready))
        )
        after = server.cpu_times()
        seen.server_s = after.user + after.system - before.user - before.system
    return seen


async def _joined(
    client: httpx.AsyncClient, study_id: str
) -> tuple[dict[str, str], dict[str, Any]]:
    joined = (await client.post(f"/studies/{study_id}/sessions")).json()
    headers = {"Authorization": f"Bearer {joined['token']}"}
    await client.post("/session/consent", headers=headers)
    screen = {"sound_heard": True, "screen_width": 1280, "screen_height": 720}
    checked = await client.post("/session/checks", json=screen, headers=headers)
    return headers, checked.json()


async def _rate(
    client: httpx.AsyncClient,
    headers: dict[str, str],
    state: dict[str, Any],
    seen: Seen,
    end: float,
    pace: float,
    drawn: random.Random,
) -> None:
    async def post(what: str, body: dict[str, Any] | None = None) -> httpx.Response:
        for _ in range(TRIES):
            # A request that got no answer is sent again, as a page does.
            with suppress(httpx.TransportError):
                return await client.post(f"/session/{what}", json=body, headers=headers)
        return httpx.Response(599, text="no answer")

    while state["state"] in ("pair", "break"):
        wait_s = drawn.expovariate(1 / pace)
        if time.monotonic() + wait_s > end:
            return
        await asyncio.sleep(wait_s)
        if state["state"] == "break":
            state = (await post("rested")).json()
            continue
        for side in ("left", "right"):
            await post("played", {"trial": state["trial"], "side": side, "played_s": 0.5})
        ballot = {
            "trial": state["trial"],
            "vote_token": state["vote_token"],
            "request_key": secrets.token_hex(8),
            "answers": {axis["key"]: "tie" for axis in state["axes"]},
        }
        started = time.perf_counter()
        answers = await asyncio.gather(
            *(post("vote", ballot) for _ in range(2 if drawn.random() < 0.1 else 1))
        )
        seen.vote_ms.append(1000 * (time.perf_counter() - started))
        if any(answer.status_code != 200 for answer in answers):
            seen.errors += [answer.text for answer in answers if answer.status_code != 200]
            return
        seen.acknowledged.append(state["trial"])
        state = answers[0].json()


@contextmanager
def _served(url: str, folder: Path, raters: int) -> Iterator[tuple[str, str, psutil.Process]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", SERVER, url, str(folder), str(port), str(raters)]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        study_id = server.stdout.readline().strip()
        base = f"http://127.0.0.1:{port}/rating"
        for _ in range(300):
            with suppress(httpx.TransportError):
                httpx.get(f"{base}/session", timeout=5)
                break
            time.sleep(0.1)
        yield study_id, base, psutil.Process(server.pid)
    finally:
        server.terminate()
        server.wait()


def _databases() -> Iterator[tuple[str, str]]:
    with tempfile.TemporaryDirectory() as folder:
        yield "SQLite", f"sqlite:///{folder}/studies.db"
    if os.environ.get("LTX2_DATABASE_URL"):
        yield "PostgreSQL", os.environ["LTX2_DATABASE_URL"]
        return
    try:
        with postgresql_server(durable=True) as url:
            yield "PostgreSQL", url
    except NoPostgreSQLError as error:
        print(f"PostgreSQL: left out. {error}")


if __name__ == "__main__":
    main()
