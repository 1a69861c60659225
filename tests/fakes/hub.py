"""A Hugging Face Hub of one's own, on this machine: its layout, its gates, and its bad days."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SMALL = 1_000
"""Bytes up to which files are in Git itself."""


@dataclass
class FakeHub:
    """What the Hub holds and how it behaves; a test changes it between requests.

    Attributes:
        files: content by repository and name.
        gated: repositories whose terms were accepted by `token` alone.
        cut_after: bytes after which the next transfers break off, one each.
        spoiled: send other bytes than were promised.
        chunk: set it to wait for `gate` before every MiB.
        ranges: what was asked for with Range, and None without.
    """

    files: dict[str, dict[str, bytes]]
    gated: set[str] = field(default_factory=set)
    token: str = "hf_good"
    cut_after: list[int] = field(default_factory=list)
    spoiled: bool = False
    gate: threading.Semaphore | None = None
    status: int | None = None
    ranges: list[str | None] = field(default_factory=list)
    address: str = ""

    def info(self, repo: str) -> bytes:
        siblings = [_sibling(name, content) for name, content in self.files[repo].items()]
        return json.dumps({"id": repo, "sha": COMMIT, "siblings": siblings}).encode()


def _sibling(name, content):
    git = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
    sibling = {"rfilename": name, "size": len(content), "blobId": git}
    if len(content) > SMALL:
        digest = hashlib.sha256(content).hexdigest()
        sibling["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 130}
    return sibling


@contextmanager
def fake_hub(monkeypatch, **files: dict[str, bytes]) -> Iterator[FakeHub]:
    """The Hub that this process talks to meanwhile; names of repositories with __ for the slash."""
    hub = FakeHub({name.replace("__", "/"): content for name, content in files.items()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    server.daemon_threads = True
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.address)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def _handler(hub: FakeHub) -> type[BaseHTTPRequestHandler]:  # noqa: C901 - methods of a class
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_GET(self):
            path = unquote(urlsplit(self.path).path)
            parts = path.strip("/").split("/")
            is_api = parts[:2] == ["api", "models"]
            repo = "/".join(parts[2:4] if is_api else parts[:2])
            if hub.status is not None:
                self._say(hub.status, b"{}")
            elif repo not in hub.files:
                self._say(404, b"{}", "RepoNotFound")
            elif is_api and parts[4:] != ["auth-check"]:
                self._say(200, hub.info(repo))
            elif self._is_locked(repo):
                self._say(403, b"{}", "GatedRepo")
            elif is_api:
                self._say(200, b"{}")
            else:
                self._send(hub.files[repo]["/".join(parts[4:])])

        do_HEAD = do_GET  # noqa: N815

        def _is_locked(self, repo):
            token = self.headers.get("authorization", "").removeprefix("Bearer ")
            return repo in hub.gated and token != hub.token

        def _say(self, status, body, code=""):
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            if code:
                self.send_header("X-Error-Code", code)
            self.end_headers()
            self.wfile.write(body)

        def _send(self, content):
            asked = self.headers.get("Range")
            hub.ranges.append(asked)
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
            body = content[start:]
            self.send_response(206 if asked else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if hub.spoiled:
                body = bytes(byte ^ 1 for byte in body[:1]) + body[1:]
            end = hub.cut_after.pop(0) if hub.cut_after else len(body)
            try:
                for at in range(0, min(end, len(body)), 1 << 20):
                    if hub.gate is not None:
                        hub.gate.acquire()
                    self.wfile.write(body[at : min(at + (1 << 20), end)])
            except OSError:
                pass  # who asked went away
            if end < len(body):
                self.close_connection = True

    return Handler
