"""A work folder that goes on from a finished checkpoint, whose optimiser states nobody kept.

Every network is written as weights alone, which later stages read where a stage has no state of
its own; the training of the transformer starts from them.
"""

import copy
import shutil
from pathlib import Path

import torch

from ltx2.checkpoint.catalog import find_model
from ltx2.checkpoint.loader import Networks, load_networks
from ltx2.model.text.encoder import TextEncoder
from ltx2.training.puppet.export import DISTILLED_FILE, MODEL_FILE
from ltx2.training.puppet.networks import PuppetNetworks
from ltx2.training.puppet.text import TEXT_FILES
from ltx2.training.puppet.upscaling import upsampler_beside
from ltx2.training.puppet.weights import load_weights, save_weights, weights_path

WARM_STAGES = {"transformer": MODEL_FILE, "distilled": DISTILLED_FILE}
"""Stages that start from weights, and the files that have them."""


def write_work_folder(checkpoint: Path, folder: Path) -> None:
    """Puts the weights of a checkpoint folder into a work folder.

    Args:
        checkpoint: written by `export`.
        folder: work folder; weights and logs that it has already are replaced, states of stages
            are not.

    Raises:
        CheckpointError: the checkpoint is missing, not complete, or not of a puppet.
    """
    text_folder = folder / "text_encoder"
    text_folder.mkdir(parents=True, exist_ok=True)
    for name in TEXT_FILES:
        shutil.copy(checkpoint / "text_encoder" / name, text_folder / name)
    text = TextEncoder.load(checkpoint / "text_encoder", dtype=torch.float32, device="cpu")
    for stage, file in WARM_STAGES.items():
        networks = load_networks(
            find_model(checkpoint / file).file, dtype=torch.float32, device="cpu"
        )
        save_weights(folder, stage, _trained(networks, text, text_folder))
    save_weights(folder, "video_vae", networks.video_vae)
    save_weights(folder, "audio_vae", networks.audio_vae)
    save_weights(folder, "vocoder", networks.vocoder)
    save_weights(folder, "upsampler", upsampler_beside(str(checkpoint)))
    for log in (checkpoint / "training").glob("*.jsonl"):
        if not log.name.startswith("lora_"):  # those are written beside the checkpoint at once
            shutil.copy(log, folder / earlier_log_name(log.name))


def earlier_log_name(name: str) -> str:
    """What the log of a stage is called once the stage starts anew from what it made.

    "transformer.jsonl" becomes "transformer_1.jsonl", that becomes "transformer_2.jsonl", and logs
    of stages that do not start anew keep their names.
    """
    stem = name.removesuffix(".jsonl")
    stage, _, number = stem.rpartition("_") if stem[-1].isdigit() else (stem, "", "0")
    return f"{stage}_{int(number) + 1}.jsonl" if stage in WARM_STAGES else name


def _trained(networks: Networks, text: TextEncoder, text_folder: Path) -> PuppetNetworks:
    """What is trained together, from the networks of a checkpoint."""
    trained = PuppetNetworks(text_folder)
    for target, source in (
        (trained.text_encoder.model, text.model),
        (trained.projection, networks.projection),
        (trained.video_connector, networks.video_connector),
        (trained.audio_connector, networks.audio_connector),
        (trained.transformer, networks.transformer),
    ):
        target.load_state_dict(source.state_dict())
    return trained


@torch.no_grad()
def redistilled(folder: Path, teacher: PuppetNetworks) -> PuppetNetworks:
    """A student to start distillation from, for a teacher that went on since the last one.

    What the last distillation changed is added to the teacher's weights. Where none was, or the
    teacher was trained from nothing, the student is the teacher.
    """
    student = copy.deepcopy(teacher)
    if weights_path(folder, "distilled").exists():
        before = load_weights(folder, "transformer", copy.deepcopy(teacher))
        after = load_weights(folder, "distilled", copy.deepcopy(teacher))
        for parameter, old, new in zip(
            student.parameters(), before.parameters(), after.parameters(), strict=True
        ):
            parameter.add_(new - old)
    return student
