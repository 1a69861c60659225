import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from ltx2.errors import CheckpointError, GenerationCancelled, RequestError
from ltx2.progress import Progress, ignore_progress
from ltx2.serving.jobs import USUAL, Choice, ChosenLora
from ltx2.serving.models import Models, Stop, open_offers
from ltx2.settings import Settings
from tests.conftest import ROOT
from tests.unit.serving.stand_ins import WAIT_S, Maker, an_offer

PAPER = Path("paper.safetensors")


def some_models(load=None):
    quick = an_offer(load=load or (lambda loras: Maker()))
    return Models([quick])


def take(models, choice=USUAL, stop=None, on_progress=ignore_progress):
    return models.take(models.named(choice), stop or Stop(), on_progress)


class SlowLoad:
    """A model whose loading lasts until it is told to end."""

    def __init__(self):
        self.begun, self.may_end = threading.Event(), threading.Event()
        self.count = 0

    def __call__(self, loras):
        self.count += 1
        self.begun.set()
        assert self.may_end.wait(WAIT_S)
        return Maker()


@pytest.fixture
def in_thread():
    with ThreadPoolExecutor() as pool:
        yield pool.submit


def test_one_model_is_kept_until_another_choice_is_made():
    loads = []

    def offer(name, **values):
        def load(loras):
            loads.append((name, loras))
            return Maker()

        return replace(an_offer(load=load), name=name, **values)

    models = Models([offer("quick"), offer("slow", loras={"paper": PAPER})])
    assert models.loaded is None
    choices = [
        USUAL,
        Choice("quick"),
        Choice("slow"),
        Choice("slow", (ChosenLora("paper", 0.0),)),  # changes nothing
        Choice("slow", (ChosenLora("paper", 0.5),)),
        Choice("slow", (ChosenLora("paper", 0.5),)),
        USUAL,
    ]
    for choice in choices:
        take(models, choice)
        assert models.loaded == models.named(choice)
    assert loads == [("quick", []), ("slow", []), ("slow", [(PAPER, 0.5)]), ("quick", [])]


def test_other_bits_are_another_model_to_load_and_those_of_the_server_are_not():
    loads = []

    def kept(bits):
        return replace(
            an_offer(load=lambda loras: loads.append(bits) or Maker()),
            quantization=bits,
            quantized=kept,
            exchange=lambda maker, loras: maker,
        )

    models = Models([kept("none")])
    for bits in (None, "none", "int8", "int8", "none"):
        take(models, Choice(quantization=bits))
    assert loads == ["none", "int8", "none"]
    assert models.named(Choice(quantization="none")) == models.named(USUAL)
    offer = models.chosen(Choice(quantization="int8"))
    assert offer.timed_as == f"{offer.name} int8"
    with pytest.raises(RequestError, match="cannot keep its weights as 'int3'"):
        models.named(Choice(quantization="int3"))
    with pytest.raises(RequestError, match="cannot keep its weights as 'int8'"):
        some_models().named(Choice(quantization="int8"))


def test_a_model_is_offered_in_fewer_bits_and_computes_in_them():
    models = Models(open_offers(Settings(device="cpu")), device="cpu")
    maker = take(models, Choice("puppet", quantization="int8"))
    assert maker.func.computation.quantization == "int8"
    whole, narrow = (models.chosen(Choice("puppet", quantization=b)) for b in ("none", "int8"))
    assert narrow.anatomy.weights < whole.anatomy.weights


def test_only_the_loras_are_exchanged_where_the_model_stays():
    calls = []

    def load(loras):
        calls.append(("load", loras))
        return Maker()

    def exchange(maker, loras):
        calls.append(("exchange", loras))
        return maker

    offer = replace(an_offer(load=load, loras={"paper": PAPER}), exchange=exchange)
    models = Models([replace(offer, name="quick"), replace(offer, name="slow")])
    paper = (ChosenLora("paper", 0.5),)
    sound = (ChosenLora("paper", 0.0, audio_strength=0.5),)
    choices = (
        *(Choice("quick"), Choice("quick", paper), Choice("quick", sound)),
        *(Choice("slow", paper), USUAL),
    )
    for choice in choices:
        take(models, choice)
        assert models.loaded == models.named(choice)
    assert calls == [
        ("load", []),
        ("exchange", [(PAPER, 0.5)]),
        ("exchange", [(PAPER, 0.0, 0.5)]),
        ("load", [(PAPER, 0.5)]),
        ("load", []),
    ]


