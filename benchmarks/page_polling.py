"""What pages cost that wait for a clip: 50 browsers ask how far one running job is.

Each client does what a page does, and as often. The server is the stand-in page, so its processor
time is that of the page and not of a model; other programs on the machine are left out of it.

    python -m benchmarks.page_polling [--pages N] [--seconds S]
"""

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from ltx2.ui.generate import POLL_S
from ltx2.ui.language import label
from ltx2.ui.visitors import recognise
from tests.browser.served import served_process, stand_in

STEP_S = 1.0
"""A preview a second."""

NUM_STEPS = 60
"""As many as the page lets one ask: the job lasts longer than the measurement."""


@dataclass(frozen=True)
class Page:
    """A browser that has the page open.

    Attributes:
        client: its connection.
        events: numbers of the page's events, by the names of their handlers.
        session: its name for the server.
    """

    client: httpx.AsyncClient
    events: dict[str, int]
    session: str

    async def send(self, event: str, *values: Any) -> Any:
        """What the handler of an event answers."""
        answer = await self.client.post(
            "/gradio_api/run/predict",
            json={
                "data": values,
                "fn_index": self.events[event],
                "session_hash": self.session,
            },
        )
        answer.raise_for_status()
        return answer.json()["data"]

    async def send_in_queue(self, event: str, *values: Any) -> Any:
        """The same for an event that goes through Gradio's queue."""
        call = {"data": values, "fn_index": self.events[event], "session_hash": self.session}
        (await self.client.post("/gradio_api/queue/join", json=call)).raise_for_status()
        stream = f"/gradio_api/queue/data?session_hash={self.session}"
        async with self.client.stream("GET", stream) as messages:
            async for line in messages.aiter_lines():
                message = json.loads(line.removeprefix("data:") or "{}")
                if message.get("msg") == "process_completed":
                    if not message["success"]:
                        raise RuntimeError(f"{event} was refused: {message['output']}")
                    return message["output"]["data"]
        raise RuntimeError(f"The page did not answer {event}.")

    async def poll(self, visitor: str, *, until: float) -> list[float]:
        """Seconds that each answer took."""
        latencies = []
        while time.monotonic() < until:
            await asyncio.sleep(POLL_S)
            asked_at = time.monotonic()
            await self.send("on_poll", visitor, None)
            latencies.append(time.monotonic() - asked_at)
        return latencies


async def measure(address: str, process_id: int, *, pages: int, seconds: float) -> None:
    """Prints the server's share of one core while the pages wait."""
    limits = httpx.Limits(max_connections=pages + 1)
    async with httpx.AsyncClient(base_url=address, timeout=60.0, limits=limits) as client:
        config = (await client.get("/config")).json()
        events = {event["api_name"]: event["id"] for event in config["dependencies"]}
        visitor, first = recognise(None), Page(client, events, "first")
        _, job, _ = await first.send_in_queue("on_submit", *filled_in(config, visitor))
        tabs = [Page(client, events, f"page {number}") for number in range(pages)]
        for tab in tabs:  # they open the link, which costs more, but once
            await tab.send("on_show", visitor, job)
        since, before = time.monotonic(), processor_s(process_id)
        answers = await asyncio.gather(*(tab.poll(visitor, until=since + seconds) for tab in tabs))
        share = (processor_s(process_id) - before) / (time.monotonic() - since)
    latencies = [latency for latencies in answers for latency in latencies]
    print(
        f"{pages} pages, {len(latencies) / seconds:.0f} polls a second: {share:.0%} of one core, "
        f"half of the answers within {1000 * statistics.median(latencies):.0f} ms"
    )


def filled_in(config: dict[str, Any], visitor: str) -> list[Any]:
    """What a visitor sends who asks for a clip of many steps, all else as the page has it."""
    fields = {field["id"]: field["props"] for field in config["components"]}
    events = {event["api_name"]: event for event in config["dependencies"]}
    labelled = {label("Prompt").key: "A ball.", label("Steps").key: NUM_STEPS}
    asked = [fields[number] for number in events["on_submit"]["inputs"]]
    return [visitor, *(_filled(field, labelled) for field in asked[1:])]


def _filled(field: dict[str, Any], labelled: dict[str, Any]) -> Any:
    """The value of a field; labels come as keys of the page's translations."""
    shown = str(field.get("label"))
    return next((v for key, v in labelled.items() if f'"{key}"' in shown), field.get("value"))


def processor_s(process_id: int) -> float:
    """Processor seconds that a process has used (Linux)."""
    fields = Path(f"/proc/{process_id}/stat").read_text().rsplit(")", 1)[1].split()
    user, system = (int(ticks) for ticks in fields[11:13])
    return (user + system) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Serve the page and measure it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    with served_process(stand_in(folder), folder, STAND_IN_STEP_S=str(STEP_S)) as (address, server):
        asyncio.run(measure(address, server.pid, pages=options.pages, seconds=options.seconds))


if __name__ == "__main__":
    main()
