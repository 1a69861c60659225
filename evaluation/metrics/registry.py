"""All metrics, found in the modules of this package.

A module offers `METRIC`, or several as `METRICS`. One whose packages are absent is left out with a
warning in the log, so that a run of all metrics never ends for want of one package.
"""

import logging
import pkgutil
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from types import ModuleType

import evaluation.metrics as package
from evaluation.measurement import Metric

logger = logging.getLogger(__name__)

_OWN = f"{package.__name__}.registry"


@cache
def all_metrics() -> tuple[Metric, ...]:
    """Every metric whose packages are installed, by name."""
    found: dict[str, Metric] = {}
    for name in _modules():
        try:
            module = import_module(name)
        except ImportError as error:
            logger.warning("The metrics of %s cannot be used: %s", name, error)
            continue
        for metric in _offered(module):
            found.setdefault(metric.name, metric)
    return tuple(found[name] for name in sorted(found))


def _modules() -> Iterator[str]:
    for info in pkgutil.walk_packages(
        package.__path__, f"{package.__name__}.", onerror=lambda name: None
    ):
        if info.name != _OWN:
            yield info.name


def _offered(module: ModuleType) -> tuple[Metric, ...]:
    offered = [getattr(module, "METRIC", None), *(getattr(module, "METRICS", None) or ())]
    return tuple(metric for metric in offered if isinstance(metric, Metric))
