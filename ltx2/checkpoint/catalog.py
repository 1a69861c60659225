"""Models by name or path: where their files are, what they were made for, under which licence.

Reads headers only and needs no PyTorch, so that a page can show a model before it is loaded.
"""

import logging
import os.path
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from ltx2.checkpoint.components import FEATURE_PROJECTION
from ltx2.checkpoint.hub_cache import cached, find_cached
from ltx2.checkpoint.lora_layouts import is_lora
from ltx2.checkpoint.reader import CheckpointFile
from ltx2.checkpoint.sources import (
    DIFFUSERS_INDEX,
    DISTILLED_KEY,
    MODEL_FILE,
    SUFFIX,
    TRANSFORMER_2_3,
    TRANSFORMER_19B,
    known_transformer,
    open_checkpoint,
)
from ltx2.checkpoint.text_encoders import find_text_encoder, open_text_encoder
from ltx2.errors import CheckpointError
from ltx2.request import Guidance, ModelProfile

logger = logging.getLogger(__name__)

TEXT_ENCODER_FOLDER = "text_encoder"
LORA_FOLDER = "loras"
"""What a model's folder holds. Other models in it, `<variant>.safetensors`, share the rest."""

WEIGHTS = Path(__file__).parents[1] / "weights"
LTX2_LICENCE = "LTX-2 Community License"

FINGERPRINT_19B = "aca7b0bbf8415e9c98360750268915fc"
FINGERPRINT_EARLY_DISTILLED = "3b4af458733cd7e2db7bb9a26253d39f"
"""Of the distilled file's first upload, whose video decoder expects a noise level."""
FINGERPRINT_2_3 = "f3a83ecf3995dcc4fae2d27e08ad5767"

DISTILLED_SIGMAS = (1.0, 0.99375, 0.9875, 0.98125, 0.975, 0.909375, 0.725, 0.421875, 0.0)
"""Noise levels that the distilled checkpoint was trained for."""

IMAGE_CRF = 33
"""Compression of given pictures in the published pipelines, up to version 2.3."""

NEGATIVE_PROMPT = (
    "blurry, low contrast, flickering, warped faces and hands, extra fingers, frozen motion, "
    "jerky camera, subtitles, watermark, lips out of step with the voice, muffled or robotic "
    "voice, hiss, clipped sound, silence"
)


def _guidance(cfg_scale: float, *, stg_block: int = 29) -> Guidance:
    return Guidance(
        cfg_scale=cfg_scale, stg_scale=1.0, modality_scale=3.0, rescale=0.7, stg_blocks=(stg_block,)
    )


_EXAMPLES = (
    "A violinist in a stone courtyard at dusk plays a slow melody; the bow moves in long strokes, "
    "leaves rustle, and the last note echoes from the walls.",
    'A woman in a yellow raincoat looks into the camera on a rainy street and says "It has been '
    'raining for a week." Drops patter on her hood and a tram bell rings behind her.',
)

# The settings that the published pipelines use.
DEV_PROFILE = ModelProfile(
    width=768,
    height=512,
    duration_s=121 / 24,
    frame_rate=24.0,
    num_steps=40,
    video_guidance=_guidance(cfg_scale=3.0),
    audio_guidance=_guidance(cfg_scale=7.0),
    negative_prompt=NEGATIVE_PROMPT,
    image_crf=IMAGE_CRF,
    example_prompts=_EXAMPLES,
)
DEV_2_3_PROFILE = DEV_PROFILE.model_copy(
    update={
        "num_steps": 30,
        "video_guidance": _guidance(cfg_scale=3.0, stg_block=28),
        "audio_guidance": _guidance(cfg_scale=7.0, stg_block=28),
    }
)
DISTILLED_PROFILE = ModelProfile(
    width=768,
    height=512,
    duration_s=121 / 24,
    frame_rate=24.0,
    num_steps=len(DISTILLED_SIGMAS) - 1,
    sigmas=DISTILLED_SIGMAS,
    image_crf=IMAGE_CRF,
    example_prompts=_EXAMPLES,
)


@dataclass(frozen=True)
class Source:
    """Files of a repository on the Hugging Face Hub.

    Attributes:
        repo: "owner/name".
        patterns: of the names of the files, as shells write them.
        folder: of a folder of models laid out like ComfyUI's, that they belong into.
        licence: that they come under.
        approx_bytes: of all files, to say before the Hub was asked.
    """

    repo: str
    patterns: tuple[str, ...]
    folder: str
    licence: str
    approx_bytes: int


@dataclass(frozen=True)
class KnownModel:
    """A published model that this project does not carry.

    Attributes:
        name: what users call it; its file is called the same.
        profile: its usual settings and limits.
        source: where its file comes from.
    """

    name: str
    profile: ModelProfile
    source: Source


