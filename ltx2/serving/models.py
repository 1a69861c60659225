"""The models that visitors can choose from, one of them loaded at a time."""

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol, cast

import ltx2
from ltx2.checkpoint.catalog import (
    LORA_FOLDER,
    embedded_models,
    find_model,
    loras_of,
)
from ltx2.checkpoint.reader import CheckpointFile
from ltx2.checkpoint.upsamplers import enlarging_of, find_upsamplers
from ltx2.clip import Clip
from ltx2.errors import CheckpointError, GenerationCancelled, RequestError
from ltx2.geometry import Enlarging
from ltx2.preview import OnPreview
from ltx2.progress import OnProgress, Progress, ShouldCancel
from ltx2.request import ModelProfile, Request
from ltx2.runtime.anatomy import Anatomy, anatomy_of
from ltx2.runtime.memory import offload_beside
from ltx2.serving.jobs import Choice, ChosenLora
from ltx2.serving.shelf import Found, find_weights, roots_of
from ltx2.settings import QUANTIZATIONS, Settings

INPUTS_FOLDER = "inputs"
"""Of the server's data: the files that visitors make clips from, under their digests."""


DOWNSCALE_KEY = "reference_downscale_factor"
"""Of the metadata of LoRAs that follow a video."""

IC_LORA_MARK = "ic-lora"

MAX_DOWNSCALE = 8
"""As requests allow."""


class ClipMaker(Protocol):
    """A loaded model: `ltx2.Pipeline`, or a stand-in."""

    def __call__(
        self,
        request: Request,
        *,
        on_progress: OnProgress,
        should_cancel: ShouldCancel,
        on_preview: OnPreview | None,
    ) -> Clip:
        """The clip that was asked for."""
        ...


Loras = Sequence[tuple[Path, float] | tuple[Path, float, float | None]]
"""LoRA files with their strengths, perhaps another one for the sound."""


@dataclass(frozen=True)
class Offer:
    """A model that visitors can choose.

    Attributes:
        name: as visitors see it.
        profile: its usual settings and limits.
        load: builds the model with LoRAs in it.
        licence: of the weights; None if unknown.
        loras: files that fit the model, by the names that visitors see.
        anatomy: sizes of its networks, which tell its memory; None if unknown.
        size_bytes: of its files; 0 if unknown.
        digest: computes that of its weights; None where it has no file.
        offload: where its weights may wait, as settings say it.
        stages: what upsamplers that lie beside it enlarge.
        guides: LoRAs that follow a reference video, and how much smaller they are shown it.
        exchange: puts other LoRAs into what `load` built; None if it has to be built anew.
        quantization: how its large weights are kept, as settings say it.
        quantized: the same model with its large weights kept otherwise; None if they cannot be.
    """

    name: str
    profile: ModelProfile
    load: Callable[[Loras], ClipMaker]
    licence: str | None = None
    loras: Mapping[str, Path] = field(default_factory=dict)
    anatomy: Anatomy | None = None
    size_bytes: int = 0
    digest: Callable[[], str] | None = None
    offload: str = "auto"
    stages: frozenset[Enlarging] = frozenset()
    guides: Mapping[str, int] = field(default_factory=dict)
    exchange: Callable[[ClipMaker, Loras], ClipMaker] | None = None
    quantization: str = "none"
    quantized: "Callable[[str], Offer] | None" = None

    @property
    def timed_as(self) -> str:
        """What clips of it are timed as: weights in fewer bits take other times."""
        return self.name if self.quantization == "none" else f"{self.name} {self.quantization}"


class Stop:
    """A wish to end one job; whoever waits for something can wait for it as well."""

    def __init__(self) -> None:
        self._wish: Future[None] = Future()
        self._lock = threading.Lock()

    def __call__(self) -> bool:
        """Whether the wish was expressed."""
        return self._wish.done()

    def express(self) -> None:
        """Ends the job at its next step; saying it again changes nothing."""
        with self._lock:
            if not self._wish.done():
                self._wish.set_result(None)

    def or_done(self, other: Future[Any]) -> bool:
        """True once `other` is done, False if the wish to stop came first."""
        either: list[Future[Any]] = [self._wish, other]
        wait(either, return_when=FIRST_COMPLETED)
        return not self._wish.done()


