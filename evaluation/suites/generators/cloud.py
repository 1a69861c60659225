"""Veo 3 and Sora 2 through their official clients, which are optional and cost money."""

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evaluation.canonical import digest
from evaluation.suites.generators.base import Generator
from evaluation.suites.schema import Item
from ltx2 import Request
from ltx2.errors import GenerationCancelled, GenerationError, RequestError, ResourceError
from ltx2.progress import OnProgress, ShouldCancel

PRICES_OF = "2026-01"
"""Month of the list prices below; what is charged may differ."""

USD_PER_SECOND: dict[str, float] = {
    "veo-3.1-generate-preview": 0.40,
    "veo-3.1-fast-generate-preview": 0.15,
    "veo-3.0-generate-001": 0.40,
    "veo-3.0-fast-generate-001": 0.15,
    "sora-2": 0.10,
    "sora-2-pro": 0.30,
}
TIMEOUT_S = 1_800.0


class CloudGenerator(Generator, ABC):
    """What both services have in common: allowed lengths, a price, a job to wait for.

    Args:
        model: as the service calls it.
        base_url: of the service; the client's own if not said.
        poll_s: between questions whether a clip is done.

    Raises:
        RequestError: the model is not one whose price is known.
    """

    kind = ""
    package = ""
    allowed_s: tuple[int, ...] = ()

    def __init__(self, model: str, *, base_url: str | None = None, poll_s: float = 10.0) -> None:
        if model not in USD_PER_SECOND:
            raise RequestError(
                f"The price of {model} is not known.",
                next_step=f"Choose one of {', '.join(USD_PER_SECOND)}.",
            )
        self.name = model
        self._base_url = base_url
        self._poll_s = poll_s

    def version(self) -> str:
        """Digest of the model's name: services do not tell more."""
        return digest([self.kind, self.name])

    def describe(self) -> Mapping[str, Any]:
        """The model and the month of the prices."""
        return {"kind": self.kind, "model": self.name, "prices_of": PRICES_OF}

    def leaves_out(self, item: Item, request: Request) -> str:
        """Items with files, as what services make of them is not asked here, and longer ones."""
        if self._seconds(request) is None:
            return f"{self.name} makes clips of at most {self.allowed_s[-1]} s."
        return super().leaves_out(item, request)

    def cost_usd(self, request: Request) -> float:
        """Length that is charged, times the price of a second; 0 for one that is left out."""
        return (self._seconds(request) or 0) * USD_PER_SECOND[self.name]

    def __call__(
        self,
        item: Item,
        request: Request,
        output: Path,
        *,
        on_progress: OnProgress,
        should_cancel: ShouldCancel,
    ) -> None:
        """Orders the clip, waits for it and takes it."""
        seconds = self._seconds(request)
        assert seconds is not None, "such items are left out"
        try:
            self._make(request, seconds, output, should_cancel)
        except ImportError as error:
            raise ResourceError(
                f"{self.name} needs the package {self.package}, which is not installed.",
                next_step=f"Install it with: pip install {self.package}",
            ) from error
        except (GenerationCancelled, GenerationError):
            raise
        except Exception as error:
            # The clients raise classes of their own for keys, quotas, moderation and networks.
            raise GenerationError(
                f"{self.name} refused: {type(error).__name__}: {error}",
                next_step="Check the key in the environment, the quota and the prompt.",
            ) from error

    @abstractmethod
    def _make(
        self, request: Request, seconds: int, output: Path, should_cancel: ShouldCancel
    ) -> None:
        """Writes a clip of `seconds`."""

    def _seconds(self, request: Request) -> int | None:
        wanted = request.duration_s or self.allowed_s[-1]
        return next((seconds for seconds in self.allowed_s if seconds >= wanted), None)

    def _wait(self, deadline: float, should_cancel: ShouldCancel) -> None:
        if should_cancel():
            raise GenerationCancelled
        if time.monotonic() > deadline:
            raise GenerationError(
                f"{self.name} was not done after {TIMEOUT_S:g} s.", next_step="Try again later."
            )
        time.sleep(self._poll_s)


def _is_portrait(request: Request) -> bool:
    return (request.height or 0) > (request.width or 1)


class VeoGenerator(CloudGenerator):
    """Google's Veo 3 through google-genai.

    The client makes clips in its enterprise mode alone: with GOOGLE_API_KEY, or as the account of
    this machine with GOOGLE_CLOUD_PROJECT and GOOGLE_CLOUD_LOCATION. The clip is in the answer.
    """

    kind, package, allowed_s = "veo", "google-genai", (4, 6, 8)

    def _make(
        self, request: Request, seconds: int, output: Path, should_cancel: ShouldCancel
    ) -> None:
        from google import genai
        from google.genai import types

        client = genai.Client(
            vertexai=True,
            http_options=types.HttpOptions(base_url=self._base_url) if self._base_url else None,
        )
        operation = client.models.generate_videos(
            model=self.name,
            source=types.GenerateVideosSource(prompt=request.prompt),
            config=types.GenerateVideosConfig(
                number_of_videos=1,
                duration_seconds=seconds,
                seed=request.seed % 2**32,
                aspect_ratio="9:16" if _is_portrait(request) else "16:9",
                negative_prompt=request.negative_prompt or None,
                generate_audio=True,
            ),
        )
        deadline = time.monotonic() + TIMEOUT_S
        while not operation.done:
            self._wait(deadline, should_cancel)
            operation = client.operations.get(operation)
        made = operation.response.generated_videos if operation.response else None
        if not made or made[0].video is None:
            raise GenerationError(
                f"{self.name} made no clip: {operation.error or 'it was filtered'}.",
                next_step="Change the prompt.",
            )
        if not made[0].video.video_bytes:
            raise GenerationError(
                f"{self.name} kept the clip at {made[0].video.uri}.",
                next_step="Take it from there.",
            )
        output.write_bytes(made[0].video.video_bytes)


class SoraGenerator(CloudGenerator):
    """OpenAI's Sora 2 through openai; the key is OPENAI_API_KEY.

    The client announces that the service ended on 24 September 2026; where it still answers, or
    something that speaks as it did, this works.
    """

    kind, package, allowed_s = "sora", "openai", (4, 8, 12)

    def _make(
        self, request: Request, seconds: int, output: Path, should_cancel: ShouldCancel
    ) -> None:
        from openai import OpenAI

        # Any: types are checked where the optional client is missing as well.
        client: Any = OpenAI(base_url=self._base_url)
        made = client.videos.create(
            model=self.name,
            prompt=request.prompt,
            seconds=str(seconds),
            size="720x1280" if _is_portrait(request) else "1280x720",
        )
        deadline = time.monotonic() + TIMEOUT_S
        while made.status in ("queued", "in_progress"):
            self._wait(deadline, should_cancel)
            made = client.videos.retrieve(made.id)
        if made.status != "completed":
            reason = made.error.message if made.error else made.status
            raise GenerationError(
                f"{self.name} made no clip: {reason}.", next_step="Change the prompt."
            )
        output.write_bytes(client.videos.download_content(made.id).content)
