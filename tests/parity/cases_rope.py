"""Position tables at the released sizes, against recorded ones."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from ltx2.model.config import ConnectorConfig, RopeConfig, TransformerConfig
from ltx2.model.rope import RotaryTable, interval_centres, rope_frequencies, rotary_table
from tests.parity.result import Result, compare

COMPONENT = "rope"


def run(folder: Path) -> Iterator[Result]:
    """All tables of `folder`, the frequency lists and the rotation itself."""
    tensors = load_file(folder / "io.safetensors")
    cases: dict[str, dict[str, Any]] = json.loads((folder / "case.json").read_text())["cases"]
    for case, facts in cases.items():
        if case == "apply":
            yield _rotation(tensors)
        elif case.startswith("connector"):
            yield from _connector_tables(case, facts, tensors)
        else:
            yield from _stream_tables(case, tensors)
    for name, expected in tensors.items():
        if name.startswith("frequencies/"):
            actual = torch.from_numpy(rope_frequencies(expected.numel(), 10000.0))
            yield compare(COMPONENT, name.split("/")[1], "freqs", actual, expected)


def _rotation(tensors: dict[str, Tensor]) -> Result:
    cos, sin = (tensors[f"apply/{name}"].transpose(1, 2) for name in ("cos", "sin"))
    x = tensors["apply/x"].unflatten(-1, (cos.shape[2], -1))
    pairs = RotaryTable(torch.complex(cos, sin)).rotate(x).unflatten(-1, (-1, 2))
    rotated = pairs.transpose(-1, -2).flatten(2)  # halves of each head as recorded
    return compare(COMPONENT, "apply", "y", rotated, tensors["apply/y"])


def _connector_tables(
    case: str, facts: dict[str, Any], tensors: dict[str, Tensor]
) -> Iterator[Result]:
    rope = RopeConfig(facts["dim"], facts["heads"], (facts["max_pos"],))
    assert rope == ConnectorConfig().rope
    positions = tensors[f"{case}/token_indices"].view(1, -1, 1)
    yield from _compare_tables(case, "", rotary_table(positions, rope), tensors)


def _stream_tables(case: str, tensors: dict[str, Tensor]) -> Iterator[Result]:
    config = TransformerConfig()
    centres = interval_centres(tensors[f"{case}/positions"])
    stream = config.video if centres.shape[-1] == 3 else config.audio
    own = rotary_table(centres, config.rope(stream))
    cross = rotary_table(centres[..., :1], config.cross_rope)
    yield from _compare_tables(case, "", own, tensors)
    yield from _compare_tables(case, "cross_", cross, tensors)


def _compare_tables(
    case: str, prefix: str, table: RotaryTable, tensors: dict[str, Tensor]
) -> Iterator[Result]:
    for name, values in (("cos", table.turns.real), ("sin", table.turns.imag)):
        expected = tensors[f"{case}/{prefix}{name}"]
        yield compare(COMPONENT, case, prefix + name, values.transpose(1, 2), expected)