class Models:
    """Offers on one device, and the one among them that is loaded.

    Loading imports PyTorch, which takes seconds; until then only the profiles are needed.

    Args:
        offers: models to choose from, the usual one first; of one name each.
        device: name of the device that they are loaded on, for the times that jobs take.
    """

    def __init__(self, offers: Sequence[Offer], *, device: str = "auto") -> None:
        self.offers = tuple(offers)
        self.device = device
        self._loader = ThreadPoolExecutor(1, thread_name_prefix=f"load {device}")
        self._loaded: tuple[Choice, Future[ClipMaker]] | None = None

    def offer(self, name: str | None) -> Offer:
        """The offer of a name, or the usual one.

        Raises:
            RequestError: there is none of that name.
        """
        for offer in self.offers:
            if name in (None, offer.name):
                return offer
        names = ", ".join(offer.name for offer in self.offers)
        raise RequestError(f"There is no model {name!r} here.", next_step=f"Choose one of {names}.")

    def chosen(self, choice: Choice) -> Offer:
        """The offer of a choice, with its weights kept as that says.

        Raises:
            RequestError: there is none of that name, or its weights cannot be kept so.
        """
        offer = self.offer(choice.model)
        if choice.quantization in (None, offer.quantization):
            return offer
        if offer.quantized is None or choice.quantization not in QUANTIZATIONS:
            raise RequestError(
                f"The model {offer.name} cannot keep its weights as {choice.quantization!r}.",
                next_step=f"Choose {', '.join(QUANTIZATIONS)}, or leave it out.",
            )
        return offer.quantized(choice.quantization)

    def named(self, choice: Choice) -> Choice:
        """The same choice with its model's name, without LoRAs that change nothing.

        Raises:
            RequestError: it names what is not offered, a LoRA twice, or a strength that is not
                a number.
        """
        offer = self.offer(choice.model)
        is_usual = self.chosen(choice) is offer
        seen = set()
        for lora in choice.loras:
            _check_lora(offer, lora)
            if lora.name in seen:
                raise RequestError(
                    f"The LoRA {lora.name!r} is chosen twice.", next_step="Keep one of them."
                )
            seen.add(lora.name)
        return Choice(
            offer.name,
            tuple(lora for lora in choice.loras if not lora.changes_nothing),
            quantization=None if is_usual else choice.quantization,
        )

    @property
    def loaded(self) -> Choice | None:
        """What the next clip can be made with at once; None if anything has to be loaded."""
        current = self._loaded
        if current is None or not current[1].done() or _has_failed(current[1]):
            return None
        return current[0]

    def take(self, choice: Choice, stop: Stop, on_progress: OnProgress) -> ClipMaker:
        """The model of a choice, loaded in place of the one before; for one thread.

        Args:
            choice: as `named` returns it.
            stop: who stops does not wait for loading, which goes on for whoever comes next.
            on_progress: told about loading, if there is any.

        Raises:
            GenerationCancelled: the wish to stop was expressed.
            LTX2Error: the model cannot be loaded.
        """
        if stop():
            raise GenerationCancelled
        current = self._loaded
        is_new = current is None or current[0] != choice or _has_failed(current[1])
        if is_new:
            offer = self.chosen(choice)
            files = [_file_of(offer, lora) for lora in choice.loras]
            load = partial(offer.load, files)
            if (
                current is not None
                and offer.exchange is not None
                and self._is_only_of_loras(choice)
            ):
                load = partial(offer.exchange, current[1].result(), files)
            self._loaded = current = None  # gives its memory back before the next one takes any
            self._loaded = current = choice, self._loader.submit(load)
        assert current is not None
        loading = current[1]
        if loading.done() and not is_new:
            return loading.result()
        on_progress(Progress("load", 0, 1))
        if not stop.or_done(loading):
            raise GenerationCancelled
        maker = loading.result()
        on_progress(Progress("load", 1, 1))
        return maker

    def _is_only_of_loras(self, choice: Choice) -> bool:
        """Whether a choice differs from what is loaded in its LoRAs alone."""
        now = self.loaded
        return now is not None and replace(now, loras=()) == replace(choice, loras=())

    def close(self) -> None:
        """Gives the loaded model's memory back; loading that has begun ends on its own."""
        self._loaded = None
        self._loader.shutdown(wait=False, cancel_futures=True)