def test_progress_tells_of_loading_only_where_there_is_some():
    models, seen = some_models(), []
    take(models, on_progress=seen.append)
    take(models, on_progress=seen.append)
    assert seen == [Progress("load", 0, 1), Progress("load", 1, 1)]


def test_a_model_that_failed_to_load_is_tried_again():
    attempts = []

    def load(loras):
        attempts.append(1)
        if len(attempts) == 1:
            raise CheckpointError("Cut short.", next_step="Download it again.")
        return Maker()

    models = some_models(load)
    with pytest.raises(CheckpointError):
        take(models)
    assert models.loaded is None
    assert isinstance(take(models), Maker)


def test_a_stop_before_the_model_is_loaded_loads_nothing():
    load, stop = SlowLoad(), Stop()
    stop.express()
    with pytest.raises(GenerationCancelled):
        take(some_models(load), stop=stop)
    assert load.count == 0


def test_who_stops_does_not_wait_for_loading_which_goes_on_for_the_next(in_thread):
    load, stop = SlowLoad(), Stop()
    models = some_models(load)
    stopped = in_thread(take, models, USUAL, stop)
    assert load.begun.wait(WAIT_S)
    time.sleep(0.1)  # by now it waits for the loading
    stop.express()
    stop.express()
    assert isinstance(stopped.exception(WAIT_S), GenerationCancelled)
    following = in_thread(take, models)
    load.may_end.set()
    assert isinstance(following.result(WAIT_S), Maker)
    assert load.count == 1


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (Choice("none"), "no model 'none'"),
        (Choice(None, (ChosenLora("none"),)), "no LoRA 'none'"),
        (Choice(None, (ChosenLora("paper", float("nan")),)), "strength nan"),
        (Choice(None, (ChosenLora("paper"), ChosenLora("paper"))), "twice"),
    ],
)
def test_what_is_not_offered_is_refused(choice, said):
    with pytest.raises(RequestError, match=said) as caught:
        Models([an_offer(loras={"paper": PAPER})]).named(choice)
    assert caught.value.next_step


@pytest.mark.parametrize(
    ("offload", "compilation", "expected"),
    [("auto", "none", "auto"), ("auto", "blocks", "none"), ("disk", "none", "disk")],
)
def test_a_model_is_offered_with_what_loading_does_with_its_weights(offload, compilation, expected):
    offers = open_offers(Settings(device="cpu", offload=offload, compile=compilation))
    assert {offer.offload for offer in offers} == {expected}


def test_the_embedded_model_is_offered_without_loading_it(puppet_folder):
    offers = open_offers(Settings(device="cpu"))
    puppet = next(offer for offer in offers if offer.name == "puppet")
    assert puppet.profile.num_steps > 0
    assert puppet.anatomy is not None


def test_the_chosen_model_comes_first_else_the_quickest(puppet_folder):
    offers = open_offers(Settings())
    assert offers[0].profile.num_steps == min(offer.profile.num_steps for offer in offers)
    chosen = open_offers(Settings(model=str(puppet_folder)))
    assert [offer.name for offer in chosen] == ["puppet"]


def test_pytorch_is_not_loaded_before_a_job_runs(tmp_path, puppet_folder):
    code = f"""
import sys
from ltx2 import Request
from ltx2.serving.models import Models, open_offers
from ltx2.serving.store import Store
from ltx2.serving.worker import JobQueue
from ltx2.settings import Settings

models = Models(open_offers(Settings(device="cpu")), device="cpu")
queue = JobQueue(Store({str(tmp_path / "jobs.sqlite")!r}), [models], {str(tmp_path)!r})
request = Request(prompt="x")
queue.preflight(request)
queue.submit("ann", request)
print(*sys.modules)
"""
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not {"torch", "transformers"} & set(ran.stdout.split())
