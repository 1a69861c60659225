"""Clips on ZeroGPU, where a GPU is lent for the length of one request.

The model is loaded in the server's own process, where `spaces` keeps it for the GPU to come; each
clip is made by a forked process that has one, for as many seconds as were asked for. What that
process says comes back as picklable events, so that progress, previews and stopping work as they
do elsewhere. Outside ZeroGPU `spaces.GPU` changes nothing, and without the package neither.
"""

import importlib
import importlib.util
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from queue import SimpleQueue
from threading import Thread
from typing import Any

from ltx2.clip import Clip
from ltx2.errors import GenerationCancelled, LTX2Error, ResourceError
from ltx2.preview import OnPreview, Preview
from ltx2.progress import OnProgress, Progress, ShouldCancel
from ltx2.request import ModelProfile, Request
from ltx2.serving.models import Offer
from ltx2.serving.timing import work_of

VARIABLE = "SPACES_ZERO_GPU"
"""Set by the Hub where GPUs are lent."""

LONGEST_S = 120
"""Longer loans are refused to most visitors."""

SHORTEST_S = 20
SECONDS_PER_TOKEN_STEP = 4e-5
"""For each latent token, step and pass of a 19B model: a first guess, on the safe side."""

OVERHEAD_S = 15
"""Weights on their way to the GPU, prompt, decoding."""

Event = Progress | Preview | Clip
Maker = Callable[..., Clip]

_makers: dict[int, tuple[Maker, ModelProfile]] = {}
"""Loaded models. The process with the GPU is a fork, which has them without their being sent."""


def is_zero_gpu(environment: Mapping[str, str]) -> bool:
    """Whether this server gets a GPU for the length of a request only."""
    return environment.get(VARIABLE, "").lower() in ("1", "true")


def gpu_seconds(request: Request, profile: ModelProfile) -> int:
    """For how long a GPU is asked: short loans come sooner, too short ones lose the clip."""
    work = work_of(request, profile)
    denoise_s = work.steps * work.passes * work.tokens * SECONDS_PER_TOKEN_STEP
    return min(LONGEST_S, max(SHORTEST_S, math.ceil(OVERHEAD_S + denoise_s)))


def lent_gpu(function: Callable[..., Any], duration: Callable[..., int]) -> Callable[..., Any]:
    """The function with a GPU where one is lent, and as it is elsewhere."""
    if importlib.util.find_spec("spaces") is None:
        return function
    return importlib.import_module("spaces").GPU(duration=duration)(function)


class Lender:
    """Asks for GPUs. To be made before PyTorch is imported, or the Hub takes no notice of it."""

    def __init__(self) -> None:
        self.events = lent_gpu(_events, _duration)

    def borrowing(self, offer: Offer) -> Offer:
        """The offer, whose model computes on a GPU that is lent for each clip."""
        return replace(
            offer,
            load=lambda loras: BorrowingMaker(offer.load(loras), offer.profile, self.events),
            quantized=None,
        )


class BorrowingMaker:
    """Makes clips with a loaded model on a GPU that is lent for each.

    Args:
        maker: the loaded model.
        profile: its usual settings, which tell how long a clip takes.
        events: of a `Lender`.
    """

    def __init__(self, maker: Maker, profile: ModelProfile, events: Callable[..., Any]) -> None:
        _makers.clear()  # one model is loaded at a time
        self._key = id(maker)
        _makers[self._key] = maker, profile
        self._events = events

    def __call__(
        self,
        request: Request,
        *,
        on_progress: OnProgress,
        should_cancel: ShouldCancel,
        on_preview: OnPreview | None,
    ) -> Clip:
        """The clip that was asked for.

        Raises:
            GenerationCancelled: it was asked to stop; the GPU is given back.
            ResourceError: no GPU was lent, or not for long enough.
        """
        events = self._events(self._key, request)
        try:
            for event in events:
                if should_cancel():
                    raise GenerationCancelled
                match event:
                    case Clip():
                        return event
                    case Progress():
                        on_progress(event)
                    case Preview() if on_preview is not None:
                        on_preview(event)
        except (LTX2Error, GenerationCancelled):
            raise
        except Exception as error:
            raise explain(error) from error
        finally:
            events.close()
        raise ResourceError("The GPU was taken away.", next_step="Try again.")


def explain(error: Exception) -> Exception:
    """What ZeroGPU reports, as one of our errors; other errors stay what they are."""
    said = str(error).lower()
    if "illegal duration" in said:
        return ResourceError(
            "This clip needs a GPU for longer than one is lent to you.",
            next_step="Choose a shorter or smaller clip, or log in to Hugging Face.",
        )
    if "quota" in said:
        return ResourceError(
            "Your minutes of GPU are used up for today.",
            next_step="Log in to Hugging Face for more, or come back tomorrow.",
        )
    if "aborted" in said or "timeout" in said:
        return ResourceError(
            "The clip took longer than expected, and the GPU was taken away.",
            next_step="Choose fewer steps, or a shorter or smaller clip.",
        )
    return error


def _duration(key: int, request: Request) -> int:
    return gpu_seconds(request, _makers[key][1])


def _events(key: int, request: Request) -> Iterator[Event]:
    """Runs where the GPU is: progress and previews, then the clip."""
    said: SimpleQueue[Event | Exception] = SimpleQueue()
    is_left = False

    def make() -> None:
        try:
            said.put(
                _makers[key][0](
                    request,
                    on_progress=said.put,
                    should_cancel=lambda: is_left,
                    on_preview=said.put,
                )
            )
        except Exception as error:  # noqa: BLE001 - it is raised again by who waits
            said.put(error)

    thread = Thread(target=make, daemon=True)
    thread.start()
    try:
        while True:
            event = said.get()
            if isinstance(event, Exception):
                raise event
            yield event
            if isinstance(event, Clip):
                return
    finally:
        is_left = True
        thread.join()