def open_offers(settings: Settings) -> tuple[Offer, ...]:
    """The offers of the chosen model, of which only headers are read for now.

    Where it is one of those that this project carries, the others are offered too, and the one
    with the fewest steps is the usual one unless another was chosen. Published models that lie in
    the folder of downloads, or in ComfyUI's, follow.

    Raises:
        CheckpointError: there is no such model, or its header is damaged.
    """
    found = find_weights(roots_of(settings))
    names = embedded_models()
    if settings.model not in names:
        offers: tuple[Offer, ...] = (_offer(_path_of(settings.model, found), settings, found),)
    else:
        is_default = settings.model == Settings.model

        def rank(offer: Offer) -> tuple[bool, int]:
            return not is_default and offer.name != settings.model, offer.profile.num_steps

        offers = tuple(sorted((_offer(name, settings, ()) for name in names), key=rank))
    known = {offer.name for offer in offers}
    others = [item for item in found if item.kind == "model" and item.name not in known]
    unique = {item.name: item for item in reversed(others)}  # the first folder goes first
    if _text_encoder(settings, found) is None:
        return offers  # they could not make a clip
    return (*offers, *(_offer(str(item.path), settings, found) for item in unique.values()))


def _path_of(model: str, found: Sequence[Found]) -> str:
    """A published model's file in a folder of models, or what was said."""
    paths = [item.path for item in found if item.kind == "model" and item.name == model]
    return str(paths[0]) if paths and not Path(model).exists() else model


def _text_encoder(settings: Settings, found: Sequence[Found]) -> Path | None:
    if settings.text_encoder is not None:
        return settings.text_encoder
    return next((item.path for item in found if item.kind == "text encoder"), None)


def _offer(model: str, settings: Settings, weights: Sequence[Found]) -> Offer:
    text_encoder = _text_encoder(settings, weights)
    found = find_model(model, text_encoder=text_encoder)
    shared = {item.name: item.path for item in weights if item.kind == "LoRA"}
    chosen = {CheckpointFile.open(path).path.stem: path for path in settings.lora}
    loras = {**shared, **loras_of(found), **chosen}

    def load(loras: Loras) -> ClipMaker:
        pipeline = ltx2.load(
            model,
            text_encoder=text_encoder,
            device=settings.device,
            dtype=settings.dtype,
            quantization=settings.quantization,
            loras=loras,
            offload=settings.offload,
            attention=settings.attention,
            compilation=settings.compile,
            prompt_cache=settings.prompt_cache,
        )
        return partial(pipeline, inputs=ltx2.Inputs(settings.data / INPUTS_FOLDER))

    def exchange(maker: ClipMaker, loras: Loras) -> ClipMaker:
        assert isinstance(maker, partial)
        cast(ltx2.Pipeline, maker.func).use_loras(loras)
        return maker

    return Offer(
        found.name,
        found.profile,
        load,
        found.licence,
        loras,
        anatomy_of(found, dtype=settings.dtype, quantization=settings.quantization),
        found.file.size_bytes,
        lambda: found.file.digest,
        offload_beside(settings.compile, settings.offload),
        frozenset(enlarging_of(file) for file in find_upsamplers(found)),
        _guides(loras),
        exchange,
        settings.quantization,
        cache(lambda bits: _offer(model, replace(settings, quantization=bits), weights)),
    )


def _guides(loras: Mapping[str, Path]) -> dict[str, int]:
    """LoRAs that were trained to follow a video, and how much smaller they are shown it.

    Their headers say so; of some published ones only the names do.
    """
    found = {}
    for name, path in loras.items():
        try:
            told = CheckpointFile.open(path).metadata.get(DOWNSCALE_KEY, "")
        except CheckpointError:
            continue  # loading says what is wrong with it
        if told.isdecimal() and 1 <= int(told) <= MAX_DOWNSCALE:
            found[name] = int(told)
        elif IC_LORA_MARK in name.lower():
            found[name] = 1
    return found


def _file_of(
    offer: Offer, lora: ChosenLora
) -> tuple[Path, float] | tuple[Path, float, float | None]:
    path = offer.loras[lora.name]
    if lora.audio_strength is None:
        return path, lora.strength
    return path, lora.strength, lora.audio_strength


def _check_lora(offer: Offer, lora: ChosenLora) -> None:
    if lora.name not in offer.loras:
        raise RequestError(
            f"The model {offer.name} has no LoRA {lora.name!r}.",
            next_step=f"Choose one of {', '.join(offer.loras)}."
            if offer.loras
            else f"Leave it out, or put its file into the folder {LORA_FOLDER} beside the model.",
        )
    strengths = (lora.strength, 0.0 if lora.audio_strength is None else lora.audio_strength)
    if not all(math.isfinite(strength) for strength in strengths):
        wrong = next(strength for strength in strengths if not math.isfinite(strength))
        raise RequestError(
            f"The LoRA {lora.name} has the strength {wrong}.",
            next_step="Give a number; 1 is as it was trained.",
        )


def _has_failed(loading: Future[ClipMaker]) -> bool:
    return loading.done() and loading.exception() is not None
