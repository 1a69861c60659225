"""The LoRAs that come with the puppet checkpoint, made as anybody makes one.

Clips with captions -> `precompute` -> `train` -> a file in `loras/` beside the model. Each teaches
what the model does not know: a camera move and a style.
"""

import logging
import shutil
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file

from ltx2.training.adapters import ATTENTION
from ltx2.training.config import Lora, ModeChoice, OptimizerChoice, RateSchedule, Timesteps
from ltx2.training.config import TrainConfig as Config
from ltx2.training.precompute import Size, precompute
from ltx2.training.puppet import architecture
from ltx2.training.puppet.lora_clips import LESSONS, write_clips
from ltx2.training.trainer import stopped_by_signals, train

logger = logging.getLogger(__name__)

CLIPS = 160
STEPS, BATCH = 250, 8
MORE_STEPS = {"zoom-out": 500}
"""Lessons that take longer than the others: a move is harder to learn than colours."""
RANK = 4
"""All files of the checkpoint together stay below 40 MB."""
STRENGTH = {"zoom-out": 1.75}
"""What strength 1 of the file stands for, where what was trained is too gentle by itself."""
TARGETS = (*ATTENTION, "*.net.0.proj", "*.net.2")


def train_loras(folder: Path, target: Path) -> None:
    """Trains every LoRA on the checkpoint folder `target` and puts it there; goes on after a stop.

    Args:
        folder: work folder, which keeps clips, examples and states under `loras/`.
        target: exported checkpoint folder.
    """
    for lesson in LESSONS:
        train_lora(folder, target, lesson, steps=MORE_STEPS.get(lesson, STEPS))


def train_lora(folder: Path, target: Path, lesson: str, *, steps: int = STEPS) -> Path:
    """The file of one LoRA beside the model in `target`.

    Args:
        folder: work folder.
        target: exported checkpoint folder.
        lesson: one of `LESSONS`.
        steps: of training.
    """
    work = folder / "loras" / lesson
    write_clips(work / "clips", lesson, count=CLIPS)
    size = Size(architecture.WIDTH, architecture.HEIGHT, architecture.NUM_FRAMES)
    precompute(work / "clips", work / "examples", model=str(target), sizes=[size])
    with stopped_by_signals() as should_stop:
        trained = train(configuration(work, target, steps=steps), should_stop=should_stop)
    file = target / "loras" / f"{lesson}.safetensors"
    log = target / "training" / f"{log_name(lesson)}.jsonl"
    for path in (file, log):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_stronger(trained, file, STRENGTH.get(lesson, 1.0))
    shutil.copy(work / "run" / "training.jsonl", log)
    logger.info("wrote %s", file)
    return file


def write_stronger(source: Path, target: Path, strength: float) -> None:
    """Copies a LoRA so that what it does at `strength` is what its copy does at 1."""
    with safe_open(source, "pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for name in tensors:
        if name.endswith("lora_B.weight"):
            tensors[name] = tensors[name] * strength
    save_file(tensors, target, metadata)


def log_name(lesson: str) -> str:
    """What the log of a LoRA is called among those of the stages."""
    return f"lora_{lesson.replace('-', '_')}"


def configuration(work: Path, target: Path, *, steps: int) -> Config:
    """What `python -m ltx2 train` would read from a YAML file."""
    return Config(
        model=str(target),
        data=work / "examples",
        output=work / "run",
        train=Lora(rank=RANK, targets=TARGETS),
        modes=(ModeChoice(mode="text_to_video_audio"),),
        timesteps=Timesteps(shift=architecture.SHIFT),
        optimizer=OptimizerChoice(learning_rate=2e-3),
        schedule=RateSchedule(name="linear", warmup_steps=20),
        steps=steps,
        batch_size=BATCH,
        ema_decay=0.98,
        gradient_checkpointing=False,
    )
