"""What people write to train: a YAML file, checked before anything is loaded."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ltx2.errors import RequestError
from ltx2.request import Request
from ltx2.training.adapters import ATTENTION
from ltx2.training.modes import Condition, ModeChoice

ROOT_FIELD = "the file"


class Section(BaseModel):
    """Part of a configuration: unchangeable, without unknown fields or endless numbers."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=()
    )


class Lora(Section):
    """Train small additions to a frozen transformer.

    Attributes:
        rank: inner width of the additions; 32 suits styles and characters.
        alpha: they are scaled by alpha / rank; None is the rank.
        targets: names of linear layers, with * for anything.
    """

    kind: Literal["lora"] = "lora"
    rank: int = Field(default=32, ge=1, le=1024)
    alpha: float | None = Field(default=None, gt=0.0)
    targets: tuple[str, ...] = Field(default=ATTENTION, min_length=1)


class Full(Section):
    """Train all weights of the transformer, in float32.

    Attributes:
        connectors: train the two text connectors as well.
    """

    kind: Literal["full"]
    connectors: bool = False


class Timesteps(Section):
    """How noise levels are drawn.

    Attributes:
        shift: None follows the number of video tokens, as LTX-2 was trained.
        uniform_share: share of examples with a uniform level.
    """

    shift: float | None = None
    uniform_share: float = Field(default=0.1, ge=0.0, le=1.0)


class LossWeights(Section):
    """Weights of the two modalities in the loss."""

    video: float = Field(default=1.0, ge=0.0)
    audio: float = Field(default=1.0, ge=0.0)


class OptimizerChoice(Section):
    """How weights are changed.

    Attributes:
        name: adamw8bit keeps its two averages in 8 bits (bitsandbytes, CUDA only).
        max_grad_norm: gradients are scaled down to this norm.
    """

    name: Literal["adamw", "adamw8bit", "muon"] = "adamw"
    learning_rate: float = Field(default=1e-4, gt=0.0)
    weight_decay: float = Field(default=0.01, ge=0.0)
    max_grad_norm: float = Field(default=1.0, gt=0.0)


class RateSchedule(Section):
    """How the learning rate changes: up in the warm-up, then as named."""

    name: Literal["constant", "linear", "cosine"] = "linear"
    warmup_steps: int = Field(default=0, ge=0)


class Saving(Section):
    """What is written while training goes on.

    Attributes:
        every: steps between checkpoints that can be used.
        keep_last: how many of them stay.
        state_every_s: seconds between saves of the state that a stopped run goes on from.
    """

    every: int = Field(default=500, ge=1)
    keep_last: int = Field(default=3, ge=1)
    state_every_s: float = Field(default=600.0, ge=0.0)


class Validation(Section):
    """Clips that are made from fixed prompts to see how training goes.

    What is None is the model's usual setting.
    """

    prompts: tuple[str, ...] = Field(min_length=1)
    every: int = Field(default=100, ge=1)
    negative_prompt: str | None = None
    width: int | None = None
    height: int | None = None
    duration_s: float | None = None
    num_steps: int | None = None
    seed: int = 42

    def requests(self) -> tuple[Request, ...]:
        """One request per prompt.

        Raises:
            RequestError: a setting is out of range.
        """
        settings = self.model_dump(exclude={"prompts", "every"})
        return tuple(Request(prompt=prompt, **settings) for prompt in self.prompts)