@dataclass(frozen=True)
class Version:
    """A published version of LTX-2, and what can be done with it here.

    Attributes:
        name: as its makers write it.
        can: what works here.
        cannot: what does not, or what its files lack.
    """

    name: str
    can: tuple[str, ...]
    cannot: tuple[str, ...]


LTX_2 = Version(
    "LTX-2 (19B, January 2026)",
    can=(
        "text to clip with sound",
        "LoRAs",
        "guidance and negative prompt (dev)",
        "8 steps (distilled)",
        "two-stage upscaling",
        "fp8 and fp4 files",
    ),
    cannot=(),
)
LTX_2_3 = Version(
    "LTX-2.3 (22B, March 2026)",
    can=(
        "text to clip with sound at 48 kHz",
        "LoRAs that were made for it",
        "guidance and negative prompt (dev)",
        "8 steps (distilled)",
        "two-stage upscaling",
        "fp8 and fp4 files",
    ),
    cannot=(
        "LoRAs of LTX-2 mostly do not fit it",
        "training",
    ),
)
LTX_2_5 = Version(
    "LTX-2.5 (22B, August 2026)",
    can=(),
    cannot=("its files are split, need accepted terms and another text encoder, and are refused",),
)
VERSIONS = (LTX_2, LTX_2_3, LTX_2_5)

MARK_SOUND = "transformer_blocks.0.audio_to_video_attn.to_q.weight"
MARK_2_3 = "transformer_blocks.0.prompt_scale_shift_table"
MARK_2_5 = "keyframes_abs_pos_embedding"
"""Endings of the names of tensors that tell the versions apart."""


def _published(name: str, repo: str, approx_bytes: int) -> Source:
    return Source(repo, (f"{name}{SUFFIX}",), "checkpoints", LTX2_LICENCE, approx_bytes)


def _known(name: str, profile: ModelProfile) -> KnownModel:
    return KnownModel(name, profile, _published(name, "Lightricks/LTX-2", 43_300_000_000))


def _known_2_3(name: str, profile: ModelProfile) -> KnownModel:
    return KnownModel(name, profile, _published(name, "Lightricks/LTX-2.3", 46_200_000_000))


DEV = _known("ltx-2-19b-dev", DEV_PROFILE)
DISTILLED = _known("ltx-2-19b-distilled", DISTILLED_PROFILE)
DEV_2_3 = _known_2_3("ltx-2.3-22b-dev", DEV_2_3_PROFILE)
DISTILLED_2_3 = _known_2_3("ltx-2.3-22b-distilled", DISTILLED_PROFILE)
PUBLISHED = (DEV, DISTILLED, DEV_2_3, DISTILLED_2_3)

TEXT_ENCODER_NAME = "gemma-3-12b-it-qat-q4_0-unquantized"
TEXT_ENCODER_SOURCE = Source(
    f"google/{TEXT_ENCODER_NAME}",
    (f"*{SUFFIX}", "*.json", "tokenizer.model"),
    f"text_encoders/{TEXT_ENCODER_NAME}",
    "Gemma Terms of Use",
    24_400_000_000,
)
"""The text encoder of both published models."""


@dataclass(frozen=True)
class FoundModel:
    """A model on this machine.

    Attributes:
        name: of the published model, or of its folder or file.
        file: the checkpoint, header read.
        text_encoder: folder or file of the text encoder; None if there is none beside it.
        profile: usual settings and limits.
        licence: of the weights; None if unknown.
    """

    name: str
    file: CheckpointFile
    text_encoder: Path | None
    profile: ModelProfile
    licence: str | None


class LoraChoice(NamedTuple):
    """A LoRA to load with a model.

    Attributes:
        path: its file, or the name of one beside the model.
        strength: factor of its change; 1 is as it was trained.
        audio_strength: factor of what it changes of the sound; None as of the picture.
    """

    path: str | Path
    strength: float = 1.0
    audio_strength: float | None = None


def embedded_models() -> tuple[str, ...]:
    """Names of the models that this project carries, the main one of a folder first."""
    names = []
    for folder in _embedded_folders():
        names += [folder.name] if (folder / MODEL_FILE).is_file() else []
        variants = sorted(file for file in folder.glob(f"*{SUFFIX}") if file.name != MODEL_FILE)
        names += [f"{folder.name}-{file.stem}" for file in variants if _is_model(file)]
    return tuple(names)


