"""A page served by a process of its own, and a browser to look at it with."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--autoplay-policy=no-user-gesture-required",
]

CLIP_S = 60_000
"""Milliseconds that a clip of the stand-in may take on a busy machine."""

START_S = 300.0
"""How long a page may take to come up on a busy machine."""


@contextmanager
def served_page(arguments: list[str], folder: Path, **environment: str) -> Iterator[str]:
    """The address of a page while `python ARGUMENTS` serves it; its log is `folder/log.txt`."""
    with served_process(arguments, folder, cwd=ROOT, **environment) as (address, _):
        yield address


def stand_in(folder: Path) -> list[str]:
    """Arguments for the page on the stand-in model."""
    return ["-m", "tests.browser.stand_in_app", str(folder / "data")]


@contextmanager
def served_process(
    arguments: list[str],
    folder: Path,
    *,
    cwd: Path = ROOT,
    python: str | Path = sys.executable,
    **environment: str,
) -> Iterator[tuple[str, subprocess.Popen]]:
    """The same with the process that serves it, of a Python in a folder."""
    port = _free_port()
    log_path = folder / "log.txt"
    variables = {
        **os.environ,
        "GRADIO_SERVER_NAME": "127.0.0.1",
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_TEMP_DIR": str(folder / "cache"),
        "LTX2_OPEN_BROWSER": "0",
        **environment,
    }
    with log_path.open("a") as log:
        process = subprocess.Popen(
            [python, *arguments], cwd=cwd, env=variables, stdout=log, stderr=log
        )
        try:
            address = f"http://127.0.0.1:{port}"
            _wait(address, process, log_path)
            yield address, process
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def chromium() -> Iterator["Browser"]:
    """Debian's browser; the test is skipped where it or its driver is missing."""
    driver = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed (apt-get install chromium)")
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=CHROMIUM_ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _wait(address: str, process: subprocess.Popen, log_path: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=5).close()
        except OSError:
            time.sleep(0.3)
        else:
            return
    pytest.fail(f"The page did not come up:\n{log_path.read_text()}")
