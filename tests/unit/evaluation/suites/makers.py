"""Generators for tests: clips at once, without a model."""

from dataclasses import dataclass, field

from evaluation.suites.generators.base import Generator
from evaluation.suites.schema import Item, Shape, SpokenLine, Suite
from tests.fakes.model import PROFILE, draw


def suite_of(count=3, name="small"):
    return Suite(
        name=name,
        title="Small",
        description="For tests.",
        licence="CC0-1.0",
        world="filmed",
        items=tuple(
            Item(
                id=f"item-{number}",
                prompt=f'A man says "number {number}".',
                language="en",
                lines=(SpokenLine(text=f"number {number}"),),
                shape=Shape(duration_s=0.4, width=64, height=64, frame_rate=25),
                tags=("even" if number % 2 == 0 else "odd",),
            )
            for number in range(count)
        ),
    )


@dataclass
class Maker(Generator):
    """Draws clips; fails, leaves out or breaks off where it is told to."""

    name: str = "maker"
    number: str = "1"
    kind: str = "test"
    fails: dict = field(default_factory=dict)
    skips: set = field(default_factory=set)
    price: float = 0.0
    made: list = field(default_factory=list)

    def version(self):
        return self.number

    def describe(self):
        return {"kind": self.kind}

    def leaves_out(self, item, request):
        return "it was told to" if item.id in self.skips else super().leaves_out(item, request)

    def cost_usd(self, request):
        return self.price

    def __call__(self, item, request, output, *, on_progress, should_cancel):
        if item.id in self.fails:
            raise self.fails[item.id]
        self.made.append((item.id, request.seed))
        draw(request.resolve(PROFILE)).save(output)
        return