def find_model(name_or_path: str | Path, *, text_encoder: str | Path | None = None) -> FoundModel:
    """The model of a name ("puppet"), a model folder or a checkpoint file.

    Args:
        name_or_path: a folder holds `model.safetensors` and, usually, `text_encoder/`.
        text_encoder: folder of the text encoder, or its only file as ComfyUI has it, where the
            model does not bring its own.

    Raises:
        CheckpointError: there is no such model, or its header is damaged.
    """
    path = locate(str(name_or_path))
    file = open_checkpoint(path)
    if is_lora(file.stored):
        raise CheckpointError(
            f"{file.path.name} is a LoRA, which changes a model and is none.",
            next_step="Choose a model, and the file as its LoRA (--lora).",
        )
    require_known_version(file)
    return FoundModel(
        name=name_of(file),
        file=file,
        text_encoder=_usual_text_encoder(path, file)
        if text_encoder is None
        else _chosen_text_encoder(text_encoder),
        profile=profile_of(file),
        licence=licence_of(file),
    )


def _usual_text_encoder(path: Path, file: CheckpointFile) -> Path | None:
    """What lies beside a model's file at `path`, or was downloaded for it; None if nothing."""
    beside = path.parent / TEXT_ENCODER_FOLDER
    if _is_folder(beside):
        return beside
    downloaded = None if known_model(file) is None else cached(TEXT_ENCODER_SOURCE.repo)
    return downloaded or find_text_encoder(path, _text_features(file))


def _text_features(file: CheckpointFile) -> int:
    """Values per token that a model takes of all hidden states; 0 if it does not say."""
    own = FEATURE_PROJECTION.own(file.tensors)
    names = ("aggregate_embed.weight", "video_aggregate_embed.weight")
    shape = next((own[name].shape for name in names if name in own), ())
    return shape[-1] if shape else 0


def _chosen_text_encoder(text_encoder: str | Path) -> Path:
    """The folder or file that was said.

    Raises:
        CheckpointError: there is none, or the file is something else.
    """
    path = Path(text_encoder)
    if not os.path.exists(path):  # noqa: PTH110 - never raises
        path = find_cached(str(text_encoder)) or path
    if os.path.isfile(path):  # noqa: PTH113
        open_text_encoder(path)
        return path
    if not _is_folder(path):
        raise CheckpointError(
            f"There is no text encoder {_shown(path)}.",
            next_step="Give the folder of a Gemma 3 model that holds its config.json, or a file of "
            "ComfyUI's text_encoders, as gemma_3_12B_it.safetensors.",
        )
    return path


def loras_of(found: FoundModel) -> dict[str, Path]:
    """LoRAs in the folder `loras` beside a model's file, by name."""
    folder = found.file.path.parent / LORA_FOLDER
    return {path.stem: path for path in sorted(folder.glob(f"*{SUFFIX}"))}


def find_lora(found: FoundModel, name_or_path: str | Path) -> Path:
    """File of a LoRA; one beside the model goes before a file here of the same name.

    Raises:
        CheckpointError: there is none.
    """
    beside = loras_of(found)
    name = str(name_or_path).removesuffix(SUFFIX)
    if name in beside:
        return beside[name]
    path = Path(name_or_path)
    if os.path.isfile(path):  # noqa: PTH113 - never raises
        return path
    known = f"one of {', '.join(beside)}, or " if beside else ""
    raise CheckpointError(
        f"There is no LoRA {_shown(path)} for the model {found.name}.",
        next_step=f"Give {known}the path of a .safetensors file.",
    )


def name_of(file: CheckpointFile) -> str:
    """What a checkpoint is called in recipes and on the page.

    A file beside a folder's `model.safetensors` is a variant of it: "puppet-distilled".
    """
    known = known_model(file)
    if known is not None:
        return known.name
    folder = file.path.absolute().parent
    if file.path.name in (MODEL_FILE, DIFFUSERS_INDEX):
        return folder.name
    is_variant = (folder / MODEL_FILE).is_file()
    return f"{folder.name}-{file.path.stem}" if is_variant else file.path.stem


def profile_of(file: CheckpointFile) -> ModelProfile:
    """Usual settings: what the metadata say, or what is known of the published model.

    Raises:
        CheckpointError: the metadata's profile cannot be used.
    """
    if "profile" in file.metadata:
        return _parse_profile(file, file.metadata_object("profile"))
    known = known_model(file)
    if known is not None:
        return known.profile
    # Of another size: which block to disturb is unknown, so only the prompt guides.
    return DEV_PROFILE.model_copy(
        update={
            "video_guidance": Guidance(cfg_scale=3.0),
            "audio_guidance": Guidance(cfg_scale=7.0),
        }
    )


def version_of(file: CheckpointFile) -> Version | None:
    """The version of LTX-2 that a file's tensors and metadata show; None for anything else."""
    config = file.metadata.get("config", "")
    if file.metadata.get("model_version", "").startswith("2.5") or _has(file, MARK_2_5):
        return LTX_2_5
    if "AVTransformer" not in config and not _has(file, MARK_SOUND):
        return None
    return LTX_2_3 if _has(file, MARK_2_3) else LTX_2


def _has(file: CheckpointFile, ending: str) -> bool:
    return any(name.endswith(ending) for name in file.tensors)