class TrainConfig(Section):
    """A whole training run.

    Attributes:
        model: known name, model folder or checkpoint file to start from.
        text_encoder: folder of the text encoder, for validation, if the model has none beside it.
        data: folder of precomputed examples.
        output: folder that everything is written to; a run that finds its state there goes on.
        train: what is trained.
        modes: drawn anew at every step.
        reference_downscale_factor: how much larger clips are than their reference videos.
        batch_size: examples of one forward pass, over all processes together.
        accumulation: forward passes whose gradients are averaged for one step.
        ema_decay: decay of the averaged weights that are saved; 0 saves the weights themselves.
        precision: what the network computes in.
        base_quantization: how the frozen weights are kept.
        gradient_checkpointing: compute every block twice and keep nothing between, for memory.
        engine: how several processes share the work.
        device: "cpu", "cuda", ...; auto takes what is there.
    """

    schema_version: Literal[1] = 1
    model: str
    text_encoder: Path | None = None
    data: Path
    output: Path
    train: Annotated[Lora | Full, Field(discriminator="kind")] = Lora()
    modes: tuple[ModeChoice, ...] = Field(
        default=(ModeChoice(mode="text_to_video_audio"),), min_length=1
    )
    reference_downscale_factor: int = Field(default=1, ge=1, le=16)
    timesteps: Timesteps = Timesteps()
    loss: LossWeights = LossWeights()
    optimizer: OptimizerChoice = OptimizerChoice()
    schedule: RateSchedule = RateSchedule()
    steps: int = Field(default=2000, ge=1)
    batch_size: int = Field(default=1, ge=1)
    accumulation: int = Field(default=1, ge=1)
    ema_decay: float = Field(default=0.0, ge=0.0, lt=1.0)
    seed: int = Field(default=42, ge=0, lt=2**63)
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    base_quantization: Literal["none", "int8"] = "none"
    gradient_checkpointing: bool = True
    engine: Literal["ddp", "fsdp"] = "ddp"
    device: str = "auto"
    checkpoints: Saving = Saving()
    log_every: int = Field(default=10, ge=1)
    validation: Validation | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.base_quantization != "none" and self.train.kind == "full":
            raise ValueError("base_quantization is for LoRA training; train.kind is full")
        if self.base_quantization != "none" and self.engine == "fsdp":
            raise ValueError("base_quantization does not go with engine fsdp; use ddp")
        if self.engine == "fsdp" and self.optimizer.name != "adamw":
            raise ValueError(f"optimizer {self.optimizer.name} does not go with engine fsdp")
        if self.loss.video == 0.0 and self.loss.audio == 0.0:
            raise ValueError("both loss weights are 0")
        return self

    @property
    def has_reference(self) -> bool:
        """Whether a mode shows the transformer a reference video."""
        return any(m.definition.condition is Condition.REFERENCE for m in self.modes)


def read_config(path: str | Path) -> TrainConfig:
    """The configuration in a YAML file; relative paths in it are relative to where one is.

    Raises:
        RequestError: the file is missing, not YAML, or a field is wrong; the message names the
            field and the line.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(
            f"{path} cannot be read ({error}).", next_step="Give the path of a YAML file."
        ) from error
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark is not None else str(path)
        problem = getattr(error, "problem", None) or "it cannot be parsed"
        raise RequestError(
            f"{where} is not YAML: {problem}.", next_step="Correct the line and try again."
        ) from error
    lines = _lines(node, path) if node is not None else {}
    if not isinstance(values, Mapping):
        raise RequestError(
            f"{path} holds no settings.", next_step="Write them as `name: value`, one a line."
        )
    try:
        return TrainConfig.model_validate(values)
    except ValidationError as error:
        raise _explain(path, error.errors(include_url=False)[0], lines) from error


Location = tuple[str | int, ...]


def _lines(node: yaml.Node, path: Path, at: Location = ()) -> dict[Location, int]:
    """Line of every field, counted from 1; YAML itself lets a name come twice."""
    lines = {at: node.start_mark.line + 1}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*at, str(key.value))
            line = key.start_mark.line + 1
            if inner in lines:
                raise RequestError(
                    f"{path}:{line} says {_dotted(inner)} a second time.",
                    next_step=f"Keep one of the two; the first is in line {lines[inner]}.",
                )
            lines |= {**_lines(value, path, inner), inner: line}
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines |= _lines(value, path, (*at, index))
    return lines


def _explain(path: Path, error: Mapping[str, Any], lines: Mapping[Location, int]) -> RequestError:
    """One sentence for a problem that pydantic found."""
    # The name of a chosen alternative is in the location but not in the file.
    location: Location = ()
    for part in error["loc"]:
        if error["type"] == "missing" or (*location, part) in lines:
            location = (*location, part)
    line = next(lines[location[:n]] for n in range(len(location), -1, -1) if location[:n] in lines)
    field = _dotted(location)
    where = f"{path}:{line}"
    if error["type"] == "extra_forbidden":
        return RequestError(
            f"{where} has an unknown setting {field}.",
            next_step="Remove it or check its spelling.",
        )
    if error["type"] == "missing":
        return RequestError(f"{where} lacks the setting {field}.", next_step="Add it.")
    message = error["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    return RequestError(f"{where}, {field}: {message}.", next_step="Change it and try again.")


def _dotted(location: Location) -> str:
    return ".".join(str(part) for part in location) or ROOT_FIELD


def changed_settings(before: Mapping[str, Any], now: TrainConfig) -> list[str]:
    """Settings that differ from an earlier run's and would make its continuation another run.

    Args:
        before: `model_dump(mode="json")` of the earlier configuration.
        now: the configuration to go on with.
    """
    values = now.model_dump(mode="json")
    return [n for n, v in values.items() if n not in _FREE and before.get(n) != v]


_FREE = frozenset(
    {
        "steps",
        "checkpoints",
        "log_every",
        "validation",
        "text_encoder",
        "output",
        "data",
        "engine",
        "device",
        "gradient_checkpointing",
    }
)
"""Settings that may change between two parts of a run; where the data lie is one of them."""