def require_known_version(file: CheckpointFile) -> None:
    """Refuses a version that this code does not implement, before anything is read.

    Raises:
        CheckpointError: it is LTX-2.5.
    """
    if version_of(file) is LTX_2_5:
        raise CheckpointError(
            f"{file.path.name} is LTX-2.5, which cannot be used yet: it reads prompts with Gemma 4 "
            "and decodes pictures by diffusion, and neither is implemented here.",
            next_step="Use a checkpoint of LTX-2 (19B) or LTX-2.3 (22B).",
        )


def require_trainable(file: CheckpointFile) -> None:
    """Refuses a version that can make clips here but not be trained.

    Raises:
        CheckpointError: it is LTX-2.3.
    """
    if version_of(file) is LTX_2_3:
        raise CheckpointError(
            f"{file.path.name} is LTX-2.3, which cannot be trained here.",
            next_step="Train on a checkpoint of LTX-2 (19B).",
        )


def licence_of(file: CheckpointFile) -> str | None:
    """Licence of the weights, where the metadata or the catalog know it."""
    return LTX2_LICENCE if known_model(file) else file.metadata.get("licence")


def known_model(file: CheckpointFile) -> KnownModel | None:
    """The published model with this file's tensors; None if it is none of them.

    The dev file and today's distilled file have the same tensors, so the name decides.
    """
    is_folder = file.path.name == DIFFUSERS_INDEX
    name = file.path.absolute().parent.name if is_folder else file.path.name
    is_distilled = "distilled" in name.lower() or file.metadata.get(DISTILLED_KEY) == "true"
    first, later = (DISTILLED, DISTILLED_2_3) if is_distilled else (DEV, DEV_2_3)
    known = {
        FINGERPRINT_EARLY_DISTILLED: DISTILLED,
        FINGERPRINT_19B: first,
        FINGERPRINT_2_3: later,
        # Files in pieces and folders of diffusers lack what nobody reads.
        TRANSFORMER_19B: first,
        TRANSFORMER_2_3: later,
    }
    return known.get(file.fingerprint) or known.get(known_transformer(file))


def locate(name: str) -> Path:
    """The checkpoint file of a model; an embedded one goes before a folder here of the same name.

    Raises:
        CheckpointError: there is none.
    """
    for folder in _embedded_folders():
        if name == folder.name:
            return folder / MODEL_FILE
        variant = {f"{folder.name}-{file.stem}": file for file in folder.glob(f"*{SUFFIX}")}
        if name in variant:
            return variant[name]
    path = Path(name)
    if _is_folder(path):
        is_diffusers = os.path.isfile(path / DIFFUSERS_INDEX)  # noqa: PTH113 - never raises
        return path / (DIFFUSERS_INDEX if is_diffusers else MODEL_FILE)
    if os.path.exists(path):  # noqa: PTH110 - never raises
        return path
    published = {known.name: known.source for known in PUBLISHED}
    if name in published:
        snapshot = cached(published[name].repo)
        if snapshot is not None and os.path.isfile(snapshot / f"{name}{SUFFIX}"):  # noqa: PTH113
            return snapshot / f"{name}{SUFFIX}"
        raise CheckpointError(
            f"The weights of {name} are not part of this project.",
            next_step=f"Download it in the Models tab of the page or with `python -m ltx2 download "
            f"{name}` (its licence is the {LTX2_LICENCE}), or give the path of {name}{SUFFIX}.",
        )
    found = find_cached(name)
    if found is not None:
        return locate(str(found))
    raise CheckpointError(
        f"There is no model {_shown(path)}.",
        next_step='Use "puppet", or the path of a model folder or .safetensors file.',
    )


def _embedded_folders() -> list[Path]:
    if not WEIGHTS.is_dir():
        return []
    return sorted(folder for folder in WEIGHTS.iterdir() if folder.is_dir())


def _is_model(file: Path) -> bool:
    """Whether the file says what clips it makes; shared parts and upsamplers do not."""
    try:
        return "profile" in CheckpointFile.open(file).metadata
    except CheckpointError as error:
        logger.warning("a file among the embedded weights is left out: %s", error)
        return False


def _is_folder(path: Path) -> bool:
    """Whether there is such a folder; False also for names that no file can have."""
    return os.path.isdir(path)  # noqa: PTH112 - never raises


def _shown(path: Path) -> str:
    """A path in quotes, for a message."""
    text = str(path)
    return repr(text if len(text) <= 120 else f"{text[:120]}…")


def _parse_profile(file: CheckpointFile, values: Any) -> ModelProfile:
    try:
        return ModelProfile.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise CheckpointError(
            f"The profile in the metadata of {file.path.name} cannot be used: "
            f"{f'{field}: ' if field else ''}{first['msg'].removeprefix('Value error, ')}.",
            next_step="Use the version of this program that the checkpoint was made with.",
        ) from error
